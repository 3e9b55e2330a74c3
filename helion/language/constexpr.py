"""Compile-time values: hl.constexpr and hl.specialize."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch

from .. import exc
from .._compiler.specialized_value import SpecializedValue, is_specialized
from . import _decorators

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ConstExpr",
    "SpecializedValue",
    "constexpr",
    "is_specialized",
    "specialize",
    "unwrap",
]

ValueT = TypeVar("ValueT")


class ConstExpr(NamedTuple):
    """A value known at compile time, and the annotation that asks for one.

    ``def kernel(x, n: hl.constexpr)`` makes ``n`` part of the cache key by value.
    ``hl.constexpr(value)`` wraps a value, which then acts as the value itself.
    """

    value: Any

    def __index__(self) -> int:
        return operator.index(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __hash__(self) -> int:
        return hash(self.value)


def unwrap(value: object) -> Any:
    """Return the value inside a ConstExpr, or ``value`` itself."""
    return value.value if isinstance(value, ConstExpr) else value


def _forwarded(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: ConstExpr, *args: object) -> Any:
        return function(self.value, *(unwrap(arg) for arg in args))

    return method


def _reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: ConstExpr, other: object) -> Any:
        return function(unwrap(other), self.value)

    return method


# A named tuple has operators of its own; these make it act as its value instead.
for _name in ("eq", "ne", "lt", "le", "gt", "ge", "neg", "pos", "abs", "invert"):
    setattr(ConstExpr, f"__{_name}__", _forwarded(getattr(operator, f"__{_name}__")))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    _function = getattr(operator, f"__{_name}__")
    setattr(ConstExpr, f"__{_name}__", _forwarded(_function))
    setattr(ConstExpr, f"__r{_name}__", _reflected(_function))

constexpr = ConstExpr


@_decorators.api(is_host_only=True)
def specialize(value: ValueT, *, context: str | None = None) -> ValueT:
    """Make sizes constants that are known at compile time and part of the cache key.

    While compiling, a size, a stride or an int argument becomes a ``SpecializedValue``:
    an int that remembers its symbol. Elsewhere the result is ``value`` itself.

    Args:
        value: an int, a size, a shape or a slice of one; or a tuple, list or dict of
            such values, nested at will.
        context: a name that keeps sizes of the same number apart.

    Raises:
        exc.SpecializeArgType: another kind of value.
        exc.InvalidAPIUsage: a context that is no string.
        exc.SpecializeOnDevice: called in a device loop.

    Example: ``h, w = hl.specialize(x.shape[-2:])``
    """
    check_context(context)
    _check_specializable(value)
    return unwrap(value)


def check_context(context: object) -> None:
    """Refuse a ``context`` that is no name."""
    if context is not None and not isinstance(context, str):
        raise exc.InvalidAPIUsage(
            f"hl.specialize: context is of type {type(context).__name__}",
            hint="context is a name, such as 'batch' or 'hidden'",
        )


def _check_specializable(value: object) -> None:
    if isinstance(value, (list, tuple)) and not isinstance(value, ConstExpr):
        for item in value:
            _check_specializable(item)
    elif isinstance(value, dict):
        for item in value.values():
            _check_specializable(item)
    elif not isinstance(unwrap(value), (int, torch.SymInt)):
        raise exc.SpecializeArgType(type=type(value).__name__)
