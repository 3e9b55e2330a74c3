"""Removes dead nodes and repeated work from the device IR."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .compiler_pass import compiler_pass
from .device_ir import CONTROL_FLOW, DeviceIR
from .node_args import shape_of
from .op_registry import Op

if TYPE_CHECKING:
    from torch import fx

    from .compile_environment import CompileEnvironment

aten = torch.ops.aten

# Operators whose operands broadcast, one of which is often a mask.
BROADCASTS = (
    aten.where.self,
    aten.mul.Tensor,
    aten.add.Tensor,
    aten.sub.Tensor,
    aten.logical_and.default,
    aten.bitwise_and.Tensor,
)

# Functions with a cheaper form for results of 16 bits.
MEASURED = (aten.gelu.default,)


@compiler_pass("clean")
def clean_graphs(ir: DeviceIR, env: CompileEnvironment) -> DeviceIR:
    """Merge equal nodes, then drop nodes that nothing uses."""
    stored = stored_tensors(ir)
    for info in ir.graphs:
        _drop_leading_dims(info.graph)
        _narrow_results(info.graph)
        _merge_equal(info.graph, stored)
        _drop_dead(info.graph)
    return ir


def _drop_leading_dims(graph: fx.Graph) -> None:
    """Let operands broadcast by themselves where a first dim of one was put before.

    Triton would bring such a value into another layout, and back.
    """
    for node in graph.nodes:
        if node.target not in BROADCASTS:
            continue
        for operand in list(node.all_input_nodes):
            wide = [n for n in node.all_input_nodes if n is not operand]
            ranks = [len(shape_of(n)) for n in wide]
            is_put = operand.target is aten.unsqueeze.default and operand.args[1] == 0
            if is_put and max(ranks, default=0) >= len(shape_of(operand)):
                node.replace_input_with(operand, operand.all_input_nodes[0])


def _narrow_results(graph: fx.Graph) -> None:
    """Tell a function that computes as well as its result needs what that is.

    A conversion to 16 bits becomes part of the function, which ends with it.
    """
    for node in graph.nodes:
        (user,) = node.users if len(node.users) == 1 else (None,)
        if node.target not in MEASURED or user is None:
            continue
        value = user.meta.get("val")
        is_cast = user.target is aten._to_copy.default and set(user.kwargs) == {"dtype"}
        if is_cast and value.dtype in (torch.float16, torch.bfloat16):
            node.meta["val"] = value
            user.replace_all_uses_with(node)
            graph.erase_node(user)


def check_effects(ir: DeviceIR) -> None:
    """Refuse a launch that stores nothing, before there is a Config."""
    graphs = dict(enumerate(ir.graphs))
    for root in ir.roots:
        nodes = [
            node
            for graph_id in ir.reachable(root.graph_id, graphs)
            for node in graphs[graph_id].graph.nodes
        ]
        if not any(isinstance(n.target, Op) and n.target.flags.impure for n in nodes):
            raise exc.EmptyDeviceLoopAfterDCE().with_location(root.location)


def merge_pure(graph: fx.Graph) -> None:
    """Merge equal nodes that read no memory, then drop nodes that nothing uses."""
    _merge_equal(graph, None)
    _drop_dead(graph)


def is_effect(node: fx.Node) -> bool:
    """Whether a node must stay even if nothing uses its result."""
    if node.op != "call_function":
        return True
    if node.target in CONTROL_FLOW:
        return True
    return isinstance(node.target, Op) and node.target.flags.impure


def _drop_dead(graph: fx.Graph) -> None:
    for node in reversed(list(graph.nodes)):
        if not node.users and not is_effect(node):
            graph.erase_node(node)


def stored_tensors(ir: DeviceIR) -> set[int]:
    """Return the storages that some graph writes; loads from them may not merge."""
    stored: set[int] = set()
    for info in ir.graphs:
        for node in info.graph.nodes:
            if isinstance(node.target, Op) and node.target.flags.impure:
                stored |= {storage_of(n) for n in node.all_input_nodes if _is_host(n)}
    return stored


def storage_of(node: fx.Node) -> int:
    """Return what a host tensor and its views have in common."""
    return node.meta["val"].untyped_storage()._cdata


def _is_host(node: fx.Node) -> bool:
    return getattr(node.target, "__name__", "") == "_host_tensor"


def _merge_equal(graph: fx.Graph, stored: set[int] | None) -> None:
    seen: dict[Any, fx.Node] = {}
    for node in list(graph.nodes):
        if is_effect(node) or _reads_stored(node, stored):
            continue
        key = (node.target, _key(node.args), _key(node.kwargs), *_kind(node))
        found = seen.setdefault(key, node)
        if found is not node:
            node.replace_all_uses_with(found)
            graph.erase_node(node)


def _reads_stored(node: fx.Node, stored: set[int] | None) -> bool:
    """Whether a node reads a tensor that some graph writes (None: any may be)."""
    if node.target is operator.getitem or not isinstance(node.target, Op):
        return False
    if stored is None:
        return True
    return any(_is_host(n) and storage_of(n) in stored for n in node.all_input_nodes)


def _kind(node: fx.Node) -> tuple[Any, ...]:
    """Return extents and dtype: ranges of any length and dtype have equal arguments."""
    value = node.meta.get("val")
    return shape_of(node), getattr(value, "dtype", None)


def _key(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((k, _key(v)) for k, v in sorted(value.items()))
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, *(_key(v) for v in value))
    if isinstance(value, slice):
        return ("slice", value.start, value.stop, value.step)
    # 1, 1.0 and True are equal, but not the same constant; nor are 0.0 and -0.0.
    return (
        (type(value).__name__, repr(value))
        if isinstance(value, float)
        else (
            type(value).__name__,
            value,
        )
    )
