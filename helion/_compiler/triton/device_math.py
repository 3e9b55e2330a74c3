"""Functions that emitted kernels call because Triton has none of their kind."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def integer_pow(
    base: tl.tensor, exponent: tl.tensor, steps: tl.constexpr, is_signed: tl.constexpr
) -> tl.tensor:
    """Return powers of integers modulo 2 to the power of their bits.

    ``steps`` is the number of bits that exponents may have. A power with a negative
    exponent is 1 or -1 for a base of 1 or -1, else 0, as in torch.
    """
    zero = base * 0 + exponent * 0
    square = base + zero
    rest = exponent + zero
    result = zero + 1
    for _ in range(steps):
        result = tl.where((rest & 1) != 0, result * square, result)
        square = square * square
        rest = rest >> 1
    if is_signed:
        sign = tl.where((exponent & 1) != 0, zero - 1, zero + 1)
        inverse = tl.where(base == 1, zero + 1, tl.where(base == -1, sign, zero))
        result = tl.where(exponent < 0, inverse, result)
    return result


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
