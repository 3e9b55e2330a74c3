"""The rule of one pointwise op: Triton text and the value of padded lanes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch

from .dtypes import (
    HALF_DTYPES,
    cast_text,
    fits,
    literal,
    number_text,
    opmath_dtype,
    triton_dtype,
)

if TYPE_CHECKING:
    from torch._ops import OpOverload

Number = float | int | bool

ABSENT: Final = object()
"""Stands for an optional argument left out in ``PointwiseRule.masked_value``."""


@dataclasses.dataclass(frozen=True)
class Operand:
    """One argument of a pointwise op.

    ``text`` can be put anywhere. A Python number has a ``value`` and no dtype.
    ``is_scalar`` marks symbolic numbers and 0-d values, which promote weakly.
    ``nonnegative`` promises that an integer is never below zero.
    """

    text: str
    dtype: torch.dtype | None = None
    is_scalar: bool = False
    value: Number | None = None
    nonnegative: bool = False

    @property
    def is_literal(self) -> bool:
        return self.value is not None

    def is_nonnegative(self) -> bool:
        if self.value is not None:
            return self.value >= 0
        unsigned = self.dtype is not None and not self.dtype.is_signed
        return self.nonnegative or unsigned

    def typed(self, dtype: torch.dtype) -> str:
        """Return text whose Triton type is exactly the dtype."""
        if self.value is not None:
            return literal(self.value, dtype)
        if not self.is_scalar:
            assert self.dtype is not None, self
            return cast_text(self.text, self.dtype, dtype)
        # A symbolic number may be a constexpr, which has no ``to`` method.
        if dtype == torch.bool:
            return f"({self.text} != 0)"
        first = opmath_dtype(dtype)
        cast = f"tl.cast({self.text}, {triton_dtype(first)})"
        return cast_text(cast, first, dtype)

    def weak(self, dtype: torch.dtype) -> str:
        """Return text for a binary operator whose other side has the dtype."""
        value = self.value
        if value is None or (value == 0 and str(value) == "-0.0"):
            return self.typed(dtype)
        return number_text(value, dtype)


@dataclasses.dataclass(frozen=True)
class Value:
    """A Triton expression (in parentheses if compound) and its exact dtype."""

    text: str
    dtype: torch.dtype

    def to(self, dtype: torch.dtype) -> str:
        return cast_text(self.text, self.dtype, dtype)


@dataclasses.dataclass(frozen=True)
class Call:
    """One use of a pointwise op; arguments that are no operands are ``None``."""

    operands: Sequence[Operand | None]
    kwargs: Mapping[str, Any]
    out_dtype: torch.dtype

    @property
    def opmath(self) -> torch.dtype:
        return opmath_dtype(self.out_dtype)

    def operand(self, index: int, name: str = "") -> Operand | None:
        """Return an argument given by position or by keyword, if given at all."""
        if index < len(self.operands):
            return self.operands[index]
        given = self.kwargs.get(name)
        if isinstance(given, (bool, int, float)):
            return Operand(literal(given), value=given)
        return given if isinstance(given, Operand) else None

    def require(self, index: int, name: str = "") -> Operand:
        found = self.operand(index, name)
        assert found is not None, (index, name, self)
        return found

    def typed(self, index: int, dtype: torch.dtype) -> str:
        return self.require(index).typed(dtype)

    def pair(self, dtype: torch.dtype) -> tuple[str, str]:
        """Return both sides of a binary operator that computes in the dtype."""
        left, right = self.require(0), self.require(1)
        if left.is_literal and right.is_literal:
            return left.typed(dtype), right.weak(dtype)
        return left.weak(dtype), right.weak(dtype)

    def number(self, index: int, name: str, default: Number) -> Operand:
        """Return a number argument, or its default where the call has none."""
        found = self.operand(index, name)
        return found or Operand(literal(default), value=default)

    def native(self) -> torch.dtype:
        """Return the dtype for arithmetic that hardware does on halves as well.

        Torch keeps numbers in float32 while it works on halves, so a number that
        the half type rounds moves the computation to float32.
        """
        if self.out_dtype not in HALF_DTYPES:
            return self.opmath
        exact = all(_is_exact(o, self.out_dtype) for o in self.operands if o)
        return self.out_dtype if exact else torch.float32

    def promoted(self) -> torch.dtype:
        """Return the dtype to which torch promotes the operands."""
        return promote([o for o in self.operands if o is not None])


def _is_exact(operand: Operand, dtype: torch.dtype) -> bool:
    if operand.value is not None:
        return fits(operand.value, dtype)
    return not operand.is_scalar


def promote(operands: Sequence[Operand]) -> torch.dtype:
    """Promote dtypes as torch does: numbers and 0-d values by category only."""
    result: torch.dtype | None = None
    for wanted in (_is_tensor, _is_symbolic, _is_number):
        dtypes = [_dtype_of(o) for o in operands if wanted(o)]
        if not dtypes:
            continue
        level = dtypes[0]
        for dtype in dtypes[1:]:
            level = torch.promote_types(level, dtype)
        if result is None or _category(level) > _category(result):
            result = level
    assert result is not None, operands
    return result


def _is_tensor(operand: Operand) -> bool:
    return not operand.is_literal and not operand.is_scalar


def _is_symbolic(operand: Operand) -> bool:
    return not operand.is_literal and operand.is_scalar


def _is_number(operand: Operand) -> bool:
    return operand.is_literal


def _dtype_of(operand: Operand) -> torch.dtype:
    if operand.value is None:
        assert operand.dtype is not None, operand
        return operand.dtype
    if isinstance(operand.value, bool):
        return torch.bool
    return torch.int64 if isinstance(operand.value, int) else torch.float32


def _category(dtype: torch.dtype) -> int:
    if dtype == torch.bool:
        return 0
    return 2 if dtype.is_floating_point else 1


Emit = Callable[[Call], Value]


@dataclasses.dataclass(frozen=True)
class PointwiseRule:
    """How one ATen overload is written in Triton."""

    op: OpOverload
    emit: Emit

    def render(
        self,
        operands: Sequence[Operand | None],
        kwargs: Mapping[str, Any],
        out_dtype: torch.dtype,
    ) -> str:
        """Return a Triton expression whose type is exactly ``out_dtype``.

        ``operands`` are the positional arguments; ``None`` stands for arguments
        that are neither tensors nor numbers. Keyword numbers may be operands too.
        """
        return self.emit(Call(operands, kwargs, out_dtype)).to(out_dtype)

    def masked_value(
        self,
        inputs: Sequence[Any],
        out_dtype: torch.dtype,
        kwargs: Mapping[str, Any] | None = None,
    ) -> Number | None:
        """Return what padded lanes hold if those of the inputs hold ``inputs``.

        ``None`` is unknown; an argument that was left out is ``ABSENT``.
        """
        decided = _decide_early(self.op, inputs, out_dtype)
        if decided is not None:
            return decided
        if any(value is None for value in inputs):
            return None
        return evaluate_constant(self.op, inputs, out_dtype, kwargs or {})


RULES: dict[OpOverload, PointwiseRule] = {}
"""What ``register`` has collected; read it as ``pointwise_ops.POINTWISE``."""


def register(emit: Emit, *ops: OpOverload) -> None:
    """Make ``emit`` the rule of the given overloads."""
    for op in ops:
        assert op not in RULES, f"{op} has two rules"
        RULES[op] = PointwiseRule(op, emit)


def rule(*ops: OpOverload) -> Callable[[Emit], Emit]:
    """Decorate an emit function with the overloads that it serves."""

    def decorate(emit: Emit) -> Emit:
        register(emit, *ops)
        return emit

    return decorate


def _decide_early(
    op: OpOverload, inputs: Sequence[Any], out_dtype: torch.dtype
) -> Number | None:
    """Find results that do not depend on the unknown inputs."""
    name = op.overloadpacket.__name__
    chosen = None
    if name in _COPIES:
        chosen = inputs[0]
    elif name in _FILLS:
        chosen = inputs[1] if _FILLS[name] is None else _FILLS[name]
    elif name == "where" and isinstance(inputs[0], (bool, int)):
        chosen = inputs[1] if inputs[0] else inputs[2]
    elif name in _ABSORBED_BY_ZERO and not out_dtype.is_floating_point:
        # Only integers: zero times an unknown float may be NaN.
        chosen = 0 if any(v is not None and v == 0 for v in inputs) else None
    return None if chosen is None else _as_dtype(chosen, out_dtype)


_COPIES = ("convert_element_type", "_to_copy", "clone", "alias", "detach", "positive")
_FILLS = {"full_like": None, "fill": None, "zeros_like": 0, "ones_like": 1}
_ABSORBED_BY_ZERO = ("mul", "bitwise_and", "logical_and")


def _as_dtype(value: Number, dtype: torch.dtype) -> Number:
    """Convert a number as a cast to the dtype would."""
    wide = torch.float64 if isinstance(value, float) else None
    return torch.tensor(value, dtype=wide).to(dtype).item()


def evaluate_constant(
    op: OpOverload,
    inputs: Sequence[Any],
    out_dtype: torch.dtype,
    kwargs: Mapping[str, Any],
) -> Number | None:
    """Return what an op makes of known numbers, by running it on 0-d CPU tensors.

    ``None`` if the op cannot be run so.
    """
    args: list[Any] = []
    for value, argument in zip(inputs, op._schema.arguments, strict=False):
        if value is ABSENT:
            args.append(None)
        elif "Tensor" in str(argument.type):
            wide = torch.float64 if isinstance(value, float) else None
            args.append(torch.tensor(value, dtype=wide))
        else:
            args.append(value)
    plain = {k: _number_of(v) for k, v in kwargs.items() if k not in _PLACEMENT}
    try:
        result = op(*args, **plain)
    except (RuntimeError, TypeError, NotImplementedError, ZeroDivisionError):
        return None
    return result.to(out_dtype).item() if isinstance(result, torch.Tensor) else None


_PLACEMENT = ("device", "layout", "pin_memory", "memory_format", "non_blocking")


def _number_of(value: Any) -> Any:
    return value.value if isinstance(value, Operand) else value
