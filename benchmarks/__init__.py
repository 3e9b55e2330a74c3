"""Measurements: compile time on any machine, kernels on a GPU."""
