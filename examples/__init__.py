"""Example kernels: each file is a program that checks itself against PyTorch."""
