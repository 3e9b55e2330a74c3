"""Loads of tensors that repeat along a dim: each element is read once, then spread.

A dim of stride 0, as ``expand`` and ``broadcast_tensors`` make it, or one of size 1
under a wider tile, would otherwise cost an access per lane.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from . import symbols
from .ast_extension import expr

if TYPE_CHECKING:
    import ast

    from .indexing_strategy import Access, IndexingStrategy


def repeated_dims(access: Access) -> list[int]:
    """Return the dims of a selection along which all elements are the same one."""
    launch, found = access.state.launch, []
    if access.extra_mask is not None or access.base is not None:
        return []
    dtype = access.tensor.dtype
    if dtype.itemsize == 1 and dtype != torch.bool:
        return []  # small as they are, and Triton selects between few of them
    if any(element[0] not in ("tile", "full", "scalar") for element in access.index):
        return []
    spread = [d for d, e in enumerate(access.index) if e[0] != "scalar"]
    for out, dim in enumerate(spread):
        extent = access.shape[out]
        axis = launch.axis_of(extent)
        if axis is None or launch.is_single(extent):
            continue
        if axis.flat:
            return []  # several dims share a linear index
        size, stride = access.tensor.size(dim), access.tensor.stride(dim)
        if symbols.static_int(size) == 1 or symbols.static_int(stride) == 0:
            found.append(out)
    return found


def load_repeated(
    mode: IndexingStrategy, access: Access, dims: list[int], options: str
) -> ast.expr:
    """Return what ``mode`` loads, with the dims ``dims`` made of copies."""
    launch = access.state.launch
    spread = [d for d, e in enumerate(access.index) if e[0] != "scalar"]
    dropped = {spread[out] for out in dims}
    zero = ("scalar", 0)
    small = dataclasses.replace(
        access,
        index=[zero if d in dropped else e for d, e in enumerate(access.index)],
        fakes=[zero if d in dropped else e for d, e in enumerate(access.fakes)],
        shape=[e for out, e in enumerate(access.shape) if out not in dims],
    )
    value = launch.share(mode.load(small, options), "once")
    seen = [o for o, e in enumerate(access.shape) if not launch.is_single(e)]
    if launch.rank(small.shape):
        items = ", ".join("None" if out in dims else ":" for out in seen)
        value = expr(f"{{v}}[{items}]", v=value)
    shape = launch.shape_expr(access.shape)
    value = expr("tl.broadcast_to({v}, {s})", v=value, s=shape)
    blocks = [launch.axis_of(access.shape[out]).block_id for out in dims]
    mask = launch.mask_expr(access.shape, blocks)
    if mask is None:
        return value
    # Lanes beyond the end of an axis hold 0, as in every load.
    other = access.state.node.meta.get("other", 0)
    identity = launch.env.backend.literal(other, access.tensor.dtype)
    return expr(f"tl.where({{m}}, {{v}}, {identity})", m=mask, v=value)
