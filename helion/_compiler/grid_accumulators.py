"""Finds the host tensors that a top-level tile loop updates, tile after tile.

In Python ``acc += value`` in such a loop adds up over the tiles, one after the other.
Launched, the tiles run at the same time. So each stores what it adds into a row of its
own, and host code after the launch adds the rows up, always in one order.
"""

from __future__ import annotations

import ast
import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .host_function import assigned_names, read_names
from .symbols import SymValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .host_function import HostFunction


@dataclass(frozen=True)
class Fold:
    """One way to accumulate: on the device, over all rows, into the tensor."""

    name: str
    on_device: Callable[[Any, Any], Any]
    rows: str  # the method of torch.Tensor that folds rows
    has_dtype: bool = False  # the method would turn small ints into int64

    def identity(self, dtype: torch.dtype) -> float:
        """Return what leaves every value of a dtype as it is."""
        if self.name in ("sum", "product"):
            return int(self.name == "product")
        sign = -1 if self.name == "maximum" else 1
        if dtype.is_floating_point:
            return sign * float("inf")
        return torch.iinfo(dtype).min if sign < 0 else torch.iinfo(dtype).max


SUM = Fold("sum", operator.add, "sum", has_dtype=True)
PRODUCT = Fold("product", operator.mul, "prod", has_dtype=True)
MAXIMUM = Fold("maximum", torch.maximum, "amax")
MINIMUM = Fold("minimum", torch.minimum, "amin")

_OPERATORS: dict[type[ast.operator], Fold] = {
    ast.Add: SUM,
    ast.Sub: SUM,
    ast.Mult: PRODUCT,
}
_FUNCTIONS: list[tuple[Any, Fold]] = [
    (torch.maximum, MAXIMUM),
    (torch.max, MAXIMUM),
    (torch.minimum, MINIMUM),
    (torch.min, MINIMUM),
]


# What code may ask of a tensor without reading its elements.
_FACTS = {"size", "shape", "dtype", "device", "stride", "ndim", "dim", "numel"}


@dataclass(frozen=True)
class Term:
    """One value that an update adds; subtracted if ``is_negative``."""

    fold: Fold
    value: ast.expr
    is_negative: bool = False


@dataclass
class Update:
    """A statement ``acc += value``, ``acc = acc + value``, ``acc = f(acc, value)``."""

    node: ast.stmt
    terms: list[Term]
    in_place: bool
    names: list[ast.Name]  # where the statement says the accumulator's name
    function: ast.expr | None = None  # how the user spells ``f``


@dataclass
class Accumulator:
    """A host tensor that a tile loop only updates, always in one way."""

    name: str
    tensor: torch.Tensor
    updates: list[Update]
    partials: str = ""
    local: str = ""
    is_direct: bool = False  # its one value is stored as it is computed
    # Axes of the grid along which tiles share elements; None: all of them.
    shared_axes: list[int] | None = None

    @property
    def by_parts(self) -> bool:
        """Whether the updates are ``acc[index] += value``."""
        return self.shared_axes is not None

    @property
    def fold(self) -> Fold:
        """The way it accumulates."""
        return self.updates[0].terms[0].fold

    @property
    def in_place(self) -> bool:
        """Whether other names of the tensor see the result."""
        return self.updates[0].in_place

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of partial results; sums of halves are kept more precisely."""
        dtype = self.tensor.dtype
        is_half = dtype.is_floating_point and dtype.itemsize < 4
        return torch.float32 if is_half and self.fold.has_dtype else dtype


# -- finding ---------------------------------------------------------------------------


@dataclass
class Finder:
    """Looks for accumulators in the body of a tile loop."""

    body: list[ast.stmt]
    scope: dict[str, Any]
    evaluate: Callable[[ast.expr], Any]
    decide: Callable[[ast.expr], bool | None]
    targets: list[str] = field(default_factory=list)  # one name per axis
    single: set[int] = field(default_factory=set)  # axes of one tile
    nodes: list[ast.AST] = field(default_factory=list)

    def find(self) -> list[Accumulator]:
        """Return the host tensors that the body updates; refuse other rebinding."""
        self.nodes = [n for s in self.body for n in ast.walk(s)]
        found = []
        for name in sorted(assigned_names(self.body) & self.scope.keys()):
            value = self.scope[name]
            if isinstance(value, torch.Tensor):
                found.append(self._accumulator(name, value))
            elif isinstance(value, (int, float, *SymValue)):
                self._check_number(name)
        return found + self._by_parts()

    # -- updates of elements ---------------------------------------------------------

    def _by_parts(self) -> list[Accumulator]:
        """Return host tensors of which several tiles update the same elements."""
        updates: dict[str, list[Update]] = {}
        for node in self.nodes:
            update = _part(node)
            if update is not None:
                updates.setdefault(update.names[0].id, []).append(update)
        found = [self._parts_of(name, updates[name]) for name in sorted(updates)]
        return [item for item in found if item is not None]

    def _parts_of(self, name: str, updates: list[Update]) -> Accumulator | None:
        tensor = self.scope.get(name)
        if not isinstance(tensor, torch.Tensor):
            return None
        shared = [self._shared_axes(u.node) for u in updates]
        problem = self._parts_problem(name, tensor, updates)
        if problem is None and all(axes == shared[0] for axes in shared):
            axes = shared[0]
            return (
                Accumulator(name, tensor, updates, shared_axes=axes) if axes else None
            )
        for update, axes in zip(updates, shared, strict=True):
            if axes and self._runs_in_every_tile(update.node):
                why = problem or "another update of it is shared by other tiles"
                raise Refused(name, why, update.node, is_part=True)
        return None

    def _parts_problem(
        self, name: str, tensor: torch.Tensor, updates: list[Update]
    ) -> str | None:
        """Return why the tiles cannot have rows of their own, None if they can."""
        others = self._data_uses(name, updates)
        if others:
            return f"the loop also uses it in line {{line:{others[0].lineno}}}"
        if tensor.dtype == torch.bool:
            return "its dtype is bool"
        if len({term.fold.name for u in updates for term in u.terms}) > 1:
            return "it is updated in more than one way"
        if self._has_alias(name, tensor):
            return "the loop uses its memory under another name"
        return None

    def _data_uses(self, name: str, updates: list[Update]) -> list[ast.Name]:
        """Return where the loop names a tensor, updates and facts of it left out."""
        known = {id(n) for u in updates for n in u.names}
        for node in self.nodes:
            if isinstance(node, ast.Attribute) and node.attr in _FACTS:
                known.add(id(node.value))
        names = [n for n in self.nodes if isinstance(n, ast.Name) and n.id == name]
        return [n for n in names if id(n) not in known]

    def _runs_in_every_tile(self, node: ast.stmt, body: Any = None) -> bool:
        """Whether every tile gets to a statement, as far as this can be told."""
        for statement in self.body if body is None else body:
            if statement is node:
                return True
            inside: list[ast.stmt] = []
            if isinstance(statement, ast.For):
                inside = statement.body
            elif isinstance(statement, ast.If):
                decided = self.decide(statement.test)
                sides = {True: statement.body, False: statement.orelse, None: []}
                inside = sides[decided]
            if inside and self._runs_in_every_tile(node, inside):
                return True
        return False

    def _shared_axes(self, node: ast.stmt) -> list[int] | None:
        """Return the axes whose tiles update the same elements; None: unknown."""
        covered = self._covered_axes(node)
        if covered is None:
            return None
        own = covered | self.single
        return [axis for axis in range(len(self.targets)) if axis not in own]

    def _covered_axes(self, node: ast.stmt) -> set[int] | None:
        """Return the axes whose tiles have elements of their own; None: unknown."""
        index = target_of(node).slice
        items = index.elts if isinstance(index, ast.Tuple) else [index]
        axes: set[int] = set()
        for item in items:
            if isinstance(item, ast.Name) and self.targets.count(item.id) == 1:
                axes.add(self.targets.index(item.id))
            elif read_names(item) & self._varying():
                return None
        return axes

    def _varying(self) -> set[str]:
        """Return the names that may differ between the tiles of the grid."""
        loops = [n for n in self.nodes if isinstance(n, ast.For)]
        inner = {n.target.id: n for n in loops if isinstance(n.target, ast.Name)}
        names = [n for n in self.nodes if isinstance(n, ast.Name)]
        bound = [n.id for n in names if isinstance(n.ctx, ast.Store)]
        varying = set(bound) | set(self.targets)
        for name, loop in inner.items():
            # The tiles of an inner loop are the same for every tile of the grid.
            if bound.count(name) == 1 and not read_names(loop.iter) & varying:
                varying.discard(name)
        return varying

    def _has_alias(self, name: str, tensor: torch.Tensor) -> bool:
        names = {n.id for n in self.nodes if isinstance(n, ast.Name)} - {name}
        others = [t for n in names for t in _tensors_in(self.scope.get(n))]
        return any(_storage(t) == _storage(tensor) for t in others)

    # -- updates of whole tensors ----------------------------------------------------

    def _updates(self, name: str) -> Iterator[Update]:
        for node in self.nodes:
            update = None
            if isinstance(node, ast.AugAssign):
                update = _augmented(node, name)
            elif isinstance(node, ast.Assign):
                update = _assigned(node, name, self.evaluate)
            if update is not None:
                yield update

    def _accumulator(self, name: str, value: torch.Tensor) -> Accumulator:
        updates = list(self._updates(name))
        others = self._data_uses(name, updates)
        for node in others:
            if isinstance(node.ctx, (ast.Store, ast.Del)):
                raise Refused(name, "this is no update that tiles can share", node)
        if others:
            why = f"the loop also uses it in line {{line:{others[0].lineno}}}"
            raise Refused(name, why, updates[0].node)
        result = Accumulator(name, value, updates)
        self._check_alike(result)
        if result.in_place:
            self._check_aliases(result)
        top = [id(s) for s in self.body]
        single = len(updates) == 1 and len(updates[0].terms) == 1
        result.is_direct = single and id(updates[0].node) in top
        return result

    def _check_alike(self, found: Accumulator) -> None:
        if found.tensor.dtype == torch.bool:
            raise Refused(found.name, "its dtype is bool", found.updates[0].node)
        for update in found.updates:
            if any(term.fold is not found.fold for term in update.terms):
                why = "it is updated in more than one way"
                raise Refused(found.name, why, update.node)
            if update.in_place is not found.in_place:
                why = "it is updated in place and also replaced"
                raise Refused(found.name, why, update.node)

    def _check_aliases(self, found: Accumulator) -> None:
        """An update in place shows under other names of the memory at once."""
        storage = _storage(found.tensor)
        for node in self.nodes:
            if not isinstance(node, ast.Name) or node.id == found.name:
                continue
            tensors = _tensors_in(self.scope.get(node.id))
            if any(_storage(t) == storage for t in tensors):
                why = f"the loop uses its memory under the name {node.id}"
                raise Refused(found.name, why, found.updates[0].node)

    def _check_number(self, name: str) -> None:
        for update in self._updates(name):
            error = Refused(name, "it is a number on the host", update.node)
            error.hint = (
                "make it a tensor before the loop: "
                f"{name} = torch.zeros([], dtype=torch.float32, device=...)"
            )
            raise error


_ROWS = (
    "give each tile a row of its own:\n"
    "    rows = {name}.new_zeros([number_of_tiles, *{name}.size()])\n"
    "    for tile in ...:\n"
    "        rows[tile.id, ...] = value\n"
    "    {name} = {name} + rows.sum(0)"
)
_HINT = (
    "update it only by {name} += value (or -=, *=, torch.maximum, torch.minimum) and "
    "read it after the loop, write to it with a subscript: {name}[...] = value, or "
    + _ROWS
)
_PARTS_HINT = (
    "hl.atomic_add({name}, [...], value) adds safely; or use {name} in this loop only "
    "to update it, always with one operator; or " + _ROWS
)


class Refused(Exception):
    """Why a host tensor cannot be an accumulator; becomes a typed error."""

    def __init__(
        self, name: str, why: str, node: ast.AST, is_part: bool = False
    ) -> None:
        super().__init__(name, why)
        self.is_part = is_part
        self.name = name
        self.why = why
        self.node = node
        self.hint = (_PARTS_HINT if is_part else _HINT).format(name=name)

    def typed(self, host: HostFunction) -> exc.Base:
        """Return the error that the user sees."""
        why = self.why
        if "{line:" in why:
            head, _, number = why.rstrip("}").partition("{line:")
            line = ast.Pass(lineno=int(number), col_offset=0)
            why = f"{head}{host.location(line).lineno}"
        text = f"the host variable {self.name} is rebound in a device loop: {why}"
        if self.is_part:
            text = (
                f"tiles that run at the same time update the same elements of "
                f"{self.name}: {why}"
            )
        error = exc.CannotModifyHostVariableOnDevice.from_text(text, self.hint)
        error.with_location(host.location(self.node))
        return error


def _augmented(node: ast.AugAssign, name: str) -> Update | None:
    target, fold = node.target, _OPERATORS.get(type(node.op))
    if not isinstance(target, ast.Name) or target.id != name or fold is None:
        return None
    term = Term(fold, node.value, isinstance(node.op, ast.Sub))
    return Update(node, [term], True, [target])


def target_of(node: ast.stmt) -> ast.Subscript:
    """Return what an update of elements assigns to."""
    assert isinstance(node, (ast.Assign, ast.AugAssign))
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    assert isinstance(target, ast.Subscript)
    return target


def _part(node: ast.AST) -> Update | None:
    """Read ``acc[index] += value`` and ``acc[index] = acc[index] + value``."""
    if isinstance(node, ast.Assign):
        return _part_assigned(node)
    if not isinstance(node, ast.AugAssign) or not isinstance(
        node.target, ast.Subscript
    ):
        return None
    base, fold = node.target.value, _OPERATORS.get(type(node.op))
    if not isinstance(base, ast.Name) or fold is None:
        return None
    is_negative = isinstance(node.op, ast.Sub)
    return Update(node, [Term(fold, node.value, is_negative)], True, [base])


def _part_assigned(node: ast.Assign) -> Update | None:
    target = node.targets[0]
    if len(node.targets) > 1 or not isinstance(target, ast.Subscript):
        return None
    if not isinstance(target.value, ast.Name):
        return None
    place = ast.unparse(target)
    found = _chained(node.value, lambda n: ast.unparse(n) == place)
    if found is None or not found[1]:
        return None
    read, terms = found
    assert isinstance(read, ast.Subscript) and isinstance(read.value, ast.Name)
    return Update(node, terms, True, [target.value, read.value])


def _assigned(
    node: ast.Assign, name: str, evaluate: Callable[[ast.expr], Any]
) -> Update | None:
    target = node.targets[0]
    if len(node.targets) > 1 or not isinstance(target, ast.Name) or target.id != name:
        return None
    value, function = node.value, None
    if isinstance(value, ast.Call):
        function = value.func
        found = _called(value, name, evaluate)
    else:
        found = _chained(value, lambda n: isinstance(n, ast.Name) and n.id == name)
    if found is None or not found[1]:
        return None
    read, terms = found
    assert isinstance(read, ast.Name)
    return Update(node, terms, False, [target, read], function)


def _called(
    node: ast.Call, name: str, evaluate: Callable[[ast.expr], Any]
) -> tuple[ast.expr, list[Term]] | None:
    """Read ``torch.maximum(acc, value)``, in either order."""
    if len(node.args) != 2 or node.keywords:
        return None
    for read, value in (node.args, node.args[::-1]):
        if isinstance(read, ast.Name) and read.id == name:
            function = evaluate(node.func)
            fold = next((f for fn, f in _FUNCTIONS if fn is function), None)
            return None if fold is None else (read, [Term(fold, value)])
    return None


def _chained(
    node: ast.expr, is_read: Callable[[ast.expr], bool]
) -> tuple[ast.expr, list[Term]] | None:
    """Read ``acc + a - b`` and ``a + acc``: the accumulator and its terms."""
    if is_read(node):
        return node, []
    fold = _OPERATORS.get(type(node.op)) if isinstance(node, ast.BinOp) else None
    if not isinstance(node, ast.BinOp) or fold is None:
        return None
    found = _chained(node.left, is_read)
    if found is not None:
        term = Term(fold, node.right, isinstance(node.op, ast.Sub))
        return found[0], [*found[1], term]
    is_sub = isinstance(node.op, ast.Sub)
    found = None if is_sub else _chained(node.right, is_read)
    return None if found is None else (found[0], [*found[1], Term(fold, node.left)])


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _tensors_in(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    items = list(value.values()) if isinstance(value, dict) else value
    if isinstance(items, (list, tuple)):
        return [t for item in items for t in _tensors_in(item)]
    return []
