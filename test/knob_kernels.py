"""Kernels with what some knobs need: short loops, several launches, epilogues."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


@helion.kernel
def short_loops(x: torch.Tensor) -> torch.Tensor:
    """Add the rows' sums of some columns, by loops of two to eight turns."""
    out = torch.empty_like(x)
    for rows in hl.tile(x.size(0)):
        total = hl.zeros([rows], dtype=torch.float32)
        for column in hl.grid(4):
            total = total * 0.5 + x[rows, column] * (column + 1)
        last = total
        for columns in hl.tile(8, block_size=4):
            last = total
            total = total + x[rows, columns].sum(-1) * columns.begin
        for column in hl.grid(1, 16, 2):
            if column > 3:
                total = total - x[rows, column]
        out[rows, :] = x[rows, :] + (total + last)[:, None]
    return out


def short_loops_reference(x: torch.Tensor) -> torch.Tensor:
    total = torch.zeros_like(x[:, 0])
    for column in range(4):
        total = total * 0.5 + x[:, column] * (column + 1)
    last = total
    total = total + x[:, 4:8].sum(-1) * 4
    for column in range(5, 16, 2):
        total = total - x[:, column]
    return x + (total + last)[:, None]


@helion.kernel
def two_launches(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Walk three axes, then two others of the result and ``y``."""
    first = torch.empty_like(x)
    second = torch.empty_like(y)
    for i, j, k in hl.tile(x.size()):
        first[i, j, k] = x[i, j, k] * 2 + 1
    for i, j in hl.tile(y.size()):
        second[i, j] = y[i, j] - first[0, 1, 2]
    return first, second


def two_launches_reference(
    x: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    first = x * 2 + 1
    return first, y - first[0, 1, 2]


@helion.kernel
def overlapping(x: torch.Tensor, ends_early: hl.constexpr) -> torch.Tensor:
    """Return ``2 * x + 1`` by two launches that overlap, and let the next one begin."""
    first = torch.empty_like(x)
    out = torch.empty_like(x)
    hl.pdl_wait()
    if ends_early:
        hl.pdl_launch_dependents()
    for tile in hl.tile(x.size()):
        first[tile] = x[tile] * 2
    for tile in hl.tile(x.size()):
        out[tile] = first[tile] + 1
    if not ends_early:
        hl.pdl_launch_dependents()
    return out


@helion.kernel
def long_epilogue(
    x: torch.Tensor, y: torch.Tensor, bias: torch.Tensor, scale: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a product with an epilogue of rows, columns and indices; and signs."""
    m, n = x.size(0), y.size(1)
    out = torch.empty([m, n], dtype=torch.float32, device=x.device)
    signs = torch.empty([m, n], dtype=torch.float32, device=x.device)
    for i, j in hl.tile([m, n]):
        acc = hl.zeros([i, j], dtype=torch.float32)
        for k in hl.tile(x.size(1)):
            acc = torch.addmm(acc, x[i, k], y[k, j])
        value = acc * scale[i][:, None] + bias[j]
        odd = torch.where(j.index[None, :] % 2 == 1, value, acc)
        out[i, j] = torch.relu(odd) + j.begin * 0 + i.index[:, None]
        signs[i, j] = torch.where(acc > 0, 1.0, -1.0) + signs_of(bias[j])
    return out, signs


def signs_of(bias: torch.Tensor) -> torch.Tensor:
    return torch.where(bias > 0, 1.0, 0.0)


def long_epilogue_reference(
    x: torch.Tensor, y: torch.Tensor, bias: torch.Tensor, scale: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    acc = x @ y
    value = acc * scale[:, None] + bias
    odd = torch.arange(acc.size(1)) % 2 == 1
    rows = torch.arange(acc.size(0))[:, None]
    signs = torch.where(acc > 0, 1.0, -1.0) + (bias > 0).double()
    return torch.where(odd, value, acc).relu() + rows, signs


@helion.kernel
def adds_in_place(x: torch.Tensor, y: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Add a product to what ``out`` holds, and to another tensor atomically."""
    m, n = out.size()
    total = torch.zeros([m, n], dtype=torch.float32, device=x.device)
    for i, j in hl.tile([m, n]):
        acc = hl.zeros([i, j], dtype=torch.float32)
        for k in hl.tile(x.size(1)):
            acc = torch.addmm(acc, x[i, k], y[k, j])
        out[i, j] = out[i, j] + acc
        hl.atomic_add(total, [i, j], acc * 2)
    return total


@helion.kernel
def rows_in_place(x: torch.Tensor) -> torch.Tensor:
    """Double a matrix where it lies, a chunk of columns at a time."""
    for rows in hl.tile(x.size(0)):
        for columns in hl.tile(x.size(1)):
            x[rows, columns] = x[rows, columns] * 2
    return x
