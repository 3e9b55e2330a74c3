"""Arithmetic in Triton: sums, products, division, remainders and powers."""

from __future__ import annotations

import torch

from .dtypes import triton_dtype
from .pointwise_rule import Call, Value, rule

aten = torch.ops.aten


def _swapped(call: Call) -> Call:
    first, second, *rest = call.operands
    return Call([second, first, *rest], call.kwargs, call.out_dtype)


@rule(aten.add.Tensor, aten.add.Scalar)
def add(call: Call) -> Value:
    if call.out_dtype == torch.bool:
        left, right = call.pair(torch.bool)
        return Value(f"({left} | {right})", torch.bool)
    return _add_scaled(call, "+")


@rule(aten.sub.Tensor, aten.sub.Scalar)
def sub(call: Call) -> Value:
    return _add_scaled(call, "-")


@rule(aten.rsub.Tensor, aten.rsub.Scalar)
def rsub(call: Call) -> Value:
    return _add_scaled(_swapped(call), "-")


def _add_scaled(call: Call, sign: str) -> Value:
    alpha = call.number(2, "alpha", 1)
    if alpha.value == 1:
        dtype = call.native()
        left, right = call.pair(dtype)
        return Value(f"({left} {sign} {right})", dtype)
    dtype = call.opmath
    left, right = call.typed(0, dtype), call.typed(1, dtype)
    return Value(f"({left} {sign} {right} * {alpha.weak(dtype)})", dtype)


@rule(aten.mul.Tensor, aten.mul.Scalar)
def mul(call: Call) -> Value:
    dtype = call.native()
    left, right = call.pair(dtype)
    operator = "&" if dtype == torch.bool else "*"
    return Value(f"({left} {operator} {right})", dtype)


@rule(aten.square.default)
def square(call: Call) -> Value:
    dtype = call.native()
    x = call.typed(0, dtype)
    return Value(f"({x} * {x})", dtype)


@rule(aten.neg.default)
def neg(call: Call) -> Value:
    x = call.typed(0, call.out_dtype)
    # Triton's minus is 0 - x, which turns 0.0 into 0.0 instead of -0.0.
    text = f"({x} * -1.0)" if call.out_dtype.is_floating_point else f"(-{x})"
    return Value(text, call.out_dtype)


@rule(aten.reciprocal.default)
def reciprocal(call: Call) -> Value:
    return Value(f"(1.0 / {call.typed(0, call.opmath)})", call.opmath)


@rule(
    aten.div.Tensor,
    aten.div.Scalar,
    aten.true_divide.Tensor,
    aten.true_divide.Scalar,
)
def true_div(call: Call) -> Value:
    left, right = call.pair(call.opmath)
    return Value(f"({left} / {right})", call.opmath)


def trunc_div(call: Call) -> Value:
    dtype = call.opmath
    if not dtype.is_floating_point:
        left, right = call.pair(dtype)
        return Value(f"({left} // {right})", dtype)
    quotient = exact_quotient(call.typed(0, dtype), call.typed(1, dtype), dtype)
    return Value(f"libdevice.trunc({quotient})", dtype)


@rule(aten.floor_divide.default, aten.floor_divide.Scalar)
def floor_div(call: Call) -> Value:
    dtype = call.opmath
    if dtype.is_floating_point:
        return _floor_div_float(call.typed(0, dtype), call.typed(1, dtype), dtype)
    left, right = call.pair(dtype)
    if _is_nonnegative(call):
        return Value(f"({left} // {right})", dtype)
    # Triton rounds toward zero; step down where the signs differ.
    differ = f"(({left} % {right} != 0) & {_signs_differ(call, left, right)})"
    return Value(f"({left} // {right} - {differ}.to({triton_dtype(dtype)}))", dtype)


def _floor_div_float(left: str, right: str, dtype: torch.dtype) -> Value:
    mod = f"libdevice.fmod({left}, {right})"
    near = f"({left} - {mod}) / {right}"
    step = f"(({mod} != 0) & (({mod} < 0) != ({right} < 0)))"
    step = f"{step}.to({triton_dtype(dtype)})"
    # The quotient is a whole number up to rounding.
    whole = f"libdevice.nearbyint({near} - {step})"
    # A zero has the sign of the quotient.
    quotient = f"{left} / {right}"
    whole = f"libdevice.copysign({whole}, {quotient})"
    return Value(f"tl.where({right} == 0, {quotient}, {whole})", dtype)


DIVISIONS = {None: true_div, "trunc": trunc_div, "floor": floor_div}


@rule(aten.div.Tensor_mode, aten.div.Scalar_mode)
def div_by_mode(call: Call) -> Value:
    return DIVISIONS[call.kwargs.get("rounding_mode")](call)


def exact_quotient(left: str, right: str, dtype: torch.dtype) -> str:
    """Divide with correct rounding; Triton's float32 ``/`` is off by some ulp."""
    if dtype == torch.float32:
        return f"tl.div_rn({left}, {right})"
    return f"({left} / {right})"


def _is_nonnegative(call: Call) -> bool:
    unsigned = not call.out_dtype.is_signed
    return unsigned or all(o.is_nonnegative() for o in call.operands if o)


def _signs_differ(call: Call, left: str, right: str) -> str:
    """Compare signs; the sign of a literal divisor is known."""
    divisor = call.require(1)
    if divisor.is_nonnegative():
        return f"({left} < 0)"
    if divisor.is_literal:
        return f"({left} > 0)"
    return f"(({left} < 0) != ({right} < 0))"


@rule(aten.remainder.Tensor, aten.remainder.Scalar, aten.remainder.Scalar_Tensor)
def remainder(call: Call) -> Value:
    dtype = call.opmath
    if dtype.is_floating_point:
        left, right = call.typed(0, dtype), call.typed(1, dtype)
        mod = f"libdevice.fmod({left}, {right})"
    else:
        left, right = call.pair(dtype)
        mod = f"({left} % {right})"
        if _is_nonnegative(call):
            return Value(mod, dtype)
    differ = f"({mod} != 0) & (({mod} < 0) != ({right} < 0))"
    if call.require(1).is_nonnegative():
        differ = f"{mod} < 0"
    return Value(f"tl.where({differ}, {mod} + {right}, {mod})", dtype)


@rule(aten.fmod.Tensor, aten.fmod.Scalar)
def fmod(call: Call) -> Value:
    dtype = call.opmath
    if dtype.is_floating_point:
        left, right = call.typed(0, dtype), call.typed(1, dtype)
        return Value(f"libdevice.fmod({left}, {right})", dtype)
    left, right = call.pair(dtype)
    return Value(f"({left} % {right})", dtype)


# Fibonacci numbers take Euclid the most steps.
_GCD_STEPS = {1: 13, 2: 24, 4: 47, 8: 92}


@rule(aten.gcd.default)
def gcd(call: Call) -> Value:
    dtype = call.out_dtype
    left, right = call.typed(0, dtype), call.typed(1, dtype)
    steps = _GCD_STEPS[dtype.itemsize]
    return Value(f"device_math.gcd({left}, {right}, {steps})", dtype)


@rule(aten.pow.Tensor_Tensor, aten.pow.Tensor_Scalar, aten.pow.Scalar)
def power(call: Call) -> Value:
    exponent = call.require(1).value
    if exponent is not None:
        known = _constant_power(call, exponent)
        if known is not None:
            return known
    dtype = call.opmath
    if dtype.is_floating_point and call.require(0).value == 2:
        return Value(f"tl.exp2({call.typed(1, dtype)})", dtype)
    if dtype.is_floating_point:
        left, right = call.typed(0, dtype), call.typed(1, dtype)
        return Value(f"libdevice.pow({left}, {right})", dtype)
    left, right = call.typed(0, dtype), call.typed(1, dtype)
    steps = 8 * dtype.itemsize - dtype.is_signed
    text = f"device_math.integer_pow({left}, {right}, {steps}, {dtype.is_signed})"
    return Value(text, dtype)


_MAX_UNROLLED_POWER = 4
_MAX_INTEGER_POWER = 64


def _constant_power(call: Call, exponent: float) -> Value | None:
    """Write out powers that need no call of ``pow``."""
    dtype = call.opmath
    x = call.typed(0, dtype)
    if exponent == 0:
        return Value(f"tl.full({x}.shape, 1, {triton_dtype(dtype)})", dtype)
    if not dtype.is_floating_point:
        whole = 0 < exponent <= _MAX_INTEGER_POWER
        return Value(_product(x, int(exponent)), dtype) if whole else None
    if exponent in (0.5, -0.5):
        # Torch makes roots of these too, though pow(-inf, 0.5) would be inf.
        return Value(_square_root(x, exponent < 0, dtype), dtype)
    if exponent != int(exponent) or not 0 < abs(exponent) <= _MAX_UNROLLED_POWER:
        return None
    text = _product(x, int(abs(exponent)))
    return Value(text if exponent > 0 else f"(1.0 / {text})", dtype)


def _square_root(x: str, inverted: bool, dtype: torch.dtype) -> str:
    if inverted:
        return f"tl.rsqrt({x})"
    return f"tl.sqrt_rn({x})" if dtype == torch.float32 else f"tl.sqrt({x})"


def _product(x: str, count: int) -> str:
    """Multiply ``count`` copies of x, by repeated squaring from four on."""
    if count <= 3:
        return f"({' * '.join([x] * count)})" if count > 1 else x
    half = _product(x, count // 2)
    return f"({half} * {half} * {x})" if count % 2 else f"({half} * {half})"


@rule(aten.addcmul.default)
def addcmul(call: Call) -> Value:
    return _add_product(call, "*")


@rule(aten.addcdiv.default)
def addcdiv(call: Call) -> Value:
    return _add_product(call, "/")


def _add_product(call: Call, operator: str) -> Value:
    dtype = call.opmath
    x, left, right = (call.typed(i, dtype) for i in range(3))
    scale = call.number(3, "value", 1)
    factor = "" if scale.value == 1 else f"{scale.weak(dtype)} * "
    return Value(f"({x} + {factor}({left} {operator} {right}))", dtype)


@rule(aten.lerp.Scalar, aten.lerp.Tensor)
def lerp(call: Call) -> Value:
    dtype = call.opmath
    start, end, weight = (call.typed(i, dtype) for i in range(3))
    near = f"{start} + {weight} * ({end} - {start})"
    far = f"{end} - ({end} - {start}) * (1.0 - {weight})"
    # Like torch, start from the nearer end, so that both ends come out exactly.
    value = call.require(2).value
    if value is not None:
        return Value(f"({near})" if abs(value) < 0.5 else f"({far})", dtype)
    return Value(f"tl.where(tl.abs({weight}) < 0.5, {near}, {far})", dtype)
