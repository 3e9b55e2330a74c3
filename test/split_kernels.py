"""Kernels whose tiles gather over a device loop, and some that do more than that."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


@helion.kernel(dot_precision="ieee")
def linear_relu(x: torch.Tensor, y: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return ``relu(x @ y + bias)``."""
    m, k = x.size()
    n = y.size(1)
    out = torch.empty([m, n], dtype=x.dtype, device=x.device)
    for tile_m, tile_n in hl.tile([m, n]):
        acc = hl.zeros([tile_m, tile_n], dtype=torch.float32)
        for tile_k in hl.tile(k):
            acc = torch.addmm(acc, x[tile_m, tile_k], y[tile_k, tile_n])
        out[tile_m, tile_n] = torch.relu(acc + bias[tile_n]).to(x.dtype)
    return out


@helion.kernel(dot_precision="ieee")
def gated(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Return ``sigmoid(x @ y) * (x @ z)``: two accumulators."""
    m, k = x.size()
    n = y.size(1)
    out = torch.empty([m, n], dtype=x.dtype, device=x.device)
    for tile_m, tile_n in hl.tile([m, n]):
        gate = hl.zeros([tile_m, tile_n], dtype=torch.float32)
        value = hl.zeros([tile_m, tile_n], dtype=torch.float32)
        for tile_k in hl.tile(k):
            rows = x[tile_m, tile_k]
            gate = hl.dot(rows, y[tile_k, tile_n], acc=gate)
            value = torch.addmm(value, rows, z[tile_k, tile_n])
        out[tile_m, tile_n] = (torch.sigmoid(gate) * value).to(x.dtype)
    return out


@helion.kernel(dot_precision="ieee")
def batched(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return ``x @ y`` of each batch."""
    b, m, k = x.size()
    n = y.size(2)
    out = torch.empty([b, m, n], dtype=torch.float32, device=x.device)
    for tile_b, tile_m, tile_n in hl.tile([b, m, n]):
        acc = hl.zeros([tile_b, tile_m, tile_n], dtype=torch.float32)
        for tile_k in hl.tile(k):
            acc = torch.baddbmm(
                acc, x[tile_b, tile_m, tile_k], y[tile_b, tile_k, tile_n]
            )
        out[tile_b, tile_m, tile_n] = acc
    return out


@helion.kernel(dot_precision="ieee")
def added_to(total: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Add ``x @ y`` to a tensor in place, and return its largest element by row."""
    m, k = x.size()
    peak = torch.empty([m], dtype=total.dtype, device=x.device)
    for tile_m in hl.tile(m):
        acc = total[tile_m, :]
        for tile_k in hl.tile(k):
            acc = torch.addmm(acc, x[tile_m, tile_k], y[tile_k, :])
        total[tile_m, :] = acc
        peak[tile_m] = acc.amax(-1)
    return peak


@helion.kernel(dot_precision="ieee")
def extremes(x: torch.Tensor, low: int) -> tuple[torch.Tensor, ...]:
    """Return sum, maximum and minimum of each row, from column ``low`` on."""
    m, n = x.size()
    total = torch.empty([m], dtype=x.dtype, device=x.device)
    most, least = torch.empty_like(total), torch.empty_like(total)
    for tile in hl.tile(m):
        s = hl.full([tile], 3.0, dtype=x.dtype)
        a = hl.full([tile], -1.0, dtype=x.dtype)
        b = hl.full([tile], 1.0, dtype=x.dtype)
        for part in hl.tile(low, n):
            s = s - x[tile, part].sum(-1)
            a = torch.maximum(a, x[tile, part].amax(-1))
            b = torch.minimum(b, x[tile, part].amin(-1))
        total[tile], most[tile], least[tile] = s, a, b
    return total, most, least


@helion.kernel(dot_precision="ieee")
def jagged_totals(values: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Return the column sums of runs of rows; ``offsets`` tell where they begin."""
    rows, n = offsets.size(0) - 1, values.size(1)
    out = torch.empty([rows, n], dtype=values.dtype, device=values.device)
    for row, tile_n in hl.tile([rows, n], block_size=[1, None]):
        begin, end = offsets[row.begin], offsets[row.begin + 1]
        acc = hl.zeros([tile_n], dtype=torch.float32)
        for part in hl.tile(begin, end):
            acc = acc + values[part, tile_n].sum(0)
        out[row.begin, tile_n] = acc
    return out


@helion.kernel(dot_precision="ieee")
def convolved(x: torch.Tensor, taps: torch.Tensor) -> torch.Tensor:
    """Return ``sum(taps[i] @ x[i:])``: a loop over channels in a loop over taps."""
    count, channels, width = taps.size(0), taps.size(2), taps.size(1)
    length = x.size(1) - count + 1
    out = torch.empty([width, length], dtype=x.dtype, device=x.device)
    for tile_w, tile_l in hl.tile([width, length]):
        acc = hl.zeros([tile_w, tile_l], dtype=torch.float32)
        for tap in hl.grid(count):
            for part in hl.tile(channels):
                shifted = x[part, tile_l.index + tap]
                acc = torch.addmm(acc, taps[tap, tile_w, part], shifted)
        out[tile_w, tile_l] = acc
    return out


@helion.kernel(dot_precision="ieee")
def two_products(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``x @ y`` and ``x @ y @ y``: two launches."""
    m, k = x.size()
    once, twice = torch.empty_like(x), torch.empty_like(x)
    for tile_m, tile_n in hl.tile([m, k]):
        acc = hl.zeros([tile_m, tile_n], dtype=torch.float32)
        for tile_k in hl.tile(k):
            acc = torch.addmm(acc, x[tile_m, tile_k], y[tile_k, tile_n])
        once[tile_m, tile_n] = acc
    for tile_m, tile_n in hl.tile([m, k]):
        acc = hl.zeros([tile_m, tile_n], dtype=torch.float32)
        for tile_k in hl.tile(k):
            acc = torch.addmm(acc, once[tile_m, tile_k], y[tile_k, tile_n])
        twice[tile_m, tile_n] = acc
    return once, twice


@helion.kernel(dot_precision="ieee")
def integer_product(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return ``x @ y`` of int8 tensors in int32."""
    m, k = x.size()
    n = y.size(1)
    out = torch.empty([m, n], dtype=torch.int32, device=x.device)
    for tile_m, tile_n in hl.tile([m, n]):
        acc = hl.zeros([tile_m, tile_n], dtype=torch.int32)
        for tile_k in hl.tile(k):
            acc = hl.dot(x[tile_m, tile_k], y[tile_k, tile_n], acc=acc)
        out[tile_m, tile_n] = acc
    return out


@helion.kernel(dot_precision="ieee")
def half_product(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return ``x @ y``, of any floating dtype, summed in float16."""
    m, k = x.size()
    n = y.size(1)
    out = torch.empty([m, n], dtype=torch.float16, device=x.device)
    for tile_m, tile_n in hl.tile([m, n]):
        acc = hl.zeros([tile_m, tile_n], dtype=torch.float16)
        for tile_k in hl.tile(k):
            acc = hl.dot(x[tile_m, tile_k], y[tile_k, tile_n], acc=acc)
        out[tile_m, tile_n] = acc
    return out


# -- loops that are not shared ---------------------------------------------------------


@helion.kernel(dot_precision="ieee")
def decayed(x: torch.Tensor) -> torch.Tensor:
    """Return a sum of each row in which what came before counts half."""
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        acc = hl.zeros([tile], dtype=torch.float32)
        for part in hl.tile(x.size(1)):
            acc = acc * 0.5 + x[tile, part].sum(-1)
        out[tile] = acc
    return out


@helion.kernel(dot_precision="ieee")
def running(x: torch.Tensor) -> torch.Tensor:
    """Store the sums so far, one for each turn of the loop."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        acc = hl.zeros([tile], dtype=torch.float32)
        for part in hl.grid(x.size(1)):
            acc = acc + x[tile, part]
            out[tile, part] = acc
    return out


@helion.kernel(dot_precision="ieee")
def scaled_by_before(x: torch.Tensor) -> torch.Tensor:
    """Return a sum in which one accumulator scales what the other one gathers."""
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        a = hl.zeros([tile], dtype=torch.float32)
        b = hl.zeros([tile], dtype=torch.float32)
        for part in hl.tile(x.size(1)):
            b = b + x[tile, part].sum(-1) * a
            a = a + x[tile, part].sum(-1)
        out[tile] = a + b
    return out
