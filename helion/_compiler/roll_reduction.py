"""Makes a second version of graphs, in which a reduced axis is walked in chunks.

Reductions that do not wait for each other share a loop, which loads each row once;
what a later loop needs of the row is computed again. Softmax of a long row becomes
three loops: maximum, sum, write.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import fx
from torch.fx.node import map_arg

from ..language.memory_ops import load
from .compiler_pass import compiler_pass
from .device_ir import ReductionLoopGraphInfo, RolledReduction, _reduction_loop
from .fuse_reductions import fuse_reductions
from .lowering import lowering_of
from .roll_legality import GraphOnAxis, NotRollable, accesses_of, is_effect, is_symbol
from .sink_masks import sink_masks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .compile_environment import BlockSizeInfo, CompileEnvironment
    from .device_ir import DeviceIR, GraphInfo
    from .roll_legality import Graphs

MAX_JOINT = 3
"""Of how many axes at a time it is known whether all can be walked in chunks."""

Unit = fx.Node | int
"""What the new graph consists of: an outer node, or a loop by its level."""


@compiler_pass("roll")
def roll_reductions(ir: DeviceIR, env: CompileEnvironment) -> DeviceIR:
    """Give every reduced axis that can be walked in chunks its own set of graphs."""
    plain = {info.graph_id: info for info in ir.graphs}
    next_id = len(ir.graphs)
    for info in list(env.block_sizes):
        with contextlib.suppress(NotRollable):
            rolled = _roll_axis(plain, env, info, next_id)
            ir.rolled_reductions[info.block_id] = rolled
            next_id += len(rolled.loops)
    axes = list(ir.rolled_reductions)
    for count in range(2, min(len(axes), MAX_JOINT) + 1):
        for chosen in itertools.combinations(axes, count):
            with contextlib.suppress(NotRollable):
                next_id = _roll_jointly(ir, env, chosen, next_id)
    return ir


def _roll_jointly(
    ir: DeviceIR, env: CompileEnvironment, axes: tuple[int, ...], next_id: int
) -> int:
    """Roll the last of several axes in the clones along the others, if they overlap."""
    *others, last = axes
    if ir.are_apart(axes) or not ir.can_roll(others):
        return next_id
    base = ir.graphs_for(others)
    rolled = _roll_axis(base, env, env.block_sizes[last], next_id)
    ir.joint_rolls[axes] = {**base, **rolled.graphs, **rolled.loops}
    return next_id + len(rolled.loops)


def is_rollable(ir: DeviceIR, env: CompileEnvironment, block_id: int) -> str | None:
    """Return why an axis cannot be walked in chunks, None if it can."""
    plain = {info.graph_id: info for info in ir.graphs}
    try:
        _roll_axis(plain, env, env.block_sizes[block_id], len(plain))
    except NotRollable as refusal:
        return str(refusal)
    return None


def _roll_axis(
    graphs: Graphs, env: CompileEnvironment, info: BlockSizeInfo, next_id: int
) -> RolledReduction:
    if not info.is_reduction or info.extent == 1:
        raise NotRollable("the axis is not reduced, or has one element")
    views = {
        graph_id: GraphOnAxis(graphs, fuse_reductions(g.graph, info, env), info)
        for graph_id, g in graphs.items()
    }
    for view in views.values():
        view.check()
    rolled = RolledReduction(info.block_id, {}, {})
    for graph_id, view in views.items():
        if not view.inner:
            continue
        builder = _Builder(graphs[graph_id], env, LoopPlan.of(view))
        rolled.graphs[graph_id] = builder.build(next_id + len(rolled.loops))
        rolled.loops.update({loop.graph_id: loop for loop in builder.loops})
    if not rolled.graphs:
        raise NotRollable("no graph works along the axis")
    return rolled


# -- which node goes to which loop -----------------------------------------------------


@dataclass
class LoopPlan:
    """Where the nodes of one graph go.

    ``levels`` holds the loop of each root and the number of loops that must have ended
    before each outer node; ``loops`` the nodes of each loop, by its level.
    """

    view: GraphOnAxis
    order: list[tuple[fx.Node, fx.Node]]
    levels: dict[fx.Node, int]
    loops: dict[int, set[fx.Node]]

    @classmethod
    def of(cls, view: GraphOnAxis) -> LoopPlan:
        """Find the earliest loop for everything."""
        plan = cls(view, list(_ordered_pairs(view)), {}, {})
        floors: dict[fx.Node, int] = {}
        # Each turn pushes something to a later loop, and there are no more loops
        # than nodes unless two nodes push each other.
        for _ in range(len(view.nodes) + 1):
            plan.levels = plan._levels(floors)
            plan.loops = plan._loops()
            pushed = plan._floors()
            if pushed == floors:
                plan._check_shared_loops()
                return plan
            floors = pushed
        raise NotRollable("accesses of one tensor cannot be kept in order")

    def _levels(self, floors: dict[fx.Node, int]) -> dict[fx.Node, int]:
        levels: dict[fx.Node, int] = {}
        for node in self.view.nodes:
            level = floors.get(node, 0)
            for source in node.all_input_nodes:
                if source in levels:
                    level = max(level, levels[source] + self.view.folds(source))
            levels[node] = level
        return levels

    def _loops(self) -> dict[int, set[fx.Node]]:
        """Collect, for the roots of each level, the inner nodes that they need."""
        loops: dict[int, set[fx.Node]] = {}
        for root in self.view.roots():
            members = loops.setdefault(self.levels[root], set())
            pending = [root]
            while pending:
                node = pending.pop()
                if node in members:
                    continue
                members.add(node)
                pending += [n for n in node.all_input_nodes if self._is_cloned(n)]
        for level, members in loops.items():
            for node in members:
                if is_effect(node) and self.levels[node] != level:
                    raise NotRollable(f"{node.name} would be done in two loops")
        return loops

    def _is_cloned(self, node: fx.Node) -> bool:
        return node in self.view.inner and not self.view.folds(node)

    def loops_with(self, node: fx.Node) -> list[int]:
        """Return the loops that a node is part of, in order."""
        return sorted(k for k, members in self.loops.items() if node in members)

    def _floors(self) -> dict[fx.Node, int]:
        """Return before which loop nodes may not run, because of others' accesses."""
        floors: dict[fx.Node, int] = {}
        for first, second in self.order:
            floor = self.levels[first]
            if first in self.view.inner:
                floor = max([floor, *self.loops_with(first)])
                floor += second not in self.view.inner
            floors[second] = max(floors.get(second, 0), floor)
        return {node: floor for node, floor in floors.items() if floor}

    def _check_shared_loops(self) -> None:
        """Accesses that conflict may share a loop only if they stay in their lanes."""
        for first, second in self.order:
            shared = set(self.loops_with(first)) & set(self.loops_with(second))
            if shared and not self._same_lanes(first, second):
                raise NotRollable(
                    f"{first.name} and {second.name} touch the same tensor"
                )

    def _same_lanes(self, first: fx.Node, second: fx.Node) -> bool:
        if first.args[0] is not second.args[0]:
            return False
        paths = [self.view.index_along(n) for n in (first, second)]
        is_plain = all(e[0] != "tensor" for path in paths for _, e in path)
        return is_plain and bool(paths[0]) and paths[0] == paths[1]

    # -- order of the new graph ------------------------------------------------------

    def units_of(self, node: fx.Node) -> list[Unit]:
        """Return in which loops a node is done, or that it stands on its own."""
        if node in self.view.inner:
            return list(self.loops_with(node))
        return [node]

    def arguments(self, level: int) -> list[fx.Node]:
        """Return the values that enter a loop, in source order."""
        members = self.loops[level]
        used = {s for n in members for s in n.all_input_nodes if s not in members}
        return [n for n in self.view.graph.nodes if n in used and not is_symbol(n)]

    def needs(self) -> dict[Unit, list[Unit]]:
        """Return what has to be done before each outer node and each loop."""
        result: dict[Unit, list[Unit]] = {n: [] for n in self.outer_nodes()}
        for node in self.outer_nodes():
            for source in node.all_input_nodes:
                result[node] += self._producers(source)
        for level in sorted(self.loops):
            result[level] = [k for k in sorted(self.loops) if k < level]
            for source in self.arguments(level):
                result[level] += self._producers(source)
        for first, second in self.order:
            for late in self.units_of(second):
                result[late] += [u for u in self.units_of(first) if u != late]
        return result

    def outer_nodes(self) -> list[fx.Node]:
        """Return the nodes that stay outside of loops, in source order."""
        return [n for n in self.view.nodes if n not in self.view.inner]

    def _producers(self, node: fx.Node) -> list[Unit]:
        if node in self.view.inner:
            return [self.levels[node]]
        return [node] if node in self.levels else []

    def schedule(self) -> list[Unit]:
        """Return outer nodes in source order, each loop where it is first needed."""
        needs = self.needs()
        done: dict[Unit, bool] = {}
        result: list[Unit] = []

        def place(unit: Unit) -> None:
            if unit in done:
                if not done[unit]:
                    raise NotRollable("accesses of one tensor cannot be kept in order")
                return
            done[unit] = False
            for other in needs[unit]:
                place(other)
            done[unit] = True
            result.append(unit)

        for unit in [*self.outer_nodes(), *sorted(self.loops)]:
            place(unit)
        return result


def _ordered_pairs(view: GraphOnAxis) -> Iterator[tuple[fx.Node, fx.Node]]:
    """Yield pairs of nodes whose order in the source must be kept."""
    touched = {n: found for n in view.nodes if (found := accesses_of(view.graphs, n))}
    for earlier, node in itertools.combinations(touched, 2):
        pairs = itertools.product(touched[earlier], touched[node])
        if any(a.conflicts(b) for a, b in pairs) and not _commute(earlier, node):
            yield earlier, node
    effects = [n for n in view.nodes if is_effect(n) and n not in view.inner]
    yield from itertools.pairwise(effects)


def _commute(first: fx.Node, second: fx.Node) -> bool:
    """Whether two updates may change places: the same sum or extremum, unread."""
    name = getattr(first.target, "name", "")
    adds = name in ("atomic_add", "atomic_max", "atomic_min", "atomic_or", "atomic_and")
    return first.target is second.target and adds and not (first.users or second.users)


# -- the new graphs --------------------------------------------------------------------


class _Copies:
    """A graph being filled with copies of nodes of another."""

    def __init__(self) -> None:
        self.graph = fx.Graph()
        self.made: dict[fx.Node, fx.Node] = {}

    def __getitem__(self, node: fx.Node) -> fx.Node:
        if node not in self.made and is_symbol(node):
            self.copy(node)
        return self.made[node]

    def copy(self, node: fx.Node) -> None:
        self.made[node] = self.graph.node_copy(node, self.__getitem__)

    def argument(self, node: fx.Node) -> None:
        """Let a value enter the graph."""
        made = self.graph.placeholder(str(node.meta.get("name", node.name)))
        kept = ("val", "location", "name")
        made.meta = {key: node.meta[key] for key in kept if key in node.meta}
        self.made[node] = made

    def finish(self, result: Any) -> fx.Graph:
        self.graph.output(map_arg(result, self.__getitem__))
        return self.graph


class _Builder:
    """Writes the version of one graph that a plan describes."""

    def __init__(
        self, info: GraphInfo, env: CompileEnvironment, plan: LoopPlan
    ) -> None:
        self.info = info
        self.env = env
        self.plan = plan
        self.loops: list[ReductionLoopGraphInfo] = []
        self.copies = _Copies()

    def build(self, next_id: int) -> GraphInfo:
        """Return the new graph; its loops are numbered from ``next_id``."""
        graph = self.plan.view.graph
        for node in graph.find_nodes(op="placeholder"):
            self.copies.copy(node)
        for unit in self.plan.schedule():
            if isinstance(unit, int):
                self._add_loop(unit, next_id + len(self.loops))
            else:
                self.copies.copy(unit)
        (result,) = graph.output_node().args
        return dataclasses.replace(self.info, graph=self.copies.finish(result))

    def _add_loop(self, level: int, graph_id: int) -> None:
        members = [n for n in self.plan.view.nodes if n in self.plan.loops[level]]
        folds = [n for n in members if self.plan.view.folds(n)]
        arguments = self.plan.arguments(level)
        body = _Copies()
        for node in arguments:
            body.argument(node)
        for node in members:
            body.copy(node)
            self._expect_reload(node, level, body.made[node])
        graph = body.finish(folds)
        sink_masks(graph, self.env)
        block_id = self.plan.view.info.block_id
        self.loops.append(ReductionLoopGraphInfo(graph_id, graph, block_id))
        inputs = [self.copies[node] for node in arguments]
        values = [n.meta["val"] for n in folds]
        first = next(n for n in members if self.plan.view.is_root(n))
        call = self._call(_reduction_loop, (graph_id, inputs), values, first)
        for index, node in enumerate(folds):
            item = self._call(operator.getitem, (call, index), values[index], node)
            if "name" in node.meta:
                item.meta["name"] = node.meta["name"]
            self.copies.made[node] = item

    def _expect_reload(self, node: fx.Node, level: int, copy: fx.Node) -> None:
        """Tell the cache which loads a later loop repeats, and which are the last."""
        levels = self.plan.loops_with(node) if node.target is load else []
        if len(levels) > 1:
            copy.meta["eviction"] = (
                "evict_first" if level == levels[-1] else "evict_last"
            )

    def _call(
        self, target: Any, args: tuple[Any, ...], value: Any, source: fx.Node
    ) -> fx.Node:
        node = self.copies.graph.call_function(target, args)
        node.meta["val"] = value
        node.meta["location"] = source.meta.get("location")
        node.meta["lowering"] = lowering_of(node, self.env)
        return node
