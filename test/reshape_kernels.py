"""Kernels that split and merge dims of tiles: groups, pairs and whole blocks."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


@helion.kernel
def groups_of_a_tile(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale each run of 128 columns by its largest element; return the scales too."""
    m, n = x.size()
    out = torch.empty_like(x)
    scale = x.new_empty([m, (n + 127) // 128])
    for tm, tn in hl.tile([m, n]):
        part = x[tm, tn].reshape(tm, tn.block_size // 128, 128)
        largest = part.abs().amax(-1) / 448.0
        out[tm, tn] = (part / largest[:, :, None]).reshape(tm, tn)
        group = tn.begin // 128 + hl.arange(tn.block_size // 128)
        scale[tm, group] = largest
    return out, scale


@helion.kernel
def groups_by_view(x: torch.Tensor) -> torch.Tensor:
    """As above with -1 for the number of groups."""
    m, n = x.size()
    out = torch.empty_like(x)
    for tm, tn in hl.tile([m, n]):
        part = x[tm, tn].view(tm, -1, 128)
        out[tm, tn] = (part / part.abs().amax(-1, keepdim=True)).view(tm, tn)
    return out


@helion.kernel
def groups_of_a_row(x: torch.Tensor) -> torch.Tensor:
    """Scale runs of 128 of a whole row, whose length may be padded."""
    m, n = x.size()
    out = torch.empty_like(x)
    for tm in hl.tile(m):
        part = x[tm, :].unflatten(1, (n // 128, 128))
        out[tm, :] = (part / part.abs().amax(-1, keepdim=True)).flatten(1)
    return out


def scaled(x: torch.Tensor, size: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the kernels above should."""
    part = x.reshape(x.size(0), -1, size)
    largest = part.abs().amax(-1)
    return (part / largest[:, :, None]).reshape(x.shape), largest


@helion.kernel
def odd_groups(x: torch.Tensor) -> torch.Tensor:
    """Fold rows of 15 as three groups of five."""
    m, n = x.size()
    out = x.new_empty([m])
    for tm in hl.tile(m):
        part = x[tm, :].view(tm, 3, 5)
        out[tm] = (part * part.amax(-1, keepdim=True)).amin(1).sum(1)
    return out


@helion.kernel
def merged_tile(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Fold tiles as one long dim, where padding lies between the rows."""
    m, n = x.size()
    total, least = x.new_zeros([1]), x.new_full([1], float("inf"))
    for tm, tn in hl.tile([m, n]):
        flat = x[tm, tn].exp().reshape(tm.block_size * tn.block_size)
        hl.atomic_add(total, [0], flat.sum())
        hl.atomic_min(least, [0], flat.amin(0))
    return total, least


@helion.kernel
def merged_store(x: torch.Tensor) -> torch.Tensor:
    """Store a merged tile through positions that are merged alike."""
    m, n = x.size()
    out = x.new_empty([m * n])
    for tm, tn in hl.tile([m, n]):
        place = tm.index[:, None] * n + tn.index[None, :]
        out[place.flatten()] = (x[tm, tn] * 2).flatten()
    return out


@helion.kernel
def pairs(x: torch.Tensor) -> torch.Tensor:
    """Swap the two elements of each pair of columns of a tile."""
    m, n = x.size()
    out = torch.empty_like(x)
    for tm, tn in hl.tile([m, n]):
        even, odd = hl.split(x[tm, tn].reshape(tm, tn.block_size // 2, 2))
        out[tm, tn] = hl.join(odd, even).reshape(tm, tn)
    return out


@helion.kernel
def joined_odd_parts(x: torch.Tensor) -> torch.Tensor:
    """Merge a tiled dim with one of an odd size."""
    m, k, n = x.size()
    out = x.new_empty([m])
    for tm in hl.tile(m):
        rows = x[tm, :, :].permute(1, 0, 2).flatten(1)
        out[tm] = rows.amax(0).reshape(tm, n).sum(1)
    return out


@helion.kernel
def flat_rows(x: torch.Tensor) -> torch.Tensor:
    """Merge the last two dims, of which both may be padded."""
    n, width = x.size(0), hl.specialize(x.size(1) * x.size(2))
    out = torch.empty([n, width], dtype=x.dtype, device=x.device)
    for tile in hl.tile(n):
        out[tile, :] = x[tile, :, :].reshape(tile, width)
    return out
