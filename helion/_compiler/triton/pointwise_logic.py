"""Comparison, selection, clamping and bits in Triton."""

from __future__ import annotations

import torch

from .dtypes import cast_text, triton_dtype, wrap_integer
from .pointwise_rule import Call, Emit, Operand, Value, register, rule

aten = torch.ops.aten

COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
BITWISE = {"bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^"}
BITWISE_DUNDERS = {"__and__": "&", "__or__": "|", "__xor__": "^"}
SHIFTS = {"bitwise_left_shift": "<<", "bitwise_right_shift": ">>"}
SHIFT_DUNDERS = {"__lshift__": "<<", "__rshift__": ">>"}
LOGICAL = {"logical_and": "&", "logical_or": "|", "logical_xor": "!="}
NAN_PROPAGATES = "propagate_nan=tl.PropagateNan.ALL"


def _compare(operator: str) -> Emit:
    def emit(call: Call) -> Value:
        dtype = _comparison_dtype(call)
        left, right = call.pair(dtype)
        return Value(f"({left} {operator} {right})", torch.bool)

    return emit


def _comparison_dtype(call: Call) -> torch.dtype:
    """Promote, and leave room for an integer literal beyond the other side."""
    dtype = call.promoted()
    if dtype.is_floating_point or dtype == torch.bool:
        return dtype
    for operand in call.operands:
        value = operand and operand.value
        if value is not None and wrap_integer(int(value), dtype) != value:
            return torch.int64
    return dtype


def _bits(operator: str) -> Emit:
    def emit(call: Call) -> Value:
        left, right = call.pair(call.out_dtype)
        return Value(f"({left} {operator} {right})", call.out_dtype)

    return emit


def _logical(operator: str) -> Emit:
    def emit(call: Call) -> Value:
        left, right = call.typed(0, torch.bool), call.typed(1, torch.bool)
        return Value(f"({left} {operator} {right})", torch.bool)

    return emit


def _register_operators() -> None:
    tables = (
        (COMPARISONS, _compare, ("Tensor", "Scalar")),
        (BITWISE, _bits, ("Tensor", "Scalar", "Scalar_Tensor")),
        (BITWISE_DUNDERS, _bits, ("Tensor", "Scalar")),
        (SHIFTS, _bits, ("Tensor", "Tensor_Scalar", "Scalar_Tensor")),
        (SHIFT_DUNDERS, _bits, ("Tensor", "Scalar")),
        (LOGICAL, _logical, ("default",)),
    )
    for table, make, overloads in tables:
        for name, operator in table.items():
            packet = getattr(aten, name)
            register(make(operator), *(getattr(packet, o) for o in overloads))


_register_operators()


@rule(aten.bitwise_not.default)
def bitwise_not(call: Call) -> Value:
    dtype = call.out_dtype
    x = call.typed(0, dtype)
    if dtype.is_signed or dtype == torch.bool:
        return Value(f"(~{x})", dtype)
    return Value(f"({x} ^ {torch.iinfo(dtype).max})", dtype)


@rule(aten.logical_not.default)
def logical_not(call: Call) -> Value:
    return Value(f"(~{call.typed(0, torch.bool)})", torch.bool)


@rule(aten.where.self, aten.where.ScalarSelf, aten.where.ScalarOther, aten.where.Scalar)
def where(call: Call) -> Value:
    return _select(call, call.require(1), call.require(2))


@rule(aten.masked_fill.Scalar, aten.masked_fill.Tensor)
def masked_fill(call: Call) -> Value:
    x, mask, value = (call.require(i) for i in range(3))
    return _select(Call([mask], {}, call.out_dtype), value, x)


def _select(call: Call, chosen: Operand, other: Operand) -> Value:
    dtype = call.out_dtype
    condition = call.typed(0, torch.bool)
    first = chosen.typed(dtype) if other.is_literal else chosen.weak(dtype)
    return Value(f"tl.where({condition}, {first}, {other.weak(dtype)})", dtype)


def extremum(name: str, left: str, right: str, dtype: torch.dtype) -> Value:
    """Return the larger (``maximum``) or smaller value; NaN wins, as in torch."""
    if dtype == torch.bool:
        operator = "|" if name == "maximum" else "&"
        return Value(f"({left} {operator} {right})", dtype)
    if not dtype.is_floating_point:
        return Value(f"tl.{name}({left}, {right})", dtype)
    text = f"tl.{name}({left}, {right}, {NAN_PROPAGATES})"
    return _narrow(text, dtype)


def _narrow(text: str, dtype: torch.dtype) -> Value:
    # Some Triton versions give the extremum of two bfloat16 as float32.
    if dtype == torch.bfloat16:
        return Value(cast_text(text, torch.float32, dtype), dtype)
    return Value(text, dtype)


@rule(aten.maximum.default)
def maximum(call: Call) -> Value:
    dtype = call.out_dtype
    return extremum("maximum", call.typed(0, dtype), call.typed(1, dtype), dtype)


@rule(aten.minimum.default)
def minimum(call: Call) -> Value:
    dtype = call.out_dtype
    return extremum("minimum", call.typed(0, dtype), call.typed(1, dtype), dtype)


@rule(aten.fmax.default)
def fmax(call: Call) -> Value:
    return _ignore_nan("maximum", call)


@rule(aten.fmin.default)
def fmin(call: Call) -> Value:
    return _ignore_nan("minimum", call)


def _ignore_nan(name: str, call: Call) -> Value:
    dtype = call.out_dtype
    left, right = call.typed(0, dtype), call.typed(1, dtype)
    if not dtype.is_floating_point:
        return extremum(name, left, right, dtype)
    return _narrow(f"tl.{name}({left}, {right})", dtype)


@rule(aten.clamp.default, aten.clamp.Tensor, aten.hardtanh.default)
def clamp(call: Call) -> Value:
    if call.operand(1, "min") is None and call.operand(2, "max") is None:
        defaults = call.number(1, "min_val", -1), call.number(2, "max_val", 1)
        return _clamp(call, *defaults)
    return _clamp(call, call.operand(1, "min"), call.operand(2, "max"))


@rule(aten.clamp_min.default, aten.clamp_min.Tensor)
def clamp_min(call: Call) -> Value:
    return _clamp(call, call.operand(1, "min"), None)


@rule(aten.clamp_max.default, aten.clamp_max.Tensor)
def clamp_max(call: Call) -> Value:
    return _clamp(call, None, call.operand(1, "max"))


@rule(aten.relu.default)
def relu(call: Call) -> Value:
    return _clamp(call, Operand("0", value=0), None)


def _clamp(call: Call, low: Operand | None, high: Operand | None) -> Value:
    dtype = call.out_dtype
    result = Value(call.typed(0, dtype), dtype)
    for name, bound in (("maximum", low), ("minimum", high)):
        if bound is not None:
            result = extremum(name, result.text, bound.typed(dtype), dtype)
    return result


@rule(
    aten.clone.default,
    aten.alias.default,
    aten.detach.default,
    aten.positive.default,
    aten.lift_fresh_copy.default,
    aten._to_copy.default,
    torch.ops.prims.convert_element_type.default,
)
def convert(call: Call) -> Value:
    return Value(call.typed(0, call.out_dtype), call.out_dtype)


@rule(aten.full_like.default, aten.fill.Scalar, aten.fill.Tensor)
def full_like(call: Call) -> Value:
    return _fill(call, call.require(1, "fill_value"))


@rule(aten.zeros_like.default)
def zeros_like(call: Call) -> Value:
    return _fill(call, Operand("0", value=0))


@rule(aten.ones_like.default)
def ones_like(call: Call) -> Value:
    return _fill(call, Operand("1", value=1))


def _fill(call: Call, value: Operand) -> Value:
    shape = f"{call.require(0).text}.shape"
    dtype = call.out_dtype
    text = f"tl.full({shape}, {value.weak(dtype)}, {triton_dtype(dtype)})"
    return Value(text, dtype)


@rule(aten.scalar_tensor.default)
def scalar_tensor(call: Call) -> Value:
    return Value(call.typed(0, call.out_dtype), call.out_dtype)
