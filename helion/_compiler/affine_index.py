"""Reads comparisons of tile indices as linear inequalities.

``tile_m.index[:, None] - tile_n.index[None, :] < window`` says ``0 <= D`` with
``D = window - 1 - m + n``. Which element of the tensor is meant does not matter: what
is proven with these forms is proven for every pair of indices of the tiles.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from ..language.tile import tile_index
from . import symbols
from .device_ir import _get_symnode
from .node_args import int_arg
from .node_masking import RESHAPES, VIEWS

if TYPE_CHECKING:
    from collections.abc import Callable

    import sympy

aten = torch.ops.aten
CASTS = (aten._to_copy.default, torch.ops.prims.convert_element_type.default)
_INDEX_DTYPES = (torch.int32, torch.int64)
# Constants beyond it could make 32-bit sums of an index and a constant wrap round.
_LARGEST = 2**30


@dataclass(frozen=True)
class Affine:
    """``sum(factor * index of axis) + rest``; ``rest`` is the same for all elements."""

    factors: tuple[tuple[int, int], ...]
    rest: sympy.Expr

    def __add__(self, other: Affine) -> Affine:
        total = dict(self.factors)
        for block, factor in other.factors:
            total[block] = total.get(block, 0) + factor
        kept = tuple(sorted((b, f) for b, f in total.items() if f))
        return Affine(kept, self.rest + other.rest)

    def __neg__(self) -> Affine:
        return Affine(tuple((b, -f) for b, f in self.factors), -self.rest)

    def __sub__(self, other: Affine) -> Affine:
        return self + (-other)

    def factor(self, block_id: int) -> int:
        """Return the factor of an axis, 0 where it does not occur."""
        return dict(self.factors).get(block_id, 0)


def affine(value: Any) -> Affine | None:
    """Return the linear form of a node or number, None if it has none."""
    if not isinstance(value, fx.Node):
        return _constant(value)
    target, args = value.target, value.args
    if target is tile_index:
        return Affine(((int_arg(value, 0), 1),), symbols.sym_expr(0))
    if target is _get_symnode:
        return _constant(value.meta["val"])
    if not _is_index(value):
        return None
    if target in VIEWS or target in RESHAPES or target in CASTS:
        return affine(args[0])
    if target is aten.full.default and not args[0]:
        return affine(args[1])
    if target in _SUMS and not value.kwargs:
        left, right = affine(args[0]), affine(args[1])
        return None if left is None or right is None else _SUMS[target](left, right)
    if target is aten.neg.default:
        inner = affine(args[0])
        return None if inner is None else -inner
    return None


_SUMS: dict[Any, Callable[[Affine, Affine], Affine]] = {
    aten.add.Tensor: operator.add,
    aten.add.Scalar: operator.add,
    aten.sub.Tensor: operator.sub,
    aten.sub.Scalar: operator.sub,
}


def _is_index(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.dtype in _INDEX_DTYPES


def _constant(value: Any) -> Affine | None:
    if isinstance(value, bool) or not isinstance(value, (int, torch.SymInt)):
        return None
    known = symbols.static_int(value)
    if known is not None and abs(known) > _LARGEST:
        return None
    return Affine((), symbols.sym_expr(value))


def comparison(node: fx.Node) -> Affine | None:
    """Return ``D`` of a comparison that says ``0 <= D``, None for any other node."""
    rule = _COMPARISONS.get(node.target)
    if rule is None:
        return None
    left, right = affine(node.args[0]), affine(node.args[1])
    if left is None or right is None:
        return None
    return rule(left, right)


def negated(difference: Affine) -> Affine:
    """Return the form that says ``not 0 <= difference``."""
    return -difference - _one()


def _one() -> Affine:
    return Affine((), symbols.sym_expr(1))


def _less(left: Affine, right: Affine) -> Affine:
    return right - left - _one()


def _at_most(left: Affine, right: Affine) -> Affine:
    return right - left


_COMPARISONS: dict[Any, Callable[[Affine, Affine], Affine]] = {
    overload: rule
    for name, rule in (
        ("lt", _less),
        ("le", _at_most),
        ("gt", lambda a, b: _less(b, a)),
        ("ge", lambda a, b: _at_most(b, a)),
    )
    for overload in (getattr(aten, name).Tensor, getattr(aten, name).Scalar)
}


def relation(expression: sympy.Basic) -> list[sympy.Expr] | None:
    """Return the ``D`` of each ``0 <= D`` that a condition on sizes consists of."""
    import sympy

    if isinstance(expression, sympy.And):
        parts = [relation(part) for part in expression.args]
        return [d for p in parts for d in p or []] if all(parts) else None
    strict = (sympy.StrictLessThan, sympy.StrictGreaterThan)
    if not isinstance(expression, (sympy.LessThan, sympy.GreaterThan, *strict)):
        return None
    small, large = expression.lts, expression.gts
    difference: Any = large - small
    return [difference - int(isinstance(expression, strict))]
