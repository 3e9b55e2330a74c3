"""Halves, margins, windows and searches: what an element is depends on its place."""

from __future__ import annotations

from typing import Any

import torch

from .. import exc
from .aten_decompositions import decomposes
from .device_views import pick, positions, whole_length, wrap

aten = torch.ops.aten


@decomposes(aten.glu.default)
def glu(x: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """Gate the first half of a dim by the second."""
    place = dim % x.dim()
    size = x.shape[place]
    if size % 2:
        raise exc.TorchOpTracingError("glu needs a dim of even size")
    first = aten.slice.Tensor(x, place, 0, size // 2)
    second = aten.slice.Tensor(x, place, size // 2, size)
    return first * second.sigmoid()


@decomposes(aten.constant_pad_nd.default)
def constant_pad(x: torch.Tensor, pad: list[int], value: Any = 0) -> torch.Tensor:
    """Put a value around whole dims; negative margins cut them."""
    for index in range(len(pad) // 2):
        dim = x.dim() - 1 - index
        before, after = pad[2 * index], pad[2 * index + 1]
        if before < 0 or after < 0:
            end = x.shape[dim] + min(after, 0)
            x = aten.slice.Tensor(x, dim, max(-before, 0), end)
        margins = [_margin(x, dim, count, value) for count in (before, after)]
        parts = [margins[0], x, margins[1]]
        x = aten.cat.default([part for part in parts if part is not None], dim)
    return x


def _margin(x: torch.Tensor, dim: int, count: int, value: Any) -> torch.Tensor | None:
    if count <= 0:
        return None
    shape = list(x.shape)
    shape[dim] = count
    return aten.full.default(shape, value, dtype=x.dtype, device=x.device)


@decomposes(aten.unfold.default)
def unfold(x: torch.Tensor, dimension: int, size: int, step: int) -> torch.Tensor:
    """Look up all windows of a whole dim; their elements stand in a new last dim."""
    dim = wrap(x, dimension)
    length = whole_length(x, dim)
    if length is None or size > length or step < 1:
        raise exc.UnsupportedIndexRemapping(
            op="unfold", index="windows of a tile", hint="load each window by its index"
        )
    count = (length - size) // step + 1
    begins = aten.view.default(positions(count) * step, [count, 1])
    places = aten.view.default(begins + positions(size), [count * size])
    shape = list(x.shape)
    found = pick(x, dim, places)
    windows = [*shape[:dim], count, size, *shape[dim + 1 :]]
    return aten.view.default(found, windows).movedim(dim + 1, -1)


@decomposes(aten.embedding.default)
def embedding(
    weight: torch.Tensor, indices: torch.Tensor, *options: Any
) -> torch.Tensor:
    """Return the rows of a device value; rows of a host tensor are loaded instead."""
    flat = aten.view.default(indices, [indices.numel()])
    found = aten.index_select.default(weight, 0, flat)
    return aten.view.default(found, [*indices.shape, weight.shape[1]])


@decomposes(aten.take.default)
def take(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    flat = aten.view.default(index, [index.numel()])
    row = aten.view.default(x, [x.numel()])
    return aten.view.default(aten.gather.default(row, 0, flat), list(index.shape))


@decomposes(aten.bucketize.Tensor)
def bucketize(
    x: torch.Tensor,
    boundaries: torch.Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
) -> torch.Tensor:
    """Count the borders below each value."""
    return searchsorted(boundaries, x, out_int32=out_int32, right=right)


@decomposes(aten.searchsorted.Tensor)
def searchsorted(
    borders: torch.Tensor,
    x: torch.Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Any = None,
) -> torch.Tensor:
    """Count the borders below each value, or up to it if ``right``."""
    if sorter is not None:
        raise exc.TorchOpTracingError("torch.searchsorted with a sorter")
    values = x.unsqueeze(-1)
    if borders.dim() == 1:
        borders = borders.view([1] * x.dim() + [borders.shape[0]])
    elif borders.dim() == x.dim():
        borders = borders.unsqueeze(-2)
    # A NaN is beyond all borders, as torch has it.
    if right or side == "right":
        is_below = torch.logical_not(values < borders)
    else:
        is_below = torch.logical_not(values <= borders)
    dtype = torch.int32 if out_int32 else torch.int64
    return aten.sum.dim_IntList(is_below.to(dtype), [-1], False, dtype=dtype)


@decomposes(aten.bucketize.Scalar)
def bucketize_number(x: Any, boundaries: torch.Tensor, **options: Any) -> torch.Tensor:
    return searchsorted_number(boundaries, x, **options)


@decomposes(aten.searchsorted.Scalar)
def searchsorted_number(borders: torch.Tensor, x: Any, **options: Any) -> torch.Tensor:
    value = torch.full([1], x, dtype=borders.dtype, device=borders.device)
    return searchsorted(borders, value, **options).squeeze(0)
