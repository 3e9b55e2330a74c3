"""Reshapes of device values: what their dims are made of is remembered."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from .aten_decompositions import decomposes
from .derived_dims import note_reshape
from .function_modes import DEVICE_HANDLERS, handles
from .op_registry import active_tracer

if TYPE_CHECKING:
    from .graph_tracer import GraphTracer

aten = torch.ops.aten


@decomposes(aten.view.default, aten._unsafe_view.default, aten.reshape.default)
def noted_view(value: torch.Tensor, shape: list[int]) -> Any:
    """Note what a reshape does to dims; it is recorded as it is."""
    tracer: Any = active_tracer()
    sizes = list(value.size())
    rest = math.prod(sizes) // max(math.prod(s for s in shape if s != -1), 1)
    target = [rest if size == -1 else size for size in shape]
    if math.prod(target) == math.prod(sizes):
        note_reshape(tracer.env, sizes, target)
    return NotImplemented


@handles(DEVICE_HANDLERS, torch.unflatten, torch.Tensor.unflatten)
def device_unflatten(
    tracer: GraphTracer, value: torch.Tensor, dim: int, sizes: Any
) -> torch.Tensor:
    """Split one dim; sizes may be tiles and block sizes."""
    at = dim % max(value.dim(), 1)
    reshape = DEVICE_HANDLERS[torch.Tensor.reshape]
    before = [tracer.env.size_of(s) for s in value.size()[:at]]
    after = [tracer.env.size_of(s) for s in value.size()[at + 1 :]]
    return reshape(tracer, value, [*before, *sizes, *after])
