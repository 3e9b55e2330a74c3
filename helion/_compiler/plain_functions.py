"""What a function that device code calls does, in statements without ``return``.

A function is walked like the code around its call, so that loops and branches in it
mean what they mean there. A ``return`` becomes an assignment to ``RESULT`` and a jump.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from .predicate_jumps import (
    FLAG_MARK,
    RESULT,
    Rewriter,
    always_jumps,
    made_at,
    set_flag,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_RETURNED = f"returned{FLAG_MARK}"
_SKIPPED = f"skipped{FLAG_MARK}"

# Statements that the walker of device code knows, or names in an error.
_STATEMENTS = (
    ast.Assign,
    ast.AnnAssign,
    ast.AugAssign,
    ast.Expr,
    ast.Return,
    ast.Pass,
    ast.If,
    ast.For,
    ast.While,
    ast.Break,
    ast.Continue,
    ast.Assert,
    ast.Delete,
    ast.FunctionDef,
    ast.Nonlocal,
    ast.Global,
)
_PLAIN = (
    ast.Assign,
    ast.AnnAssign,
    ast.AugAssign,
    ast.Expr,
    ast.Return,
    ast.Pass,
)
_UNKNOWN = (ast.Yield, ast.YieldFrom, ast.Await, ast.AsyncFunctionDef)
# Expressions that mean something else on device than Python takes them for.
_WALKED = (
    ast.IfExp,
    ast.BoolOp,
    ast.Not,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
    ast.Lambda,
    ast.NamedExpr,
    ast.In,
    ast.NotIn,
)

Function = ast.FunctionDef | ast.Lambda


def must_be_walked(node: Function) -> bool:
    """Whether Python itself could not run a function on device values."""
    if any(_is_unknown(n) for n in _inside(node)):
        return False
    return any(_is_walked(n) for n in _inside(node))


def _inside(node: Function) -> list[ast.AST]:
    body = node.body if isinstance(node, ast.FunctionDef) else [node.body]
    return [n for part in body for n in ast.walk(part)]


def _is_unknown(node: ast.AST) -> bool:
    is_statement = isinstance(node, ast.stmt) and not isinstance(node, _STATEMENTS)
    return is_statement or isinstance(node, _UNKNOWN)


def _is_walked(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        # A builtin or a function of the user's, which may need to be walked itself.
        return isinstance(node.func, ast.Name)
    is_statement = isinstance(node, ast.stmt) and not isinstance(node, _PLAIN)
    return is_statement or isinstance(node, _WALKED)


def plain_function(
    node: Function,
    result: str = RESULT,
    returned: str = _RETURNED,
    skipped: str = _SKIPPED,
) -> list[ast.stmt]:
    """Return a new list of statements; the name ``result`` holds the result.

    ``returned`` and ``skipped`` are the names of flags.
    """
    node = _clone(node)
    rewriter = _WithoutReturns(result, returned, skipped)
    if isinstance(node, ast.Lambda):
        value = ast.Return(value=node.body)
        return rewriter.rewrite([ast.copy_location(value, node.body)])
    body, leaves_loops = rewriter.leave_loops(node.body, False)
    if not always_jumps(body, (ast.Return,)):
        body.append(made_at(ast.Return(value=None), node.body[-1]))
    plain = rewriter.rewrite(body)
    flags = [returned] if leaves_loops else []
    flags += [skipped] if rewriter.skips else []
    return [*(set_flag(name, False, node.body[0]) for name in flags), *plain]


def _clone(node: Any) -> Any:
    """Return a copy of a node that nothing was learned about."""
    if isinstance(node, list):
        return [_clone(item) for item in node]
    if not isinstance(node, ast.AST):
        return node
    made = type(node)(**{name: _clone(part) for name, part in ast.iter_fields(node)})
    return ast.copy_location(made, node)


class _Again(ast.Return):
    """Leaves a function whose result is there already."""


class _WithoutReturns(Rewriter):
    """Rewrites each ``return`` as an assignment of the result."""

    jumps: tuple[type[ast.stmt], ...] = (ast.Return,)

    def __init__(self, result: str, returned: str, skipped: str) -> None:
        super().__init__()
        self.result = result
        self.returned = returned
        self.skipped = skipped

    def jump(self, node: ast.stmt) -> Sequence[ast.stmt]:
        if isinstance(node, _Again):
            return []
        assert isinstance(node, ast.Return)
        target = ast.Name(id=self.result, ctx=ast.Store())
        value = node.value or ast.Constant(None)
        return [made_at(ast.Assign(targets=[target], value=value), node)]

    def leave_loops(
        self, body: list[ast.stmt], inside: bool
    ) -> tuple[list[ast.stmt], bool]:
        """Turn each ``return`` in a loop into a ``break`` that is taken further."""
        result: list[ast.stmt] = []
        found = False
        for node in body:
            if isinstance(node, ast.Return) and inside:
                flag = set_flag(self.returned, True, node)
                result += [*self.jump(node), flag, made_at(ast.Break(), node)]
                found = True
                continue
            result.append(node)
            if isinstance(node, ast.If):
                node.body, first = self.leave_loops(node.body, inside)
                node.orelse, second = self.leave_loops(node.orelse, inside)
                found |= first or second
            elif isinstance(node, (ast.For, ast.While)):
                node.body, leaves = self.leave_loops(node.body, True)
                if leaves:
                    jump = ast.Break() if inside else _Again(value=None)
                    test = ast.Name(id=self.returned, ctx=ast.Load())
                    result.append(made_at(ast.If(test, [jump], []), node))
                    found = True
        return result, found
