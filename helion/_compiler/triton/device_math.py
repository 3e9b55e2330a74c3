"""Functions that emitted kernels call because Triton has none of their kind."""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra import libdevice


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


@triton.jit
def gelu(x: tl.tensor, is_short: tl.constexpr) -> tl.tensor:
    """Return ``x`` times the normal distribution function, for float32.

    Its tail is ``exp(-x * x / 2)`` times a polynomial of ``1 / (1 + c * abs(x))``, the
    form of Abramowitz and Stegun 7.1.26 with more terms, fitted for the relative error:
    1.5e-7 at most before rounding, at half the instructions of ``erf``. The short one
    is for results of 16 bits: 4.7e-6.
    """
    if is_short:
        near = libdevice.fast_dividef(1.0, 1.0 + 0.31 * tl.abs(x))
        series = near * -0.0739293767490383 + 0.18045105071142736
        series = series * near + 0.015743918454975404
    else:
        near = libdevice.fast_dividef(1.0, 1.0 + 0.2316 * tl.abs(x))
        series = near * -0.07013630751662178 + 0.24660296179582636
        series = series * near + -0.19960464059483274
        series = series * near + 0.22318407339482602
        series = series * near + 0.01474145825281845
    series = series * near + (0.1334301972139768 if is_short else 0.10223864904450836)
    series = series * near + (0.12044117879783034 if is_short else 0.09047339422330333)
    series = series * near + (0.12386071021701989 if is_short else 0.09250048614843565)
    tail = series * near * tl.exp2(x * x * -0.7213475204444817)
    return x * tl.where(x < 0, tail, 1.0 - tail)
