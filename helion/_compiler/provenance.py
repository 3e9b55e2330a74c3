"""Where the numbers of host code come from: sizes of tensors, and formulas of them.

Arithmetic on a specialized size gives a plain int, so what is known of such an int
stands in a table beside the source, filled as expressions are evaluated.
"""

from __future__ import annotations

import ast
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sympy
import torch
from torch.utils._sympy.functions import FloorDiv, PythonMod

from .ast_extension import facts
from .specialized_value import SpecializedValue
from .variable_origin import ExprOrigin, SizeOrigin, StrideOrigin

if TYPE_CHECKING:
    from collections.abc import Callable

    from .variable_origin import Origin

_FORMULAS: dict[type[ast.operator], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: FloorDiv,
    ast.Mod: PythonMod,
    ast.Pow: operator.pow,
}


@dataclass(frozen=True)
class Place:
    """A size of the host function; ``key`` is its identity, ``origin`` its spelling."""

    key: object
    origin: Origin


@dataclass(frozen=True)
class Provenance:
    """The ``formula`` over specialized symbols that a number comes from.

    ``sizes`` says for each symbol of it which size of the kernel it is.
    """

    value: int | None
    formula: sympy.Expr
    sizes: dict[str, str]

    def __str__(self) -> str:
        where = ", ".join(f"{s} is {label}" for s, label in self.sizes.items())
        return f"{self.value} = {self.formula}, where {where}"


class ProvenanceTable:
    """What is known of names and numbers that are derived from sizes.

    ``names`` and ``numbers`` have formulas over specialized symbols, ``places`` says
    which names are sizes as they are. ``origin_of`` finds the origin of a host tensor.
    """

    def __init__(self, origin_of: Callable[[torch.Tensor], Origin | None]) -> None:
        self.names: dict[str, tuple[sympy.Expr, int]] = {}
        self.numbers: dict[int, sympy.Expr] = {}
        self.places: dict[str, Any] = {}
        self._origin_of = origin_of

    # -- formulas ------------------------------------------------------------------

    def note(self, node: ast.expr, value: int) -> None:
        """Remember the formula of a plain number that an expression has."""
        formula = self.formula_of(node)
        if formula is not None and formula.free_symbols:
            self.numbers.setdefault(value, formula)

    def formula_of(self, node: ast.expr) -> sympy.Expr | None:
        """Return an evaluated int expression as a formula over specialized symbols."""
        value = value_of(node)
        if isinstance(value, SpecializedValue):
            return value.symbol
        if isinstance(value, bool) or not isinstance(value, int):
            return None
        number = sympy.Integer(value)
        if isinstance(node, ast.Name):
            formula, bound = self.names.get(node.id, (number, value))
            return formula if bound == value else number  # it may be bound anew
        parts = [self.formula_of(part) for part in _operands(node)]
        known = [f for f in parts if f is not None]
        is_derived = any(f.free_symbols for f in known) and len(known) == len(parts)
        return _combined(node, known) if is_derived else number

    # -- names ---------------------------------------------------------------------

    def bind(self, target: ast.expr, node: ast.expr) -> None:
        """Follow an assignment of host code."""
        if isinstance(target, ast.Name):
            formula, places = self.formula_of(node), self.places_of(node)
            self._bind(target.id, value_of(node), formula, places)
        elif isinstance(target, (ast.Tuple, ast.List)):
            places, values = self.places_of(node), value_of(node)
            parts = node.elts if isinstance(node, (ast.Tuple, ast.List)) else []
            for index, item in enumerate(target.elts):
                if index < len(parts):
                    self.bind(item, parts[index])
                elif isinstance(item, ast.Name):
                    value = part_of(values, index)
                    is_tag = isinstance(value, SpecializedValue)
                    formula = value.symbol if is_tag else None
                    self._bind(item.id, value, formula, part_of(places, index))

    def _bind(
        self, name: str, value: Any, formula: sympy.Expr | None, places: Any
    ) -> None:
        self.names.pop(name, None)
        self.places.pop(name, None)
        if formula is not None and formula.free_symbols:
            self.names[name] = formula, int(value)
        if places is not None:
            self.places[name] = places

    # -- places --------------------------------------------------------------------

    def places_of(self, node: ast.expr) -> Any:
        """Return the place of a size, or a list or dict of places; None: unknown."""
        if isinstance(node, ast.Name):
            return self.places.get(node.id)
        if isinstance(node, (ast.Tuple, ast.List)):
            return [self.places_of(item) for item in node.elts]
        if isinstance(node, ast.Attribute) and node.attr == "shape":
            return self._tensor_places(node.value, SizeOrigin)
        if isinstance(node, ast.Subscript):
            return part_of(self.places_of(node.value), value_of(node.slice))
        method = node.func if isinstance(node, ast.Call) else None
        if isinstance(node, ast.Call) and isinstance(method, ast.Attribute):
            kind = {"size": SizeOrigin, "stride": StrideOrigin}.get(method.attr)
            places = kind and self._tensor_places(method.value, kind)
            picked = [*node.args, *(k.value for k in node.keywords)]
            return part_of(places, value_of(picked[0])) if picked else places
        return None

    def _tensor_places(self, node: ast.expr, kind: type[Any]) -> list[Place] | None:
        tensor = value_of(node)
        if not isinstance(tensor, torch.Tensor):
            return None
        origin = self._origin_of(tensor)
        if origin is None:
            return None
        dims = range(tensor.dim())
        return [Place((id(tensor), kind, dim), kind(origin, dim)) for dim in dims]

    def argument_places(self, call: ast.Call | None, value: object) -> Any:
        """Return what the argument of a call of ``hl.specialize`` is, as places.

        What is neither computed nor found is a place that is known by its text, or by
        this call alone if the call stands somewhere else than in the kernel.
        """
        values = [] if call is None else [*call.args, *(k.value for k in call.keywords)]
        node = next((v for v in values if value_of(v) is value), None)
        if node is None:
            return Place(object(), ExprOrigin("a size"))
        return self._argument(node)

    def _argument(self, node: ast.expr) -> Any:
        if isinstance(node, (ast.Tuple, ast.List)):
            return [self._argument(item) for item in node.elts]
        if isinstance(node, ast.Dict):
            keys = [k and value_of(k) for k in node.keys]
            places = [self._argument(item) for item in node.values]
            return dict(zip(keys, places, strict=True))
        found = self.places_of(node)
        if found is not None or isinstance(node, _COMPUTED):
            return found
        text = ast.unparse(node)
        return Place(text, ExprOrigin(text))


_COMPUTED = (ast.Constant, ast.BinOp, ast.UnaryOp)


def part_of(container: Any, key: Any) -> Any:
    """Return the part of places (or of a value) under a key or slice, None if none."""
    if isinstance(container, Place):
        text = f"{container.origin.host_str()}[{key!r}]"
        return Place((container.key, key), ExprOrigin(text))
    try:
        return container[key]
    except (TypeError, LookupError):
        return None


def value_of(node: ast.expr) -> Any:
    """Return the value that an expression was found to have."""
    if isinstance(node, ast.Slice):
        parts = [node.lower, node.upper, node.step]
        return slice(*[None if p is None else value_of(p) for p in parts])
    known = facts(node).type_info
    return None if known is None else known.value


def _operands(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp):
        return [node.left, node.right]
    if isinstance(node, ast.UnaryOp):
        return [node.operand]
    if isinstance(node, ast.Call) and not node.keywords:
        return node.args
    return []


def _combined(node: ast.expr, operands: list[sympy.Expr]) -> sympy.Expr:
    if isinstance(node, ast.BinOp) and type(node.op) in _FORMULAS:
        return _FORMULAS[type(node.op)](*operands)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -operands[0]
    if isinstance(node, ast.Call):
        return sympy.Function(ast.unparse(node.func))(*operands)
    assert isinstance(node, (ast.BinOp, ast.UnaryOp))
    return sympy.Function(type(node.op).__name__)(*operands)
