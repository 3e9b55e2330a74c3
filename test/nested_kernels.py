"""Kernels written for dense tensors, which tests call with nested ones."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


@helion.kernel(dot_precision="ieee")
def bmm(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    bs, m, k = a.size()
    n = b.size(2)
    out = torch.empty([bs, m, n], dtype=a.dtype, device=a.device)
    for tb, tm, tn in hl.tile([bs, m, n]):
        acc = hl.zeros([tb, tm, tn], dtype=torch.float32)
        for tk in hl.tile(k):
            acc = torch.baddbmm(acc, a[tb, tm, tk], b[tb, tk, tn])
        out[tb, tm, tn] = acc.to(out.dtype)
    return out


@helion.kernel
def add_scaled(x: torch.Tensor, y: torch.Tensor, scale: float) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(out.size()):
        out[tile] = x[tile] + scale * y[tile]
    return out


@helion.kernel
def softmax_of_columns(x: torch.Tensor) -> torch.Tensor:
    b, _, k = x.shape
    out = x.new_empty(x.shape)
    for tb, tk in hl.tile([b, k]):
        out[tb, :, tk] = torch.softmax(x[tb, :, tk], 1)
    return out


@helion.kernel
def column_facts(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return maximum, product, mean and variance over the dim of unequal length."""
    b, _, k = x.size()
    top = torch.empty([b, k], dtype=x.dtype, device=x.device)
    product, mean, var = (torch.empty_like(top) for _ in range(3))
    for tb, tk in hl.tile([b, k]):
        rows = x[tb, :, tk] + 0.5
        top[tb, tk] = rows.amax(1)
        product[tb, tk] = rows.prod(1)
        mean[tb, tk] = rows.mean(1)
        var[tb, tk] = rows.var(1, correction=0)
    return top, product, mean, var


@helion.kernel
def whole_mean(x: torch.Tensor) -> torch.Tensor:
    """Return the mean of each sample, over both of its dims."""
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for tb in hl.tile(x.size(0)):
        out[tb] = (x[tb, :, :] + 1).mean((1, 2))
    return out


@helion.kernel
def tiled_column_facts(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return minimum and sum over the dim of unequal length, tile by tile."""
    b, m, k = x.size()
    low = torch.empty([b, k], dtype=x.dtype, device=x.device)
    total = torch.empty_like(low)
    for tb, tk in hl.tile([b, k]):
        least = hl.full([tb, tk], float("inf"), dtype=x.dtype)
        acc = hl.zeros([tb, tk], dtype=x.dtype)
        for tm in hl.tile(m):
            rows = x[tb, tm, tk] + 1
            least = torch.minimum(least, rows.amin(1))
            acc += rows.sum(1)
        low[tb, tk] = least
        total[tb, tk] = acc
    return low, total


@helion.kernel
def normalized_rows(x: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    out = torch.empty_like(x)
    for tb, tm in hl.tile([x.size(0), x.size(1)]):
        row = x[tb, tm, :]
        var, mean = torch.var_mean(row, -1, keepdim=True, correction=0)
        out[tb, tm, :] = (row - mean) * torch.rsqrt(var + eps)
    return out


@helion.kernel(dot_precision="ieee")
def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return attention over ``[B, H, M, D]``."""
    b, h, m, d = q.size()
    n = k.size(2)
    d = hl.specialize(d)
    out = torch.empty_like(q)
    scale = d**-0.5
    for tb, th, tm in hl.tile([b, h, m], block_size=[1, 1, None]):
        peak = hl.full([tm], float("-inf"), dtype=torch.float32)
        total = hl.zeros([tm], dtype=torch.float32)
        acc = hl.zeros([tm, d], dtype=torch.float32)
        query = q[tb.begin, th.begin, tm, :]
        for tn in hl.tile(n):
            keys = k[tb.begin, th.begin, tn, :]
            scores = hl.dot(query, keys.transpose(0, 1)) * scale
            # Keys past the end of the sample take no part.
            new = torch.maximum(peak, scores.amax(1))
            part = torch.exp(scores - new[:, None])
            factor = torch.exp(peak - new)
            total = total * factor + part.sum(1)
            acc = acc * factor[:, None]
            acc = hl.dot(part.to(v.dtype), v[tb.begin, th.begin, tn, :], acc=acc)
            peak = new
        out[tb.begin, th.begin, tm, :] = (acc / total[:, None]).to(out.dtype)
    return out


@helion.kernel
def head_sums(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``2 x`` of ``[B, H, M, D]``, and its sums over ``M``."""
    b, h, m, d = x.size()
    twice = torch.empty_like(x)
    out = torch.empty([b, h, d], dtype=x.dtype, device=x.device)
    for tb, th in hl.tile([b, h]):
        acc = hl.zeros([tb, th, d], dtype=x.dtype)
        for tm in hl.tile(m):
            part = x[tb, th, tm, :] * 2
            twice[tb, th, tm, :] = part
            acc += part.sum(2)
        out[tb, th, :] = acc
    return twice, out


@helion.kernel
def each_sample(x: torch.Tensor) -> torch.Tensor:
    out = torch.zeros_like(x)
    for b in hl.grid(x.size(0)):
        for tm in hl.tile(x.size(1)):
            peak = x[b, tm, :].amax(0)
            out[b, tm, :] = x[b, tm, :] + peak[None, :] * 0 + 1
    return out


@helion.kernel
def add_in_place(x: torch.Tensor) -> torch.Tensor:
    for tb, tm, tk in hl.tile(x.size()):
        x[tb, tm, tk] += 1
    return x


@helion.kernel
def updated(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Add ones to a nested tensor by atomics, and sum another by them."""
    counts = torch.zeros_like(x)
    total = torch.zeros([x.size(2)], dtype=x.dtype, device=x.device)
    for tb, tm, tk in hl.tile(x.size()):
        hl.atomic_add(counts, [tb, tm, tk], 1.0)
        hl.atomic_add(total, [tk], x[tb, tm, tk].sum(1).sum(0))
    return counts, total


@helion.kernel
def positive_only(x: torch.Tensor) -> torch.Tensor:
    """Copy what is positive, by masked accesses, and leave the rest 0."""
    out = torch.zeros_like(x)
    for tb, tm in hl.tile([x.size(0), x.size(1)]):
        rows = hl.load(x, [tb, tm, slice(None)])
        again = hl.load(x, [tb, tm, slice(None)], extra_mask=rows > 0)
        hl.store(out, [tb, tm, slice(None)], again, extra_mask=rows > 0)
    return out
