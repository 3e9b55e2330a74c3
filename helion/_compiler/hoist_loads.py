"""Marks loads that every turn of a loop repeats, to be done once before the loop.

A load that stands before a loop and in it too is done once as well. Triton does so
itself in loops that write nothing to memory; it cannot know that the tensors written
are others. The pure work on a moved value Triton moves on its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import fx

from ..language.memory_ops import load
from .clean_graphs import storage_of, stored_tensors
from .compiler_pass import compiler_pass
from .device_ir import (
    INVARIANT,
    READ_ONLY,
    ForLoopGraphInfo,
    _get_symnode,
    _host_tensor,
)
from .node_args import node_arg, raw_arg, shape_of
from .op_registry import Op
from .symbols import sym_expr
from .variable_origin import GridIndexOrigin, TileBeginOrigin

if TYPE_CHECKING:
    from .compile_environment import CompileEnvironment
    from .device_ir import DeviceIR


@compiler_pass("hoist_loads")
def hoist_loads(ir: DeviceIR, env: CompileEnvironment) -> DeviceIR:
    """Mark what is read but never written, and of it what a loop loads in each turn."""
    stored = stored_tensors(ir)
    for info in ir.graphs:
        loop = info if isinstance(info, ForLoopGraphInfo) else None
        for node in info.graph.find_nodes(op="call_function", target=load):
            source = node_arg(node, 0)
            if source.target is not _host_tensor or storage_of(source) in stored:
                continue
            node.meta[READ_ONLY] = True
            if loop and _has_effects(ir, loop) and _is_fixed(node, loop, env):
                node.meta[INVARIANT] = True
    return ir


def _has_effects(ir: DeviceIR, info: ForLoopGraphInfo) -> bool:
    graphs = dict(enumerate(ir.graphs))
    below = [graphs[i] for i in ir.reachable(info.graph_id, graphs)]
    calls = [n for g in below for n in g.graph.nodes if n.op == "call_function"]
    return any(isinstance(n.target, Op) and n.target.flags.impure for n in calls)


def _is_fixed(node: fx.Node, body: ForLoopGraphInfo, env: CompileEnvironment) -> bool:
    """Whether a load reads the same in each turn, at addresses valid in any case.

    The loop may have no turns, and then other indices need not be valid.
    """
    if raw_arg(node, 2) is not None:
        return False
    extents = {env.block_sizes[block].extent for block in body.block_ids}
    if extents & set(shape_of(node)):
        return False
    index = raw_arg(node, 1)
    return all(_is_fixed_element(element, body, env) for element in index)


def _is_fixed_element(
    element: Any, body: ForLoopGraphInfo, env: CompileEnvironment
) -> bool:
    kind, value = element[0], element[-1]
    if kind in ("tile", "full"):
        return value not in body.block_ids
    if kind != "scalar" or not isinstance(value, fx.Node):
        return kind in ("scalar", "new")
    if value.target is not _get_symnode:
        return False
    index: Any = sym_expr(value.meta["val"])
    origin = env.symbol_origins.get(index)
    if not isinstance(origin, (TileBeginOrigin, GridIndexOrigin)):
        return False
    return origin.block_id not in body.block_ids
