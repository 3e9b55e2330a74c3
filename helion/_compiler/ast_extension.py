"""Extended AST: facts on nodes, and expression templates with named holes."""

from __future__ import annotations

import ast
import enum
import functools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .source_location import SourceLocation
    from .type_info import TypeInfo
    from .variable_origin import Origin


class LoopType(enum.Enum):
    """Where a ``for`` statement runs."""

    HOST = "host"  # stays Python in the wrapper
    GRID = "grid"  # a top-level tile loop: one launch
    DEVICE = "device"  # a loop inside a launch


@dataclass
class NodeFacts:
    """What the compiler learned about one AST node."""

    location: SourceLocation | None = None
    type_info: TypeInfo | None = None
    loop_type: LoopType | None = None
    launch_ids: list[int] = field(default_factory=list)
    block_ids: list[int] = field(default_factory=list)
    needs_device: bool = False
    is_flat: bool = False  # a loop of one turn, which stands for its body
    replacement: Origin | None = None


def facts(node: ast.AST) -> NodeFacts:
    """Return the facts of ``node``, attaching an empty record on first use."""
    found = getattr(node, "_helion_facts", None)
    if found is None:
        found = NodeFacts()
        setattr(node, "_helion_facts", found)  # noqa: B010 (nodes do not declare it)
    return found


_HOLE = re.compile(r"\{(\w+)\}")
_PREFIX = "_hole_"


@functools.cache
def _parse_template(template: str) -> list[ast.stmt]:
    text = _HOLE.sub(lambda m: _PREFIX + m.group(1), template)
    return ast.parse(text).body


def _fill(node: object, holes: Mapping[str, ast.AST]) -> object:
    if isinstance(node, ast.Name) and node.id.startswith(_PREFIX):
        return holes[node.id[len(_PREFIX) :]]
    if isinstance(node, ast.AST):
        return _filled_copy(node, holes)
    if isinstance(node, list):
        return [_fill(item, holes) for item in node]
    return node


def _filled_copy(node: ast.AST, holes: Mapping[str, ast.AST]) -> ast.AST:
    copy = type(node)()
    for name, value in ast.iter_fields(node):
        setattr(copy, name, _fill(value, holes))
    if isinstance(copy, (ast.stmt, ast.expr)):
        copy.lineno = copy.col_offset = 0
    return copy


def literal(value: object) -> ast.expr:
    """Return the expression that evaluates to a plain Python value."""
    if isinstance(value, float) and (value != value or value in (_INF, -_INF)):
        return expr(f"float('{value}')")
    if isinstance(value, (list, tuple)):
        items = [as_expr(v) for v in value]
        kind = ast.List if isinstance(value, list) else ast.Tuple
        return kind(elts=items, ctx=ast.Load())
    if isinstance(value, int) and not isinstance(value, bool):
        value = int(value)  # a specialized size prints as its number
    return expr(repr(value))


_INF = float("inf")


def as_expr(value: object) -> ast.expr:
    """Return ``value`` if it is an expression, a name for a string, else a literal."""
    if isinstance(value, ast.expr):
        return value
    if isinstance(value, str):
        return expr(value)
    return literal(value)


def expr(template: str, **holes: object) -> ast.expr:
    """Parse an expression template; each ``{name}`` is filled with an expression."""
    (statement,) = _parse_template(template)
    assert isinstance(statement, ast.Expr), template
    filled = _fill(statement.value, {k: as_expr(v) for k, v in holes.items()})
    assert isinstance(filled, ast.expr)
    return filled


def statements(template: str, **holes: object) -> list[ast.stmt]:
    """Parse a template of whole statements."""
    values = {k: as_expr(v) for k, v in holes.items()}
    filled = [_filled_copy(s, values) for s in _parse_template(template)]
    return [s for s in filled if isinstance(s, ast.stmt)]


def assign(name: str, value: ast.expr) -> ast.Assign:
    """Return the statement ``name = value``."""
    target = ast.Name(id=name, ctx=ast.Store())
    return ast.Assign(targets=[target], value=value, lineno=0, col_offset=0)


def for_loop(target: str, iterable: ast.expr, body: list[ast.stmt]) -> ast.For:
    """Return ``for target in iterable: body``."""
    name = ast.Name(id=target, ctx=ast.Store())
    body = body or [ast.Pass()]
    return ast.For(
        target=name, iter=iterable, body=body, orelse=[], lineno=0, col_offset=0
    )


def if_else(test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt]) -> ast.If:
    """Return ``if test: body else: orelse``."""
    body = body or [ast.Pass()]
    return ast.If(test=test, body=body, orelse=orelse, lineno=0, col_offset=0)


_COMMENT = "# "


def comment(text: str) -> ast.stmt:
    """Return a statement that prints as a comment line."""
    # Names are printed as they are, so this one reads as a comment.
    name = ast.Name(id=_COMMENT + text, ctx=ast.Load())
    return ast.Expr(value=name, lineno=0, col_offset=0)


def is_comment(node: ast.AST) -> bool:
    """Whether a statement was made by ``comment``."""
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Name) and value.id.startswith(_COMMENT)


def text_of(node: ast.AST) -> str:
    """Return the source text of a node."""
    return ast.unparse(node)


def is_atom(node: ast.expr) -> bool:
    """Whether a node may be repeated in text without repeating work."""
    return isinstance(node, (ast.Name, ast.Constant))
