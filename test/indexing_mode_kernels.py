"""Kernels whose accesses are blocks of a tensor, or just not."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


@helion.kernel
def copy_block(x: torch.Tensor) -> torch.Tensor:
    """Copy a matrix."""
    out = torch.empty(x.size(), dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size()):
        out[tile] = x[tile]
    return out


@helion.kernel
def copy_line(x: torch.Tensor) -> torch.Tensor:
    """Copy a vector."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = x[tile]
    return out


@helion.kernel
def copy_into(x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Copy a matrix into one of any strides."""
    for tm, tn in hl.tile(x.size()):
        out[tm, tn] = x[tm, tn]
    return out


@helion.kernel
def batched_product(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Multiply matrices pair by pair."""
    b, m, k = x.size()
    n = y.size(2)
    out = torch.empty([b, m, n], dtype=x.dtype, device=x.device)
    for tb, tm, tn in hl.tile([b, m, n]):
        acc = hl.zeros([tb, tm, tn], dtype=torch.float32)
        for tk in hl.tile(k):
            acc = torch.baddbmm(acc, x[tb, tm, tk], y[tb, tk, tn])
        out[tb, tm, tn] = acc.to(x.dtype)
    return out


@helion.kernel
def sums_up_to(x: torch.Tensor, end: hl.constexpr) -> torch.Tensor:
    """Sum the first ``end`` columns of each row; tiles may end before the tensor."""
    m = x.size(0)
    out = torch.empty([m], dtype=torch.float32, device=x.device)
    for tm in hl.tile(m):
        acc = hl.zeros([tm], dtype=torch.float32)
        for tn in hl.tile(end):
            acc = acc + x[tm, tn].sum(1)
        out[tm] = acc
    return out


@helion.kernel
def head_of(x: torch.Tensor, end: hl.constexpr) -> torch.Tensor:
    """Add one to the first ``end`` columns, and leave the others as they are."""
    out = x.clone()
    for tm, tn in hl.tile([x.size(0), int(end)]):
        out[tm, tn] = x[tm, tn] + 1
    return out


@helion.kernel
def rows_below(x: torch.Tensor) -> torch.Tensor:
    """Give each row the one four below it; the last four rows get zeros."""
    m, n = x.size()
    out = torch.empty_like(x)
    for tm, tn in hl.tile([m, n]):
        inside = (tm.index + 4 < m)[:, None]
        out[tm, tn] = hl.load(x, [tm.index + 4, tn], extra_mask=inside)
    return out


@helion.kernel
def plane_sums(x: torch.Tensor, planes: torch.Tensor) -> torch.Tensor:
    """Add up the planes of a 4-D tensor that a vector of numbers chooses."""
    _, _, m, n = x.size()
    out = torch.empty([m, n], dtype=torch.float32, device=x.device)
    for tm, tn in hl.tile([m, n]):
        acc = hl.zeros([tm, tn], dtype=torch.float32)
        for p in hl.grid(planes.size(0)):
            acc = acc + x[planes[p], 1, tm, tn]
        out[tm, tn] = acc
    return out


@helion.kernel
def double_in_place(x: torch.Tensor) -> torch.Tensor:
    """Double a matrix where it is."""
    for tile in hl.tile(x.size()):
        x[tile] = x[tile] * 2
    return x


@helion.kernel
def last_sums(x: torch.Tensor) -> torch.Tensor:
    """Write the sum of each tile over that of the one before; the last remains."""
    m, n = x.size()
    out = torch.empty([m], dtype=x.dtype, device=x.device)
    for tm in hl.tile(m):
        for tn in hl.tile(n, block_size=8):
            out[tm] = x[tm, tn].sum(1)
    return out


@helion.kernel
def filled(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Store a number, and a row for all rows."""
    m, n = x.size()
    ones, rows = torch.empty_like(x), torch.empty_like(x)
    for tm, tn in hl.tile([m, n]):
        ones[tm, tn] = 1.0
        rows[tm, tn] = x[0, tn][None, :]
    return ones, rows


@helion.kernel
def column_sums(x: torch.Tensor) -> torch.Tensor:
    """Add the rows of a matrix to a row, tile by tile, by atomics."""
    out = torch.zeros([1, x.size(1)], dtype=torch.float32, device=x.device)
    for tm, tn in hl.tile(x.size()):
        hl.atomic_add(out, [0, tn], x[tm, tn].to(torch.float32).sum(0))
    return out


@helion.kernel
def added_tiles(x: torch.Tensor) -> torch.Tensor:
    """Add a 3-D tensor to a matrix, plane by plane, by atomics."""
    out = torch.zeros(x.size()[1:], dtype=x.dtype, device=x.device)
    for tp, tm, tn in hl.tile(x.size(), block_size=[1, None, None]):
        hl.atomic_add(out, [tm, tn], x[tp, tm, tn].sum(0))
    return out
