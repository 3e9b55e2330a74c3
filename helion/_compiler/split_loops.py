"""Splits a launch whose tiles add up over a device loop among several programs.

Each of them walks a share of the turns (split-K of a matrix product) and leaves its
accumulators in memory. The second half joins these, always in the same order, and
does the rest: in another launch, or in the program of the tile that comes last.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from ..autotuner.config_splits import SplitLoopSpec
from ..language.matmul_ops import dot
from ..language.scaled_dot_ops import dot_scaled
from . import symbols
from .compiler_pass import compiler_pass
from .device_ir import (
    CONTROL_FLOW,
    ForLoopGraphInfo,
    SplitLaunch,
    _for_loop,
    _get_symnode,
    _merged_loop,
    _partial_loop,
    called_graphs,
)
from .node_args import first_value, int_arg, node_arg, raw_arg
from .roll_legality import is_effect
from .split_reduction import copy_half, needed_nodes, stored_shapes
from .variable_origin import BlockOrigin, DeviceScalarOrigin

if TYPE_CHECKING:
    from .compile_environment import CompileEnvironment
    from .device_ir import DeviceIR, GraphInfo, RootGraphInfo

aten = torch.ops.aten

# How an operator gathers, and at which of its arguments the carried value may stand.
GATHERS: dict[Any, tuple[str, tuple[int, ...]]] = {
    aten.add.Tensor: ("sum", (0, 1)),
    aten.sub.Tensor: ("sum", (0,)),
    aten.addmm.default: ("sum", (0,)),
    aten.baddbmm.default: ("sum", (0,)),
    dot: ("sum", (2,)),
    dot_scaled: ("sum", (6,)),
    aten.maximum.default: ("max", (0, 1)),
    aten.minimum.default: ("min", (0, 1)),
}


@compiler_pass("split_loops")
def split_loops(ir: DeviceIR, env: CompileEnvironment) -> DeviceIR:
    """Give a launch its two halves for each loop that several programs can share."""
    for root in ir.roots:
        for loop in root.graph.nodes:
            if loop.target is _for_loop:
                split = _split(ir, root, loop, env)
                if split is not None:
                    ir.loop_splits[split.loop_id] = split
    return ir


def _split(
    ir: DeviceIR, root: RootGraphInfo, loop: fx.Node, env: CompileEnvironment
) -> SplitLaunch | None:
    body = ir.graphs[int_arg(loop, 0)]
    assert isinstance(body, ForLoopGraphInfo)
    kinds = _kinds(ir, body, raw_arg(loop, 3))
    shapes = stored_shapes(body, root, env)
    if kinds is None or shapes is None or not _can_be_walked_in_parts(body):
        return None
    order = list(root.graph.nodes)
    effects = [n for n in order if _has_effect(ir, n)]
    needed = needed_nodes([loop])
    repeats_loops = any(n.target in CONTROL_FLOW for n in needed if n is not loop)
    if repeats_loops or any(order.index(n) <= order.index(loop) for n in effects):
        return None
    after = needed_nodes(effects, loop)
    return SplitLaunch(
        copy_half(root, needed, loop, (_partial_loop, (*loop.args, kinds)), env),
        copy_half(root, after, loop, (_merged_loop, (body.graph_id, kinds)), env),
        body.graph_id,
        shapes,
    )


def _can_be_walked_in_parts(body: ForLoopGraphInfo) -> bool:
    """Whether a loop has one axis, and all of its turns do something."""
    turns = body.turns
    skips = turns is not None and (turns.starts or turns.stops)
    return len(body.block_ids) == 1 and not skips


def split_entry(
    ir: DeviceIR, env: CompileEnvironment, split: SplitLaunch
) -> SplitLoopSpec:
    """Return the entry of the space of Configs for a loop."""
    body = ir.graphs[split.loop_id]
    assert isinstance(body, ForLoopGraphInfo)
    info = env.block_sizes[body.block_ids[0]]
    left = 0
    for node, shape in zip(body.outputs, split.shapes, strict=True):
        own = [b for b in map(env.block_of, shape) if b is not None and b is not info]
        grid = [env.block_sizes[block_id] for block_id in split.first.block_ids]
        every = {block.block_id: block for block in [*own, *grid]}
        sizes = [block.size_hint() for block in every.values()]
        left += math.prod(sizes) * first_value(node).dtype.itemsize
    is_static = symbols.static_int(info.numel) is not None
    ids = split.first.graph_id, split.loop_id, info.block_id
    can_stream = not _depends_on_tile(env, split.first)
    return SplitLoopSpec(*ids, info.size_hint(), is_static, left, can_stream)


def _depends_on_tile(env: CompileEnvironment, half: RootGraphInfo) -> bool:
    """Whether the bounds of the loop are others in other tiles, or device values."""
    (loop,) = [n for n in half.graph.nodes if n.target is _partial_loop]
    for bound in (b for pair in raw_arg(loop, 1) for b in pair):
        if not isinstance(bound, fx.Node):
            continue
        if bound.target is not _get_symnode:
            return True
        symbols_of = symbols.sym_expr(bound.meta["val"]).free_symbols
        origins = [env.symbol_origins.get(symbol) for symbol in symbols_of]
        if any(isinstance(o, (BlockOrigin, DeviceScalarOrigin)) for o in origins):
            return True
    return False


def _has_effect(ir: DeviceIR, node: fx.Node) -> bool:
    """Whether a node, or something in a graph that it runs, is more than a value."""
    if node.target not in CONTROL_FLOW:
        return is_effect(node)
    inside = [n for g in called_graphs(node) for n in ir.graphs[g].graph.nodes]
    return any(_has_effect(ir, n) for n in inside)


# -- how carried values gather ---------------------------------------------------------


def _kinds(ir: DeviceIR, body: GraphInfo, carried: Any) -> list[str] | None:
    """Return how each carried value of a loop gathers, None if one does not."""
    starts = [body.placeholders[i] for i in carried]
    if not starts or not all(_is_number_tile(n) for n in starts):
        return None
    changing = _reached_from(body.graph, starts)
    kinds: list[str] = []
    for start, end in zip(starts, body.outputs, strict=True):
        found = _ways(ir, end, start, changing)
        if found is None or len(found) > 1:
            return None
        kinds += found or {"sum"}
    return kinds


def _is_number_tile(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.dtype != torch.bool


def _reached_from(graph: fx.Graph, starts: list[fx.Node]) -> set[fx.Node]:
    found = set(starts)
    for node in graph.nodes:
        if not found.isdisjoint(node.all_input_nodes):
            found.add(node)
    return found


def _ways(
    ir: DeviceIR, node: Any, start: fx.Node, changing: set[fx.Node]
) -> set[str] | None:
    """Return in which ways a value gathers onto ``start``, None if not only so.

    Everything that it gathers has to be the same whatever was gathered before.
    """
    if node is start:
        return set()
    if node.target is operator.getitem:
        return _ways_of_loop(ir, node, start, changing)
    kind, places = GATHERS.get(node.target, ("", ()))
    places_of = enumerate(node.args)
    inside = [i for i, a in places_of if isinstance(a, fx.Node) and a in changing]
    changes = [n for n in node.all_input_nodes if n in changing]
    if len(inside) != 1 or inside[0] not in places or len(changes) != 1:
        return None
    if node.kwargs.get("beta", 1) != 1 or not _same_dtype(node, changes[0]):
        return None
    if node.kwargs.get("alpha", 1) != 1 and inside != [0]:
        return None
    rest = _ways(ir, changes[0], start, changing)
    return None if rest is None else rest | {kind}


def _same_dtype(node: fx.Node, other: fx.Node) -> bool:
    return node.meta["val"].dtype == other.meta["val"].dtype


def _ways_of_loop(
    ir: DeviceIR, node: fx.Node, start: fx.Node, changing: set[fx.Node]
) -> set[str] | None:
    """The same for the result of a loop inside: that has to gather as well."""
    loop = node_arg(node, 0)
    if loop.target is not _for_loop:
        return None
    inner = ir.graphs[int_arg(loop, 0)]
    inputs, carried = raw_arg(loop, 2), raw_arg(loop, 3)
    kinds = _kinds(ir, inner, carried)
    others = [v for i, v in enumerate(inputs) if i not in carried]
    bounds = [v for pair in raw_arg(loop, 1) for v in pair]
    if kinds is None or any(v in changing for v in [*others, *bounds]):
        return None
    place = int_arg(node, 1)
    rest = _ways(ir, inputs[carried[place]], start, changing)
    return None if rest is None else rest | {kinds[place]}
