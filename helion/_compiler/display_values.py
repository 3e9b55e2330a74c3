"""Evaluates displays of device code: comprehensions, f-strings and ``:=``."""

from __future__ import annotations

import ast
import operator
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from . import symbols
from .error_text import describe
from .evaluator import Evaluator
from .traced_tile import TracedTile

if TYPE_CHECKING:
    from collections.abc import Callable

    from .compile_environment import CompileEnvironment
    from .graph_tracer import GraphTracer
    from .host_function import HostFunction

RUN_TIME = (torch.Tensor, TracedTile, *symbols.SymValue)
# What makes a list or dict that nothing else holds.
_MAKERS = (list, dict, set, sorted, operator.add, operator.mul)
_CONVERSIONS = {ord("r"): repr, ord("s"): str, ord("a"): ascii}


class DisplayEvaluator(Evaluator):
    """Expressions with names of their own, and texts."""

    def __init__(
        self, env: CompileEnvironment, host: HostFunction, tracer: GraphTracer
    ) -> None:
        super().__init__(env, host, tracer)
        # Names that belong to a comprehension, whatever the host calls so.
        self._comprehended: set[str] = set()

    def assign(self, target: ast.expr, value: Any) -> None:
        """Bind a value to an assignment target."""
        raise NotImplementedError

    def call(self, function: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        is_range = self.on_device and function is range
        if is_range and any(isinstance(a, RUN_TIME) for a in args):
            raise exc.ShapeSpecializingCall(call="range() inside an expression")
        if function is isinstance and args and isinstance(args[0], symbols.SymValue):
            args = [_of_its_type(args[0]), *args[1:]]
        result = super().call(function, args, kwargs)
        if self.on_device and isinstance(result, (list, dict, set)):
            is_slice = function is operator.getitem and isinstance(args[1], slice)
            is_copy = getattr(function, "__name__", "") in ("copy", "split")
            if is_slice or is_copy or any(function is maker for maker in _MAKERS):
                return self._owned(result)
        return result

    # -- comprehensions --------------------------------------------------------------

    def visit_ListComp(self, node: ast.ListComp) -> Any:
        if not self.on_device:
            return self._native(node)
        return self._owned(
            self._items(node.generators, lambda: self.evaluate(node.elt))
        )

    def visit_SetComp(self, node: ast.SetComp) -> Any:
        if not self.on_device:
            return self._native(node)
        items = self._items(node.generators, lambda: self.evaluate(node.elt))
        return self._owned(set(items))

    def visit_Set(self, node: ast.Set) -> Any:
        if not self.on_device:
            return self._native(node)
        items = self._elements(node.elts)
        # What is known when the kernel runs has no hash.
        is_known = not any(isinstance(item, RUN_TIME) for item in items)
        return self._owned(set(items) if is_known else items)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> Any:
        if not self.on_device:
            return self._native(node)
        return iter(self._items(node.generators, lambda: self.evaluate(node.elt)))

    def visit_DictComp(self, node: ast.DictComp) -> Any:
        if not self.on_device:
            return self._native(node)

        def item() -> tuple[Any, Any]:
            return self.evaluate(node.key), self.evaluate(node.value)

        return self._owned(dict(self._items(node.generators, item)))

    def _items(
        self, generators: list[ast.comprehension], item: Callable[[], Any]
    ) -> list[Any]:
        """Return the items of a comprehension; its names end with it."""
        assert self.device_scope is not None
        targets = [n for g in generators for n in ast.walk(g.target)]
        names = {n.id for n in targets if isinstance(n, ast.Name)}
        before = {n: self.device_scope[n] for n in names & self.device_scope.keys()}
        known, self._comprehended = self._comprehended, self._comprehended | names
        result: list[Any] = []
        self._generate(generators, item, result)
        self._comprehended = known
        for name in names:
            self.device_scope.pop(name, None)
        self.device_scope.update(before)
        return result

    def _generate(
        self,
        generators: list[ast.comprehension],
        item: Callable[[], Any],
        result: list[Any],
    ) -> None:
        if not generators:
            result.append(item())
            return
        for value in self.known_items(self.evaluate(generators[0].iter)):
            self.assign(generators[0].target, value)
            if all(self._is_kept(test) for test in generators[0].ifs):
                self._generate(generators[1:], item, result)

    def _is_kept(self, test: ast.expr) -> bool:
        decided = self.static_bool(self.evaluate(test))
        if decided is None:
            raise exc.TypeInferenceError(
                "the condition of a comprehension is not known when compiling",
                hint="write a loop with `if`, or use torch.where",
            )
        return decided

    def known_items(self, values: Any) -> Any:
        """Return an iterable of items that are known when compiling."""
        if isinstance(values, torch.Tensor):
            return self.call(torch.Tensor.unbind, [values], {})
        if isinstance(values, (TracedTile, type)) or not hasattr(values, "__iter__"):
            raise exc.InvalidDeviceForLoop(type=describe(values))
        return values

    # -- texts -----------------------------------------------------------------------

    def visit_JoinedStr(self, node: ast.JoinedStr) -> Any:
        if not self.on_device:
            return self._native(node)
        return "".join(self._text_of(part) for part in node.values)

    def _text_of(self, part: ast.expr) -> str:
        if not isinstance(part, ast.FormattedValue):
            return str(self.evaluate(part))
        value = self.evaluate(part.value)
        if isinstance(value, RUN_TIME):
            raise exc.UnsupportedPythonType(
                type="an f-string of a run-time value",
                hint="print() and hl.device_print show device values",
            )
        return self._formatted(part, value)

    def _formatted(self, part: ast.FormattedValue, value: Any) -> str:
        if part.conversion in _CONVERSIONS:
            value = _CONVERSIONS[part.conversion](value)
        spec = "" if part.format_spec is None else self.evaluate(part.format_spec)
        return self.call(format, [value, spec], {})

    def evaluate_text(self, node: ast.expr) -> Any:
        """Return the value of an expression; of an f-string only that it is one."""
        return "" if isinstance(node, ast.JoinedStr) else self.evaluate(node)

    def text_and_values(self, node: ast.expr) -> tuple[str, list[Any]]:
        """Return a text with the run-time values that it shows.

        A value of an f-string is shown in the text by its source, in braces.
        """
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        text, values = "", []
        for part in parts:
            is_shown = isinstance(part, ast.FormattedValue)
            value = self.evaluate(part.value if is_shown else part)
            if isinstance(value, RUN_TIME):
                values.append(value)
                shown = part.value if is_shown else part
                text += f"{{{ast.unparse(shown)}}}"
            elif is_shown:
                text += self._formatted(part, value)
            else:
                text += str(value)
        return text, values

    # -- names -----------------------------------------------------------------------

    def visit_NamedExpr(self, node: ast.NamedExpr) -> Any:
        if not self.on_device:
            return super().visit_NamedExpr(node)
        value = self.evaluate(node.value)
        self.assign(node.target, value)
        return value


def _of_its_type(value: Any) -> Any:
    """Return a number of the type that a run-time number has for Python."""
    kinds = {torch.SymInt: 1, torch.SymFloat: 1.0}
    return kinds.get(type(value), True)
