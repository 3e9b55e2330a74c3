"""Kernels that count values in tiles."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


@helion.kernel
def histc_tiles(
    x: torch.Tensor, bins: hl.constexpr, low: float, high: float
) -> torch.Tensor:
    """Return the counts of each tile's elements, summed over the tiles."""
    out = torch.zeros([bins], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        counts = torch.histc(x[tile], bins, low, high)
        hl.atomic_add(out, [slice(None)], counts)
    return out


@helion.kernel
def histc_rows(
    x: torch.Tensor, bins: hl.constexpr, low: hl.constexpr, high: hl.constexpr
) -> torch.Tensor:
    """Return the counts of all, for a range that is known when compiling."""
    out = torch.zeros([bins], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        hl.atomic_add(out, [slice(None)], x[tile, :].histc(bins, min=low, max=high))
    return out


@helion.kernel
def histc_of_each(x: torch.Tensor, bins: hl.constexpr) -> torch.Tensor:
    """Return the counts of each row, from its least to its largest element."""
    out = torch.empty([x.size(0), bins], dtype=x.dtype, device=x.device)
    for row in hl.grid(x.size(0)):
        out[row, :] = torch.histc(x[row, :], bins)
    return out


@helion.kernel
def bincount_tiles(x: torch.Tensor, size: hl.constexpr) -> torch.Tensor:
    """Return how often each of 0 ... ``size - 1`` is in ``x``, of any rank 3."""
    out = torch.zeros([size], dtype=torch.int64, device=x.device)
    for tile in hl.tile(x.size()):
        hl.atomic_add(out, [slice(None)], torch.bincount(x[tile], minlength=size))
    return out


@helion.kernel
def bincount_loop(x: torch.Tensor, size: hl.constexpr) -> torch.Tensor:
    """Return the counts of each row, and their sum behind them."""
    out = torch.empty([x.size(0), size + 1], dtype=torch.int64, device=x.device)
    for row in hl.tile(x.size(0), block_size=1):
        counts = hl.zeros([size], torch.int64)
        for column in hl.tile(x.size(1)):
            counts += x[row, column].bincount(minlength=size)
        out[row, 0:size] = counts[None, :]
        out[row, size] = counts.sum()
    return out


@helion.kernel
def bincount_of_jagged(
    x: torch.Tensor, lengths: torch.Tensor, size: hl.constexpr
) -> torch.Tensor:
    """Return how often each number is among the first ``lengths[i]`` of rows ``i``."""
    out = torch.zeros([size], dtype=torch.int64, device=x.device)
    for rows in hl.tile(x.size(0)):
        for tile in hl.jagged_tile(lengths[rows]):
            counts = torch.bincount(x[rows, tile], minlength=size)
            hl.atomic_add(out, [slice(None)], counts)
    return out
