"""Traces the loops of device code into graphs."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .ast_extension import LoopType, facts
from .branch_walker import CARRIED, SCALARS, made_here, same_scalar
from .device_ir import (
    ForLoopGraphInfo,
    WhileConditionGraphInfo,
    WhileLoopGraphInfo,
    _for_loop,
    _while_loop,
)
from .device_statements import AlreadyReported
from .error_text import describe
from .evaluator import is_op, raw_extents
from .function_modes import scalar_to_tensor
from .host_function import assigned_names, read_names
from .logic_walker import LogicWalker
from .loop_bounds import LoopBounds
from .name_lookup import DeviceOnly
from .predicate_jumps import RESULT, PlainLoop, own_jumps, plain_loop, shown_name
from .traced_tile import TracedTile
from .type_info import Unknown, merge_named

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .compile_environment import CompileEnvironment
    from .graph_tracer import GraphBuilder, GraphTracer
    from .host_function import HostFunction

MAX_UNROLL = 4096


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


class DeviceWalker(LogicWalker):
    """Loops, with the values that they carry."""

    def __init__(
        self, env: CompileEnvironment, host: HostFunction, tracer: GraphTracer
    ) -> None:
        super().__init__(env, host, tracer)
        self._plain_loops: dict[int, PlainLoop] = {}

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
        self.tracer.jagged.enter(bounds, blocks)
        steps = bounds.sizes if bounds.kind == "grid" else []
        loop = self.plain(node)
        written = assigned_names(loop.body)
        self.statements(loop.before)

        def run() -> None:
            self.assign(node.target, self.loop_variable(bounds, blocks))
            self.statements(loop.body)

        body = self._trace_body(written, run)
        if self._begin_result(body, blocks):
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

    def plain(self, node: ast.For | ast.While) -> PlainLoop:
        """Return the statements of a loop without jumps, the same on each visit."""
        if id(node) not in self._plain_loops:
            self._plain_loops[id(node)] = plain_loop(node)
        return self._plain_loops[id(node)]

    def launch_body(self, node: ast.For) -> list[ast.stmt]:
        """Return the body of a top-level loop without jumps."""
        for jump in own_jumps(node.body):
            if isinstance(jump, ast.Break):
                raise exc.UnsupportedPythonType(
                    type="'break' out of a loop whose tiles run in parallel",
                    hint="use `continue` to skip a tile, or break out of an inner loop",
                ).with_location(self.host.location(jump))
        return self.plain(node).body

    def loop_bounds(self, node: ast.For) -> LoopBounds | None:
        """Return the axes of a tile or grid loop, None for a loop to be unrolled."""
        if not isinstance(node.iter, ast.Call):
            return None
        function = self.evaluate(node.iter.func)
        kind = "grid" if function is range else getattr(function, "name", "")
        is_loop = is_op(function, "tile", "grid", "reduction", "jagged_tile")
        if not is_loop and function is not range:
            return None
        args = self._elements(node.iter.args)
        kwargs = {str(k.arg): self.evaluate(k.value) for k in node.iter.keywords}
        try:
            if kind == "jagged_tile":
                return self.tracer.jagged.loop_bounds(args, kwargs)
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
            self._check_is_free(blocks)
            self.env.block_sizes[blocks[-1]].loop_end = bounds.ends[axis]
        facts(node).block_ids = blocks
        return blocks

    def _check_is_free(self, blocks: list[int]) -> None:
        """Refuse an axis that a loop around this one, or this one, walks already."""
        scope = self.device_scope or {}
        held = [v if isinstance(v, tuple) else (v,) for v in scope.values()]
        tiles = [t for group in held for t in group if isinstance(t, TracedTile)]
        if blocks[-1] in [*blocks[:-1], *(tile.block_id for tile in tiles)]:
            raise exc.NestedDeviceLoopsConflict()

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
        self.tracer.nested.note_tile(block)
        if kind == "grid":
            return self.env.grid_index(block)
        return TracedTile(self.env, self.env.block_sizes[block])

    def _unroll(self, node: ast.For) -> None:
        values = self.evaluate(node.iter)
        refused = (torch.Tensor, TracedTile, type)
        if isinstance(values, refused) or not hasattr(values, "__iter__"):
            raise exc.InvalidDeviceForLoop(type=describe(values))
        loop = self.plain(node)
        self.statements(loop.before)
        assert self.device_scope is not None
        for count, value in enumerate(values):
            if count >= MAX_UNROLL:
                raise exc.StatementNotSupported(
                    construct=f"a loop unrolled {MAX_UNROLL} times"
                )
            self.assign(node.target, value)
            self._turn(loop)
            if loop.going and self.device_scope[loop.going] is False:
                return  # a break that is decided while compiling

    def _turn(self, loop: PlainLoop) -> None:
        """Visit the body of an unrolled loop; after an error there is no next turn."""
        errors = len(self.env.errors)
        self.statements(loop.body)
        if len(self.env.errors) > errors:
            raise AlreadyReported

    def _begin_result(self, body: Body, blocks: list[int]) -> bool:
        """Give the result of a function that returns in a loop a value before it."""
        assert self.device_scope is not None
        final = body.finals.get(RESULT)
        is_known = final is None or isinstance(final, CARRIED)
        if RESULT in self.device_scope or not is_known or RESULT not in body.finals:
            return False
        if isinstance(final, torch.Tensor):
            infos = [self.env.block_of(size) for size in raw_extents([final])]
            if any(info is not None and info.block_id in blocks for info in infos):
                return False
        self.device_scope[RESULT] = self.nothing_like(final)
        return True

    def _trace_body(
        self,
        written: set[str],
        run: Callable[[], None],
        carried: Sequence[torch.Tensor] = (),
    ) -> Body:
        """Trace a loop body, again if it turns out to carry more than was seen."""
        extra = [*carried]
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
            found = [t for t in found if not made_here(builder, t)]
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
        for value in extra:
            # Only a list or a caller holds it: in the body it stands for itself.
            if id(value) not in carried:
                builder.bind(value, builder.placeholder("changed", value))
                carried[id(value)] = Carried([], value, value)
        return list(carried.values())

    def _argument(
        self, builder: GraphBuilder, name: str, value: torch.Tensor
    ) -> torch.Tensor:
        inside = self.tracer.like(value)
        node = builder.placeholder(shown_name(name), inside)
        node.meta["name"] = shown_name(name)
        builder.bind(inside, node)
        return inside

    def _changed_scalars(self, body: Body, written: set[str]) -> list[str]:
        before = self.device_scope or {}
        names = sorted(n for n in written if isinstance(before.get(n), SCALARS))
        return [n for n in names if not same_scalar(before[n], body.finals.get(n))]

    def _check_constants(self, body: Body, written: set[str]) -> None:
        """Refuse a loop that rebinds what is neither a tensor nor a number."""
        for name, value in (self.device_scope or {}).items():
            final = body.finals.get(name)
            is_free = isinstance(value, (*CARRIED, DeviceOnly, Unknown))
            if name in written and not is_free and not same_scalar(value, final):
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
            if not item.names and _is_updated(body.builder, item.inside):
                finals[id(item.inside)] = [], item.inside
            for name in item.names:
                final = body.finals[name]
                if final is item.inside and not _is_updated(body.builder, final):
                    continue
                merge_named(name, item.initial, final)
                finals.setdefault(id(final), ([], final))[0].append(name)
            for names, final in finals.values():
                if names and changed and changed[-1][0] == index:
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
        for (_, names, final), result in zip(outputs, results, strict=True):
            for name in names:
                self._bind(name, result)
            if not names:
                self.replace(final, result)

    def device_While(self, node: ast.While) -> None:
        if node.orelse:
            raise exc.StatementNotSupported(construct="while ... else")
        loop = self.plain(node)
        assert loop.test is not None
        self.statements(loop.before)
        can_end = bool(read_names(loop.test) & assigned_names(loop.body))
        for _ in range(MAX_UNROLL):
            decided = self.decide(loop.test)
            if decided and not can_end:
                raise exc.StatementNotSupported(construct="an endless while")
            if decided and loop.going and not self._stays_known(loop):
                decided = None
            if decided is None:
                self._traced_while(node, loop)
                return
            if not decided:
                return
            self._turn(loop)
        raise exc.StatementNotSupported(construct=f"a while of {MAX_UNROLL} turns")

    def _stays_known(self, loop: PlainLoop) -> bool:
        """Whether it is known when compiling if a turn ends the loop."""
        errors = len(self.env.errors)
        with self.trial():
            self.statements(loop.body)
            assert self.device_scope is not None
            going = self.device_scope[loop.going or ""]
        if len(self.env.errors) > errors:
            raise AlreadyReported
        return isinstance(going, bool)

    def _traced_while(self, node: ast.While, loop: PlainLoop) -> None:
        written = assigned_names(loop.body)
        assert self.device_scope is not None and loop.test is not None
        test = loop.test
        for name in sorted(written & self.device_scope.keys()):
            if isinstance(self.device_scope[name], SCALARS):
                self._make_tensor(name)
        body = self._while_body(loop, written)
        # Both graphs take what the body carries.
        extra = [item.initial for item in body.carried]
        tests: list[Any] = []

        def condition_of() -> None:
            tests.append(self.predicate(self.evaluate(test)))

        condition = self._trace_body(written, condition_of, extra)
        condition.builder.graph.output([condition.builder.lookup(tests[-1])])
        outputs = []
        for index, item in enumerate(body.carried):
            final = body.finals[item.names[0]] if item.names else item.inside
            merge_named((item.names or ["a tensor"])[0], item.initial, final)
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

    def _while_body(self, loop: PlainLoop, written: set[str]) -> Body:
        """Trace the body of a while in which names of one tensor stay so."""
        while True:
            graphs = len(self.tracer.ir.graphs)
            body = self._trace_body(written, lambda: self.statements(loop.body))
            if self._begin_result(body, []):
                continue
            split = [n for c in body.carried for n in _parted(c, body.finals)]
            if not split:
                return body
            del self.tracer.ir.graphs[graphs:]
            assert self.device_scope is not None and self.tracer.builder is not None
            for name in split:
                node = self.tracer.node_of(self.device_scope[name])
                alias = self.tracer.like(self.device_scope[name])
                self.tracer.builder.bind(alias, node)
                self.device_scope[name] = alias


def _parted(item: Carried, finals: dict[str, Any]) -> list[str]:
    """Return names of one tensor that a body rebinds to another than the first."""
    return [n for n in item.names[1:] if finals[n] is not finals[item.names[0]]]


def _numels(bounds: LoopBounds) -> list[Any]:
    return [bounds.numel(axis) for axis in range(len(bounds.ends))]


def _is_updated(builder: GraphBuilder, value: torch.Tensor) -> bool:
    return builder.nodes[id(value)][1].op != "placeholder"
