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


def given_expr(value: object) -> sympy.Basic:
    """Return the expression of a size as it was made, without later replacements."""
    if isinstance(value, SymValue):
        return value.node._expr
    return sym_expr(value)


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
        return int(value)  # a specialized size too is a plain number from here on
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
    if hint is None:
        hint = hint_of(value.node.shape_env, value.node.expr)
    return int(hint) if hint is not None else fallback


def guard_expressions(shape_env: ShapeEnv) -> list[sympy.Basic]:
    """Return what was assumed of symbols so far, in the order it was asked."""
    return [guard.expr for guard in shape_env.guards]


def symbol_count(shape_env: ShapeEnv) -> int:
    """Return how many symbols there are, of arguments and of the compiler's own."""
    return len(shape_env.var_to_range)


# -- symbols of numbers --------------------------------------------------------------


def size_symbol(shape_env: ShapeEnv, label: str) -> sympy.Symbol:
    """Return a new symbol ``s<k>`` for a size that is a number already.

    The ShapeEnv will know its replacement, but has nothing to guard.
    """
    from torch.utils._sympy.symbol import SymT, make_symbol

    # torch has no public way to a name that no other symbol will get
    number = shape_env._generate_unique_id(label)
    return make_symbol(SymT.SIZE, number, positive=True, integer=True)


def set_replacement(
    shape_env: ShapeEnv, symbol: sympy.Symbol, target: sympy.Expr | int, reason: str
) -> None:
    """Let a symbol stand for a number or an expression from here on."""
    import sympy

    # torch has no public way
    shape_env._set_replacement(symbol, sympy.sympify(target), reason)


def known_symint(shape_env: ShapeEnv, symbol: sympy.Symbol, value: int) -> torch.SymInt:
    """Return the SymInt of a symbol that stands for a number."""
    result = shape_env.create_symintnode(symbol, hint=value)
    assert isinstance(result, torch.SymInt)
    return result


def give_hint(shape_env: ShapeEnv, symbol: sympy.Symbol, hint: int) -> None:
    """Note a number to plan with for a symbol that nothing may be decided on."""
    shape_env.var_to_hint_override[symbol] = hint


def hints(shape_env: ShapeEnv) -> dict[sympy.Symbol, int]:
    """Return the symbols that have an example's number, or one to plan with."""
    backed = {s: int(v) for s, v in shape_env.backed_var_to_val.items() if v.is_Integer}
    return {**backed, **shape_env.var_to_hint_override}


def hint_of(shape_env: ShapeEnv, expression: sympy.Expr) -> int | None:
    """Return a number to plan with for an expression, None if there is none."""
    import sympy

    numbers = {s: sympy.Integer(n) for s, n in hints(shape_env).items()}
    value = shape_env.replace(expression).xreplace(numbers)
    return int(value) if value.is_number else None


def is_unbacked(symbol: sympy.Symbol) -> bool:
    """Whether a symbol is a ``u<k>``, which no argument of the kernel gives."""
    from torch.utils._sympy.symbol import SymT, symbol_is_type

    return symbol_is_type(symbol, SymT.UNBACKED_INT)
