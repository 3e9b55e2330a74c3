"""Compile-time values: hl.constexpr and hl.specialize."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch

from .. import exc
from . import _decorators

if TYPE_CHECKING:
    from collections.abc import Callable

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
def specialize(value: ValueT) -> ValueT:
    """Make an int, a size, a stride or a (nested) sequence of them a constant.

    The result is ``value`` itself, known at compile time and part of the cache key.

    Args:
        value: an int, a symbolic int, or a list or tuple of them.

    Raises:
        exc.SpecializeArgType: another kind of value.
    """
    if isinstance(value, (list, tuple)) and not isinstance(value, ConstExpr):
        for item in value:
            specialize(item)
        return value
    plain: ValueT = unwrap(value)
    if not isinstance(plain, (int, torch.SymInt)):
        raise exc.SpecializeArgType(type=type(value).__name__)
    return plain
