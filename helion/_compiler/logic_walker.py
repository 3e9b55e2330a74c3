"""Evaluates ``and``, ``or``, ``not`` and ``in`` on values known at run time."""

from __future__ import annotations

import ast
import operator
from typing import Any

import torch

from .. import exc
from . import symbols
from .branch_walker import BranchWalker, touches_memory
from .evaluator import COMPARE
from .host_function import assigned_names
from .type_info import Unknown


class LogicWalker(BranchWalker):
    """Conditions: what decides comes first, and nothing after it is looked at."""

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        if not self.on_device:
            return super().visit_BoolOp(node)
        return self._logic(node.values, isinstance(node.op, ast.And))

    def _logic(self, operands: list[ast.expr], is_and: bool) -> Any:
        """Return what Python's ``and`` or ``or`` returns, from left to right."""
        left, rest = self.evaluate(operands[0]), operands[1:]
        if not rest or isinstance(left, Unknown):
            return left
        decided = self.static_bool(left)
        if decided is not None:
            return self._logic(rest, is_and) if decided == is_and else left
        check_single(left)
        with self.trial() as builder:
            right = self._logic(rest, is_and)
            reads = touches_memory((builder, {}, right))
        check_single(right)
        if is_bool(left) and self.static_bool(right) == is_and and is_bool(right):
            return left
        written = assigned_names([ast.Expr(operand) for operand in rest])
        if is_bool(left) and is_bool(right) and not reads and not written:
            return self._combine([left, self._logic(rest, is_and)], is_and)
        # Python returns the operand that decides, and does not look further.
        kept = (not is_and) if is_bool(left) else left
        sides = [lambda: self._logic(rest, is_and), lambda: kept]
        return self.select(left, sides if is_and else sides[::-1], written)

    def visit_Compare(self, node: ast.Compare) -> Any:
        tests = (ast.In, ast.NotIn)
        if not self.on_device or not any(isinstance(op, tests) for op in node.ops):
            return super().visit_Compare(node)
        values = [self.evaluate(n) for n in (node.left, *node.comparators)]
        results = []
        for op, left, right in zip(node.ops, values, values[1:], strict=False):
            if not isinstance(op, tests) or not self._has_run_time_item(left, right):
                results.append(self.call(COMPARE[type(op)], [left, right], {}))
                continue
            found = self._is_member(left, list(right))
            results.append(self._not(found) if isinstance(op, ast.NotIn) else found)
        return self._combine(results, is_and=True)

    def _has_run_time_item(self, value: Any, container: Any) -> bool:
        """Whether ``in`` must be worked out when the kernel runs."""
        if not isinstance(container, (list, tuple, set, frozenset, dict, range)):
            return False
        items = [value, *container]
        if any(isinstance(i, torch.Tensor) and i.dim() for i in items):
            return False  # refused where it is called
        return any(isinstance(i, (torch.Tensor, *symbols.SymValue)) for i in items)

    def _is_member(self, value: Any, items: list[Any]) -> Any:
        tests = [self.call(operator.eq, [value, item], {}) for item in items]
        known = [self.static_bool(test) for test in tests]
        if True in known:
            return True
        left = [t for t, k in zip(tests, known, strict=True) if k is None]
        return self._combine(left, is_and=False) if left else False

    def _not(self, value: Any) -> Any:
        if self.on_device and isinstance(value, torch.Tensor) and value.dim():
            raise exc.TypeInferenceError(
                "'not' of a tensor with more than one element", hint="use ~"
            )
        return super()._not(value)


def check_single(value: Any) -> None:
    """Refuse an operand of ``and``/``or`` that has more than one element."""
    if isinstance(value, torch.Tensor) and value.dim():
        raise exc.TypeInferenceError(
            "'and'/'or' of tensors is not defined; use & and |"
        )


def is_bool(value: Any) -> bool:
    """Whether a value is True or False, be it known or not."""
    if isinstance(value, torch.Tensor):
        return value.dtype == torch.bool
    return isinstance(value, (bool, torch.SymBool))
