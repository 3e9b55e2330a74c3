"""Kernels that update a host tensor in a top-level tile loop."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


@helion.kernel()
def column_sums(x: torch.Tensor) -> torch.Tensor:
    """Add in place to a tensor that the kernel made."""
    m, n = x.size()
    acc = torch.zeros([n], dtype=torch.float32, device=x.device)
    for t in hl.tile(m):
        acc += x[t, :].to(torch.float32).sum(0)
    return acc


@helion.kernel()
def column_sums_replaced(x: torch.Tensor) -> torch.Tensor:
    """Replace the tensor by a sum, with the terms in any order."""
    m, n = x.size()
    acc = torch.zeros([n], dtype=x.dtype, device=x.device)
    for t in hl.tile(m):
        acc = x[t, :].sum(0) + acc - x[t, :].amax(0)
    return acc


@helion.kernel()
def sum_into(x: torch.Tensor, acc: torch.Tensor) -> torch.Tensor:
    """Subtract from the caller's tensor, in place."""
    same = acc
    for t in hl.tile(x.size(0)):
        acc -= x[t, :].sum(0)
    return same * 2


@helion.kernel()
def sum_beside(x: torch.Tensor, acc: torch.Tensor) -> torch.Tensor:
    """Leave the caller's tensor as it is."""
    for t in hl.tile(x.size(0)):
        acc = acc + x[t, :].sum(0)
    return acc


@helion.kernel()
def moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Update three tensors of different shapes, and store as well."""
    m, n = x.size()
    total = torch.zeros([], dtype=torch.float32, device=x.device)
    squares = torch.zeros([n], dtype=torch.float32, device=x.device)
    gram = torch.ones([3, n], dtype=torch.float32, device=x.device)
    doubled = torch.empty_like(x)
    for t in hl.tile(m):
        rows = x[t, :]
        total += rows.sum()
        squares += (rows * rows).sum(0)
        gram += rows.sum(0)[None, :]
        doubled[t, :] = rows * 2
    return total, squares, gram + doubled.sum(0)


@helion.kernel()
def extremes(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Keep the least and the largest value of each column, 0 among them."""
    m, n = x.size()
    low = torch.zeros([n], dtype=x.dtype, device=x.device)
    high = torch.zeros([n], dtype=x.dtype, device=x.device)
    for t in hl.tile(m):
        high = torch.maximum(high, x[t, :].amax(0))
        low = torch.minimum(x[t, :].amin(0), low)
    return low, high


@helion.kernel()
def product(x: torch.Tensor) -> torch.Tensor:
    """Multiply everything, over a grid of two axes."""
    m, n = x.size()
    acc = torch.ones([], dtype=x.dtype, device=x.device)
    for t, k in hl.tile([m, n]):
        acc *= x[t, k].prod(1).prod(0)
    return acc


@helion.kernel()
def pairs(x: torch.Tensor) -> torch.Tensor:
    """Add over tiles that do not start at 0, on two axes."""
    m, n = x.size()
    acc = torch.zeros([2], dtype=torch.float32, device=x.device)
    for t, k in hl.tile([3, 0], [m, n]):
        acc += x[t, k].sum()
    return acc


@helion.kernel()
def nested(x: torch.Tensor) -> torch.Tensor:
    """Add in a loop and under a branch."""
    m, n = x.size()
    acc = torch.zeros([2], dtype=torch.float32, device=x.device)
    for t in hl.tile(m):
        for k in hl.tile(n):
            part = x[t, k].sum()
            if part > 0:
                acc += part
        if t.begin > 0:
            acc -= x[t, :].sum()
            acc += 1
    return acc


@helion.kernel()
def every_third(x: torch.Tensor, first: int) -> torch.Tensor:
    """Add over indices of a grid with a step."""
    m, n = x.size()
    acc = torch.zeros([n], dtype=x.dtype, device=x.device)
    for i in hl.grid(first, m, 3):
        acc += x[i, :]
    return acc


@helion.kernel()
def centered(x: torch.Tensor) -> torch.Tensor:
    """Read the sum in a second loop; host code stands between."""
    m, n = x.size()
    acc = torch.zeros([n], dtype=torch.float32, device=x.device)
    out = torch.empty_like(x)
    for t in hl.tile(m):
        acc += x[t, :].sum(0)
    mean = acc / m
    for t in hl.tile(m):
        out[t, :] = x[t, :] - mean[:] + acc[None, :]
    return out


@helion.kernel()
def repeated(x: torch.Tensor, times: int) -> torch.Tensor:
    """Add in a loop of a host loop, with a block size that the user registered."""
    m, n = x.size()
    rows = hl.register_block_size(m)
    acc = torch.zeros([n], dtype=torch.float32, device=x.device)
    for _ in range(times):
        for t in hl.tile(m, block_size=rows):
            acc += x[t, :].sum(0)
    return acc


@helion.kernel()
def counted(x: torch.Tensor) -> torch.Tensor:
    """Add integers to a small integer dtype, which wraps around."""
    m, n = x.size()
    acc = torch.zeros([n], dtype=torch.int8, device=x.device)
    for t in hl.tile(m, block_size=4):
        acc += (x[t, :] > 0).to(torch.int32).sum(0) * 50
    return acc


@helion.kernel()
def whole_update(x: torch.Tensor, acc: torch.Tensor) -> torch.Tensor:
    """Update every element of the caller's tensor by a subscript."""
    for t in hl.tile(x.size(0)):
        acc[:] += x[t, :].sum(0)
    return acc


@helion.kernel()
def column_tiles(x: torch.Tensor) -> torch.Tensor:
    """Tiles of one axis of the grid have elements of their own, those of the other
    share them."""
    m, n = x.size()
    acc = torch.ones([n], dtype=x.dtype, device=x.device)
    for t, k in hl.tile([m, n]):
        acc[k] -= x[t, k].sum(0)
    return acc


@helion.kernel()
def inner_tiles(x: torch.Tensor) -> torch.Tensor:
    """All tiles of the grid go over the same elements."""
    m, n = x.size()
    acc = torch.zeros([2, n], dtype=x.dtype, device=x.device)
    for t in hl.tile(m):
        for k in hl.tile(n):
            acc[1, k] += x[t, k].sum(0)
    return acc


@helion.kernel()
def own_elements(x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Every tile updates elements of its own: no rows are needed."""
    for t in hl.tile(x.size(0)):
        out[t] += x[t, :].sum(1)
    return out
