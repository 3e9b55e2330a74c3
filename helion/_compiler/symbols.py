"""The one adapter to torch's ShapeEnv: making SymInts and reading them back."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
from torch._guards import GuardSource, Source
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv

if TYPE_CHECKING:
    import sympy

SymValue = (torch.SymInt, torch.SymFloat, torch.SymBool)


class NamedSource(Source):
    """The least a ShapeEnv needs to know about a symbol: a name for messages."""

    label: str

    def __init__(self, label: str) -> None:
        object.__setattr__(self, "label", label)

    @property
    def _name_template(self) -> str:
        return self.label

    def __hash__(self) -> int:
        return hash(self.label)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NamedSource) and other.label == self.label

    @functools.cached_property
    def guard_source(self) -> GuardSource:
        return GuardSource.CONSTANT


def new_shape_env() -> ShapeEnv:
    """Return a ShapeEnv that never merges symbols because their hints agree."""
    return ShapeEnv(specialize_zero_one=True, duck_shape=False)


def new_fake_mode(shape_env: ShapeEnv) -> FakeTensorMode:
    """Return the fake mode of one compile."""
    return FakeTensorMode(shape_env=shape_env, allow_non_fake_inputs=False)


def backed_symint(
    shape_env: ShapeEnv, label: str, hint: int, is_size: bool = True
) -> torch.SymInt:
    """Return a SymInt whose comparisons are decided by ``hint`` and recorded."""
    source = NamedSource(label)
    symbol = shape_env.create_symbol(
        hint,
        source=source,
        dynamic_dim=DimDynamic.DYNAMIC,
        constraint_dim=None,
        positive=True if is_size else None,
        # A size below 2 keeps its symbol; its comparisons become guards.
        do_not_specialize_zero_one=True,
    )
    result = shape_env.create_symintnode(symbol, hint=hint, source=source)
    assert isinstance(result, torch.SymInt)
    return result


def unbacked_symint(shape_env: ShapeEnv) -> torch.SymInt:
    """Return a SymInt that no Python branch can be decided on."""
    result = shape_env.create_unbacked_symint()
    shape_env.pending_fresh_unbacked_symbols.clear()
    return result


def unbacked_symfloat(shape_env: ShapeEnv) -> torch.SymFloat:
    """Return a SymFloat that no Python branch can be decided on."""
    result = shape_env.create_unbacked_symfloat()
    shape_env.pending_fresh_unbacked_symbols.clear()
    return result


def sym_expr(value: object) -> sympy.Basic:
    """Return the sympy expression behind an int, float, bool or symbolic value."""
    if isinstance(value, SymValue):
        return value.node.expr
    import sympy

    return sympy.sympify(value)


def symint_of(shape_env: ShapeEnv, expression: sympy.Expr) -> int | torch.SymInt:
    """Return the int or SymInt of a sympy expression over known symbols."""
    if expression.is_Integer:
        return int(expression)
    return shape_env.create_symintnode(expression, hint=None)


def static_int(value: object) -> int | None:
    """Return the number of a value that is known when compiling, else None."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value
    if isinstance(value, torch.SymInt):
        expression = value.node.expr
        return int(expression) if expression.is_Integer else None
    return None


def size_hint(value: int | torch.SymInt | None, fallback: int = 8192) -> int:
    """Return a size to plan with: the number, the example's number, or fallback."""
    if value is None:
        return fallback
    if isinstance(value, int):
        return value
    hint = value.node.hint
    return int(hint) if hint is not None else fallback


def guard_expressions(shape_env: ShapeEnv) -> list[sympy.Basic]:
    """Return what was assumed of symbols so far, in the order it was asked."""
    return [guard.expr for guard in shape_env.guards]
