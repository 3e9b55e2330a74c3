"""The cap on the elements of a block, where blocks are made.

A Config is checked before (``autotuner.config_limits``), with what is known of the
kernel then; here the extents are those of the emitted text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from . import symbols
from .codegen_text import padded_extent
from .device_ir import _host_tensor

if TYPE_CHECKING:
    import sympy
    from torch import fx

    from .device_function import DeviceFunction


def check_numel(fn: DeviceFunction, node: fx.Node) -> None:
    """Raise HelionReductionTooLarge if Triton would not take the result of a node."""
    if node.target is _host_tensor:
        return
    value = node.meta.get("val")
    for item in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(item, torch.Tensor):
            _check_shape(fn, list(item.shape))


def _check_shape(fn: DeviceFunction, shape: list[int]) -> None:
    sizes = [_lanes(fn, extent) for extent in shape]
    infos = [fn.env.block_of(extent) for extent in shape]
    # A reduced axis is to blame before a tile, a long one before a short one.
    found = [
        (info.is_reduction, size, info.block_id)
        for info, size in zip(infos, sizes, strict=True)
        if info is not None
    ]
    axis = f"(block id {max(found)[2]})" if found else None
    fn.env.ensure_tensor_within_triton_limit(sizes, axis)


def _lanes(fn: DeviceFunction, extent: int) -> int:
    """Return the length of a device dim in Triton, 1 if only a call will tell."""
    info = fn.env.block_of(extent)
    if info is None:
        derived = fn.env.derived_size(extent) if extent > 1 else None
        return max(extent, 1) if derived is None else _derived_lanes(fn, derived)
    if not info.is_reduction:
        return symbols.static_int(fn.block_values[info.block_id]) or 1
    if info.block_id in fn.strategies:
        return fn.reduction_chunk(info.block_id)
    return padded_extent(info.size_hint(), info.min_size)


def _derived_lanes(fn: DeviceFunction, size: sympy.Expr) -> int:
    infos = fn.env.block_sizes
    known = {
        infos[block].symbol: value
        for block, value in fn.block_values.items()
        if isinstance(value, int)
    }
    result = size.xreplace(known)
    return int(result) if result.is_Integer else 1
