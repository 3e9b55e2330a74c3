"""Sorts that emitted kernels call: stable, NaN last, padded lanes behind real ones.

Triton sorts single numbers. So a value of up to 32 bits and its lane become one int64,
whose order is that of the values, then of the lanes; wider values take a network of
their own that moves two numbers at once. Both orders are total, hence stable. The
lowest bit tells a zero with a sign, which is equal to a plain one; ``_ABSENT`` tells
what does not exist, which is behind all that does and gets the last value of its dtype.
"""

from __future__ import annotations

import triton
import triton.language as tl

_ABSENT = tl.constexpr(1 << 30)


@triton.constexpr_function
def log2(size: int) -> int:
    """Return the exponent of a power of two."""
    return size.bit_length() - 1


@triton.constexpr_function
def is_wide(dtype: tl.dtype) -> bool:
    """Return whether values of a dtype do not fit into half of an int64."""
    return dtype.primitive_bitwidth == 64


@triton.constexpr_function
def last_order(dtype: tl.dtype, descending: bool) -> int:
    """Return the order of the last infinity or integer."""
    bits = dtype.primitive_bitwidth
    if dtype.is_floating():
        return 0x7FF0000000000000 if bits == 64 else 0x7F800000
    if dtype.is_int_unsigned() and bits < 32:
        return -1 if descending else (1 << bits) - 1
    return (1 << (bits - 1)) - 1


# -- one key for a value and its lane --------------------------------------------------


@triton.jit
def _order_of_float(x: tl.tensor) -> tl.tensor:
    """Return int32 in the order of float32 values; NaN is the largest."""
    bits = x.to(tl.int32, bitcast=True)
    order = tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    order = tl.where(bits == -0x80000000, 0, order)
    return tl.where((bits & 0x7FFFFFFF) > 0x7F800000, 0x7FFFFFFF, order)


@triton.jit
def _float_of_order(order: tl.tensor, is_minus_zero: tl.tensor) -> tl.tensor:
    bits = tl.where(order < 0, order ^ 0x7FFFFFFF, order)
    bits = tl.where(is_minus_zero != 0, -0x80000000, bits)
    return bits.to(tl.int32).to(tl.float32, bitcast=True)


@triton.jit
def _order_of_double(x: tl.tensor) -> tl.tensor:
    """Return int64 in the order of float64 values; NaN is the largest."""
    bits = x.to(tl.int64, bitcast=True)
    order = tl.where(bits < 0, bits ^ 0x7FFFFFFFFFFFFFFF, bits)
    order = tl.where(bits == -0x8000000000000000, 0, order)
    is_nan = (bits & 0x7FFFFFFFFFFFFFFF) > 0x7FF0000000000000
    return tl.where(is_nan, 0x7FFFFFFFFFFFFFFF, order)


@triton.jit
def _double_of_order(order: tl.tensor, is_minus_zero: tl.tensor) -> tl.tensor:
    bits = tl.where(order < 0, order ^ 0x7FFFFFFFFFFFFFFF, order)
    bits = tl.where(is_minus_zero != 0, -0x8000000000000000, bits)
    return bits.to(tl.int64).to(tl.float64, bitcast=True)


@triton.jit
def _order_of(x: tl.tensor, descending: tl.constexpr) -> tl.tensor:
    """Return int64 in the order of values, which of up to 32 bits use 32."""
    if tl.constexpr(x.dtype.is_floating()):
        if is_wide(x.dtype):
            order = _order_of_double(x)
        else:
            order = _order_of_float(x.to(tl.float32)).to(tl.int64)
    elif tl.constexpr(x.dtype == tl.uint64):
        order = x.to(tl.int64, bitcast=True) ^ (-0x8000000000000000)
    elif tl.constexpr(x.dtype == tl.uint32):
        order = x.to(tl.int64) - 0x80000000
    else:
        order = x.to(tl.int64)
    if descending:
        order = ~order
    return order


@triton.jit
def _value_of(
    order: tl.tensor, tag: tl.tensor, dtype: tl.constexpr, descending: tl.constexpr
) -> tl.tensor:
    """Return the value that an order and the lowest bit of a tag stand for."""
    if descending:
        order = ~order
    if tl.constexpr(dtype.is_floating()):
        if is_wide(dtype):
            return _double_of_order(order, tag & 1)
        return _float_of_order(order.to(tl.int32), (tag & 1).to(tl.int32)).to(dtype)
    if tl.constexpr(dtype == tl.uint64):
        return (order ^ (-0x8000000000000000)).to(tl.uint64, bitcast=True)
    if tl.constexpr(dtype == tl.uint32):
        return (order + 0x80000000).to(tl.uint32)
    return order.to(dtype)


@triton.jit
def _tag_of(x: tl.tensor, real: tl.tensor) -> tl.tensor:
    """Return twice the lane of each value, and what else is to be known of it."""
    lane = tl.arange(0, x.shape[-1]).to(tl.int64) * 2
    if tl.constexpr(x.dtype.is_floating()):
        if is_wide(x.dtype):
            is_zero = x.to(tl.int64, bitcast=True) == -0x8000000000000000
        else:
            is_zero = x.to(tl.float32).to(tl.int32, bitcast=True) == -0x80000000
        lane = lane + is_zero.to(tl.int64)
    if real is not None:
        lane = tl.where(real, lane, lane | _ABSENT)
    return lane + tl.zeros(x.shape, tl.int64)


@triton.jit
def _packed(x: tl.tensor, real: tl.tensor, descending: tl.constexpr) -> tl.tensor:
    """Return one int64 for each value and lane; ``real`` None: nothing is padded."""
    order = _order_of(x, descending)
    if real is not None:
        order = tl.where(real, order, 0x7FFFFFFF)
    return (order << 32) | _tag_of(x, real)


@triton.jit
def _found(
    order: tl.tensor, tag: tl.tensor, dtype: tl.constexpr, descending: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:
    """Return the values and lanes of what was sorted."""
    last = last_order(dtype, descending)
    order = tl.where((tag & _ABSENT) != 0, last, order)
    return _value_of(order, tag, dtype, descending), (tag & (_ABSENT - 1)) >> 1


# -- two numbers that move together ----------------------------------------------------


@triton.jit
def _side(rank: tl.constexpr, i: tl.constexpr) -> tl.tensor:
    """Return 0 and 1 for the halves of the ``i``-th innermost dim of a hypercube."""
    return tl.reshape(tl.arange(0, 2), [1] * (rank - i - 1) + [2] + [1] * i)


@triton.jit
def _swap(
    order: tl.tensor, tag: tl.tensor, flip: tl.tensor, i: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:
    """Order the two halves of a dim of a hypercube."""
    rank: tl.constexpr = log2(order.numel)
    other_order = order ^ tl.xor_sum(order, rank - 1 - i, True)
    other_tag = tag ^ tl.xor_sum(tag, rank - 1 - i, True)
    is_equal = order == other_order
    is_above = (order > other_order) | (is_equal & (tag > other_tag))
    is_moved = is_above.to(tl.int32) != (flip ^ _side(rank, i))
    return tl.where(is_moved, other_order, order), tl.where(is_moved, other_tag, tag)


@triton.jit
def _sort_pairs(order: tl.tensor, tag: tl.tensor) -> tuple[tl.tensor, tl.tensor]:
    """Sort along the last dim by the first of two numbers, then by the second."""
    rank: tl.constexpr = log2(order.numel)
    stages: tl.constexpr = log2(order.shape[-1])
    shape: tl.constexpr = order.shape
    if stages > 0:
        order = tl.reshape(order, [2] * rank)
        tag = tl.reshape(tag, [2] * rank)
        for stage in tl.static_range(1, stages + 1):
            for i in tl.static_range(stage):
                # Neighbouring runs are ordered up and down, the last run up.
                flip = _side(rank, stage) if stage < stages else 0
                order, tag = _swap(order, tag, flip, stage - 1 - i)
        order, tag = tl.reshape(order, shape), tl.reshape(tag, shape)
    return order, tag


@triton.jit
def _pairs(
    x: tl.tensor, real: tl.tensor, descending: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:
    order = _order_of(x, descending)
    if real is not None:
        order = tl.where(real, order, 0x7FFFFFFFFFFFFFFF)
    return _sort_pairs(order, _tag_of(x, real))


@triton.jit
def _head(x: tl.tensor, count: tl.constexpr) -> tl.tensor:
    """Return the first ``count`` elements along the last dim."""
    rows: tl.constexpr = x.shape[-1] // count
    parts = tl.reshape(x, x.shape[:-1] + [rows, count])
    is_first = tl.arange(0, rows)[:, None] == 0
    return tl.sum(tl.where(is_first, parts, 0), len(x.shape) - 1)


# -- what kernels call -----------------------------------------------------------------


@triton.jit
def sort(
    x: tl.tensor, real: tl.tensor, descending: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:
    """Return values and lanes in the order of the values along the last dim."""
    if is_wide(x.dtype):
        order, tag = _pairs(x, real, descending)
    else:
        key = tl.sort(_packed(x, real, descending))
        order, tag = key >> 32, key & 0xFFFFFFFF
    return _found(order, tag, x.dtype, descending)


@triton.jit
def first(
    x: tl.tensor, real: tl.tensor, descending: tl.constexpr, count: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:
    """Return the first ``count`` values and lanes of ``sort``; a power of two."""
    if is_wide(x.dtype):
        order, tag = _pairs(x, real, descending)
        order, tag = _head(order, count), _head(tag, count)
    else:
        key = _packed(x, real, descending)
        if count == 1:
            key = tl.min(key, len(x.shape) - 1, keep_dims=True)
        else:
            # The largest of complements, largest first, are the smallest of keys.
            key = ~tl.topk(~key, count)
        order, tag = key >> 32, key & 0xFFFFFFFF
    return _found(order, tag, x.dtype, descending)


@triton.jit
def kth(x: tl.tensor, real: tl.tensor, place: tl.tensor) -> tl.tensor:
    """Return the element of a 1-D value at a place of its order, as a scalar."""
    is_it = tl.arange(0, x.shape[0]) == place
    if is_wide(x.dtype):
        order, tag = _pairs(x, real, False)
        tag = tl.sum(tl.where(is_it, tag, 0), 0)
        order = tl.sum(tl.where(is_it, order, 0), 0)
    else:
        key = tl.sum(tl.where(is_it, tl.sort(_packed(x, real, False)), 0), 0)
        order, tag = key >> 32, key & 0xFFFFFFFF
    return _value_of(order, tag, x.dtype, False)
