"""Small kernels in which each line is one that has gone wrong in a compiler."""

from __future__ import annotations

import torch
from torch import Tensor

import helion
import helion.language as hl
from test.harness import randn


@helion.kernel
def swap(x: Tensor):
    out = torch.empty_like(x)
    out2 = torch.empty_like(x)
    for t in hl.tile(x.size(0)):
        a = x[t, :] * 1
        b = x[t, :] * 2
        for i in hl.grid(3):
            a, b = b, a + b * 0
        out[t, :] = a
        out2[t, :] = b
    return out, out2


@helion.kernel
def alias(x: Tensor):
    out = torch.empty_like(x)
    o2 = torch.empty_like(x)
    for t, u in hl.tile(x.size()):
        a = x[t, u]
        b = a
        a += 1
        out[t, u] = b
        c = b
        c = c * 2
        o2[t, u] = b + c
    return out, o2


@helion.kernel
def alias_loop(x: Tensor):
    out = torch.empty([x.size(0)])
    o2 = torch.empty([x.size(0)])
    for t in hl.tile(x.size(0)):
        a = hl.zeros([t])
        b = a
        for u in hl.tile(x.size(1)):
            a += x[t, u].sum(1)
        out[t] = a
        o2[t] = b
    return out, o2


@helion.kernel
def three(x: Tensor):
    out = torch.empty_like(x)
    for a, b, c in hl.tile(x.size()):
        out[a, b, c] = x[a, b, c] * 2 + x[a, b, c].sum(2)[:, :, None] * 0
    return out


@helion.kernel
def lists(x: Tensor, w: Tensor):
    out = torch.empty_like(x)
    for t, u in hl.tile(x.size()):
        vals = [x[t, u], x[t, u] * 2, x[t, u] + w[u][None, :]]
        acc = vals[0]
        for v in vals[1:]:
            acc = acc + v
        for i in hl.static_range(3):
            acc = acc + vals[i] * i
        out[t, u] = acc
    return out


@helion.kernel
def softmax_t(x: Tensor):
    out = torch.empty([x.size(1), x.size(0)])
    for t in hl.tile(x.size(0)):
        v = torch.softmax(x[t, :], dim=1)
        out[:, t] = v.T
    return out


@helion.kernel
def rowcol(x: Tensor):
    out = torch.empty_like(x)
    for t in hl.tile(x.size(0)):
        r = x[t, :]
        out[t, :] = (
            r
            - r.mean(1, keepdim=True)
            + r.amax(1)[:, None] * r.std(1)[:, None]
            + torch.logsumexp(r, 1)[:, None]
        )
    return out


@helion.kernel
def maxpair(x: Tensor):
    out = torch.empty([x.size(0)])
    idx = torch.empty([x.size(0)], dtype=torch.int64)
    for t in hl.tile(x.size(0)):
        v, i = x[t, :].max(1)
        out[t] = v
        idx[t] = i
    return out, idx


@helion.kernel
def whiles(n: Tensor):
    out = torch.empty([n.size(0)], dtype=torch.int64)
    for g in hl.grid(n.size(0)):
        v = n[g]
        s = 0
        while v > 0:
            s = s + v
            v = v - 3
        out[g] = s
    return out


@helion.kernel
def mm_relu(x: Tensor, y: Tensor):
    m, kk = x.size()
    n = y.size(1)
    out = torch.empty([m, n])
    for a, b in hl.tile([m, n]):
        acc = hl.zeros([a, b])
        for c in hl.tile(kk):
            acc += x[a, c] @ y[c, b]
        out[a, b] = torch.relu(acc).clamp(max=3.0)
    return out


@helion.kernel
def shifted(x: Tensor, s: int):
    out = torch.empty_like(x)
    for t, u in hl.tile(x.size()):
        idx = (u.index + s) % x.size(1)
        out[t, u] = x[t, idx]
    return out


@helion.kernel
def branch_val(x: Tensor):
    out = torch.empty_like(x)
    for t in hl.tile(x.size(0), block_size=1):
        v = x[t, :]
        s = v.sum()
        if s > 0:
            y = v * 2
            z = 1.0
        elif s < -5:
            y = v - 1
            z = 2.0
        else:
            y = v
            z = 3.0
        out[t, :] = y * z
    return out


@helion.kernel
def ints(a: Tensor, b: Tensor):
    o1 = torch.empty_like(a)
    o2 = torch.empty_like(a)
    o3 = torch.empty([41])
    for t in hl.tile(41):
        o1[t] = a[t] // b[t]
        o2[t] = a[t] % b[t]
        o3[t] = a[t] / b[t]
    return o1, o2, o3


@helion.kernel
def bcast(x: Tensor, w: Tensor, b: Tensor):
    out = torch.empty_like(x)
    for t, u in hl.tile(x.size()):
        out[t, u] = torch.where(x[t, u] > w[u][None, :], x[t, u] * b[t, u], -b[t, :])
    return out


@helion.kernel
def bmm_grid(a: Tensor, b: Tensor):
    B, m, kk = a.size()
    n = b.size(2)
    out = torch.empty([B, m, n])
    for g in hl.grid(B):
        for tm in hl.tile(m):
            out[g, tm, :] = hl.dot(a[g, tm, :], b[g, :, :])
    return out


@helion.kernel
def cumul(x: Tensor):
    out = torch.empty_like(x)
    for t in hl.tile(x.size(1)):
        run = hl.zeros([t])
        for i in hl.grid(x.size(0)):
            run = run + x[i, t]
            out[i, t] = run
    return out


@helion.kernel
def two_phase(x: Tensor):
    m = torch.empty([40])
    out = torch.empty_like(x)
    for t in hl.tile(40):
        m[t] = x[t, :].amax(1)
    for t, u in hl.tile(x.size()):
        out[t, u] = x[t, u] - m[t][:, None]
    return out


@helion.kernel
def inplace_arg(x: Tensor):
    for t in hl.tile(40):
        x[t, :] = torch.softmax(x[t, :], -1)
    return x


@helion.kernel
def hist(i: Tensor, v: Tensor):
    out = torch.zeros([10])
    for t in hl.tile(100):
        hl.atomic_add(out, [i[t]], v[t])
    return out


@helion.kernel
def strided(x: Tensor):
    out = torch.empty(x.shape)
    for t in hl.tile(x.size()):
        out[t] = torch.exp(x[t]) + 1
    return out


@helion.kernel
def sliced(x: Tensor):
    out = torch.empty(x.shape)
    for t, u in hl.tile(x.size()):
        out[t, u] = x[t, u].sigmoid()
    return out


@helion.kernel
def half_slices(x: Tensor):
    hl.specialize(x.size(1))
    out = torch.empty([37, 32])
    for t in hl.tile(37):
        out[t, :] = x[t, :32] * x[t, 32:] + x[t, ::2]
    return out


@helion.kernel
def fp16chain(x: Tensor):
    out = torch.empty_like(x)
    for t, u in hl.tile(x.size()):
        v = x[t, u]
        out[t, u] = torch.nn.functional.gelu(v) * torch.tanh(v) / (1 + v.abs())
    return out


@helion.kernel
def bf16norm(x: Tensor):
    out = torch.empty_like(x)
    for t in hl.tile(37):
        v = x[t, :]
        out[t, :] = (v - v.mean(-1, keepdim=True)) * torch.rsqrt(
            v.float().var(-1, keepdim=True) + 1e-5
        ).to(v.dtype)
    return out


@helion.kernel
def looped_many(x: Tensor):
    a = torch.empty([17])
    b = torch.empty([17])
    c = torch.empty([17], dtype=torch.int64)
    o = torch.empty_like(x)
    for t in hl.tile(17):
        v = x[t, :]
        a[t] = v.sum(1) + v.prod(1)
        b[t] = v.var(1)
        c[t] = v.argmin(1)
        o[t, :] = v / (v * v).sum(1)[:, None].sqrt() + v.std(1)[:, None]
    return a, b, c, o


@helion.kernel
def scal(x: Tensor, flag: bool, s: float):
    o = torch.empty_like(x)
    for t, u in hl.tile(x.size()):
        v = x[t, u] * s
        if flag:
            v = v + 1
        o[t, u] = v
    return o


@helion.kernel
def cont(d: dict):
    o = torch.empty_like(d["a"])
    for t in hl.tile(11):
        acc = d["a"][t]
        for q in d["b"]:
            acc = acc + q[t]
        o[t] = acc
    return o


CASES = {
    "swap": (swap, lambda: (randn(37, 53),)),
    "alias": (alias, lambda: (randn(37, 53),)),
    "alias_loop": (alias_loop, lambda: (randn(37, 53),)),
    "three": (three, lambda: (randn(5, 7, 11),)),
    "lists": (
        lists,
        lambda: (
            randn(37, 53),
            randn(53),
        ),
    ),
    "softmax_t": (softmax_t, lambda: (randn(37, 53),)),
    "rowcol": (rowcol, lambda: (randn(37, 53),)),
    "maxpair": (maxpair, lambda: (randn(37, 53),)),
    "whiles": (whiles, lambda: (torch.randint(0, 20, (37,)),)),
    "mm_relu": (
        mm_relu,
        lambda: (
            randn(64, 48),
            randn(48, 32),
        ),
    ),
    "shifted": (
        shifted,
        lambda: (
            randn(37, 53),
            3,
        ),
    ),
    "branch_val": (branch_val, lambda: (randn(37, 53),)),
    "ints": (
        ints,
        lambda: (
            torch.randint(-9, 9, (41,)),
            torch.randint(1, 5, (41,)),
        ),
    ),
    "bcast": (
        bcast,
        lambda: (
            randn(33, 17),
            randn(17),
            randn(33, 1),
        ),
    ),
    "bmm_grid": (
        bmm_grid,
        lambda: (
            randn(6, 33, 17),
            randn(6, 17, 20),
        ),
    ),
    "cumul": (cumul, lambda: (randn(40, 33),)),
    "two_phase": (two_phase, lambda: (randn(40, 33),)),
    "inplace_arg": (inplace_arg, lambda: (randn(40, 33),)),
    "hist": (
        hist,
        lambda: (
            torch.randint(0, 10, (100,)),
            randn(100),
        ),
    ),
    "strided": (strided, lambda: (randn(3, 40, 33).transpose(0, 2),)),
    "sliced": (sliced, lambda: (randn(50, 70)[3:41:2, 5:60:3],)),
    "half_slices": (half_slices, lambda: (randn(37, 64),)),
    "fp16chain": (fp16chain, lambda: (randn(37, 64).half(),)),
    "bf16norm": (bf16norm, lambda: (randn(37, 64).bfloat16(),)),
    "looped_many": (looped_many, lambda: (randn(17, 300),)),
    "scal": (
        scal,
        lambda: (
            randn(17, 300),
            True,
            2.5,
        ),
    ),
    "cont": (cont, lambda: ({"a": randn(11), "b": [randn(11), randn(11)]},)),
}
