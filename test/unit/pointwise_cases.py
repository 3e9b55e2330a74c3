"""The calls by which test_pointwise_ops.py checks every pointwise rule."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch

from helion._compiler.triton.dtypes import literal, triton_dtype
from helion._compiler.triton.pointwise_ops import POINTWISE
from helion._compiler.triton.pointwise_rule import Operand

aten = torch.ops.aten
inf, nan = math.inf, math.nan
LENGTH = 32
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
INTEGERS = (torch.int32, torch.int64, torch.int8, torch.uint8)
BOOL = (torch.bool,)
EVERY = (*FLOATS, *INTEGERS, *BOOL)
NUMERIC = (*FLOATS, *INTEGERS)


@dataclasses.dataclass(frozen=True)
class Case:
    """One call: ``args`` are numbers, or names of tensors made by ``make_tensor``."""

    op: Any
    dtype: torch.dtype
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        words = [str(self.op).removeprefix("aten."), str(self.dtype)[6:]]
        words += [f"{k}={v}" for k, v in self.kwargs]
        return "-".join([*words, *map(str, self.args)])

    def tensors(self) -> dict[str, torch.Tensor]:
        names = [a for a in self.args if isinstance(a, str)]
        return {name: make_tensor(name, self.dtype) for name in names}

    def expected(self) -> torch.Tensor:
        tensors = self.tensors()
        args = [tensors[a] if isinstance(a, str) else a for a in self.args]
        return self.op(*args, **dict(self.kwargs))

    def expression(self) -> str:
        tensors = self.tensors()
        operands = [_operand(a, tensors) for a in self.args]
        dtype = self.expected().dtype
        return POINTWISE[self.op].render(operands, dict(self.kwargs), dtype)


def _operand(arg: Any, tensors: dict[str, torch.Tensor]) -> Operand | None:
    if isinstance(arg, str):
        return Operand(arg, tensors[arg].dtype)
    if isinstance(arg, (bool, int, float)):
        return Operand(literal(arg), value=arg)
    return None


SPECIALS = [0.0, -0.0, inf, -inf, nan, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0]


def make_tensor(name: str, dtype: torch.dtype) -> torch.Tensor:
    """Make the tensor of a name.

    ``x``, ``y``, ``z`` hold any values, ``g`` finite ones, ``n`` no zeros, ``s`` small
    counts; ``m`` is a mask, ``i`` int32, ``h`` float16 and ``f`` float32.
    """
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    own = {"m": torch.bool, "i": torch.int32, "h": torch.float16, "f": torch.float32}
    dtype = own.get(name, dtype)
    if dtype == torch.bool:
        return torch.randint(0, 2, (LENGTH,), generator=generator).bool()
    if dtype.is_floating_point:
        values = torch.randn(LENGTH, generator=generator) * 3
        shift = "xyznhf".find(name)
        count = len(SPECIALS)
        if name != "g":
            values[:count] = torch.tensor(SPECIALS).roll(shift)
        return values.to(dtype)
    low = -20 if dtype.is_signed else 0
    values = torch.randint(low, 21, (LENGTH,), generator=generator)
    if name == "s":
        values = values.abs() % 7
    if name == "n":
        values = torch.where(values == 0, 3, values)
    return values.to(dtype)


def _unary() -> list[Case]:
    names = """exp exp2 log log2 log10 log1p expm1 sqrt rsqrt reciprocal sin cos tan
        tanh sinh cosh asin acos atan asinh acosh atanh erf erfc sigmoid lgamma"""
    cases = [
        Case(getattr(aten, name).default, dtype, ("x",))
        for name in names.split()
        for dtype in (*FLOATS, torch.int32, torch.bool)
    ]
    plain = "abs neg square floor ceil trunc round sign sgn relu"
    for name in plain.split():
        op = getattr(aten, name).default
        cases += [Case(op, dtype, ("x",)) for dtype in NUMERIC]
    for name in "isnan isinf isfinite signbit logical_not clone".split():
        op = getattr(aten, name).default
        cases += [Case(op, dtype, ("x",)) for dtype in EVERY]
    # Not x: torch on the CPU gives NaN for the gelu of inf.
    cases += [Case(aten.gelu.default, d, ("g",)) for d in FLOATS]
    for name in "silu leaky_relu elu softplus mish hardswish hardsigmoid".split():
        cases += [Case(getattr(aten, name).default, d, ("x",)) for d in FLOATS]
    for name in "erfinv frac hardtanh log_sigmoid special_erfcx".split():
        cases += [Case(getattr(aten, name).default, d, ("x",)) for d in FLOATS[:2]]
    tanh = (("approximate", "tanh"),)
    cases += [Case(aten.gelu.default, d, ("g",), tanh) for d in FLOATS]
    cases += [Case(aten.bitwise_not.default, d, ("x",)) for d in (*INTEGERS, *BOOL)]
    return cases


def _arithmetic() -> list[Case]:
    cases = []
    for name in ("add", "sub", "mul"):
        op = getattr(aten, name).Tensor
        kinds = EVERY if name != "sub" else NUMERIC
        cases += [Case(op, d, ("x", "y")) for d in kinds]
        cases += [Case(op, d, ("x", 2)) for d in NUMERIC]
        cases += [Case(op, d, ("x", 0.1)) for d in NUMERIC]
        cases += [Case(op, d, ("x", -2.5)) for d in FLOATS]
        cases += [Case(op, torch.float16, ("x", "f"))]
        cases += [
            Case(op, torch.bfloat16, ("x", "h")),
            Case(op, torch.int64, ("x", "h")),
        ]
        cases += [Case(op, torch.int8, ("x", "i")), Case(op, torch.float64, ("x", "i"))]
    cases += [Case(aten.add.Tensor, torch.bool, ("x", 1))]
    cases += [Case(aten.mul.Tensor, torch.float32, ("x", v)) for v in (inf, nan, -0.0)]
    for d in NUMERIC:
        cases += [Case(aten.add.Tensor, d, ("x", "y"), (("alpha", 3),))]
        cases += [Case(aten.rsub.Scalar, d, ("x", 1))]
        cases += [Case(aten.addcmul.default, d, ("x", "y", "z"), (("value", 2),))]
        cases += [Case(aten.addcmul.default, d, ("x", "y", "z"))]
    for d in FLOATS:
        cases += [Case(aten.addcdiv.default, d, ("x", "y", "z"), (("value", 0.5),))]
        cases += [Case(aten.lerp.Scalar, d, ("x", "y", w)) for w in (0.25, 0.75)]
        cases += [Case(aten.lerp.Tensor, d, ("x", "y", "z"))]
    return cases


def _division() -> list[Case]:
    cases = [Case(aten.div.Tensor, d, ("x", "n")) for d in EVERY if d != torch.bool]
    for d in NUMERIC:
        cases += [Case(aten.div.Tensor, d, ("x", 3))]
        for mode in ("floor", "trunc"):
            kwargs = (("rounding_mode", mode),)
            cases += [Case(aten.div.Tensor_mode, d, ("x", "n"), kwargs)]
            cases += [Case(aten.div.Tensor_mode, d, ("x", 3), kwargs)]
        for op in (aten.floor_divide.default, aten.remainder.Tensor, aten.fmod.Tensor):
            cases += [Case(op, d, ("x", "n"))]
        for op in (aten.remainder.Scalar, aten.fmod.Scalar):
            cases += [Case(op, d, ("x", 3))]
            cases += [Case(op, d, ("x", -3))] if d.is_signed else []
        cases += [Case(aten.remainder.Scalar_Tensor, d, (7, "n"))]
    return cases


def _powers() -> list[Case]:
    cases = [Case(aten.pow.Tensor_Tensor, d, ("x", "y")) for d in FLOATS]
    cases += [Case(aten.pow.Tensor_Tensor, d, ("x", "s")) for d in (torch.int32,)]
    for exponent in (0, 1, 2, 3, 4, 5.0, 0.5, -0.5, -1, -2, 1.3):
        # Torch on the CPU takes square roots of float32 and float64 only.
        kinds = FLOATS[:2] if abs(exponent) == 0.5 else FLOATS
        cases += [Case(aten.pow.Tensor_Scalar, d, ("x", exponent)) for d in kinds]
    for exponent in (0, 1, 2, 3, 7):
        cases += [Case(aten.pow.Tensor_Scalar, d, ("x", exponent)) for d in INTEGERS]
    for base in (2, 3):
        cases += [Case(aten.pow.Scalar, d, (base, "x")) for d in FLOATS]
    for name in ("atan2", "hypot", "nextafter"):
        cases += [Case(getattr(aten, name).default, d, ("x", "y")) for d in FLOATS[:2]]
    cases += [Case(aten.copysign.Tensor, d, ("x", "y")) for d in FLOATS]
    return cases


def _logic() -> list[Case]:
    cases = []
    for name in ("eq", "ne", "lt", "le", "gt", "ge"):
        packet = getattr(aten, name)
        cases += [Case(packet.Tensor, d, ("x", "y")) for d in EVERY]
        cases += [Case(packet.Scalar, d, ("x", 3)) for d in EVERY]
        cases += [Case(packet.Scalar, d, ("x", 0.5)) for d in NUMERIC]
    cases += [Case(aten.gt.Scalar, torch.float32, ("x", -inf))]
    cases += [Case(aten.eq.Tensor, torch.int64, ("x", "h"))]
    for name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
        packet = getattr(aten, name)
        cases += [Case(packet.Tensor, d, ("x", "y")) for d in (*INTEGERS, *BOOL)]
        cases += [Case(packet.Scalar, d, ("x", 5)) for d in INTEGERS]
    for name in ("bitwise_left_shift", "bitwise_right_shift"):
        packet = getattr(aten, name)
        cases += [Case(packet.Tensor, d, ("x", "s")) for d in INTEGERS]
        cases += [Case(packet.Tensor_Scalar, d, ("x", 2)) for d in INTEGERS]
    for name in ("logical_and", "logical_or", "logical_xor"):
        cases += [Case(getattr(aten, name).default, d, ("x", "y")) for d in EVERY]
    return cases


def _selection() -> list[Case]:
    cases = []
    for d in EVERY:
        cases += [Case(aten.where.self, d, ("m", "x", "y"))]
        cases += [
            Case(op, d, ("x", "y"))
            for op in (aten.maximum.default, aten.minimum.default)
        ]
        cases += [
            Case(op, d, ("x", "y")) for op in (aten.fmax.default, aten.fmin.default)
        ]
    for d in NUMERIC:
        cases += [Case(aten.where.ScalarOther, d, ("m", "x", 1))]
        cases += [Case(aten.where.ScalarSelf, d, ("m", 1, "x"))]
        cases += [Case(aten.masked_fill.Scalar, d, ("x", "m", 3))]
        cases += [
            Case(aten.clamp.default, d, ("x", lo, hi)) for lo, hi in ((1, 3), (None, 2))
        ]
        cases += [Case(aten.clamp.default, d, ("x", 1))]
        cases += [Case(aten.clamp.Tensor, d, ("x", "y", "z"))]
        cases += [Case(aten.clamp_min.default, d, ("x", 1))]
        cases += [Case(aten.clamp_max.default, d, ("x", 1))]
    cases += [Case(aten.where.ScalarOther, d, ("m", "x", -inf)) for d in FLOATS]
    cases += [
        Case(aten.where.Scalar, torch.int32, ("m", *v)) for v in ((1, 0), (1.0, 0.0))
    ]
    cases += [Case(aten.where.ScalarOther, torch.float16, ("m", "x", 0.1))]
    return cases


def _casts() -> list[Case]:
    to = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.bool]
    to += [torch.int32, torch.int64, torch.int8]
    convert = torch.ops.prims.convert_element_type.default
    cases = [
        Case(convert, src, ("n" if dst in INTEGERS else "x", dst))
        for src in EVERY
        for dst in to
    ]
    cases += [
        Case(aten._to_copy.default, torch.float32, ("x",), (("dtype", torch.half),))
    ]
    for fp8 in (torch.float8_e4m3fn, torch.float8_e5m2):
        cases += [Case(convert, d, ("g", fp8)) for d in FLOATS]
        cases += [Case(convert, fp8, ("g", d)) for d in FLOATS]
    for d in EVERY:
        cases += [
            Case(aten.full_like.default, d, ("x", 1)),
            Case(aten.zeros_like.default, d, ("x",)),
        ]
    return cases


CASES = [
    *_unary(),
    *_arithmetic(),
    *_division(),
    *_powers(),
    *_logic(),
    *_selection(),
    *_casts(),
]

HEADER = """import triton
import triton.language as tl
from triton.language.extra import libdevice
from helion._compiler.triton import device_math

"""


def kernel_text(name: str, cases: list[Case]) -> str:
    """Write a kernel that loads every tensor, and checks and stores every case."""
    tensors = {k: v for case in cases for k, v in case.tensors().items()}
    outs = [f"out{i}" for i in range(len(cases))]
    params = ", ".join([*(f"{t}_ptr" for t in tensors), *outs])
    lines = ["@triton.jit", f"def {name}({params}):"]
    lines += [f"    index = tl.arange(0, {LENGTH})"]
    lines += [f"    {t} = tl.load({t}_ptr + index)" for t in tensors]
    for case, out in zip(cases, outs, strict=True):
        dtype = triton_dtype(case.expected().dtype)
        lines += [f"    # {case}", f"    result = {case.expression()}"]
        lines += [f"    tl.static_assert(result.dtype == {dtype})"]
        lines += [f"    tl.store({out} + index, result)"]
    return "\n".join(lines) + "\n\n"
