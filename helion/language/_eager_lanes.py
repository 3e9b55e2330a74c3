"""Which eager tile loops walk their range one index at a time.

Rows of unequal length do not form a block. Eager mode therefore takes the tiles over
the rows one row at a time, which is a choice of tile size like any other: what follows
is exact, and nothing is padded. The loops are found in the source of the function.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

JAGGED = "jagged_tile"
_DEPTH = 4  # of helper functions called by helper functions


@dataclass(frozen=True)
class LaneLoop:
    """A tile loop by the lines of its range; ``dims`` None: all of its dims."""

    first: int
    last: int
    dims: frozenset[int] | None

    def covers(self, line: int) -> bool:
        """Return whether a line belongs to the range of the loop."""
        return self.first <= line <= self.last


def lane_dims(frame: types.FrameType, count: int) -> set[int]:
    """Return which of the ``count`` dims of the running tile loop go one by one."""
    names = _jagged_names(frame)
    if not names:
        return set()
    loops = _lane_loops(frame.f_code, names)
    if loops is None:
        return set(range(count))
    found: set[int] = set()
    for loop in loops:
        if loop.covers(frame.f_lineno):
            found |= set(range(count)) if loop.dims is None else loop.dims
    return found


_known_names: dict[types.CodeType, frozenset[str]] = {}


def _jagged_names(frame: types.FrameType) -> frozenset[str]:
    """Return the names in a frame's code that lead to ``hl.jagged_tile``."""
    code = frame.f_code
    if code not in _known_names:
        values = frame.f_locals
        _known_names[code] = frozenset(
            name
            for name in _names_of(code)
            if name == JAGGED
            or _leads_to_jagged(values.get(name, frame.f_globals.get(name)), _DEPTH)
        )
    return _known_names[code]


def _names_of(code: types.CodeType) -> set[str]:
    return {*code.co_names, *code.co_freevars, *code.co_cellvars, *code.co_varnames}


def _leads_to_jagged(value: object, depth: int) -> bool:
    if not isinstance(value, types.FunctionType) or not depth:
        return False
    names = _names_of(value.__code__)
    if JAGGED in names:
        return True
    # Functions of other packages know nothing of tiles.
    called = (value.__globals__.get(name) for name in names)
    return any(
        _leads_to_jagged(item, depth - 1)
        for item in called
        if item is not value and getattr(item, "__module__", "") == value.__module__
    )


@functools.lru_cache(maxsize=256)
def _lane_loops(
    code: types.CodeType, names: frozenset[str]
) -> tuple[LaneLoop, ...] | None:
    """Return the loops of a function over rows of jagged tiles; None: no source."""
    try:
        lines, start = inspect.getsourcelines(code)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return None
    wanted = _sources(tree, names)
    offset = max(start, 1) - 1
    loops = (n for n in ast.walk(tree) if isinstance(n, ast.For))
    return tuple(
        LaneLoop(node.iter.lineno + offset, _end(node.iter) + offset, dims)
        for node in loops
        if isinstance(node.iter, ast.Call)
        and (dims := _dims(node.target, wanted)) != frozenset()
    )


def _end(node: ast.expr) -> int:
    return node.end_lineno or node.lineno


def _dims(target: ast.expr, wanted: set[str]) -> frozenset[int] | None:
    """Return which loop variables are wanted; None: one variable stands for all."""
    if isinstance(target, ast.Name):
        return None if target.id in wanted else frozenset()
    items = target.elts if isinstance(target, (ast.Tuple, ast.List)) else []
    return frozenset(i for i, item in enumerate(items) if wanted & set(_read(item)))


def _sources(tree: ast.AST, names: frozenset[str]) -> set[str]:
    """Return the names that the lengths of jagged tiles are made of."""
    wanted: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) in names:
            for given in [*node.args, *(k.value for k in node.keywords)]:
                wanted.update(_read(given))
    bindings = list(_bindings(tree))
    while True:
        more = {
            name
            for targets, values in bindings
            if wanted & targets
            for name in values - wanted
        }
        if not more:
            return wanted
        wanted |= more


def _called(node: ast.Call) -> str:
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _bindings(tree: ast.AST) -> Iterator[tuple[set[str], set[str]]]:
    """Yield (names bound, names read for them) of each assignment."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            targets: list[Any] = node.targets
        elif isinstance(node, (ast.AugAssign, ast.AnnAssign, ast.NamedExpr)):
            targets = [node.target]
        else:
            continue
        if node.value is not None:
            bound = {name for target in targets for name in _bound(target)}
            yield bound, set(_read(node.value))


def _bound(target: ast.expr) -> Iterator[str]:
    """Yield the names that an assignment changes; an index is only read."""
    while isinstance(target, (ast.Subscript, ast.Attribute, ast.Starred)):
        target = target.value
    if isinstance(target, (ast.Tuple, ast.List)):
        for item in target.elts:
            yield from _bound(item)
    else:
        yield from _read(target)


def _read(node: ast.AST) -> Iterator[str]:
    return (n.id for n in ast.walk(node) if isinstance(n, ast.Name))
