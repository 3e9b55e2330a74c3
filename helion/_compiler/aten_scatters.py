"""Scatters inside device values: each place looks for the elements that go there.

Registers have no addresses, so every element is compared with every place of the dim.
"""

from __future__ import annotations

from typing import Any

import torch

from .. import exc
from .aten_decompositions import compute_dtype, decomposes
from .device_views import positions, whole_length, wrap

aten = torch.ops.aten


def _hits(x: torch.Tensor, dim: int, index: torch.Tensor) -> torch.Tensor:
    """Return who goes where: the dims of the index, the scattered one last, places.

    ``index`` has one dim, or the rank of the value.
    """
    length = whole_length(x, dim)
    if length is None:
        raise exc.UnsupportedIndexRemapping(
            op="a scatter",
            index="places in a tile",
            hint="scatter along a whole dim (`:`), or store by a tensor of indices",
        )
    return index.unsqueeze(-1) == positions(length)


def _last(x: torch.Tensor, dim: int) -> torch.Tensor:
    return x if dim == x.dim() - 1 else x.movedim(dim, -1)


def _summed(hits: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Return for each place the sum of what goes there."""
    wide = compute_dtype(source.dtype)
    wide = torch.int32 if wide == torch.bool else wide
    chosen = torch.where(hits, source.to(wide).unsqueeze(-1), 0)
    return aten.sum.dim_IntList(chosen, [-2], False, dtype=wide)


def _winner(hits: torch.Tensor) -> torch.Tensor:
    """Keep of the elements that go to one place the last."""
    count = hits.shape[-2]
    order = aten.arange.default(count, device=hits.device).view([count, 1])
    ranks = torch.where(hits, order, -1)
    last = aten.amax.default(ranks, [-2], True)
    return hits & (ranks == last)


def _placed(
    x: torch.Tensor, dim: int, hits: torch.Tensor, source: torch.Tensor
) -> torch.Tensor:
    """Return the value with elements of the source, whose dim is its last."""
    hits = _winner(hits)
    taken = aten.any.dim(hits, -2)
    # Whole numbers of bits: a sum of one element and zeros is that element.
    new = _summed(hits, source).to(x.dtype)
    result = torch.where(taken, new, _last(x, dim))
    return result if dim == x.dim() - 1 else result.movedim(-1, dim)


def _same_rank(x: torch.Tensor, index: torch.Tensor, dim: int) -> None:
    others = [s for d, s in enumerate(x.shape) if d != dim]
    if [s for d, s in enumerate(index.shape) if d != dim] != others:
        raise exc.ShapeMismatch(
            f"a scatter of {list(index.shape)} places into {list(x.shape)}: the other "
            "dims must be equal"
        )


@decomposes(aten.scatter.src)
def scatter(
    x: torch.Tensor, dim: int, index: torch.Tensor, src: torch.Tensor
) -> torch.Tensor:
    at = wrap(x, dim)
    _same_rank(x, index, at)
    return _placed(x, at, _hits(x, at, _last(index, at)), _last(src, at))


@decomposes(aten.scatter.value)
def scatter_value(
    x: torch.Tensor, dim: int, index: torch.Tensor, value: Any
) -> torch.Tensor:
    at = wrap(x, dim)
    _same_rank(x, index, at)
    is_hit = aten.any.dim(_hits(x, at, _last(index, at)), -2)
    return torch.where(is_hit.movedim(-1, at), value, x).to(x.dtype)


@decomposes(aten.scatter_add.default)
def scatter_add(
    x: torch.Tensor, dim: int, index: torch.Tensor, src: torch.Tensor
) -> torch.Tensor:
    at = wrap(x, dim)
    _same_rank(x, index, at)
    total = _summed(_hits(x, at, _last(index, at)), _last(src, at))
    return (x + total.movedim(-1, at)).to(x.dtype)


@decomposes(aten.index_add.default)
def index_add(
    x: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    source: torch.Tensor,
    *,
    alpha: Any = 1,
) -> torch.Tensor:
    at = wrap(x, dim)
    total = _summed(_hits(x, at, index), _last(source, at))
    return (x + alpha * total.movedim(-1, at)).to(x.dtype)


@decomposes(aten.index_copy.default)
def index_copy(
    x: torch.Tensor, dim: int, index: torch.Tensor, source: torch.Tensor
) -> torch.Tensor:
    if 0 in index.shape:
        return x
    at = wrap(x, dim)
    return _placed(x, at, _hits(x, at, index), _last(source, at))


@decomposes(aten.index_fill.int_Scalar, aten.index_fill.int_Tensor)
def index_fill(
    x: torch.Tensor, dim: int, index: torch.Tensor, value: Any
) -> torch.Tensor:
    at = wrap(x, dim)
    is_hit = aten.any.dim(_hits(x, at, index), 0)
    shape = [1] * x.dim()
    shape[at] = x.shape[at]
    return torch.where(is_hit.view(shape), value, x).to(x.dtype)
