"""Unrolls host loops over sequences whose items differ in type.

A host loop is visited once, for any turn. Where that does not compile, the function is
compiled again with a copy of the loop's body for each item, one after the other.
"""

from __future__ import annotations

import ast
import contextlib
import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import exc
from .ast_extension import LoopType, assign, expr, facts
from .compile_environment import CompileAgain
from .evaluator import is_op
from .host_function import assigned_names
from .host_joins import MAX_TURNS, HostJoins, Lists
from .rewrite_accumulators import new_name, place_at

if TYPE_CHECKING:
    from collections.abc import Iterator

_OF_DICTS = (dict, type({}.keys()), type({}.values()), type({}.items()))
_REVERSED = (reversed, type(reversed([])), type(reversed(range(0))))
_ITERATORS = (zip, enumerate, map, *_OF_DICTS, *_REVERSED)


@dataclass
class HostLoops:
    """Which host loops are unrolled, by their place; kept for all attempts."""

    unrolled: set[str] = field(default_factory=set)
    # Of this attempt: loops that could be unrolled, True if one did not compile.
    kept: dict[str, bool] = field(default_factory=dict)
    failure: exc.Base | None = None

    def failed(self, error: exc.Base) -> exc.Base | UnrollLoops:
        """Return what to raise for an error: itself, or to unroll some loop first."""
        failing = [place for place, is_failing in self.kept.items() if is_failing]
        more = {failing[-1]} if failing else set(self.kept)
        self.kept = {}
        if more:
            self.failure = self.failure or error
            self.unrolled |= more
            return UnrollLoops()
        first = self.failure
        is_same = first is not None and _report_of(first) == _report_of(error)
        return first if is_same and first is not None else error


class UnrollLoops(CompileAgain):
    """A host loop whose turns have no type in common needs a copy for each."""


class HostUnroll(HostJoins):
    """Host loops with a copy of the body for each item."""

    def start_unrolling(self) -> None:
        """Begin an attempt."""
        self.host.loops.kept = {}
        self._is_repeating = False  # in a body that is visited once for each item
        self._branches = 0  # around the current statement that may not be taken
        self._exits: dict[int, list[tuple[dict[str, Any], Lists]]] = {}

    # -- deciding ------------------------------------------------------------------

    def is_static_range(self, node: ast.For) -> bool:
        """Whether a loop is one over ``hl.static_range``."""
        call = node.iter
        is_call = isinstance(call, ast.Call)
        return is_call and is_op(self.evaluate(call.func), "static_range")

    def host_items(self, node: ast.For) -> Any:
        """Return what a host loop walks."""
        call = node.iter
        if isinstance(call, ast.Call) and self.is_static_range(node):
            ends = [self.evaluate(a) for a in call.args]
            step = [self.evaluate(k.value) for k in call.keywords]
            if step and len(ends) == 1:
                ends = [0, *ends]
            return self.call(range, [*ends, *step], {})
        values = self.evaluate(node.iter)
        return list(values) if isinstance(values, _ITERATORS) else values

    def is_unrolled(self, node: ast.For, values: Any) -> bool:
        """Whether a loop is unrolled in this attempt."""
        is_chosen = self._place(node) in self.host.loops.unrolled
        if self.is_static_range(node):
            if not _is_short(values):
                raise exc.InvalidDeviceForLoop(
                    type=f"hl.static_range of more than {MAX_TURNS} turns on the host"
                )
            return True
        return is_chosen and not self._is_repeating and _is_short(values)

    @contextlib.contextmanager
    def keeping(self, node: ast.For, values: Any) -> Iterator[None]:
        """Visit a loop once; note whether this failed where unrolling may help."""
        if self._is_repeating or not _is_short(values):
            yield
            return
        kept, place = self.host.loops.kept, self._place(node)
        kept.pop(place, None)
        kept[place] = True
        count = len(self.env.errors)
        yield
        kept[place] = len(self.env.errors) > count

    @contextlib.contextmanager
    def repeating(self) -> Iterator[None]:
        """Visit a body many times: its loops are not replaced."""
        outer, self._is_repeating = self._is_repeating, True
        yield
        self._is_repeating = outer

    @contextlib.contextmanager
    def on_some_path(self) -> Iterator[None]:
        """Visit statements that may not run."""
        self._branches += 1
        try:
            yield
        finally:
            self._branches -= 1

    def _place(self, node: ast.For) -> str:
        where = self.host.location(node)
        return f"{where.filename}:{where.lineno}:{where.col}"

    # -- unrolling -----------------------------------------------------------------

    def unroll(self, node: ast.For, values: Any) -> None:
        """Put a copy of the body for each item in place of a loop, and visit them."""
        jumps = set(_jumps(node.body))
        if len(jumps) > 1:
            raise exc.StatementNotSupported(
                construct="break and continue in one host loop over items of "
                "different types",
                hint="put what continue skips under an if",
            )
        name = self._items_name(node, values)
        turns = [self._copy_for(node, name, i) for i in range(len(values))]
        if ast.Continue not in jumps:
            for turn in turns:
                facts(turn).is_flat = True
        facts(node).is_flat = ast.Break not in jumps
        node.body = [*turns] or [ast.copy_location(ast.Pass(), node)]
        node.target, node.iter = self._once(node)
        self._loops.append(node)
        exits = self._exits[id(node)] = []
        for turn in turns:
            assert isinstance(turn, ast.For)
            if self._visit_turn(turn):
                break
            if ast.Continue in jumps:
                self._meet(exits)
        else:
            self.statements(node.orelse)
        self._meet(exits)
        self._loops.pop()

    def _items_name(self, node: ast.For, values: Any) -> str:
        """Return a name of host code for the items."""
        items, rebound = node.iter, assigned_names([node])
        given = items.id if isinstance(items, ast.Name) else ""
        is_list = isinstance(values, (list, tuple)) and given not in rebound
        if is_list and self.host_scope.get(given) is values:
            return given
        name = new_name(self.host, "_items")
        self.host_scope[name] = list(values)
        if isinstance(values, range):
            code = assign(name, expr(repr(values)))
        else:
            starred = ast.Starred(value=items, ctx=ast.Load())
            code = assign(name, ast.List(elts=[starred], ctx=ast.Load()))
        place_at([code], node)
        self.put_around(node, [code], [])
        return name

    def _copy_for(self, node: ast.For, name: str, index: int) -> ast.stmt:
        """Return a loop of one turn: the body for one item."""
        item = self.host_scope[name][index]
        is_number = isinstance(item, (int, str)) and type(item) in (int, bool, str)
        value = ast.Constant(item) if is_number else expr(f"{name}[{index}]")
        bind = ast.Assign(targets=[copy.deepcopy(node.target)], value=value)
        place_at([ast.copy_location(bind, node.target)], node.target)
        body = [bind, *copy.deepcopy(node.body)]
        target, once = self._once(node)
        turn = ast.For(target=target, iter=once, body=body, orelse=[])
        facts(turn).loop_type = LoopType.HOST
        return ast.copy_location(turn, node)

    def _once(self, node: ast.For) -> tuple[ast.expr, ast.expr]:
        """Return the target and the iterable of a loop of one turn."""
        target = ast.Name(id=new_name(self.host, "_turn"), ctx=ast.Store())
        once = expr("(None,)")
        return ast.copy_location(target, node), ast.copy_location(once, node)

    def _visit_turn(self, turn: ast.For) -> bool:
        """Visit one copy; return whether it certainly leaves the loop."""
        outer, branches, self._branches = self._statement, self._branches, 0
        try:
            self.statements(turn.body)
        except _Left as left:
            return left.is_break
        finally:
            self._statement, self._branches = outer, branches
        return False

    def host_Break(self, node: ast.Break) -> None:
        self._leave(is_break=True)

    def host_Continue(self, node: ast.Continue) -> None:
        self._leave(is_break=False)

    def _leave(self, is_break: bool) -> None:
        exits = self._exits.get(id(self._loops[-1])) if self._loops else None
        if exits is None:
            return
        if not self._branches:
            raise _Left(is_break)
        exits.append((dict(self.host_scope), self.lists()))

    def _meet(self, exits: list[tuple[dict[str, Any], Lists]]) -> None:
        """Let names stand for what they are here or where a jump came from."""
        for scope, lists in exits:
            self.merge_scope(scope)
            self.forget_lists([item for item, then in lists if [*item] != [*then]])
        exits.clear()


class _Left(BaseException):
    """The rest of a turn is never reached; not an error."""

    def __init__(self, is_break: bool) -> None:
        super().__init__()
        self.is_break = is_break


def _is_short(values: Any) -> bool:
    is_known = isinstance(values, (list, tuple, range))
    return is_known and len(values) <= MAX_TURNS


def _jumps(body: list[ast.stmt]) -> Iterator[type[ast.stmt]]:
    """Yield the kinds of jumps out of a loop with this body."""
    for node in body:
        if isinstance(node, (ast.Break, ast.Continue)):
            yield type(node)
        for part in ("body", "orelse", "finalbody", "handlers"):
            is_loop = isinstance(node, (ast.For, ast.While)) and part == "body"
            if not is_loop and not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                yield from _jumps(getattr(node, part, []))


def _report_of(error: exc.Base) -> tuple[type, int]:
    return type(error), getattr(error.location, "lineno", 0)
