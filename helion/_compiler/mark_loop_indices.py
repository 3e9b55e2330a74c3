"""Marks the ranges whose positions are the index of the loop around them.

A range as long as an axis that is walked in chunks exists one chunk at a time: the
loop has an index already, so no second one is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .._logging import note
from .._metrics import metrics
from ..language.creation_ops import arange
from .compiler_pass import compiler_pass
from .node_args import shape_of

if TYPE_CHECKING:
    from torch import fx

    from .compile_environment import BlockSizeInfo, CompileEnvironment
    from .device_ir import DeviceIR

aten = torch.ops.aten
RANGES = frozenset(
    {arange, aten.arange.default, aten.arange.start, aten.arange.start_step}
)


@dataclass(frozen=True)
class LoopIndex:
    """That a node counts along the loop over an axis, as ``node.meta["loop_index"]``.

    ``has_mask`` tells whether a chunk may reach beyond the end of the axis.
    """

    block_id: int
    has_mask: bool

    @classmethod
    def of(cls, info: BlockSizeInfo) -> LoopIndex:
        """Return the mark for an axis; chunks are powers of two."""
        numel = info.numel
        is_even = isinstance(numel, int) and numel.bit_count() == 1
        return cls(info.block_id, not is_even)


@compiler_pass("loop_indices")
def mark_loop_indices(ir: DeviceIR, env: CompileEnvironment) -> DeviceIR:
    """Put a LoopIndex on every range inside a loop over chunks of its own axis."""
    found: list[str] = []
    for block_id, rolled in ir.rolled_reductions.items():
        info = env.block_sizes[block_id]
        for loop in rolled.loops.values():
            for node in loop.graph.nodes:
                if _counts_along(node, info):
                    node.meta["loop_index"] = LoopIndex.of(info)
                    found.append(f"{node.name} along axis {block_id}")
    if found and env.settings.debug:
        metrics.count("iota_rewrites", len(found))
        note(f"ranges that became the index of a loop: {', '.join(found)}")
    return ir


def _counts_along(node: fx.Node, info: BlockSizeInfo) -> bool:
    return node.target in RANGES and shape_of(node) == (info.extent,)
