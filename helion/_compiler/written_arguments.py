"""Which tensor arguments a kernel writes to: in its device loops, or on the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..language.memory_ops import load
from .device_ir import _host_tensor
from .op_registry import Op

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from .device_ir import DeviceIR


def written_places(ir: DeviceIR, fakes: Sequence[torch.Tensor]) -> frozenset[int]:
    """Return the places of those ``fakes`` whose memory the kernel changes.

    A store into a view changes the tensor it is a view of. Host code that works in
    place shows in the version of the fake tensors it ran on.
    """
    stored = {_memory(tensor) for info in ir.graphs for tensor in _targets(info.graph)}
    return frozenset(
        place
        for place, fake in enumerate(fakes)
        if _memory(fake) in stored or fake._version
    )


def _targets(graph: torch.fx.Graph) -> list[torch.Tensor]:
    """Return the host tensors that ops other than loads get as arguments."""
    return [
        origin.meta["val"]
        for node in graph.nodes
        if isinstance(node.target, Op) and node.target is not load
        for origin in node.all_input_nodes
        if origin.target is _host_tensor
    ]


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
