"""Functions that emitted kernels call because Triton has none of their kind."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def gcd(a: tl.tensor, b: tl.tensor, steps: tl.constexpr) -> tl.tensor:
    """Return the greatest common divisors; ``steps`` are enough for all values."""
    a = tl.abs(a)
    b = tl.abs(b)
    for _ in range(steps):
        is_done = b == 0
        divisor = tl.where(is_done, 1, b)
        rest = a % divisor
        a = tl.where(is_done, a, b)
        b = tl.where(is_done, b, rest)
    return a
