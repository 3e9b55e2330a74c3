"""The compiler: from a Python function to Triton text (see ``pipeline``)."""
