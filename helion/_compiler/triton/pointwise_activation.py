"""Activation functions in Triton."""

from __future__ import annotations

import math

import torch

from .pointwise_rule import Call, Value, rule

aten = torch.ops.aten


@rule(aten.gelu.default)
def gelu(call: Call) -> Value:
    dtype = call.opmath
    x = call.typed(0, dtype)
    if call.kwargs.get("approximate", "none") == "none":
        if dtype == torch.float32:
            is_short = call.out_dtype.itemsize == 2
            return Value(f"device_math.gelu({x}, {is_short})", dtype)
        erf = f"tl.erf({x} * {math.sqrt(0.5)!r})"
        return Value(f"({x} * 0.5 * (1.0 + {erf}))", dtype)
    # (1 + tanh(u)) / 2 is sigmoid(2u).
    scale = math.sqrt(8 / math.pi)
    inner = f"{scale!r} * ({x} + 0.044715 * {x} * {x} * {x})"
    return Value(f"({x} * tl.sigmoid({inner}))", dtype)


@rule(aten.silu.default)
def silu(call: Call) -> Value:
    x = call.typed(0, call.opmath)
    return Value(f"({x} / (1.0 + tl.exp(-{x})))", call.opmath)


@rule(aten.leaky_relu.default)
def leaky_relu(call: Call) -> Value:
    dtype = call.opmath
    x = call.typed(0, dtype)
    slope = call.number(1, "negative_slope", 0.01).weak(dtype)
    return Value(f"tl.where({x} > 0, {x}, {x} * {slope})", dtype)


@rule(aten.elu.default)
def elu(call: Call) -> Value:
    dtype = call.opmath
    x = call.typed(0, dtype)
    alpha = call.number(1, "alpha", 1.0)
    scale = call.number(2, "scale", 1.0)
    inner = call.number(3, "input_scale", 1.0)
    negative = f"libdevice.expm1({x} * {inner.weak(dtype)})"
    negative = f"{negative} * {alpha.weak(dtype)} * {scale.weak(dtype)}"
    return Value(f"tl.where({x} > 0, {x} * {scale.weak(dtype)}, {negative})", dtype)


@rule(aten.softplus.default)
def softplus(call: Call) -> Value:
    dtype = call.opmath
    x = call.typed(0, dtype)
    beta = call.number(1, "beta", 1.0).weak(dtype)
    threshold = call.number(2, "threshold", 20.0).weak(dtype)
    return Value(_softplus(x, beta, threshold), dtype)


def _softplus(x: str, beta: str, threshold: str) -> str:
    smooth = f"libdevice.log1p(tl.exp({x} * {beta})) / {beta}"
    return f"tl.where({x} * {beta} > {threshold}, {x}, {smooth})"


@rule(aten.mish.default)
def mish(call: Call) -> Value:
    x = call.typed(0, call.opmath)
    return Value(f"({x} * libdevice.tanh({_softplus(x, '1.0', '20.0')}))", call.opmath)


@rule(aten.log_sigmoid.default)
def log_sigmoid(call: Call) -> Value:
    x = call.typed(0, call.opmath)
    low = f"tl.minimum({x}, 0.0, propagate_nan=tl.PropagateNan.ALL)"
    return Value(f"({low} - libdevice.log1p(tl.exp(-tl.abs({x}))))", call.opmath)


@rule(aten.hardsigmoid.default)
def hardsigmoid(call: Call) -> Value:
    x = call.typed(0, call.opmath)
    return Value(f"({_clipped_ramp(x)} / 6.0)", call.opmath)


@rule(aten.hardswish.default)
def hardswish(call: Call) -> Value:
    x = call.typed(0, call.opmath)
    return Value(f"({x} * {_clipped_ramp(x)} / 6.0)", call.opmath)


def _clipped_ramp(x: str) -> str:
    """Return x + 3 clamped to [0, 6]; NaN stays NaN."""
    nan = "propagate_nan=tl.PropagateNan.ALL"
    return f"tl.minimum(tl.maximum({x} + 3.0, 0.0, {nan}), 6.0, {nan})"
