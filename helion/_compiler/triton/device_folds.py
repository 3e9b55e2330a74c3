"""Folds that emitted kernels call: extrema that return NaN where there is one.

One instruction for each pair of values, where comparisons would take four.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def nan_max(a: tl.tensor, b: tl.tensor) -> tl.tensor:
    """Return the larger of two values, NaN if one is NaN."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def nan_min(a: tl.tensor, b: tl.tensor) -> tl.tensor:
    """Return the smaller of two values, NaN if one is NaN."""
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def fold_max(value: tl.tensor, dim: tl.constexpr) -> tl.tensor:
    """Return the maximum along a dim, NaN if one element is NaN."""
    return tl.reduce(value, dim, nan_max)


@triton.jit
def fold_min(value: tl.tensor, dim: tl.constexpr) -> tl.tensor:
    """Return the minimum along a dim, NaN if one element is NaN."""
    return tl.reduce(value, dim, nan_min)


@triton.jit
def first(a: tl.tensor, b: tl.tensor) -> tl.tensor:
    """Return the first of two values."""
    return a


@triton.jit
def only(value: tl.tensor) -> tl.tensor:
    """Return the one element of a block; unlike a sum, a bool or a byte stays one."""
    return tl.reduce(value, 0, first)
