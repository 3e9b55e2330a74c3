"""Kernels over rows of unequal length, shared by tests."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


@helion.kernel
def jagged_sum(
    values: torch.Tensor, starts: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Return the sum of ``values + 1`` of each row: padding would count."""
    out = torch.empty_like(lengths, dtype=values.dtype)
    for rows in hl.tile(lengths.size(0)):
        length = lengths[rows]
        total = hl.zeros([rows], dtype=values.dtype)
        for cols in hl.jagged_tile(length):
            part = values[starts[rows][:, None] + cols.index[None, :]]
            total += (part + 1).sum(1)
        out[rows] = total
    return out


@helion.kernel
def jagged_features(
    values: torch.Tensor, offsets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return maximum, minimum and sum of each row of ``[total, features]``."""
    shape = [offsets.size(0) - 1, values.size(1)]
    high = torch.empty(shape, dtype=values.dtype, device=values.device)
    low, total = torch.empty_like(high), torch.empty_like(high)
    for rows, feats in hl.tile(shape):
        start = offsets[rows]
        length = offsets[rows.index + 1] - start
        top = hl.full([rows, feats], float("-inf"), dtype=values.dtype)
        bottom = hl.full([rows, feats], float("inf"), dtype=values.dtype)
        acc = hl.zeros([rows, feats], dtype=values.dtype)
        for cols in hl.jagged_tile(length):
            part = values[start[:, None] + cols.index[None, :], feats]
            top = torch.maximum(top, part.amax(1))
            bottom = torch.minimum(bottom, part.amin(1))
            acc = acc + part.sum(1)
        high[rows, feats] = top
        low[rows, feats] = bottom
        total[rows, feats] = acc
    return high, low, total


@helion.kernel
def jagged_softmax(values: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Softmax along each row: two passes over it, the second one stores."""
    out = torch.empty_like(values)
    for rows in hl.tile(offsets.size(0) - 1):
        start = offsets[rows]
        length = offsets[rows.index + 1] - start
        peak = hl.full([rows], float("-inf"), dtype=values.dtype)
        total = hl.zeros([rows], dtype=values.dtype)
        for cols in hl.jagged_tile(length):
            part = values[start[:, None] + cols.index[None, :]]
            new = torch.maximum(peak, part.amax(1))
            shift = torch.where(new == float("-inf"), 0.0, new)
            total = total * torch.exp(peak - shift)
            total = total + torch.exp(part - shift[:, None]).sum(1)
            peak = new
        for cols in hl.jagged_tile(length):
            place = start[:, None] + cols.index[None, :]
            part = torch.exp(values[place] - peak[:, None])
            out[place] = part / total[:, None]
    return out


@helion.kernel
def jagged_add_dense(
    values: torch.Tensor, offsets: torch.Tensor, dense: torch.Tensor
) -> torch.Tensor:
    """Return ``dense`` with each row of the jagged values added at its front."""
    out = dense.clone()
    for rows in hl.tile(dense.size(0)):
        start = offsets[rows]
        length = offsets[rows.index + 1] - start
        for cols in hl.jagged_tile(length):
            part = values[start[:, None] + cols.index[None, :]]
            out[rows, cols] = dense[rows, cols] + part
    return out


@helion.kernel(dot_precision="ieee")
def jagged_product(
    x: torch.Tensor, y: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Return ``x[b, :, :n] @ y[b, :n, :]`` with a length ``n`` for each ``b``."""
    b, m, _ = x.size()
    n = y.size(2)
    out = torch.empty([b, m, n], dtype=x.dtype, device=x.device)
    for tb, tm, tn in hl.tile([b, m, n]):
        length = lengths[tb]
        acc = hl.zeros([tb, tm, tn], dtype=torch.float32)
        for tk in hl.jagged_tile(length):
            # What is added is there in the lanes beyond the length as well.
            acc = torch.baddbmm(acc, x[tb, tm, tk] + 1, y[tb, tk, tn] + 1)
        out[tb, tm, tn] = acc.to(x.dtype)
    return out


@helion.kernel
def doubly_jagged_sum(
    values: torch.Tensor, outer: torch.Tensor, inner: torch.Tensor
) -> torch.Tensor:
    """Return sums over ``j < outer[i]`` and ``k < inner[i, j]`` of ``values + 1``."""
    out = torch.empty([values.size(0)], dtype=values.dtype, device=values.device)
    for i in hl.tile(values.size(0)):
        total = hl.zeros([i], dtype=values.dtype)
        for j in hl.jagged_tile(outer[i]):
            lengths = inner[i, j]
            for k in hl.jagged_tile(lengths):
                total += (values[i, j, k] + 1).sum(2).sum(1)
        out[i] = total
    return out


@helion.kernel
def lengths_of_two_dims(values: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Return the products over the first ``lengths[i, j]`` of ``values[i, j]``."""
    out = torch.empty_like(lengths, dtype=values.dtype)
    for i, j in hl.tile(lengths.size()):
        total = hl.full([i, j], 1, dtype=values.dtype)
        for k in hl.jagged_tile(lengths[i, j]):
            total = total * torch.prod(values[i, j, k] + 2, 2)
        out[i, j] = total
    return out


@helion.kernel
def jagged_histogram(
    ids: torch.Tensor, offsets: torch.Tensor, bins: int
) -> torch.Tensor:
    """Count the ids of each row."""
    rows = offsets.size(0) - 1
    out = torch.zeros([rows, bins], dtype=torch.int32, device=ids.device)
    for i in hl.tile(rows):
        start = offsets[i]
        length = offsets[i.index + 1] - start
        for j in hl.jagged_tile(length):
            found = ids[start[:, None] + j.index[None, :]]
            flat = i.index[:, None] + found * 0
            hl.atomic_add(out, [flat, found], 1)
    return out


def _larger(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.where(a > b, a, b)


@helion.kernel
def jagged_scans(
    dense: torch.Tensor, lengths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return sums from the back and from the front, and a fold of another kind."""
    back, front = torch.zeros_like(dense), torch.zeros_like(dense)
    top = torch.full_like(lengths, -99, dtype=dense.dtype)
    for i in hl.tile(dense.size(0)):
        for j in hl.jagged_tile(lengths[i]):
            value = dense[i, j] + 1
            back[i, j] = hl.cumsum(value, 1, reverse=True)
            front[i, j] = hl.cumsum(value, 1)
            found = hl.reduce(_larger, value, 1, other=-99)
            assert isinstance(found, torch.Tensor)
            top[i] = torch.maximum(top[i], found)
    return back, front, top
