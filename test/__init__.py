"""Tests, sorted into folders by what they need; shared kernels are in kernels.py."""
