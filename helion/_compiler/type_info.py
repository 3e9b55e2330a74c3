"""TypeInfo: what the compiler knows of an expression, and how types merge at joins."""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from . import symbols
from .specialized_value import is_specialized

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class TypeInfo:
    """The type of one expression; ``value`` stands for it while tracing."""

    value: Any

    def merge(self, other: TypeInfo) -> TypeInfo:
        """Return the type after a join, or raise CantCombineTypesInControlFlow."""
        if self.value is other.value:
            return self
        raise exc.CantCombineTypesInControlFlow(
            name="value", left=str(self), right=str(other)
        )

    def __str__(self) -> str:
        return type(self.value).__name__


class TensorType(TypeInfo):
    """A tensor of known dtype, shape and device."""

    def merge(self, other: TypeInfo) -> TypeInfo:
        if isinstance(other, TensorType):
            left, right = self.signature(), other.signature()
            if left == right:
                return self
            raise exc.ControlFlowTensorMismatch(
                tensor="", difference=f"{self} on one path, {other} on the other"
            )
        return super().merge(other)

    def signature(self) -> tuple[object, ...]:
        """What must agree at a join."""
        value = self.value
        return (value.dtype, [str(s) for s in value.size()], str(value.device))

    def __str__(self) -> str:
        dtype = str(self.value.dtype).removeprefix("torch.")
        return f"{dtype}[{', '.join(str(s) for s in self.value.size())}]"


class TileIndexType(TypeInfo):
    """The loop variable of a tile loop."""

    def __str__(self) -> str:
        return f"TileIndex({self.value.block_id})"


class SymbolType(TypeInfo):
    """An int, float or bool known when the kernel runs."""

    def merge(self, other: TypeInfo) -> TypeInfo:
        alike = isinstance(other, SymbolType) and type(self.value) is type(other.value)
        if alike and self.value.node.expr == other.value.node.expr:
            return self
        return super().merge(other)

    def __str__(self) -> str:
        kind = type(self.value).__name__
        return f"{kind}({self.value.node.expr})"


class LiteralType(TypeInfo):
    """A Python number, string, dtype, None... known when compiling."""

    def merge(self, other: TypeInfo) -> TypeInfo:
        alike = isinstance(other, LiteralType) and type(self.value) is type(other.value)
        if alike and self.value == other.value:
            return self
        sizes = (self.value, other.value)
        if any(map(is_specialized, sizes)) and sizes[0] == sizes[1]:
            return LiteralType(int(self.value))  # which size it is is not known now
        return super().merge(other)

    def __str__(self) -> str:
        return f"Literal({self.value!r})"


class SequenceType(TypeInfo):
    """A list or tuple, element by element."""

    def merge(self, other: TypeInfo) -> TypeInfo:
        mine, theirs = self.value, other.value
        alike = isinstance(other, SequenceType) and type(mine) is type(theirs)
        if not alike or len(mine) != len(theirs):
            return super().merge(other)
        merged = [
            type_of(a).merge(type_of(b)).value
            for a, b in zip(mine, theirs, strict=True)
        ]
        same = all(m is a for m, a in zip(merged, mine, strict=True))
        return self if same else SequenceType(type(mine)(merged))

    def __str__(self) -> str:
        inner = ", ".join(str(type_of(v)) for v in self.value)
        return f"{type(self.value).__name__}({inner})"


class DictType(TypeInfo):
    """A dict with keys known when compiling."""

    def __str__(self) -> str:
        inner = ", ".join(f"{k!r}: {type_of(v)}" for k, v in self.value.items())
        return f"dict({inner})"


class CallableType(TypeInfo):
    """A function, method or op."""

    def __str__(self) -> str:
        return f"Callable({getattr(self.value, '__name__', self.value)})"


class ModuleType(TypeInfo):
    """A module."""

    def __str__(self) -> str:
        return f"Module({self.value.__name__})"


class ObjectType(TypeInfo):
    """Any other Python object of the host."""


@dataclass(frozen=True)
class Unknown:
    """A host value that the compiler could not compute, and why."""

    reason: str


class UnknownType(TypeInfo):
    """Fine on the host; reading it on the device is an error."""

    def merge(self, other: TypeInfo) -> TypeInfo:
        return self

    def __str__(self) -> str:
        return f"Unknown({self.value.reason})"


_LITERALS = (int, float, bool, str, type(None), torch.dtype, torch.device, complex)
_RULES: list[tuple[Callable[[Any], bool], type[TypeInfo]]] = [
    (lambda v: isinstance(v, torch.Tensor), TensorType),
    (lambda v: isinstance(v, symbols.SymValue), SymbolType),
    (lambda v: isinstance(v, _LITERALS), LiteralType),
    (lambda v: isinstance(v, Unknown), UnknownType),
    (lambda v: hasattr(v, "block_id"), TileIndexType),
    (lambda v: isinstance(v, (list, tuple)), SequenceType),
    (lambda v: isinstance(v, dict), DictType),
    (lambda v: isinstance(v, types.ModuleType), ModuleType),
    (callable, CallableType),
]


def type_of(value: Any) -> TypeInfo:
    """Return the TypeInfo of a value."""
    for matches, kind in _RULES:
        if matches(value):
            return kind(value)
    return ObjectType(value)


def merge_named(name: str, left: Any, right: Any) -> Any:
    """Return the value of a variable after a join of two paths."""
    try:
        return type_of(left).merge(type_of(right)).value
    except exc.ControlFlowTensorMismatch as error:
        raise exc.ControlFlowTensorMismatch(
            tensor=name, difference=error.facts["difference"]
        ) from None
    except exc.CantCombineTypesInControlFlow:
        raise exc.CantCombineTypesInControlFlow(
            name=name, left=_words(left), right=_words(right)
        ) from None


def _words(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor {TensorType(value)}"
    if isinstance(value, symbols.SymValue):
        return f"the run-time value {value.node.expr}"
    known = isinstance(value, _LITERALS)
    return repr(value) if known else f"a {type(value).__name__}"
