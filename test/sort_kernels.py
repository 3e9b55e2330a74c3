"""Kernels that sort, take the largest, and look for order statistics."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


@helion.kernel
def sort_rows(
    x: torch.Tensor, descending: hl.constexpr
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each row in order, and where its elements were."""
    values = torch.empty_like(x)
    places = torch.empty(x.size(), dtype=torch.int64, device=x.device)
    for tile in hl.tile(x.size(0)):
        result = torch.sort(x[tile, :], dim=-1, descending=descending)
        values[tile, :] = result.values
        places[tile, :] = result[1]
    return values, places


@helion.kernel
def sort_dim(x: torch.Tensor, dim: hl.constexpr) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each ``x[i]`` sorted along a dim, and the same with its method."""
    values = torch.empty_like(x)
    places = torch.empty(x.size(), dtype=torch.int64, device=x.device)
    for tile in hl.tile(x.size(0)):
        values[tile, :, :], _ = x[tile, :, :].sort(dim, descending=True)
        places[tile, :, :] = x[tile, :, :].argsort(dim=dim, stable=True)
    return values, places


@helion.kernel
def sort_tiles(x: torch.Tensor) -> torch.Tensor:
    """Return ``x`` with each tile of rows sorted by column, after adding 1."""
    out = torch.empty_like(x)
    for tile_m, tile_n in hl.tile(x.size()):
        out[tile_m, tile_n] = torch.msort(x[tile_m, tile_n] + 1)
    return out


@helion.kernel
def largest(
    x: torch.Tensor, k: hl.constexpr, is_largest: hl.constexpr
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ``k`` largest (or smallest) of each row, and where they are."""
    values = torch.empty([x.size(0), k], dtype=x.dtype, device=x.device)
    places = torch.empty([x.size(0), k], dtype=torch.int64, device=x.device)
    for tile in hl.tile(x.size(0)):
        top, index = torch.topk(x[tile, :], k, largest=is_largest)
        values[tile, :] = top
        places[tile, :] = index
    return values, places


@helion.kernel
def largest_of_columns(x: torch.Tensor, k: hl.constexpr) -> torch.Tensor:
    """Return the ``k`` largest of each column."""
    k = hl.specialize(k)
    out = torch.empty([k, x.size(1)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(1)):
        out[:, tile] = x[:, tile].topk(k, dim=0, sorted=False).values
    return out


@helion.kernel
def largest_of_tiles(x: torch.Tensor) -> torch.Tensor:
    """Return the 2 largest of each row, kept while its tiles are walked."""
    out = torch.empty([x.size(0), 2], dtype=x.dtype, device=x.device)
    for tile_m in hl.tile(x.size(0)):
        best = hl.full([tile_m, 2], float("-inf"), dtype=x.dtype)
        for tile_n in hl.tile(x.size(1)):
            new = torch.topk(x[tile_m, tile_n], 2, dim=1).values
            best = torch.topk(torch.cat([best, new], dim=1), 2, dim=1).values
        out[tile_m, :] = best
    return out


@helion.kernel
def route(logits: torch.Tensor, k: hl.constexpr) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weights and numbers of the ``k`` experts of each token."""
    tokens = logits.size(0)
    weights = torch.empty([tokens, k], device=logits.device)
    experts = torch.empty([tokens, k], dtype=torch.int32, device=logits.device)
    for tile in hl.tile(tokens):
        value, index = logits[tile, :].topk(k, dim=-1)
        weights[tile, :] = torch.softmax(value, dim=-1)
        experts[tile, :] = index.to(torch.int32)
    return weights, experts


@helion.kernel
def statistics(
    x: torch.Tensor, k: hl.constexpr
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return medians and the ``k``-th smallest of rows, with places; and of all."""
    values = torch.empty([3, x.size(0)], dtype=x.dtype, device=x.device)
    places = torch.empty([3, x.size(0)], dtype=torch.int64, device=x.device)
    whole = torch.empty([x.size(0), 2], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        middle = torch.median(x[tile, :, 0], dim=1)
        values[0, tile] = middle.values
        places[0, tile] = middle.indices
        found, place = torch.kthvalue(x[tile, :, 0], k, dim=1, keepdim=True)
        values[1, tile] = found.squeeze(1)
        places[1, tile] = place.squeeze(1)
        values[2, tile], places[2, tile] = x[tile, :, 0].nanmedian(1)
    for i in hl.grid(x.size(0)):
        whole[i, 0] = torch.median(x[i, :, :])
        whole[i, 1] = x[i, :, :].nanmedian()
    return values, places, whole


@helion.kernel
def best_of_jagged(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Return the 2 largest of the first ``lengths[i]`` elements of each row."""
    out = torch.empty([x.size(0), 2], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        count = lengths[tile]
        best = hl.full([tile, 2], float("-inf"), dtype=x.dtype)
        for place in hl.jagged_tile(count):
            new = torch.topk(x[tile, place], 2, dim=1).values
            best = torch.topk(torch.cat([best, new], dim=1), 2, dim=1).values
        out[tile, :] = best
    return out
