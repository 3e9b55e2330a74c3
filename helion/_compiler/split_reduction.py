"""Splits a launch that folds a long axis in one loop into two launches.

The first one has several programs for each tile. Each walks its share of the axis and
leaves its accumulators in memory. The second one folds these, always in the same
order, and does the rest. A Config asks for it where a launch has too few tiles to
keep a GPU busy.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from torch import fx

from .compiler_pass import compiler_pass
from .device_ir import (
    CONTROL_FLOW,
    RootGraphInfo,
    SplitLaunch,
    _merged_folds,
    _partial_folds,
    _reduction_loop,
)
from .lowering import lowering_of
from .node_args import first_value, int_arg
from .roll_legality import is_effect

if TYPE_CHECKING:
    from .compile_environment import CompileEnvironment
    from .device_ir import DeviceIR, GraphInfo, ReductionLoopGraphInfo


@compiler_pass("split")
def split_reductions(ir: DeviceIR, env: CompileEnvironment) -> DeviceIR:
    """Give every rolled launch that can be split its two halves."""
    for rolled in ir.rolled_reductions.values():
        for graph_id, info in rolled.graphs.items():
            if isinstance(info, RootGraphInfo):
                split = _split(info, rolled.loops, env)
                if split is not None:
                    rolled.splits[graph_id] = split
    return ir


def _split(
    root: RootGraphInfo,
    bodies: dict[int, ReductionLoopGraphInfo],
    env: CompileEnvironment,
) -> SplitLaunch | None:
    loops = [n for n in root.graph.nodes if n.target is _reduction_loop]
    if len(loops) != 1:
        return None
    (loop,) = loops
    body = bodies[int_arg(loop, 0)]
    needed = needed_nodes([loop])
    order = list(root.graph.nodes)
    before = order[: order.index(loop)]
    if any(is_effect(n) for n in before) or any(map(is_effect, body.graph.nodes)):
        return None
    if any(n.target in CONTROL_FLOW for n in needed if n is not loop):
        return None
    shapes = _accumulator_shapes(body, root, env)
    if shapes is None:
        return None
    effects = [n for n in order if is_effect(n) and n is not loop]
    after = needed_nodes(effects, loop)
    return SplitLaunch(
        copy_half(root, needed, loop, (_partial_folds, loop.args), env),
        copy_half(root, after, loop, (_merged_folds, loop.args[:1]), env),
        body.graph_id,
        shapes,
    )


def needed_nodes(nodes: list[fx.Node], stop: fx.Node | None = None) -> set[fx.Node]:
    """Return nodes and all that they are made of, but not what ``stop`` is made of."""
    found: set[fx.Node] = set()
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if node in found:
            continue
        found.add(node)
        if node is not stop:
            pending += node.all_input_nodes
    return found


def _accumulator_shapes(
    body: ReductionLoopGraphInfo, root: RootGraphInfo, env: CompileEnvironment
) -> list[list[int]] | None:
    """Return the extents of what each fold leaves, None if one cannot be stored."""
    if any(env.backend.fold_of(node) is None for node in body.outputs):
        return None
    return stored_shapes(body, root, env)


def stored_shapes(
    body: GraphInfo, root: RootGraphInfo, env: CompileEnvironment
) -> list[list[int]] | None:
    """Return the extents of what a graph returns, None if one cannot be stored."""
    tiles = {*root.block_ids, *getattr(body, "block_ids", ())}
    shapes = []
    for node in body.outputs:
        shape = list(first_value(node).shape)
        for extent in shape:
            info = env.block_of(extent)
            is_tile = info is not None and info.block_id in tiles
            is_whole = info is not None and info.is_reduction
            if extent != 1 and not is_tile and not is_whole:
                return None
        shapes.append(shape)
    return shapes


def copy_half(
    root: RootGraphInfo,
    needed: set[fx.Node],
    loop: fx.Node,
    call: tuple[Any, tuple[Any, ...]],
    env: CompileEnvironment,
) -> RootGraphInfo:
    """Return the root with some of its nodes, and another call for the loop."""
    graph = fx.Graph()
    made: dict[fx.Node, fx.Node] = {}
    for node in root.graph.nodes:
        if node not in needed or node.op == "output":
            continue
        if node is not loop:
            made[node] = graph.node_copy(node, made.__getitem__)
            continue
        target, args = call
        copy = graph.call_function(target, fx.map_arg(args, made.__getitem__))
        copy.meta = {**loop.meta}
        copy.meta["lowering"] = lowering_of(copy, env)
        made[node] = copy
    graph.output([])
    return dataclasses.replace(root, graph=graph)
