"""Traces branches: statements and expressions of which one of two sides runs."""

from __future__ import annotations

import ast
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from ..language.debug_ops import device_assert
from . import symbols
from .device_ir import CONTROL_FLOW, ElseGraphInfo, IfGraphInfo, _host_tensor, _if
from .device_statements import AlreadyReported, StatementWalker, Unjoined
from .error_text import describe
from .function_modes import scalar_to_tensor
from .host_function import assigned_names
from .name_lookup import DeviceOnly
from .op_registry import Op
from .predicate_jumps import RESULT, shown_name
from .type_info import merge_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .compile_environment import CompileEnvironment
    from .graph_tracer import GraphBuilder, GraphTracer
    from .host_function import HostFunction

    Side = tuple[GraphBuilder, dict[str, Any], Any]
    Pair = tuple[Any, list[Any]]  # what a branch produces, and its value per side

SCALARS = (int, float, *symbols.SymValue)
CARRIED = (torch.Tensor, *SCALARS)


class BranchWalker(StatementWalker):
    """Branches, with the values that they produce."""

    def __init__(
        self, env: CompileEnvironment, host: HostFunction, tracer: GraphTracer
    ) -> None:
        super().__init__(env, host, tracer)
        self._joined_items: list[_Items] = []

    # -- conditions ----------------------------------------------------------------

    @contextlib.contextmanager
    def trial(self) -> Iterator[GraphBuilder]:
        """Trace code to learn from it; its graphs, names and items are dropped."""
        scope, outer = dict(self.device_scope or {}), self.tracer.builder
        graphs, own = self.tracer.ir.graphs, self._own_containers
        count, known = len(graphs), dict(own)
        copies = [(item, item.copy()) for item, b in known.values() if b is outer]
        try:
            with self.tracer.recording() as builder:
                own.update({id(item): (item, builder) for item, _ in copies})
                yield builder
        finally:
            for item, before in copies:
                item.clear()
                item.extend(before) if isinstance(item, list) else item.update(before)
            self.device_scope, self._own_containers = scope, known
            del graphs[count:]

    def decide(self, test: ast.expr) -> bool | None:
        """Return the truth of a condition if it is known when compiling."""
        with self.trial():
            decided = self.static_bool(self.evaluate(test))
        binds = any(isinstance(n, ast.NamedExpr) for n in ast.walk(test))
        if decided is not None and binds:
            self.evaluate(test)
        return decided

    def predicate(self, value: Any) -> torch.Tensor:
        """Return the 0-d bool tensor of a run-time condition."""
        if isinstance(value, torch.Tensor) and value.dim() > 0:
            raise exc.TypeInferenceError(
                "the condition is a tensor with more than one element",
                hint="use torch.where, or reduce it to a 0-d tensor",
            )
        result = scalar_to_tensor(self.tracer, value)
        return result if result.dtype == torch.bool else result != 0

    def device_If(self, node: ast.If) -> None:
        decided = self.decide(node.test)
        if decided is not None:
            self.statements(node.body if decided else node.orelse)
            return
        predicate = self.predicate(self.evaluate(node.test))
        location = self.host.location(node)
        bodies = (node.body, node.orelse)
        sides = [self._side(lambda body=body: self.statements(body)) for body in bodies]
        written = assigned_names(node.body + node.orelse)
        outputs = self._joined(sides, sorted(written), location)
        self.tracer.location = location
        self._take_results(outputs, self._emit_if(predicate, sides, outputs))
        self._forget(written, None)

    def device_Assert(self, node: ast.Assert) -> None:
        decided = self.decide(node.test)
        if decided:
            return
        text = "" if node.msg is None else self.text_and_values(node.msg)[0]
        condition = ast.unparse(node.test)
        builder = self.tracer.builder
        if decided is False and builder is not None and builder.parent is None:
            raise exc.DeviceAssertionError(
                condition=condition, message=f": {text}" if text else ""
            )
        predicate = self.predicate(self.evaluate(node.test))
        self.tracer.location = self.host.location(node)
        device_assert(predicate, text or condition)

    def _side(self, run: Callable[[], Any]) -> Side:
        """Trace one side of a branch; return its graph, its names and its value."""
        scope = dict(self.device_scope or {})
        errors = len(self.env.errors)
        with self.tracer.recording() as builder:
            value = run()
        assert self.device_scope is not None
        result, self.device_scope = self.device_scope, scope
        if len(self.env.errors) > errors:
            raise AlreadyReported
        return builder, result, value

    def _emit_if(
        self, predicate: torch.Tensor, sides: list[Side], outputs: Any
    ) -> list[torch.Tensor]:
        """Emit a branch that produces the pairs of ``outputs``; return its results."""
        ids = []
        for index, kind in enumerate((IfGraphInfo, ElseGraphInfo)):
            builder = sides[index][0]
            builder.graph.output([builder.lookup(pair[index]) for _, pair in outputs])
            ids.append(self.tracer.ir.add(kind(-1, builder.graph)))
        captured = [side[0].captured for side in sides]
        results = [self.tracer.like(pair[0]) for _, pair in outputs]
        self.tracer.emit(_if, (predicate, *ids, *captured), results)
        return results

    # -- joins ---------------------------------------------------------------------

    def _joined(
        self, sides: list[Side], written: list[str], location: Any
    ) -> list[Pair]:
        """Return what the branch produces: (name or outer tensor, value per side)."""
        before = self.device_scope
        assert before is not None
        outputs: list[Pair] = []
        for name in written:
            absent = DeviceOnly(name)
            pair = [side[1].get(name, absent) for side in sides]
            if name == RESULT:
                pair = self._with_results(sides, pair, absent)
            missing = any(isinstance(v, DeviceOnly) for v in pair)
            old = before.get(name, absent)
            if missing or (pair[0] is old and pair[1] is old):
                before.update({name: absent} if missing else {})
                continue
            try:
                joined = self._join(name, sides, pair)
            except exc.Base as error:
                if name in before and not isinstance(before[name], DeviceOnly):
                    raise
                # It may be that nothing reads the name.
                before[name] = Unjoined(name, error.with_location(location))
                continue
            if joined is None:
                before[name] = pair[0]
            elif isinstance(joined, _Items):
                outputs += joined.pairs
                self._joined_items.append(joined)
            else:
                outputs.append((name, joined))
        named = {id(v) for _, pair in outputs for v in pair}
        return outputs + [(t, [t, t]) for t in _changed_outside(sides, named)]

    def _join(self, name: str, sides: list[Side], pair: list[Any]) -> Any:
        """Return the tensors of a name on both sides, None if it is one constant."""
        if _are_alike_sequences(*pair):
            items = _Items(name, None, [])

            def pair_of(left: Any, right: Any) -> Any:
                items.pairs.append((_Slot(), self._join(name, sides, [left, right])))
                return items.pairs[-1][0]

            items.value = self._chosen(pair, pair_of)
            return items
        if all(isinstance(v, torch.Tensor) for v in pair):
            merge_named(name, *pair)
            return pair
        if same_scalar(*pair):
            return None
        if not all(isinstance(v, CARRIED) for v in pair):
            raise exc.CantCombineTypesInControlFlow(
                name=shown_name(name), left=describe(pair[0]), right=describe(pair[1])
            )
        result = []
        for side, value in zip(sides, pair, strict=True):
            with self._inside(side[0]):
                result.append(scalar_to_tensor(self.tracer, value))
        merge_named(name, *result)
        return result

    def _with_results(
        self, sides: list[Side], pair: list[Any], absent: DeviceOnly
    ) -> list[Any]:
        """Let a side that has not returned yet have a result that nothing reads."""
        for index, value in enumerate(pair):
            if value is absent:
                other = pair[1 - index]
                with self._inside(sides[index][0]):
                    pair[index] = self.nothing_like(other)
        return pair

    def nothing_like(self, value: Any) -> Any:
        """Return a value of the shape and dtype of another; constants as they are."""
        if isinstance(value, SCALARS):
            return type(_stand_in(value))(0)
        if isinstance(value, (list, tuple)):
            items = [self.nothing_like(item) for item in value]
            is_named = hasattr(value, "_fields")
            return type(value)(*items) if is_named else type(value)(items)
        if not isinstance(value, torch.Tensor):
            return value
        with torch._C.DisableTorchFunction():
            sizes = list(value.size())
        args = (sizes, False if value.dtype == torch.bool else 0)
        return self.tracer.emit(
            torch.ops.aten.full.default, args, self.tracer.like(value)
        )

    @contextlib.contextmanager
    def _inside(self, builder: GraphBuilder) -> Iterator[None]:
        """Go on recording into a graph."""
        outer, self.tracer.builder = self.tracer.builder, builder
        try:
            yield
        finally:
            self.tracer.builder = outer

    def _take_results(self, outputs: Any, results: list[torch.Tensor]) -> None:
        targets = [target for target, _ in outputs]
        taken = {id(t): r for t, r in zip(targets, results, strict=True)}
        for items in self._joined_items:
            value = _replaced(items.value, taken)
            is_list = isinstance(value, list)
            self._bind(items.name, self._owned(value) if is_list else value)
        self._joined_items = []
        for target, result in zip(targets, results, strict=True):
            if isinstance(target, str):
                self._bind(target, result)
            elif isinstance(target, torch.Tensor):
                self.replace(target, result)

    def replace(self, target: torch.Tensor, result: torch.Tensor) -> None:
        """Let a tensor that was changed in place stand for its new value."""
        builder = self.tracer.builder
        assert builder is not None
        node = builder.lookup(result)
        assert node is not None
        builder.mutated.append(target)
        builder.bind(target, node)

    def _forget(self, written: set[str], target: ast.expr | None) -> None:
        """Names that only the body binds, and loop variables, are not defined after."""
        assert self.device_scope is not None
        nodes = [] if target is None else ast.walk(target)
        targets = {n.id for n in nodes if isinstance(n, ast.Name)}
        for name in written - self.device_scope.keys() | targets:
            self.device_scope[name] = DeviceOnly(name)

    # -- expressions ---------------------------------------------------------------

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        if not self.on_device:
            return super().visit_IfExp(node)
        decided = self.decide(node.test)
        if decided is not None:
            return self.evaluate(node.body if decided else node.orelse)
        test = self.evaluate(node.test)
        sides = [lambda n=n: self.evaluate(n) for n in (node.body, node.orelse)]
        return self.select(test, sides, assigned_names([ast.Expr(node)]))

    def select(
        self, test: Any, sides: list[Callable[[], Any]], written: set[str]
    ) -> Any:
        """Return the value of one of two sides; only that one touches memory."""
        predicate, place = self.predicate(test), self.tracer.location
        count = len(self.tracer.ir.graphs)
        traced = [self._side(side) for side in sides]
        if not written and not any(map(touches_memory, traced)):
            del self.tracer.ir.graphs[count:]
            values = [side() for side in sides]
            self.tracer.location = place
            return self._chosen(values, lambda a, b: self._where(predicate, a, b))
        outputs = self._joined(traced, sorted(written), place)
        pairs: list[Pair] = []

        def pair_of(left: Any, right: Any) -> _Slot:
            pairs.append((_Slot(), self._alike(traced, [left, right])))
            return pairs[-1][0]

        value = self._chosen([side[2] for side in traced], pair_of)
        self.tracer.location = place
        results = self._emit_if(predicate, traced, outputs + pairs)
        self._take_results(outputs, results[: len(outputs)])
        taken = {id(s): r for (s, _), r in zip(pairs, results[len(outputs) :])}
        return _replaced(value, taken)

    def _chosen(self, values: list[Any], choose: Callable[[Any, Any], Any]) -> Any:
        """Choose between two values, item by item if they are sequences."""
        left, right = values
        if left is right or same_scalar(left, right):
            return left
        if _are_alike_sequences(left, right):
            pairs = zip(left, right, strict=True)
            items = [self._chosen([*pair], choose) for pair in pairs]
            is_named = hasattr(left, "_fields")
            return type(left)(*items) if is_named else type(left)(items)
        if not isinstance(left, CARRIED) or not isinstance(right, CARRIED):
            raise exc.CantCombineTypesInControlFlow(
                name="a conditional expression",
                left=describe(left),
                right=describe(right),
            )
        return choose(left, right)

    def _where(self, predicate: torch.Tensor, left: Any, right: Any) -> Any:
        if not isinstance(left, torch.Tensor) and not isinstance(right, torch.Tensor):
            left = scalar_to_tensor(self.tracer, left)
        return self.call(torch.where, [predicate, left, right], {})

    def _alike(self, sides: list[Side], pair: list[Any]) -> list[Any]:
        """Give the values of two sides one shape and dtype, as torch.where would."""
        both = [_stand_in(value) for value in pair]
        with self.tracer.paused():
            if not any(isinstance(v, torch.Tensor) for v in both):
                both[0] = torch.full([], both[0])
            dtype = torch.result_type(*both)
            shapes = [v.size() for v in both if isinstance(v, torch.Tensor)]
        try:
            shape = list(torch.broadcast_shapes(*shapes))
        except RuntimeError:
            left, right = (describe(v) for v in pair)
            raise exc.ControlFlowTensorMismatch(
                tensor="of a conditional expression",
                difference=f"{left} on one path, {right} on the other",
            ) from None
        result = []
        for side, value in zip(sides, pair, strict=True):
            with self._inside(side[0]), torch._C.DisableTorchFunction():
                tensor = scalar_to_tensor(self.tracer, value).to(dtype)
                result.append(tensor.expand(shape) if shape else tensor)
        return result


class _Slot:
    """Stands for the result of a branch that has no name of its own."""


@dataclass
class _Items:
    """A sequence after a branch; ``value`` has a slot for each pair of tensors."""

    name: str
    value: Any
    pairs: list[Pair]


def _are_alike_sequences(left: Any, right: Any) -> bool:
    is_list = isinstance(left, (list, tuple)) and type(left) is type(right)
    return is_list and left is not right and len(left) == len(right)


def touches_memory(side: Side) -> bool:
    """Whether a graph reads or writes tensors of the host, or has an effect."""
    for node in side[0].graph.nodes:
        is_effect = isinstance(node.target, Op) and node.target.flags.impure
        if is_effect or node.target in (_host_tensor, *CONTROL_FLOW):
            return True
    return bool(side[0].mutated)


def _changed_outside(sides: list[Side], named: set[int]) -> list[torch.Tensor]:
    """Return the tensors of outside that a side changes in place."""
    found: dict[int, torch.Tensor] = {}
    for builder, _, _ in sides:
        for tensor in builder.mutated:
            if not made_here(builder, tensor) and id(tensor) not in named:
                found[id(tensor)] = tensor
    return list(found.values())


def _stand_in(value: Any) -> Any:
    """Return a tensor, or a Python number for a number that is not known."""
    if isinstance(value, symbols.SymValue):
        kinds = {torch.SymInt: 1, torch.SymFloat: 1.0}
        return kinds.get(type(value), True)
    return value


def _replaced(value: Any, taken: dict[int, Any]) -> Any:
    if isinstance(value, (list, tuple)):
        items = [_replaced(v, taken) for v in value]
        is_named = hasattr(value, "_fields")
        return type(value)(*items) if is_named else type(value)(items)
    return taken.get(id(value), value)


def made_here(builder: GraphBuilder, value: torch.Tensor) -> bool:
    """Whether a changed tensor is local to the graph (neither argument nor outer)."""
    return all(value is not c for c in builder.captured) and builder.owns(value)


def same_scalar(left: Any, right: Any) -> bool:
    """Whether two values are one constant or one symbol."""
    if isinstance(left, symbols.SymValue) or isinstance(right, symbols.SymValue):
        same_kind = type(left) is type(right)
        return same_kind and left.node.expr == right.node.expr
    if left is right or isinstance(left, (torch.Tensor, list, tuple, dict)):
        return left is right
    return type(left) is type(right) and left == right
