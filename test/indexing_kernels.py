"""Kernels that index host tensors in every form of the language."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


@helion.kernel
def slices_of_groups(x: torch.Tensor, first: int) -> tuple[torch.Tensor, ...]:
    """Load runs that begin where a loop index or an argument says."""
    m, n = x.size()
    runs = x.new_empty([m, 2, 3])
    odd = x.new_empty([m, n // 2])
    head = x.new_empty([m, 4])
    for g in hl.grid(m):
        for h in hl.grid(2):
            runs[g, h, :] = x[g, h * 3 : h * 3 + 3]
        odd[g, :] = x[g, 1::2]
        head[g, :] = x[g, first : first + 4]
    return runs, odd, head


@helion.kernel
def pairs_of_columns(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Load twice as many columns as a tile has, and store every other one."""
    m, n = x.size()
    half = n // 2
    swapped = torch.zeros_like(x)
    spread = torch.zeros_like(x)
    for tm, tn in hl.tile([m, half]):
        both = x[tm, tn.begin * 2 : tn.begin * 2 + tn.block_size * 2]
        even, odd = hl.split(both.reshape(tm, tn, 2))
        swapped[tm, tn.begin * 2 : tn.end * 2] = hl.join(odd, even).reshape(
            tm, tn.block_size * 2
        )
        spread[tm, tn.begin * 2 : tn.end * 2 : 2] = x[tm, tn.begin : tn.end]
    return swapped, spread


@helion.kernel
def past_the_end(x: torch.Tensor) -> torch.Tensor:
    """Sum windows of four that the end of the tensor cuts off."""
    n = x.size(0)
    out = x.new_empty([n])
    for g in hl.grid(n):
        out[g] = x[g : g + 4].sum()
    return out


@helion.kernel
def shifted_block(x: torch.Tensor) -> torch.Tensor:
    """Copy to a place one further on."""
    n = x.size(0)
    out = x.new_zeros([n + 1])
    for t in hl.tile(n):
        out[t.begin + 1 : t.end + 1] = x[t.begin : t.begin + t.block_size]
    return out


@helion.kernel
def scalars(x: torch.Tensor, y: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """Index with 0-d tensors before and after a tile, and read whole 0-d tensors."""
    m, n = x.size()
    out = x.new_empty([m, 4])
    for t in hl.tile(m):
        place = at[()]
        out[t, 0] = x[t, place]
        out[t, 1] = x[place, t.index % n] * 0 + y[()]
        out[t, 2] = x[t, at[...] + 1] + hl.load(y, [])
        out[t, -1] = x[-1, -n] + x[[t, place]]
    return out


@helion.kernel
def dims_missing(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Leave out dims, add some, and take a one-element list of a tile."""
    m, n, k = x.size()
    first, second = torch.empty_like(x), torch.empty_like(x)
    third = x.new_empty([m, k])
    for t in hl.tile([m]):
        first[t] = x[t]
        second[t, ...] = x[t, ..., None].sum(-1)
        third[t, :] = x[None, t, None, 1, :].squeeze(2).squeeze(0)
    return first, second, third


@helion.kernel
def scattered(
    x: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Gather a grid and pairs; scatter to a grid."""
    m = rows.size(0)
    grid = x.new_empty([m, columns.size(0)])
    pairs = x.new_empty([m])
    out = torch.zeros_like(x)
    for t in hl.tile(m):
        r, c = rows[t], columns[:]
        grid[t, :] = x[r, c]
        pairs[t] = x[r[:, None], columns[t][:, None]].squeeze(1)
        out[r, c] = x[r, c] + 1
    return grid, pairs, out


@helion.kernel
def added(x: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """Add in place, with slices and steps, and broadcast a row into each row."""
    out = x.clone()
    for t in hl.tile(x.size(0)):
        out[t, 1::2] += 1.0
        out[t, 0] = 5
        out[t, -1] -= x[t, 0]
        out[t, 1:3] *= row[None, 1:3]
    return out


@helion.kernel
def whole_host_tensor(x: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """Store a host tensor without loading it by hand."""
    out = torch.empty_like(x)
    for t in hl.grid(x.size(0)):
        out[t, :] = row
    return out


@helion.kernel
def host_views(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Index views that host code makes of an argument."""
    m, n = x.size()
    turned, part = x.t(), x[1:, ::2]
    wide, flat = x[:1].expand(m, n), x.reshape(-1)
    a, b = x.new_empty([n, m]), torch.empty_like(part)
    c, d = x.new_empty([m, n]), x.new_empty([m * n])
    for i, j in hl.tile([n, m]):
        a[i, j] = turned[i, j]
        c[j, i] = wide[j, i]
    for i in hl.tile(part.size(0)):
        b[i, :] = part[i, :]
    for i in hl.tile(m * n):
        d[i] = flat[i]
    return a, b, c, d


@helion.kernel
def windows(x: torch.Tensor) -> torch.Tensor:
    """Sum three neighbours by offsets of a tile."""
    n = x.size(0) - 2
    out = x.new_empty([n])
    for t in hl.tile(n):
        out[t] = x[t] + x[t + 1] + x[t.index + 2] * x[t.begin]
    return out


@helion.kernel
def counted(x: torch.Tensor, ids: torch.Tensor, n: int) -> torch.Tensor:
    """Add rows of a group up with atomics whose index has a slice and an int."""
    out = x.new_zeros([n, 2, x.size(1)])
    for t in hl.tile(x.size(0)):
        hl.atomic_add(out, [ids[t], 0, slice(None)], x[t, :])
        hl.atomic_max(out, [ids[t], 1, slice(0, 2)], x[t, 0:2])
    return out


@helion.kernel
def read_ends(x: torch.Tensor, ends: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
    """Loop up to ends that are read from tensors before each launch."""
    out = torch.zeros_like(x)
    for t in hl.tile(int(ends[0].item())):
        out[t] = x[t]
    for t in hl.tile(end, x.size(0)):
        out[t] = x[t] * 2
    return out
