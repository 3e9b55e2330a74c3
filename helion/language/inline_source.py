"""Triton code given as text: checked when it is traced, filled in when emitted."""

from __future__ import annotations

import ast
import string
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import exc
from .._compiler.error_text import describe

if TYPE_CHECKING:
    from collections.abc import Callable

_ARGUMENT = "_inline_argument_"


@dataclass(frozen=True)
class InlineSource:
    """Statements in which names ``_inline_argument_<i>`` stand for arguments."""

    text: str

    @classmethod
    def parse(
        cls, op: str, source: object, names: list[str], has_result: bool
    ) -> InlineSource:
        """Read a template whose placeholders are called ``names``.

        Raises:
            exc.InvalidAPIUsage: see ``hl.inline_triton``.
        """
        text = checked_text(op, source)
        found = cls(_with_arguments(op, text, names))
        body = found.statements(op)
        if has_result and not isinstance(body[-1], ast.Expr):
            raise exc.InvalidAPIUsage(
                f"{op}: the last statement of the source gives no value",
                hint="end with an expression, or pass output_like=None",
            )
        return found

    def statements(self, op: str) -> list[ast.stmt]:
        """Return the parsed statements."""
        return parse_text(op, self.text)

    def result_count(self, op: str) -> int | None:
        """Return how many values the last expression lists, None if it is a call."""
        last = self.statements(op)[-1]
        value = last.value if isinstance(last, ast.Expr) else None
        return len(value.elts) if isinstance(value, ast.Tuple) else None

    def filled(
        self, op: str, args: list[ast.expr], fresh: Callable[[str], str]
    ) -> list[ast.stmt]:
        """Return the statements with arguments; names they bind become ``fresh``."""
        body = self.statements(op)
        bound = sorted({name for statement in body for name in _bound_in(statement)})
        renamed = {name: fresh(name) for name in bound}
        filler = _Filler(args, renamed)
        return [filler.visit(statement) for statement in body]


def checked_text(op: str, source: object) -> str:
    """Return a source without its indentation; InvalidAPIUsage if it is no text."""
    if not isinstance(source, str):
        raise exc.InvalidAPIUsage(
            f"{op}: the source must be a string literal, not {describe(source)}"
        )
    text = textwrap.dedent(source).strip()
    if not text:
        raise exc.InvalidAPIUsage(f"{op}: the source is empty")
    return text


def parse_text(op: str, text: str) -> list[ast.stmt]:
    """Return the statements of a text; InvalidAPIUsage if it is no Python."""
    try:
        body = ast.parse(text).body
    except SyntaxError as error:
        raise exc.InvalidAPIUsage(
            f"{op}: the source is no Python: {error.msg} (line {error.lineno})",
            hint="double the braces that are no placeholders",
        ) from None
    if not body:
        raise exc.InvalidAPIUsage(f"{op}: the source has no statement")
    return body


def _with_arguments(op: str, text: str, names: list[str]) -> str:
    stand_ins = {name: f"{_ARGUMENT}{i}" for i, name in enumerate(names)}
    try:
        asked = [name for _, name, _, _ in string.Formatter().parse(text)]
        missing = [n for n in asked if n and n not in stand_ins]
        if missing or sum(n == "" for n in asked) > len(names):
            raise exc.InvalidAPIUsage(
                f"{op}: the placeholder {{{missing[0] if missing else ''}}} has no "
                f"argument; there are {names}",
                hint="double the braces that are no placeholders",
            )
        positional = [stand_ins[name] for name in names if name.isdigit()]
        keyed = {k: v for k, v in stand_ins.items() if not k.isdigit()}
        return text.format(*positional, **keyed)
    except (ValueError, KeyError, IndexError) as error:
        raise exc.InvalidAPIUsage(
            f"{op}: the placeholders of the source are not understood: {error}",
            hint="double the braces that are no placeholders",
        ) from None


def _bound_in(node: ast.AST) -> set[str]:
    """Return the names that a statement binds, nested functions left alone."""
    if isinstance(node, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
        return set()
    is_bound = isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
    found = {node.id} if isinstance(node, ast.Name) and is_bound else set()
    return found.union(*(_bound_in(child) for child in ast.iter_child_nodes(node)))


class _Filler(ast.NodeTransformer):
    """Puts arguments and fresh names into statements."""

    def __init__(self, args: list[ast.expr], renamed: dict[str, str]) -> None:
        self.args = args
        self.renamed = renamed

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id.startswith(_ARGUMENT):
            return self.args[int(node.id.removeprefix(_ARGUMENT))]
        return ast.Name(id=self.renamed.get(node.id, node.id), ctx=node.ctx)

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if not isinstance(node.value, str) or _ARGUMENT not in node.value:
            return node
        text = node.value
        for index in reversed(range(len(self.args))):
            text = text.replace(f"{_ARGUMENT}{index}", ast.unparse(self.args[index]))
        return ast.Constant(value=text)
