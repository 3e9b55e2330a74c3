"""Removes assignments that nothing reads from an emitted kernel."""

from __future__ import annotations

import ast
from collections import Counter

from .ast_extension import is_comment

_EFFECTS = ("store", "atomic", "debug_barrier", "device_print", "device_assert")


def eliminate_dead_code(body: list[ast.stmt]) -> list[ast.stmt]:
    """Drop pure assignments to names that are never read, until none is left."""
    while True:
        reads = _reads(body)
        kept, changed = _sweep(body, reads)
        if not changed:
            return kept
        body = kept


def _without_idle_comments(body: list[ast.stmt]) -> list[ast.stmt]:
    """Drop comments that no statement follows."""
    kept: list[ast.stmt] = []
    for statement in reversed(body):
        if not is_comment(statement) or (kept and not is_comment(kept[-1])):
            kept.append(statement)
    return kept[::-1]


def _reads(body: list[ast.stmt]) -> Counter[str]:
    reads: Counter[str] = Counter()
    for statement in body:
        _count(statement, reads)
    return reads


def _count(node: ast.AST, reads: Counter[str]) -> None:
    """Count loads; a variable that only feeds its own update is not read."""
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        own = node.targets[0].id
        before = reads[own]
        _count(node.value, reads)
        reads[own] = before
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        reads[node.id] += 1
        return
    for child in ast.iter_child_nodes(node):
        _count(child, reads)


def _sweep(body: list[ast.stmt], reads: Counter[str]) -> tuple[list[ast.stmt], bool]:
    kept: list[ast.stmt] = []
    changed = False
    if len(body) == 1 and isinstance(body[0], ast.Pass):
        return [], False
    for statement in body:
        if _is_dead(statement, reads):
            changed = True
            continue
        if isinstance(statement, (ast.For, ast.While, ast.If)):
            statement.body, inner = _sweep(statement.body, reads)
            statement.orelse, other = _sweep(statement.orelse, reads)
            changed |= inner or other
            is_empty = not statement.body and not statement.orelse
            if is_empty and not isinstance(statement, ast.While):
                changed = True
                continue
            if not statement.body and isinstance(statement, ast.If):
                _turn_round(statement)
            statement.body = statement.body or [ast.Pass()]
        kept.append(statement)
    return _without_idle_comments(kept), changed


def _turn_round(node: ast.If) -> None:
    """Let the other side of a branch be the only one."""
    node.test = ast.UnaryOp(op=ast.Not(), operand=node.test)
    node.body, node.orelse = node.orelse, []


def _is_dead(statement: ast.stmt, reads: Counter[str]) -> bool:
    if isinstance(statement, ast.Pass):
        return True
    if not isinstance(statement, ast.Assign):
        return False
    (target,) = statement.targets
    if not isinstance(target, ast.Name) or reads[target.id]:
        return False
    return not has_effect(statement.value)


def has_assert(node: ast.AST) -> bool:
    """Whether a statement checks something, which Triton does if told to."""
    names = [n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)]
    return "device_assert" in names


def has_effect(value: ast.expr) -> bool:
    """Whether evaluating an expression does more than give a value."""
    for node in ast.walk(value):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Name) and function.id != "float":
            return True
        if isinstance(function, ast.Attribute) and function.attr.startswith(_EFFECTS):
            return True
    return False
