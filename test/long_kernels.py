"""Kernels that fold an axis which may be too long for one tile, by explicit rows."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


@helion.kernel
def weight_grads(
    grad_out: torch.Tensor, x: torch.Tensor, mean: torch.Tensor, rstd: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients of a layer norm's weight and bias."""
    m, n = x.size()
    dweight = torch.empty([n], dtype=torch.float32, device=x.device)
    dbias = torch.empty([n], dtype=torch.float32, device=x.device)
    for tile in hl.tile(n):
        rows = hl.arange(m)
        grad = hl.load(grad_out, [rows, tile]).to(torch.float32)
        value = hl.load(x, [rows, tile]).to(torch.float32)
        normal = (value - mean[rows][:, None]) * rstd[rows][:, None]
        dweight[tile] = torch.sum(grad * normal, dim=0)
        dbias[tile] = torch.sum(grad, dim=0)
    return dweight, dbias


def weight_grads_reference(
    grad_out: torch.Tensor, x: torch.Tensor, mean: torch.Tensor, rstd: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    normal = (x - mean[:, None]) * rstd[:, None]
    return (grad_out * normal).sum(0), grad_out.sum(0)


@helion.kernel
def odd_rows(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Sum of each odd row times its number, by a factor for each column."""
    m, n = x.size(0) // 2, x.size(1)
    out = torch.empty([n], dtype=torch.float32, device=x.device)
    for tile in hl.tile(n):
        rows = hl.arange(m)
        odd = 2 * rows + 1
        factor = scale[tile]
        terms = x[odd, tile] * odd[:, None].to(torch.float32)
        out[tile] = torch.sum(terms * factor[None, :], dim=0)
    return out


def odd_rows_reference(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    odd = torch.arange(1, x.size(0) // 2 * 2, 2)
    return (x[odd] * odd[:, None]).sum(0) * scale


@helion.kernel
def even_rows(x: torch.Tensor) -> torch.Tensor:
    """Sum of each even row but the first, times its number."""
    m, n = x.size()
    out = torch.empty([n], dtype=torch.int64, device=x.device)
    for tile in hl.tile(n):
        rows = hl.arange(2, m, 2, dtype=torch.int64)
        out[tile] = torch.sum(x[rows, tile] * rows[:, None], dim=0)
    return out


@helion.kernel
def even_rows_of_torch(x: torch.Tensor) -> torch.Tensor:
    """The same by ``torch.arange``."""
    m, n = x.size()
    out = torch.empty([n], dtype=torch.int64, device=x.device)
    for tile in hl.tile(n):
        rows = torch.arange(2, m, 2, device=x.device)
        out[tile] = torch.sum(x[rows, tile] * rows[:, None], dim=0)
    return out


def even_rows_reference(x: torch.Tensor) -> torch.Tensor:
    rows = torch.arange(2, x.size(0), 2)
    return (x[rows].long() * rows[:, None]).sum(0)


@helion.kernel
def positions(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Write ``5, 8, 11...`` of a dtype beside the sum of each row."""
    m, n = x.size()
    out = torch.empty([m, n], dtype=dtype, device=x.device)
    for tile in hl.tile(m):
        total = torch.sum(x[tile, :], dim=1)
        steps = hl.arange(5, 5 + 3 * n, 3, dtype=dtype)
        out[tile, :] = steps[None, :] + total[:, None].to(dtype)
    return out


def positions_reference(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    steps = torch.arange(5, 5 + 3 * x.size(1), 3, dtype=dtype)
    return steps[None, :] + x.sum(1)[:, None].to(dtype)


@helion.kernel
def wide_sum(x: torch.Tensor) -> torch.Tensor:
    """Sum of each row in float32, whatever the dtype of ``x``."""
    m, _ = x.size()
    out = torch.empty([m], dtype=torch.float32, device=x.device)
    for tile in hl.tile(m):
        out[tile] = torch.sum(x[tile, :], dim=1, dtype=torch.float32)
    return out


@helion.kernel
def stuck_sum(x: torch.Tensor) -> torch.Tensor:
    """A sum over an axis that a flip of lanes keeps in one tile."""
    m, n = x.size()
    out = torch.empty([m], dtype=torch.float32, device=x.device)
    for tile in hl.tile(m):
        out[tile] = torch.sum(torch.cumsum(x[tile, :], dim=1), dim=1)
    return out
