"""Rewrites ``break`` and ``continue`` of device loops into branches and flags.

A launch has no jumps out of the middle of a loop. What follows ``if c: continue`` is
the other side of that branch; a loop that was broken out of does nothing in the turns
that are left. Flags are Python bools, so that jumps which are decided while compiling
leave no trace, and become 0-d tensors where they depend on data.
"""

from __future__ import annotations

import ast
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_JUMPS = (ast.Break, ast.Continue)
_serial = itertools.count()
# No name of the user's has these characters: the first ends the names of flags, the
# second those that callers have while a function is walked.
FLAG_MARK = "#"
HIDDEN_MARK = "@"
# The name of what a function being walked returns.
RESULT = f"result{FLAG_MARK}"


@dataclass
class PlainLoop:
    """A loop without jumps: what it does first, its condition, body and flag.

    ``going`` is the flag that a ``break`` clears; None if there is no ``break``.
    """

    before: list[ast.stmt]
    test: ast.expr | None
    body: list[ast.stmt]
    going: str | None = None


def plain_loop(node: ast.For | ast.While) -> PlainLoop:
    """Return what a loop does, in statements without jumps of its own."""
    jumps = list(own_jumps(node.body, _JUMPS))
    has_break = any(isinstance(jump, ast.Break) for jump in jumps)
    test = node.test if isinstance(node, ast.While) else None
    binds = test is not None and any(
        isinstance(n, ast.NamedExpr) for n in ast.walk(test)
    )
    if not jumps and not binds:
        return PlainLoop([], test, node.body)
    rewriter = _WithoutJumps()
    body = rewriter.rewrite(node.body)
    if rewriter.skips:
        body = [set_flag(rewriter.skipped, False, node), *body]
    if not has_break and not binds:
        return PlainLoop([], test, body)
    going = rewriter.going
    before = [set_flag(going, True, node)]
    flag = ast.copy_location(ast.Name(id=going, ctx=ast.Load()), node)
    if test is None:
        turn = ast.If(test=flag, body=body, orelse=[])
        return PlainLoop(before, None, [ast.copy_location(turn, node)], going)
    # The condition is not evaluated after a break: it may read what is not there.
    turn = ast.If(test=test, body=body, orelse=[set_flag(going, False, node)])
    return PlainLoop(before, flag, [ast.copy_location(turn, node)], going)


def own_jumps(
    body: list[ast.stmt], kinds: tuple[type[ast.stmt], ...] = _JUMPS
) -> Iterator[ast.stmt]:
    """Yield the jumps of a loop body, without those of loops inside it."""
    for statement in body:
        if isinstance(statement, kinds):
            yield statement
        elif isinstance(statement, ast.If):
            yield from own_jumps([*statement.body, *statement.orelse], kinds)


class Rewriter:
    """Rewrites statements so that none of ``jumps`` is left."""

    jumps: tuple[type[ast.stmt], ...] = ()
    skipped = ""  # the flag that tells statements further down of a jump

    def __init__(self) -> None:
        self.skips = False

    def jump(self, node: ast.stmt) -> Sequence[ast.stmt]:
        """Return what a jump does besides jumping."""
        raise NotImplementedError

    def rewrite(self, body: list[ast.stmt], marks: bool = False) -> list[ast.stmt]:
        """Return statements without jumps.

        With ``marks`` a jump is noted in the flag ``skipped``, because statements
        outside ``body`` must know of it.
        """
        for position, node in enumerate(body):
            before = body[:position]
            if isinstance(node, self.jumps):
                made = [*self.jump(node)]
                if marks:
                    self.skips = True
                    made.append(set_flag(self.skipped, True, node))
                return [*before, *(made or [made_at(ast.Pass(), node)])]
            if isinstance(node, ast.If) and any(own_jumps([node], self.jumps)):
                return [*before, *self._branch(node, body[position + 1 :], marks)]
        return body

    def _branch(
        self, node: ast.If, rest: list[ast.stmt], marks: bool
    ) -> list[ast.stmt]:
        """Return a branch with jumps, and what follows it, without jumps."""
        body, orelse = node.body, node.orelse
        jumps = [always_jumps(side, self.jumps) for side in (body, orelse)]
        if not rest or any(jumps):
            # What follows belongs to the only side that gets there.
            if rest and jumps[0]:
                orelse = [*orelse, *rest]
            elif rest:
                body = [*body, *rest]
            sides = self.rewrite(body, marks), self.rewrite(orelse, marks)
            return [made_at(ast.If(node.test, *sides), node)]
        sides = self.rewrite(body, True), self.rewrite(orelse, True)
        branch = made_at(ast.If(node.test, *sides), node)
        skipped = ast.Name(id=self.skipped, ctx=ast.Load())
        after = ast.If(ast.UnaryOp(ast.Not(), skipped), self.rewrite(rest, marks), [])
        return [branch, made_at(after, rest[0])]


class _WithoutJumps(Rewriter):
    """Rewrites the body of one loop, which has flags of its own."""

    jumps: tuple[type[ast.stmt], ...] = _JUMPS

    def __init__(self) -> None:
        super().__init__()
        place = f"{FLAG_MARK}{next(_serial)}"
        self.skipped = f"skipped{place}"
        self.going = f"going{place}"

    def jump(self, node: ast.stmt) -> Sequence[ast.stmt]:
        is_break = isinstance(node, ast.Break)
        return [set_flag(self.going, False, node)] if is_break else []


def always_jumps(body: list[ast.stmt], kinds: tuple[type[ast.stmt], ...]) -> bool:
    """Whether every path through statements ends in a jump."""
    for node in body:
        if isinstance(node, kinds):
            return True
        sides = [node.body, node.orelse] if isinstance(node, ast.If) else []
        if sides and all(always_jumps(side, kinds) for side in sides):
            return True
    return False


def set_flag(name: str, value: bool, place: ast.stmt) -> ast.stmt:
    """Return the statement ``name = value``."""
    target = ast.Name(id=name, ctx=ast.Store())
    return made_at(ast.Assign(targets=[target], value=ast.Constant(value)), place)


def made_at(node: ast.stmt, place: ast.stmt) -> ast.stmt:
    """Give a made statement, and all that was made for it, the place of another."""
    for part in ast.walk(node):
        if not hasattr(part, "lineno"):
            ast.copy_location(part, place)
    return node


def shown_name(name: str) -> str:
    """Return what a name of the device scope is called in emitted code."""
    return name.partition(HIDDEN_MARK)[0].partition(FLAG_MARK)[0]
