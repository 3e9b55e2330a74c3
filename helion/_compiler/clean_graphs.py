"""Removes dead nodes and repeated work from the device IR."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from .. import exc
from .compiler_pass import compiler_pass
from .device_ir import CONTROL_FLOW, DeviceIR
from .node_args import shape_of
from .op_registry import Op

if TYPE_CHECKING:
    from torch import fx

    from .compile_environment import CompileEnvironment


@compiler_pass("clean")
def clean_graphs(ir: DeviceIR, env: CompileEnvironment) -> DeviceIR:
    """Merge equal nodes, then drop nodes that nothing uses."""
    stored = stored_tensors(ir)
    for info in ir.graphs:
        _merge_equal(info.graph, stored)
        _drop_dead(info.graph)
    return ir


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
