"""Traces the loops and branches of device code into graphs."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from . import symbols
from .ast_extension import LoopType, facts
from .device_ir import (
    ElseGraphInfo,
    ForLoopGraphInfo,
    IfGraphInfo,
    WhileConditionGraphInfo,
    WhileLoopGraphInfo,
    _for_loop,
    _if,
    _while_loop,
)
from .device_statements import AlreadyReported, StatementWalker
from .error_text import describe
from .evaluator import is_op
from .function_modes import scalar_to_tensor
from .host_function import assigned_names, read_names
from .loop_bounds import LoopBounds
from .name_lookup import DeviceOnly
from .traced_tile import TracedTile
from .type_info import Unknown, merge_named

if TYPE_CHECKING:
    from collections.abc import Callable

    from .graph_tracer import GraphBuilder

MAX_UNROLL = 4096
_SCALARS = (int, float, *symbols.SymValue)
_CARRIED = (torch.Tensor, *_SCALARS)


@dataclass
class Carried:
    """A value that a loop hands to its next turn."""

    names: list[str]
    initial: torch.Tensor
    inside: torch.Tensor


@dataclass
class Body:
    """A traced loop body: its graph so far and the values it carries."""

    builder: GraphBuilder
    carried: list[Carried] = field(default_factory=list)
    finals: dict[str, Any] = field(default_factory=dict)


class DeviceWalker(StatementWalker):
    """Loops and branches, with the values that they carry."""

    # -- loops ---------------------------------------------------------------------

    def device_For(self, node: ast.For) -> None:
        facts(node).loop_type = LoopType.DEVICE
        if node.orelse:
            raise exc.DeviceLoopElseBlock(loop="a device loop")
        bounds = self.loop_bounds(node)
        if bounds is None:
            self._unroll(node)
            return
        blocks = self.loop_blocks(node, bounds)
        steps = bounds.sizes if bounds.kind == "grid" else []
        written = assigned_names(node.body)

        def run() -> None:
            self.assign(node.target, self.loop_variable(bounds, blocks))
            self.statements(node.body)

        body = self._trace_body(written, run)
        outputs = self._changed(body)
        nodes = [body.builder.lookup(value) for _, _, value in outputs]
        body.builder.graph.output(nodes)
        info = ForLoopGraphInfo(-1, body.builder.graph, blocks, steps)
        pairs = list(zip(bounds.begins, bounds.ends, strict=True))
        inputs = [c.initial for c in body.carried] + body.builder.captured
        indices = [index for index, _, _ in outputs]
        results = [self.tracer.like(value) for _, _, value in outputs]
        args = (self.tracer.ir.add(info), pairs, inputs, indices)
        self.tracer.location = self.host.location(node)
        self.tracer.emit(_for_loop, args, results)
        self._rebind(body, outputs, results)
        self._forget(written, node.target)

    def loop_bounds(self, node: ast.For) -> LoopBounds | None:
        """Return the axes of a tile or grid loop, None for a loop to be unrolled."""
        if not isinstance(node.iter, ast.Call):
            return None
        function = self.evaluate(node.iter.func)
        kind = "grid" if function is range else getattr(function, "name", "")
        is_loop = is_op(function, "tile", "grid", "reduction")
        if not is_loop and function is not range:
            return None
        args = self._elements(node.iter.args)
        kwargs = {str(k.arg): self.evaluate(k.value) for k in node.iter.keywords}
        try:
            return LoopBounds.parse(kind, args, kwargs)
        except exc.Base as error:
            raise error.with_location(
                self.host.location(node.iter)
            ) from error.__cause__

    def loop_blocks(self, node: ast.For, bounds: LoopBounds) -> list[int]:
        """Return the axes of a loop, allocating them on the first visit."""
        known = facts(node).block_ids
        sizes = [self.env.block_sizes[b].numel for b in known]
        if known and all(a is b for a, b in zip(sizes, _numels(bounds), strict=True)):
            return known
        names = [n.id for n in ast.walk(node.target) if isinstance(n, ast.Name)]
        blocks = []
        for axis in range(len(bounds.ends)):
            hint = names[axis] if len(names) == len(bounds.ends) else ""
            blocks.append(self.allocate_axis(bounds, axis, hint))
            self.env.block_sizes[blocks[-1]].loop_end = bounds.ends[axis]
        facts(node).block_ids = blocks
        return blocks

    def allocate_axis(self, bounds: LoopBounds, axis: int, hint: str) -> int:
        """Make the axis of one loop dimension, or take a registered block size's."""
        size, numel = bounds.sizes[axis], bounds.numel(axis)
        if bounds.kind == "grid":
            return self.env.allocate_block_size(
                numel, kind="grid", fixed=1, hint=hint
            ).block_id
        if isinstance(size, torch.SymInt):
            registered = self.env.registered_block(size)
            if registered is not None:
                return registered.block_id
        info = self.env.allocate_block_size(numel, fixed=size, hint=hint)
        info.is_chunked = bounds.kind == "reduction"
        info.bounded_by = self.env.enclosing_tile(
            bounds.begins[axis], bounds.ends[axis]
        )
        return info.block_id

    def loop_variable(self, bounds: LoopBounds, blocks: list[int]) -> Any:
        """Return what the loop target is bound to."""
        items = [self._loop_item(bounds.kind, block) for block in blocks]
        return tuple(items) if bounds.is_list else items[0]

    def _loop_item(self, kind: str, block: int) -> Any:
        if kind == "grid":
            return self.env.grid_index(block)
        return TracedTile(self.env, self.env.block_sizes[block])

    def _unroll(self, node: ast.For) -> None:
        values = self.evaluate(node.iter)
        refused = (torch.Tensor, TracedTile, type)
        if isinstance(values, refused) or not hasattr(values, "__iter__"):
            raise exc.InvalidDeviceForLoop(type=describe(values))
        for count, value in enumerate(values):
            if count >= MAX_UNROLL:
                raise exc.StatementNotSupported(
                    construct=f"a loop unrolled {MAX_UNROLL} times"
                )
            self.assign(node.target, value)
            self.statements(node.body)

    def _trace_body(self, written: set[str], run: Callable[[], None]) -> Body:
        """Trace a loop body, again if it turns out to carry more than was seen."""
        extra: list[torch.Tensor] = []
        while True:
            num_graphs, num_errors = len(self.tracer.ir.graphs), len(self.env.errors)
            scope = dict(self.device_scope or {})
            with self.tracer.recording() as builder:
                body = Body(builder, self._enter(builder, written, extra))
                run()
            assert self.device_scope is not None
            body.finals = self.device_scope
            self.device_scope = scope
            if len(self.env.errors) > num_errors:
                raise AlreadyReported
            inside = {id(c.inside) for c in body.carried}
            found = [t for t in builder.mutated if id(t) not in inside]
            found = [t for t in found if not _made_here(builder, t)]
            scalars = self._changed_scalars(body, written)
            self._check_constants(body, written)
            if not found and not scalars:
                return body
            extra += found
            for name in scalars:
                self._make_tensor(name)
            del self.tracer.ir.graphs[num_graphs:]

    def _enter(
        self, builder: GraphBuilder, written: set[str], extra: list[torch.Tensor]
    ) -> list[Carried]:
        """Make arguments for the values that the body may replace."""
        assert self.device_scope is not None
        carried: dict[int, Carried] = {}
        scope = self.device_scope
        wanted = {id(t) for t in extra}
        wanted |= {id(scope[n]) for n in written if n in scope}
        for name in scope:
            value = scope[name]
            if not isinstance(value, torch.Tensor) or id(value) not in wanted:
                continue
            if id(value) not in carried:
                inside = self._argument(builder, name, value)
                carried[id(value)] = Carried([], value, inside)
            carried[id(value)].names.append(name)
            scope[name] = carried[id(value)].inside
        return list(carried.values())

    def _argument(
        self, builder: GraphBuilder, name: str, value: torch.Tensor
    ) -> torch.Tensor:
        inside = self.tracer.like(value)
        node = builder.placeholder(name, inside)
        node.meta["name"] = name
        builder.bind(inside, node)
        return inside

    def _changed_scalars(self, body: Body, written: set[str]) -> list[str]:
        before = self.device_scope or {}
        names = sorted(n for n in written if isinstance(before.get(n), _SCALARS))
        return [n for n in names if not _same_scalar(before[n], body.finals.get(n))]

    def _check_constants(self, body: Body, written: set[str]) -> None:
        """Refuse a loop that rebinds what is neither a tensor nor a number."""
        for name, value in (self.device_scope or {}).items():
            final = body.finals.get(name)
            is_free = isinstance(value, (*_CARRIED, DeviceOnly, Unknown))
            if name in written and not is_free and not _same_scalar(value, final):
                raise exc.CantCombineTypesInControlFlow(
                    name=name, left=describe(value), right=describe(final)
                )

    def _make_tensor(self, name: str) -> None:
        assert self.device_scope is not None
        value = scalar_to_tensor(self.tracer, self.device_scope[name])
        self.device_scope[name] = value

    def _changed(self, body: Body) -> list[tuple[int, list[str], torch.Tensor]]:
        """Return (argument index, names, final value) of what the body replaced."""
        changed: list[tuple[int, list[str], torch.Tensor]] = []
        spare: list[Carried] = []
        for index, item in enumerate(body.carried):
            finals: dict[int, tuple[list[str], Any]] = {}
            for name in item.names:
                final = body.finals[name]
                if final is item.inside and not _is_updated(body.builder, final):
                    continue
                merge_named(name, item.initial, final)
                finals.setdefault(id(final), ([], final))[0].append(name)
            for names, final in finals.values():
                if changed and changed[-1][0] == index:
                    inside = self._argument(body.builder, names[0], item.initial)
                    spare.append(Carried(names, item.initial, inside))
                    changed.append((-len(spare), names, final))
                else:
                    changed.append((index, names, final))
        start = len(body.carried)
        if spare and body.builder.captured:
            raise exc.StatementNotSupported(
                construct="two names of one tensor that a loop rebinds differently"
            )
        body.carried += spare
        return [(i if i >= 0 else start - i - 1, n, f) for i, n, f in changed]

    def _rebind(self, body: Body, outputs: Any, results: list[torch.Tensor]) -> None:
        for (_, names, _), result in zip(outputs, results, strict=True):
            for name in names:
                self._bind(name, result)

    def _forget(self, written: set[str], target: ast.expr | None) -> None:
        """Names that only the body binds are not defined after it."""
        assert self.device_scope is not None
        bound = written | (
            {n.id for n in ast.walk(target) if isinstance(n, ast.Name)}
            if target is not None
            else set()
        )
        for name in bound - self.device_scope.keys():
            self.device_scope[name] = DeviceOnly(name)

    def device_While(self, node: ast.While) -> None:
        if node.orelse:
            raise exc.StatementNotSupported(construct="while ... else")
        can_end = bool(read_names(node.test) & assigned_names(node.body))
        for _ in range(MAX_UNROLL):
            with self._scratch():
                decided = self.static_bool(self.evaluate(node.test))
            if decided and not can_end:
                raise exc.StatementNotSupported(construct="an endless while")
            if decided is None:
                self._traced_while(node)
                return
            if not decided:
                return
            self.statements(node.body)
        raise exc.StatementNotSupported(construct=f"a while of {MAX_UNROLL} turns")

    def _scratch(self) -> Any:
        return self.tracer.recording()

    def _traced_while(self, node: ast.While) -> None:
        written = assigned_names(node.body)
        assert self.device_scope is not None
        for name in sorted(written & self.device_scope.keys()):
            if isinstance(self.device_scope[name], _SCALARS):
                self._make_tensor(name)
        tests: list[Any] = []
        condition = self._trace_body(
            written, lambda: tests.append(self._predicate(node.test))
        )
        condition.builder.graph.output([condition.builder.lookup(tests[-1])])
        body = self._trace_body(written, lambda: self.statements(node.body))
        outputs = []
        for index, item in enumerate(body.carried):
            final = body.finals[item.names[0]]
            merge_named(item.names[0], item.initial, final)
            outputs.append((index, item.names, final))
        body.builder.graph.output([body.builder.lookup(f) for _, _, f in outputs])
        ir = self.tracer.ir
        ids = (
            ir.add(WhileConditionGraphInfo(-1, condition.builder.graph)),
            ir.add(WhileLoopGraphInfo(-1, body.builder.graph, len(body.carried))),
        )
        initial = [c.initial for c in body.carried]
        results = [self.tracer.like(f) for _, _, f in outputs]
        captured = (condition.builder.captured, body.builder.captured)
        self.tracer.location = self.host.location(node)
        self.tracer.emit(_while_loop, (*ids, initial, *captured), results)
        self._rebind(body, outputs, results)
        self._forget(written, None)

    # -- branches ------------------------------------------------------------------

    def _predicate(self, node: ast.expr) -> torch.Tensor:
        value = self.evaluate(node)
        if isinstance(value, torch.Tensor) and value.dim() > 0:
            raise exc.TypeInferenceError(
                "the condition is a tensor with more than one element",
                hint="use torch.where, or reduce it to a 0-d tensor",
            )
        result = scalar_to_tensor(self.tracer, value)
        return result if result.dtype == torch.bool else result != 0

    def device_If(self, node: ast.If) -> None:
        with self._scratch():
            decided = self.static_bool(self.evaluate(node.test))
        if decided is not None:
            self.statements(node.body if decided else node.orelse)
            return
        predicate = self._predicate(node.test)
        written = assigned_names(node.body + node.orelse)
        sides = [self._side(body) for body in (node.body, node.orelse)]
        outputs = self._joined(sides, sorted(written))
        graphs = (IfGraphInfo, ElseGraphInfo)
        ids = []
        for index, (builder, _) in enumerate(sides):
            builder.graph.output([builder.lookup(pair[index]) for _, pair in outputs])
            ids.append(self.tracer.ir.add(graphs[index](-1, builder.graph)))
        captured = [builder.captured for builder, _ in sides]
        results = [self.tracer.like(pair[0]) for _, pair in outputs]
        self.tracer.location = self.host.location(node)
        self.tracer.emit(_if, (predicate, *ids, *captured), results)
        self._take_results(outputs, results)
        self._forget(written, None)

    def _side(self, body: list[ast.stmt]) -> tuple[GraphBuilder, dict[str, Any]]:
        """Trace one side of a branch; return its graph and its names."""
        scope = dict(self.device_scope or {})
        errors = len(self.env.errors)
        with self.tracer.recording() as builder:
            self.statements(body)
        assert self.device_scope is not None
        result, self.device_scope = self.device_scope, scope
        if len(self.env.errors) > errors:
            raise AlreadyReported
        return builder, result

    def _joined(self, sides: Any, written: list[str]) -> list[tuple[Any, list[Any]]]:
        """Return what the branch produces: (name or outer tensor, value per side)."""
        before = self.device_scope or {}
        outputs: list[tuple[Any, list[Any]]] = []
        for name in written:
            absent = DeviceOnly(name)
            pair = [scope.get(name, absent) for _, scope in sides]
            missing = any(isinstance(v, DeviceOnly) for v in pair)
            if missing or (pair[0] is before.get(name) and pair[1] is pair[0]):
                continue
            if all(isinstance(v, torch.Tensor) for v in pair):
                merge_named(name, *pair)
            elif _same_scalar(*pair):
                before[name] = pair[0]
                continue
            else:
                pair = self._as_tensors(name, sides, pair)
            outputs.append((name, pair))
        named = {id(v) for _, pair in outputs for v in pair}
        outer = [t for b, _ in sides for t in b.mutated if not _made_here(b, t)]
        for tensor in {id(t): t for t in outer}.values():
            if id(tensor) not in named:
                outputs.append((tensor, [tensor, tensor]))
        return outputs

    def _as_tensors(self, name: str, sides: Any, pair: list[Any]) -> list[Any]:
        if not all(isinstance(v, _CARRIED) for v in pair):
            raise exc.CantCombineTypesInControlFlow(
                name=name, left=describe(pair[0]), right=describe(pair[1])
            )
        result = []
        for (builder, _), value in zip(sides, pair, strict=True):
            outer, self.tracer.builder = self.tracer.builder, builder
            try:
                result.append(scalar_to_tensor(self.tracer, value))
            finally:
                self.tracer.builder = outer
        merge_named(name, *result)
        return result

    def _take_results(self, outputs: Any, results: list[torch.Tensor]) -> None:
        builder = self.tracer.builder
        assert builder is not None
        for (target, _), result in zip(outputs, results, strict=True):
            if isinstance(target, str):
                self._bind(target, result)
            else:
                node = builder.lookup(result)
                assert node is not None
                builder.mutated.append(target)
                builder.bind(target, node)


def _numels(bounds: LoopBounds) -> list[Any]:
    return [bounds.numel(axis) for axis in range(len(bounds.ends))]


def _made_here(builder: GraphBuilder, value: torch.Tensor) -> bool:
    """Whether a changed tensor is local to the graph (neither argument nor outer)."""
    return all(value is not c for c in builder.captured) and builder.owns(value)


def _is_updated(builder: GraphBuilder, value: torch.Tensor) -> bool:
    return builder.nodes[id(value)][1].op != "placeholder"


def _same_scalar(left: Any, right: Any) -> bool:
    if isinstance(left, symbols.SymValue) or isinstance(right, symbols.SymValue):
        same_kind = type(left) is type(right)
        return same_kind and left.node.expr == right.node.expr
    if left is right or isinstance(left, (torch.Tensor, list, tuple, dict)):
        return left is right
    return type(left) is type(right) and left == right
