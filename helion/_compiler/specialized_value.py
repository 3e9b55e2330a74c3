"""``SpecializedValue``: a size made a number that remembers which size it is."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import sympy


class SpecializedValue(int):
    """What ``hl.specialize`` hands back while compiling: an int with an identity.

    It compares, hashes, indexes and prints as its number. Every result of arithmetic
    is a plain number, and a copy or an unpickled one is a plain int.
    """

    _concrete_value: int
    _original_symbol: sympy.Symbol
    _specialized_vars: frozenset[sympy.Symbol]
    context: str | None

    def __new__(
        cls, value: int, original_symbol: sympy.Symbol, context: str | None = None
    ) -> SpecializedValue:
        self = super().__new__(cls, value)
        self._concrete_value = int(value)
        self._original_symbol = original_symbol
        self._specialized_vars = frozenset({original_symbol})
        self.context = context
        return self

    def __repr__(self) -> str:
        return f"SpecializedValue({self._concrete_value}, symbol={self.symbol})"

    def __str__(self) -> str:
        return str(self._concrete_value)

    def __hash__(self) -> int:
        return hash(self._concrete_value)

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        # A symbol means nothing outside the compile that made it.
        return int, (self._concrete_value,)

    @property
    def symbol(self) -> sympy.Symbol:
        """The symbol of the size in its ShapeEnv."""
        return self._original_symbol


def is_specialized(value: object) -> bool:
    """Whether a value is a number that ``hl.specialize`` made of a size.

    Example: ``helion.is_specialized(hl.specialize(x.size(1)))`` is true in a kernel
    that is being compiled. Outside of a compile sizes are plain ints.
    """
    return isinstance(value, SpecializedValue)


def _forwarded(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: SpecializedValue, *args: object) -> Any:
        return function(self._concrete_value, *args)

    return method


def _reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: SpecializedValue, other: object, *rest: object) -> Any:
        return function(other, self._concrete_value, *rest)

    return method


# A SymInt looks for exactly `int` on its other side, so no operator is inherited.
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    _compare = _forwarded(getattr(operator, f"__{_name}__"))
    setattr(SpecializedValue, f"__{_name}__", _compare)
for _name in ("neg", "pos", "abs", "invert", "index"):
    _unary = _forwarded(getattr(operator, f"__{_name}__"))
    setattr(SpecializedValue, f"__{_name}__", _unary)
for _name, _function in {
    "int": int,
    "float": float,
    "round": round,
    "trunc": math.trunc,
    "floor": math.floor,
    "ceil": math.ceil,
}.items():
    setattr(SpecializedValue, f"__{_name}__", _forwarded(_function))
for _name, _function in {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "lshift": operator.lshift,
    "rshift": operator.rshift,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    "pow": pow,
    "divmod": divmod,
}.items():
    setattr(SpecializedValue, f"__{_name}__", _forwarded(_function))
    setattr(SpecializedValue, f"__r{_name}__", _reflected(_function))
