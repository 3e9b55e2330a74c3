"""What only the Triton target knows."""
