"""Kernels that call the random functions of torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F

import helion
import helion.language as hl


@helion.kernel
def noises(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return uniform and normal numbers of the shape and dtype of ``x``."""
    uniform, normal = torch.empty_like(x), torch.empty_like(x)
    again, sized = torch.empty_like(x), torch.empty_like(x)
    for tile_m, tile_n in hl.tile(x.size()):
        value = x[tile_m, tile_n]
        uniform[tile_m, tile_n] = torch.rand_like(value)
        normal[tile_m, tile_n] = torch.randn_like(value)
        again[tile_m, tile_n] = torch.rand_like(value * 2)
        sized[tile_m, tile_n] = torch.rand([tile_m, tile_n], dtype=x.dtype)
    return uniform, normal, again, sized


@helion.kernel
def dropped(x: torch.Tensor, p: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``x`` after dropout, and after another one of its rows as a whole."""
    out, rows = torch.empty_like(x), torch.empty_like(x)
    for tile_m, tile_n in hl.tile(x.size()):
        out[tile_m, tile_n] = F.dropout(x[tile_m, tile_n], p)
    for tile in hl.tile(x.size(0)):
        rows[tile, :] = F.dropout(x[tile, :], p=p, training=True)
    return out, rows


@helion.kernel
def draws(chances: torch.Tensor, low: int, high: int) -> tuple[torch.Tensor, ...]:
    """Return coins and integers, several kinds of each."""
    size, device = chances.size(), chances.device
    coins = torch.empty([2, *size], dtype=torch.bool, device=device)
    ints = torch.empty([3, *size], dtype=torch.int64, device=device)
    for tile_m, tile_n in hl.tile(size):
        chance = chances[tile_m, tile_n]
        coins[0, tile_m, tile_n] = torch.bernoulli(chance) != 0
        coins[1, tile_m, tile_n] = chance.bernoulli(0.25) != 0
        ints[0, tile_m, tile_n] = torch.randint(-3, 5, [tile_m, tile_n])
        ints[1, tile_m, tile_n] = torch.randint(low, high, (tile_m, tile_n))
        ints[2, tile_m, tile_n] = torch.randint_like(chance, 7, dtype=torch.int64)
    return coins, ints


@helion.kernel
def filled(x: torch.Tensor) -> torch.Tensor:
    """Return tensors filled by methods, and normal numbers about ``x``."""
    out = torch.empty([5, *x.size()], device=x.device)
    for tile_m, tile_n in hl.tile(x.size()):
        value = x[tile_m, tile_n]
        out[0, tile_m, tile_n] = torch.empty_like(value).uniform_(-1, 3)
        out[1, tile_m, tile_n] = torch.empty_like(value).normal_(2.0, 0.5)
        out[2, tile_m, tile_n] = torch.zeros_like(value).bernoulli_(0.5)
        out[3, tile_m, tile_n] = torch.empty_like(value).exponential_(2.0)
        out[4, tile_m, tile_n] = torch.normal(value, 0.5)
    return out


def noise(value: torch.Tensor) -> torch.Tensor:
    """Return the sum of two uniform numbers for each element."""
    return torch.rand_like(value) + torch.rand_like(value)


@helion.kernel
def helped(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a helper draws, called in two places of an inner loop."""
    first, second = torch.empty_like(x), torch.empty_like(x)
    for tile_m in hl.tile(x.size(0)):
        for tile_n in hl.tile(x.size(1)):
            first[tile_m, tile_n] = noise(x[tile_m, tile_n])
            second[tile_m, tile_n] = noise(x[tile_m, tile_n])
    return first, second


@helion.kernel
def repeated(x: torch.Tensor) -> torch.Tensor:
    """Return the numbers of one call, in each turn of an unrolled loop."""
    out = torch.empty([3, x.size(0)], device=x.device)
    for tile in hl.tile(x.size(0)):
        for i in hl.static_range(3):
            out[i, tile] = torch.rand([tile])
    return out


@helion.kernel
def shuffled(x: torch.Tensor) -> torch.Tensor:
    """Return a permutation of the columns for each row."""
    out = torch.empty(x.size(), dtype=torch.int64, device=x.device)
    for i in hl.grid(x.size(0)):
        out[i, :] = torch.randperm(x.size(1))
    return out


@helion.kernel
def noise_sums(x: torch.Tensor) -> torch.Tensor:
    """Return the sums of rows with noise."""
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        row = x[tile, :]
        out[tile] = (row + torch.randn_like(row)).sum(1)
    return out


@helion.kernel
def applied(x: torch.Tensor, function: object) -> torch.Tensor:
    """Return ``function`` of tiles of ``x``."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = function(x[tile])
    return out
