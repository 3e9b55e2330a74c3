"""What host names stand for where paths of host code meet, and in the turns of loops.

A value that differs between paths is a symbol spelled by its name. If the name is bound
again while the value may live on (``last = n; n = 2``), a name of ours keeps it.
"""

from __future__ import annotations

import ast
import contextlib
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .accumulator_walker import AccumulatorWalker
from .ast_extension import assign, expr, facts
from .host_function import assigned_names
from .name_lookup import DeviceOnly, items_of
from .rewrite_accumulators import new_name, place_at
from .type_info import Unknown, merge_named
from .variable_origin import NameOrigin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .compile_environment import CompileEnvironment
    from .graph_tracer import GraphTracer
    from .host_function import HostFunction

MAX_TURNS = 64
Lists = list[tuple[Any, Any]]  # containers with copies of them


class HostJoins(AccumulatorWalker):
    """Scopes of host code at joins and in loops."""

    def __init__(
        self, env: CompileEnvironment, host: HostFunction, tracer: GraphTracer
    ) -> None:
        super().__init__(env, host, tracer)
        self._statement: ast.stmt | None = None  # of host code, the innermost
        self._first: ast.stmt | None = None  # of the body that is about to begin
        self._loops: list[ast.stmt] = []
        self.scalar_texts: dict[Any, str] = {}  # of calls, by the symbols they gave

    def statement(self, node: ast.stmt) -> None:
        outer = self._statement
        if not self.on_device:
            self._statement = node
        super().statement(node)
        self._statement = outer

    # -- scalars -------------------------------------------------------------------

    @contextlib.contextmanager
    def beginning(self, body: list[ast.stmt]) -> Iterator[None]:
        """Bind what names hold each time that a body begins."""
        outer, self._first = self._first, body[0]
        try:
            yield
        finally:
            self._first = outer

    def named_scalar(self, kind: type, name: str) -> Any:
        """Return a symbol for what a name holds after the current statement.

        While a body is ``beginning``, it is what the name holds there.
        """
        place = self._first or self._statement
        assert place is not None
        if not self._is_bound_again(name, place):
            return self.env.new_scalar(kind, NameOrigin(name))
        kept = new_name(self.host, f"{name}_kept")
        code: list[ast.stmt] = [assign(kept, expr(name))]
        place_at(code, place)
        around = (code, []) if place is self._first else ([], code)
        self.put_around(place, *around)
        return self.env.new_scalar(kind, NameOrigin(kept))

    def _is_bound_again(self, name: str, place: ast.stmt) -> bool:
        """Whether the function may bind a name again after a statement."""
        own = set() if place is self._first else {id(n) for n in ast.walk(place)}
        loops = [{id(n) for n in ast.walk(loop)} for loop in self._loops]
        for node in ast.walk(self.host.tree):
            if name not in _bound_by(node) or id(node) in own:
                continue
            is_later = getattr(node, "lineno", 0) >= place.lineno
            if is_later or any(id(node) in loop for loop in loops):
                return True
        return False

    # -- joins ---------------------------------------------------------------------

    def merge_scope(self, other: dict[str, Any]) -> None:
        """Let names stand for what they are on this path or the other."""
        for name in other.keys() | self.host_scope.keys():
            left, right = other.get(name), self.host_scope.get(name)
            if left is right:
                continue
            if name not in other or name not in self.host_scope:
                value = left if name in other else right
                self.host_scope[name] = value
                continue
            self.host_scope[name] = self._merged(name, left, right)

    def _merged(self, name: str, left: Any, right: Any) -> Any:
        if isinstance(left, DeviceOnly) and isinstance(right, DeviceOnly):
            return right
        kind = kind_of(left)
        try:
            return self._told_apart(merge_named(name, left, right), right)
        except (exc.Base, _OtherLayout):
            if kind is not None and kind is kind_of(right):
                return self.named_scalar(kind, name)
            return Unknown(f"{name} has another type on another path")

    def _told_apart(self, value: Any, other: Any) -> Any:
        """Return a value in which tensors that may be either one have new fakes.

        The old ones are still what other names stand for.
        """
        if isinstance(value, torch.Tensor) and isinstance(other, torch.Tensor):
            if value is other:
                return value
            if _strides(value) != _strides(other):
                raise _OtherLayout
            return self.fresh(value)
        if isinstance(value, (list, tuple)) and value is not other:
            pairs = list(zip(value, other, strict=True))
            items = [self._told_apart(*pair) for pair in pairs]
            is_named = hasattr(value, "_fields")
            return type(value)(*items) if is_named else type(value)(items)
        return value

    def fresh(self, value: torch.Tensor) -> torch.Tensor:
        """Return another fake of the same memory, which has a name of its own."""
        with self.tracer.paused():
            return value.detach()

    # -- loops ---------------------------------------------------------------------

    def enter_loop(self, node: ast.For | ast.While) -> dict[str, torch.Tensor]:
        """Begin any turn of a host loop; return the tensors that it begins with."""
        carried: dict[str, torch.Tensor] = {}
        self._loops.append(node)
        with self.beginning(node.body):
            self._begin_turn(node, carried)
        return carried

    def _begin_turn(
        self, node: ast.For | ast.While, carried: dict[str, torch.Tensor]
    ) -> None:
        for name in sorted(assigned_names(node.body) & self.host_scope.keys()):
            value = self.host_scope[name]
            kind = kind_of(value)
            if kind is not None:
                self.host_scope[name] = self.named_scalar(kind, name)
            elif isinstance(value, torch.Tensor):
                carried[name] = self.host_scope[name] = self.fresh(value)
            elif isinstance(value, (str, torch.dtype)):
                self.host_scope[name] = Unknown(f"{name} is rebound in a host loop")

    def leave_loop(
        self, node: ast.For | ast.While, carried: dict[str, torch.Tensor]
    ) -> None:
        """Refuse launches that saw a tensor which later turns replace by another."""
        self._loops.pop()
        if not any(facts(n).launch_ids for n in ast.walk(node)):
            return
        for name, value in carried.items():
            if self.env.host_origin(value) is not None:  # some code read it
                final = self.host_scope.get(name)
                if isinstance(self._merged(name, value, final), Unknown):
                    raise exc.ControlFlowTensorMismatch(
                        tensor=name,
                        difference="each turn of the host loop begins with another "
                        "shape, dtype or layout",
                    )

    def turns_without_launches(self, node: ast.For, values: Any) -> list[Any] | None:
        """Return the items of a loop that can be followed turn by turn."""
        known = isinstance(values, (list, tuple, range, enumerate, zip))
        leaves = (ast.Break, ast.Continue, ast.Return, ast.Raise, ast.While)
        if not known or node.orelse or has_launch(node):
            return None
        if any(isinstance(n, leaves) for n in ast.walk(node)):
            return None
        if isinstance(values, range) and len(values) > MAX_TURNS:
            return None
        items = list(values)
        return items if len(items) <= MAX_TURNS else None

    # -- containers ----------------------------------------------------------------

    def lists(self) -> Lists:
        """Return the lists and dicts that names stand for, with copies of them."""
        found: dict[int, Any] = {}
        for value in self.host_scope.values():
            for item in (value, *[item for item, _ in items_of(value, "")]):
                if isinstance(item, (list, dict)):
                    found[id(item)] = item
        return [(item, item.copy()) for item in found.values()]

    def restore(self, lists: Lists) -> list[Any]:
        """Undo changes of containers; return those that were changed."""
        changed = [(item, copy) for item, copy in lists if not _is_same(item, copy)]
        for item, copy in changed:
            item.clear()
            item.update(copy) if isinstance(item, dict) else item.extend(copy)
        return [item for item, _ in changed]

    def forget_lists(self, changed: Iterable[Any]) -> None:
        """Names of containers that a path or a loop changed are no longer known."""
        ids = {id(item) for item in changed}
        for name, value in self.host_scope.items():
            held = [id(item) for item, _ in items_of(value, "")] if ids else []
            if ids & {id(value), *held}:
                why = f"{name} is changed in a host loop or on one path only"
                self.host_scope[name] = Unknown(why)


class _OtherLayout(Exception):
    """Two tensors of one shape have other strides."""


def kind_of(value: Any) -> type | None:
    """Return the Python type of a number, known or not; None of anything else."""
    if isinstance(value, (bool, torch.SymBool)):
        return bool
    if isinstance(value, (int, torch.SymInt)):
        return int
    if isinstance(value, (float, torch.SymFloat)):
        return float
    return None


def has_launch(node: ast.stmt) -> bool:
    """Whether a statement has a loop that may be a launch."""
    calls = [
        n.iter.func
        for n in ast.walk(node)
        if isinstance(n, ast.For) and isinstance(n.iter, ast.Call)
    ]
    names = {ast.unparse(call).rpartition(".")[2] for call in calls}
    return not names <= {"range", "enumerate", "zip", "reversed", "items", "values"}


def _bound_by(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
        return {node.id}
    return set()


def _strides(value: torch.Tensor) -> list[str]:
    return [str(s) for s in value.stride()]


def _is_same(item: Any, copy: Any) -> bool:
    if len(item) != len(copy):
        return False
    if isinstance(item, dict):
        return all(k in item and item[k] is v for k, v in copy.items())
    return all(mine is its for mine, its in zip(item, copy, strict=True))
