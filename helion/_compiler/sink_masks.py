"""Lets a load put the identity into padded lanes, where a ``_mask_to`` followed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..language.memory_ops import load
from .device_ir import _mask_to
from .node_args import shape_of
from .node_masking import operand_of

if TYPE_CHECKING:
    from torch import fx

    from .compile_environment import CompileEnvironment

aten = torch.ops.aten
_CASTS = (aten._to_copy.default, torch.ops.prims.convert_element_type.default)


def sink_masks(graph: fx.Graph, env: CompileEnvironment) -> None:
    """Drop each mask of a loaded value that nothing else reads: one select less."""
    for node in graph.find_nodes(op="call_function", target=_mask_to):
        source = _loaded(operand_of(node))
        if source is None or not _covers(source, node, env):
            continue
        source.meta["other"] = node.args[1]
        node.replace_all_uses_with(operand_of(node))
        graph.erase_node(node)


def _loaded(node: fx.Node) -> fx.Node | None:
    """Return the load behind casts between floats, if each value has one reader."""
    while len(node.users) == 1 and node.meta["val"].dtype.is_floating_point:
        if node.target is load:
            return node
        if node.target not in _CASTS:
            return None
        node = operand_of(node)
    return None


def _covers(source: fx.Node, mask: fx.Node, env: CompileEnvironment) -> bool:
    """Whether the load hides the padded lanes that the mask is for."""
    axes = {b.block_id for s in shape_of(source) if (b := env.block_of(s)) is not None}
    blocks = mask.args[2]
    assert isinstance(blocks, (list, tuple))
    if len(mask.args) > 3:
        return False
    extra_mask = source.args[2]
    # Lanes that an extra mask hides are real elements, and read as 0.
    return extra_mask is None and axes.issuperset(blocks)
