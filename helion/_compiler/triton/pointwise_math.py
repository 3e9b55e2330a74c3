"""Unary and binary functions in Triton: exponentials, roots, rounding, trigonometry."""

from __future__ import annotations

import torch

from .dtypes import triton_dtype
from .pointwise_rule import Call, Emit, Value, register, rule

aten = torch.ops.aten

# Each is as exact as libdevice's or nearly so, and takes float32 and float64.
TL_FUNCTIONS = ("exp", "exp2", "log", "log2", "sin", "cos", "rsqrt", "erf", "sigmoid")

LIBDEVICE_FUNCTIONS = {
    **{name: name for name in ("log10", "log1p", "expm1", "tan", "tanh", "erfc")},
    **{name: name for name in ("sinh", "cosh", "asin", "acos", "atan", "asinh")},
    **{name: name for name in ("acosh", "atanh", "atan2", "hypot")},
    **{name: name for name in ("lgamma", "erfinv")},
    "special_erfcx": "erfcx",
    "special_bessel_j0": "j0",
    "special_bessel_j1": "j1",
    "special_bessel_y0": "y0",
    "special_bessel_y1": "y1",
    "special_ndtri": "normcdfinv",
    "i0": "cyl_bessel_i0",
    "special_i1": "cyl_bessel_i1",
}

BITS = {
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}


def _function(name: str, arity: int) -> Emit:
    """Call a function that takes only float32 and float64."""

    def emit(call: Call) -> Value:
        arguments = ", ".join(call.typed(i, call.opmath) for i in range(arity))
        return Value(f"{name}({arguments})", call.opmath)

    return emit


def _register_functions() -> None:
    for name in TL_FUNCTIONS:
        register(_function(f"tl.{name}", 1), getattr(aten, name).default)
    for name, spelled in LIBDEVICE_FUNCTIONS.items():
        op = getattr(aten, name).default
        emit = _function(f"libdevice.{spelled}", len(op._schema.arguments))
        register(emit, op)


_register_functions()


@rule(aten.copysign.Tensor, aten.copysign.Scalar)
def copysign(call: Call) -> Value:
    return _function("libdevice.copysign", 2)(call)


@rule(aten.sqrt.default)
def sqrt(call: Call) -> Value:
    # The correctly rounded form exists for float32 only.
    name = "tl.sqrt_rn" if call.opmath == torch.float32 else "tl.sqrt"
    return _function(name, 1)(call)


@rule(aten.nextafter.default)
def nextafter(call: Call) -> Value:
    dtype = call.out_dtype
    left, right = call.typed(0, dtype), call.typed(1, dtype)
    # The neighbour is one bit away; float32 would round that of a half back, and
    # libdevice takes the numbers nearest to zero for zeros.
    integer = triton_dtype(BITS[dtype])
    bits = f"{left}.to({integer}, bitcast=True)"
    lowest = torch.iinfo(BITS[dtype]).min
    first = f"tl.where({right} < 0, {lowest + 1}, 1)"
    grows = f"(({left} < {right}) == ({left} > 0))"
    moved = f"({bits} + tl.where({grows}, 1, -1).to({integer}))"
    moved = f"tl.where({left} == 0, {first}, {moved}).to({integer})"
    moved = f"{moved}.to({triton_dtype(dtype)}, bitcast=True)"
    stays = f"tl.where({left} == {right}, {right}, {moved})"
    isnan = f"(({left} != {left}) | ({right} != {right}))"
    return Value(f"tl.where({isnan}, {left} + {right}, {stays})", dtype)


def _rounding(name: str) -> Emit:
    """Round to a whole number; integers already are."""

    def emit(call: Call) -> Value:
        dtype = call.opmath
        x = call.typed(0, dtype)
        return Value(f"{name}({x})" if dtype.is_floating_point else x, dtype)

    return emit


register(_rounding("tl.floor"), aten.floor.default)
register(_rounding("tl.ceil"), aten.ceil.default)
register(_rounding("libdevice.trunc"), aten.trunc.default, aten.fix.default)
# nearbyint rounds halves to even, as torch does; libdevice.round does not.
register(_rounding("libdevice.nearbyint"), aten.round.default)


@rule(aten.frac.default)
def frac(call: Call) -> Value:
    x = call.typed(0, call.opmath)
    return Value(f"({x} - libdevice.trunc({x}))", call.opmath)


@rule(aten.abs.default)
def absolute(call: Call) -> Value:
    return Value(f"tl.abs({call.typed(0, call.out_dtype)})", call.out_dtype)


@rule(aten.sign.default, aten.sgn.default)
def sign(call: Call) -> Value:
    dtype = call.out_dtype
    x = call.typed(0, dtype)
    if dtype == torch.bool:
        return Value(x, dtype)
    name = triton_dtype(dtype)
    return Value(f"(({x} > 0).to({name}) - ({x} < 0).to({name}))", dtype)


def _float_input(call: Call) -> str | None:
    """Return the text of a floating point input, else None."""
    x = call.require(0)
    assert x.dtype is not None
    if not x.dtype.is_floating_point:
        return None
    return x.typed(torch.float32) if x.dtype.itemsize == 1 else x.text


def _classification(template: str, for_integers: bool) -> Emit:
    def emit(call: Call) -> Value:
        x = _float_input(call)
        if x is None:
            shape = f"{call.require(0).text}.shape"
            return Value(f"tl.full({shape}, {for_integers}, tl.int1)", torch.bool)
        return Value(template.format(x=x), torch.bool)

    return emit


register(_classification("({x} != {x})", False), aten.isnan.default)
register(_classification('(tl.abs({x}) == float("inf"))', False), aten.isinf.default)
register(_classification('(tl.abs({x}) < float("inf"))', True), aten.isfinite.default)


@rule(aten.signbit.default)
def signbit(call: Call) -> Value:
    x = call.require(0)
    assert x.dtype is not None
    bits = BITS.get(x.dtype)
    if bits is None:
        return Value(f"({x.text} < 0)", torch.bool)
    cast = f"{x.text}.to({triton_dtype(bits)}, bitcast=True)"
    return Value(f"({cast} < 0)", torch.bool)
