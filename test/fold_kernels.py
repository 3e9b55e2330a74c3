"""Kernels whose second fold waits for the first, and others with few outputs."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


@helion.kernel
def log_sum_exp(x: torch.Tensor) -> torch.Tensor:
    """Return the logsumexp of each row."""
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        out[tile] = torch.logsumexp(x[tile, :], dim=-1)
    return out


@helion.kernel
def softmax_denominator(x: torch.Tensor) -> torch.Tensor:
    """Return ``sum(exp(x - max))`` of each column, for float32."""
    out = torch.empty([x.size(1)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(1)):
        column = x[:, tile]
        peak = torch.amax(column, dim=0)
        out[tile] = torch.sum(torch.exp(column - peak[None, :]), dim=0)
    return out


@helion.kernel
def base_2_denominator(x: torch.Tensor) -> torch.Tensor:
    """Return ``sum(2 ** (x - max))`` of each row, for float32."""
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        row = x[tile, :]
        peak = torch.amax(row, dim=1, keepdim=True)
        out[tile] = torch.sum(torch.exp2(row - peak), dim=1)
    return out


@helion.kernel
def var_and_mean(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the unbiased variance and the mean of each row."""
    variance = torch.empty([x.size(0)], dtype=torch.float32, device=x.device)
    mean = torch.empty([x.size(0)], dtype=torch.float32, device=x.device)
    for tile in hl.tile(x.size(0)):
        row = x[tile, :].to(torch.float32)
        spread, center = torch.var_mean(row, dim=1)
        variance[tile] = spread
        mean[tile] = center
    return variance, mean


@helion.kernel
def squares_about(x: torch.Tensor) -> torch.Tensor:
    """Return the squared distances of each row from twice its mean, plus one."""
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        row = x[tile, :]
        center = torch.mean(row, dim=1, keepdim=True) * 2 + 1
        out[tile] = torch.sum((row - center) ** 2, dim=1)
    return out


@helion.kernel
def column_folds(
    x: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return sum, maximum, first position of the minimum, variance of each column."""
    n = x.size(1)
    total = torch.empty([n], dtype=x.dtype, device=x.device)
    high = torch.empty([n], dtype=x.dtype, device=x.device)
    where = torch.empty([n], dtype=torch.int64, device=x.device)
    spread = torch.empty([n], dtype=x.dtype, device=x.device)
    for tile in hl.tile(n):
        column = x[:, tile]
        total[tile] = torch.sum(column, dim=0)
        high[tile] = torch.amax(column, dim=0)
        where[tile] = torch.argmin(column, dim=0)
        spread[tile] = torch.var(column, dim=0, correction=0)
    return total, high, where, spread


@helion.kernel
def scaled_total(x: torch.Tensor, scale: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return ``y += scale * x.sum(0)``: loads before, and reads after the fold."""
    for tile in hl.tile(x.size(1)):
        factor = scale[tile]
        total = torch.sum(x[:, tile] * factor[None, :], dim=0)
        y[tile] = y[tile] + total
    return y


@helion.kernel
def plane_sums(x: torch.Tensor) -> torch.Tensor:
    """Return the sum over the last dim of a 3-d tensor, tiled over the others."""
    a, b, _ = x.size()
    out = torch.empty([a, b], dtype=x.dtype, device=x.device)
    for tile_a, tile_b in hl.tile([a, b]):
        out[tile_a, tile_b] = torch.sum(x[tile_a, tile_b, :], dim=-1)
    return out


@helion.kernel
def item_statistics(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean and the largest row sum of each item of a 3-d tensor."""
    mean = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    high = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        item = x[tile, :, :]
        sums = torch.sum(item, dim=-1)
        mean[tile] = torch.sum(sums, dim=-1) / (x.size(1) * x.size(2))
        high[tile] = torch.amax(sums, dim=-1)
    return mean, high


@helion.kernel
def two_lengths(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return ``logsumexp`` of rows of ``x`` plus the variance of rows of ``y``."""
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        out[tile] = torch.logsumexp(x[tile, :], -1) + torch.var(y[tile, :], -1)
    return out


@helion.kernel
def halved_planes(
    x: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return half of a 3-d tensor with its last dim whole, and half of a 2-d one."""
    a, b, _ = x.size()
    half_x, half_y = torch.empty_like(x), torch.empty_like(y)
    for tile_a, tile_b in hl.tile([a, b]):
        half_x[tile_a, tile_b, :] = x[tile_a, tile_b, :] * 0.5
        half_y[tile_a, tile_b] = y[tile_a, tile_b] * 0.5
    return half_x, half_y


@helion.kernel
def columns_above(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return whether any, whether all and how many elements of a column are above 0."""
    n = x.size(1)
    any_above = torch.empty([n], dtype=torch.bool, device=x.device)
    all_above = torch.empty([n], dtype=torch.bool, device=x.device)
    count = torch.empty([n], dtype=torch.int64, device=x.device)
    for tile in hl.tile(n):
        above = x[:, tile] > 0
        any_above[tile] = above.any(0)
        all_above[tile] = above.all(0)
        count[tile] = above.sum(0)
    return any_above, all_above, count


@helion.kernel
def wide_column_sums(x: torch.Tensor) -> torch.Tensor:
    """Return the sums of the columns, at least 256 of them a program."""
    out = torch.empty([x.size(1)], dtype=x.dtype, device=x.device)
    width = hl.register_block_size(256, 1024)
    for tile in hl.tile(x.size(1), block_size=width):
        out[tile] = torch.sum(x[:, tile], dim=0)
    return out


@helion.kernel
def sums_of_named(_partials_0: torch.Tensor) -> torch.Tensor:
    """Return the sum of each row of a tensor with an unlucky name."""
    out = torch.empty([_partials_0.size(0)], device=_partials_0.device)
    for tile in hl.tile(_partials_0.size(0)):
        out[tile] = torch.sum(_partials_0[tile, :], dim=1)
    return out
