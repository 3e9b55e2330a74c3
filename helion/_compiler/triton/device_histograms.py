"""Histograms that emitted kernels call.

Triton counts the values of a warp by ballots, which takes about two instructions for 32
values and each bit of a counter's index, then adds the counts of warps in shared
memory. It wants a power of two of counters, and looks at the low bits of a value only.
"""

from __future__ import annotations

import triton
import triton.language as tl

_LARGE = tl.constexpr(2.0**60)
_SHRINK = tl.constexpr(2.0**-64)


@triton.jit
def _quotient(x: tl.tensor, factor: tl.tensor, divisor: tl.tensor) -> tl.tensor:
    """Return ``x * factor / divisor`` in float32, both operations rounded.

    The reciprocal of the scalar ``divisor`` leaves a loop, which a division per element
    does not; two remainders then make the quotient the one that is rounded correctly.
    """
    # Powers of two keep remainders away from the ends of the exponent.
    scale = tl.where(divisor > _LARGE, _SHRINK, 1.0)
    scale = tl.where(divisor < 1 / _LARGE, 1 / _SHRINK, scale)
    dividend = x * (factor * scale)
    divisor = divisor * scale
    inverse = tl.div_rn(1.0, divisor)
    minus = tl.zeros_like(dividend) - divisor
    near = dividend * inverse
    inverse = tl.zeros_like(dividend) + inverse
    near = tl.fma(tl.fma(near, minus, dividend), inverse, near)
    return tl.fma(tl.fma(near, minus, dividend), inverse, near)


@triton.jit
def _count(
    place: tl.tensor, is_counted: tl.tensor, real: tl.tensor, size: tl.constexpr
) -> tl.tensor:
    if real is not None:
        is_counted = is_counted & real
    return tl.histogram(tl.ravel(place), size, tl.ravel(is_counted))


# -- what kernels call -----------------------------------------------------------------


@triton.jit
def in_range(
    x: tl.tensor,
    real: tl.tensor,
    size: tl.constexpr,
    bins: tl.constexpr,
    low: tl.tensor,
    high: tl.tensor,
) -> tl.tensor:
    """Return the counts of ``bins`` equal parts of a range; ``real`` None: of all."""
    factor = tl.full([], bins, x.dtype)
    if tl.constexpr(x.dtype == tl.float64):
        place = (x - low) * factor / (high - low)
    else:
        place = _quotient(x - low, factor, high - low)
    place = tl.minimum(place.to(tl.int32), bins - 1)
    return _count(place, (x >= low) & (x <= high), real, size)


@triton.jit
def of_values(
    x: tl.tensor, real: tl.tensor, size: tl.constexpr, bins: tl.constexpr
) -> tl.tensor:
    """Return how often each of 0 ... ``bins - 1`` is there."""
    if tl.constexpr(x.dtype.primitive_bitwidth < 32):
        x = x.to(tl.int32)  # `bins` may be no number of a narrow dtype
    return _count(x.to(tl.int32), (x >= 0) & (x < bins), real, size)
