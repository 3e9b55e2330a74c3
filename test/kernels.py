"""Kernels that several tests share, one for each construct of the language."""

from __future__ import annotations

from dataclasses import dataclass

import torch

import helion
import helion.language as hl

SCALE = 3
SHIFT = 0.25


# ---- types and operators ----


@helion.kernel
def mixed_types(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Return ``x * y + z`` in the type that PyTorch promotes the three to."""
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), z.dtype)
    out = torch.empty_like(x, dtype=dtype)
    for tile in hl.tile(x.size()):
        out[tile] = x[tile] * y[tile] + z[tile]
    return out


@helion.kernel
def integer_ops(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return a mix of bit operations, shifts, floor division and remainder."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size()):
        a, b = x[tile], y[tile]
        bits = ((a & b) | (a ^ 5)) ^ ~b
        out[tile] = bits + ((a << 1) >> 2) + a // (b.abs() + 1) + a % (b.abs() + 1)
    return out


@helion.kernel
def bool_ops(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return ``(~x | y) ^ (x & y)`` for bool tensors."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size()):
        a, b = x[tile], y[tile]
        out[tile] = (~a | b) ^ (a & b)
    return out


@helion.kernel
def compare(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return where ``x < y`` or ``x`` equals 1, as bool."""
    out = torch.empty_like(x, dtype=torch.bool)
    for tile in hl.tile(x.size()):
        out[tile] = (x[tile] < y[tile]) | (x[tile] == 1)
    return out


@helion.kernel
def cast(x: torch.Tensor, dtype: hl.constexpr) -> torch.Tensor:
    """Return ``x`` in another dtype."""
    out = torch.empty_like(x, dtype=dtype)
    for tile in hl.tile(x.size()):
        out[tile] = x[tile].to(dtype)
    return out


@helion.kernel
def math_chain(x: torch.Tensor) -> torch.Tensor:
    """Return a chain of transcendental functions that stays finite."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size()):
        value = torch.sin(x[tile]) + torch.exp(-x[tile].abs())
        value = torch.log1p(value.abs()) * torch.tanh(x[tile])
        out[tile] = torch.sqrt(value.abs()) + torch.rsqrt(value * value + 1.0)
    return out


# ---- shapes ----


@helion.kernel
def flat_double(x: torch.Tensor) -> torch.Tensor:
    """Return ``2 * x`` computed over a one-dimensional view."""
    flat = x.reshape(-1)
    out = torch.empty_like(flat)
    for tile in hl.tile(flat.size(0)):
        out[tile] = flat[tile] * 2
    return out.view(x.size())


@helion.kernel
def permute_3d(x: torch.Tensor) -> torch.Tensor:
    """Return ``x.permute(2, 0, 1) + 1`` as a contiguous tensor."""
    a, b, c = x.size()
    out = torch.empty([c, a, b], dtype=x.dtype, device=x.device)
    for i, j, k in hl.tile([a, b, c]):
        out[k, i, j] = x[i, j, k].permute(2, 0, 1) + 1
    return out


@helion.kernel
def size_one_load(x: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    """Return ``x * column``; ``column`` is ``[m, 1]`` and indexed by both tiles."""
    out = torch.empty_like(x)
    for tile_m, tile_n in hl.tile(x.size()):
        out[tile_m, tile_n] = x[tile_m, tile_n] * column[tile_m, tile_n]
    return out


@helion.kernel
def sum_two_dims(x: torch.Tensor) -> torch.Tensor:
    """Return the sum over both trailing dimensions, each read whole."""
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        out[tile] = x[tile, :, :].sum(-1).sum(-1)
    return out


@helion.kernel
def outer_product(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return ``x[:, None] * y[None, :]``."""
    out = torch.empty([x.size(0), y.size(0)], dtype=x.dtype, device=x.device)
    for tile_m, tile_n in hl.tile(out.size()):
        out[tile_m, tile_n] = x[tile_m][:, None] * y[tile_n][None, :]
    return out


# ---- loops ----


@helion.kernel
def nested_grid(x: torch.Tensor) -> torch.Tensor:
    """Return row sums of ``x`` with a sequential ``hl.grid`` over its columns."""
    m, n = x.size()
    out = torch.empty([m], dtype=x.dtype, device=x.device)
    for tile in hl.tile(m):
        acc = hl.zeros([tile], dtype=x.dtype)
        for j in hl.grid(n):
            acc = acc + x[tile, j]
        out[tile] = acc
    return out


@helion.kernel
def device_range(x: torch.Tensor, times: int) -> torch.Tensor:
    """Return ``x`` plus ``0 + 1 + ... + (times - 1)``."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        value = x[tile]
        for i in range(times):
            value = value + i
        out[tile] = value
    return out


@helion.kernel
def unrolled_powers(x: torch.Tensor, count: hl.constexpr) -> torch.Tensor:
    """Return ``x + x**2 + ... + x**count`` from a loop unrolled at compile time."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        power = x[tile]
        acc = power
        for _ in hl.static_range(count - 1):
            power = power * x[tile]
            acc = acc + power
        out[tile] = acc
    return out


@helion.kernel
def halve_until_small(x: torch.Tensor) -> torch.Tensor:
    """Return each ``x`` halved until no element of the tensor's row exceeds 1."""
    m, n = x.size()
    out = torch.empty_like(x)
    for i in hl.grid(m):
        row = x[i, :]
        while torch.amax(row.abs(), dim=0) > 1.0:
            row = row * 0.5
        out[i, :] = row
    return out


@helion.kernel
def ranged(x: torch.Tensor, begin: int, end: int) -> torch.Tensor:
    """Return zeros with ``x[begin:end]`` doubled in its place."""
    out = torch.zeros_like(x)
    for tile in hl.tile(begin, end):
        out[tile] = x[tile] * 2
    return out


@helion.kernel
def column_sum(x: torch.Tensor) -> torch.Tensor:
    """Return column sums: each tile of rows is reduced, then added up in a loop."""
    m, n = x.size()
    out = torch.empty([n], dtype=x.dtype, device=x.device)
    for tile_n in hl.tile(n):
        acc = hl.zeros([tile_n], dtype=torch.float32)
        for tile_m in hl.tile(m):
            acc = acc + x[tile_m, tile_n].sum(0)
        out[tile_n] = acc.to(x.dtype)
    return out


@helion.kernel
def carried_swap(x: torch.Tensor, times: int) -> torch.Tensor:
    """Return the ``times``-th Fibonacci-like combination of ``x`` and ``2 * x``.

    The two carried values trade places in every turn.
    """
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        older = x[tile]
        newer = x[tile] * 2
        for _ in range(times):
            older, newer = newer, older + newer
        out[tile] = older
    return out


@helion.kernel
def split_k_fixed(
    x: torch.Tensor, y: torch.Tensor, parts: hl.constexpr
) -> torch.Tensor:
    """Return ``x @ y`` with K cut into a fixed number of parts."""
    m, k = x.size()
    _, n = y.size()
    chunk = helion.next_power_of_2(helion.cdiv(k, parts))
    out = torch.zeros([m, n], dtype=torch.float32, device=x.device)
    for tile_m, tile_n, outer in hl.tile([m, n, k], block_size=[None, None, chunk]):
        acc = hl.zeros([tile_m, tile_n], dtype=torch.float32)
        for inner in hl.tile(outer.begin, outer.end):
            acc = acc + hl.dot(x[tile_m, inner], y[inner, tile_n])
        hl.atomic_add(out, [tile_m, tile_n], acc)
    return out


# ---- tiles ----


@helion.kernel
def tile_facts(x: torch.Tensor) -> torch.Tensor:
    """Return rows ``begin, end, id, index`` of the tile of 8 that holds a position."""
    out = torch.empty([4, x.size(0)], dtype=torch.int64, device=x.device)
    for tile in hl.tile(x.size(0), block_size=8):
        zero = x[tile].to(torch.int64) * 0
        out[0, tile] = zero + tile.begin
        out[1, tile] = zero + tile.end
        out[2, tile] = zero + tile.id
        out[3, tile] = zero + tile.index
    return out


@helion.kernel
def shifted_difference(x: torch.Tensor) -> torch.Tensor:
    """Return ``x[i + 1] - x[i]``, loaded at an offset of the tile."""
    n = x.size(0) - 1
    out = torch.empty([n], dtype=x.dtype, device=x.device)
    for tile in hl.tile(n):
        out[tile] = x[tile + 1] - x[tile]
    return out


@helion.kernel
def reverse(x: torch.Tensor) -> torch.Tensor:
    """Return ``x`` back to front, through a computed index."""
    n = x.size(0)
    out = torch.empty_like(x)
    for tile in hl.tile(n):
        out[tile] = x[n - 1 - tile.index]
    return out


@helion.kernel
def masked_store(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return a copy of ``y`` with the positive values of ``x`` written into it."""
    out = y.clone()
    for tile in hl.tile(x.size(0)):
        value = hl.load(x, [tile])
        hl.store(out, [tile], value, extra_mask=value > 0)
    return out


# ---- control flow ----


@helion.kernel
def choose_by_int(x: torch.Tensor, kind: int) -> torch.Tensor:
    """Return ``x + 1``, ``x * 2`` or ``-x`` for a kind of 0, 1 or another int."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        if kind == 0:
            value = x[tile] + 1
        elif kind == 1:
            value = x[tile] * 2
        else:
            value = -x[tile]
        out[tile] = value
    return out


@helion.kernel
def if_without_else(x: torch.Tensor, flag: torch.Tensor) -> torch.Tensor:
    """Return ``x``, or ``x * x`` when the 0-d tensor ``flag`` is positive."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        value = x[tile]
        if hl.load(flag, []) > 0:
            value = value * value
        out[tile] = value
    return out


@helion.kernel
def early_return(x: torch.Tensor, skip: hl.constexpr = False) -> torch.Tensor:
    """Return ``x`` itself when told to skip, else ``x + 1``."""
    if skip:
        return x
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = x[tile] + 1
    return out


@helion.kernel
def host_loop(x: torch.Tensor, times: int, double: bool) -> torch.Tensor:
    """Return ``x + times`` by one launch for each turn, then doubled if asked."""
    out = x.clone()
    for _ in range(times):
        for tile in hl.tile(x.size(0)):
            out[tile] = out[tile] + 1
    if double:
        for tile in hl.tile(x.size(0)):
            out[tile] = out[tile] * 2
    return out


@helion.kernel
def host_try(x: torch.Tensor, names: list[str]) -> torch.Tensor:
    """Return ``x`` times the number of names, with other host Python around."""
    sizes = {name: len(name) for name in names}
    try:
        factor = len(sizes)
    except TypeError:
        factor = 1
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = x[tile] * factor
    return out


@helion.kernel
def dependent_phases(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``y = 2 * x`` and ``z``: ``y`` reversed, plus 1."""
    n = x.size(0)
    y = torch.empty_like(x)
    z = torch.empty_like(x)
    for tile in hl.tile(n):
        y[tile] = x[tile] * 2
    for tile in hl.tile(n):
        z[tile] = y[n - 1 - tile.index] + 1
    return y, z


# ---- arguments ----


@dataclass(frozen=True)
class Affine:
    """Arguments in a dataclass: a weight tensor and a number."""

    weight: torch.Tensor
    offset: float


@helion.kernel
def affine_struct(x: torch.Tensor, affine: Affine) -> torch.Tensor:
    """Return ``x * affine.weight + affine.offset``."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = x[tile] * affine.weight[tile] + affine.offset
    return out


@helion.kernel
def sum_of_list(parts: list[torch.Tensor]) -> torch.Tensor:
    """Return the sum of a list of equal-shape tensors."""
    out = torch.empty_like(parts[0])
    for tile in hl.tile(out.size(0)):
        acc = hl.zeros([tile], dtype=out.dtype)
        for part in parts:
            acc = acc + part[tile]
        out[tile] = acc
    return out


@helion.kernel
def dict_axpy(tensors: dict[str, torch.Tensor], a: float) -> torch.Tensor:
    """Return ``a * tensors["x"] + tensors["y"]``."""
    out = torch.empty_like(tensors["x"])
    for tile in hl.tile(out.size(0)):
        out[tile] = a * tensors["x"][tile] + tensors["y"][tile]
    return out


@helion.kernel
def scalar_args(
    x: torch.Tensor, i: int, f: float, b: bool, power: hl.constexpr
) -> torch.Tensor:
    """Return ``x**power * i + f``, negated when ``b``."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        value = x[tile]
        for _ in hl.static_range(power - 1):
            value = value * x[tile]
        value = value * i + f
        if b:
            value = -value
        out[tile] = value
    return out


@helion.kernel
def default_args(x: torch.Tensor, scale: float = 2.0, shift: int = 3) -> torch.Tensor:
    """Return ``x * scale + shift``."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = x[tile] * scale + shift
    return out


@helion.kernel
def increment(x: torch.Tensor) -> None:
    """Add 1 to every element of ``x`` in place."""
    for tile in hl.tile(x.size()):
        x[tile] = x[tile] + 1


def twice(value: torch.Tensor) -> torch.Tensor:
    """Return ``2 * value``; called from device code."""
    return value + value


@helion.kernel
def helpers_and_globals(x: torch.Tensor) -> torch.Tensor:
    """Return ``2 * x * SCALE + SHIFT`` through a helper and two globals."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = twice(x[tile]) * SCALE + SHIFT
    return out


@helion.kernel
def many_outputs(
    x: torch.Tensor,
) -> tuple[torch.Tensor, dict[str, torch.Tensor], int]:
    """Return ``x + 1``, a dict with ``x * 2``, and the length."""
    first = torch.empty_like(x)
    second = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        value = x[tile]
        first[tile] = value + 1
        second[tile] = value * 2
    return first, {"double": second}, x.size(0)


# ---- reductions and atomics ----


@helion.kernel
def histogram(ids: torch.Tensor, buckets: hl.constexpr) -> torch.Tensor:
    """Return how often each id below ``buckets`` occurs."""
    out = torch.zeros([buckets], dtype=torch.int32, device=ids.device)
    for tile in hl.tile(ids.size(0)):
        hl.atomic_add(out, [ids[tile]], 1)
    return out


def multiply(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the product, as a combine function."""
    return left * right


@helion.kernel
def row_product(x: torch.Tensor) -> torch.Tensor:
    """Return the product of each row through ``hl.reduce``."""
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        out[tile] = hl.reduce(multiply, x[tile, :], dim=1, other=1)
    return out


@helion.kernel
def row_and_column_sums(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return row sums and column sums from one reading of ``x``."""
    m, n = x.size()
    rows = torch.empty([m], dtype=x.dtype, device=x.device)
    columns = torch.zeros([n], dtype=x.dtype, device=x.device)
    for tile in hl.tile(m):
        value = x[tile, :]
        rows[tile] = value.sum(1)
        hl.atomic_add(columns, [slice(None)], value.sum(0))
    return rows, columns


@helion.kernel
def exp_sum(x: torch.Tensor) -> torch.Tensor:
    """Return the sum of ``exp`` of each row: padded lanes must not add exp(0)."""
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        out[tile] = torch.exp(x[tile, :]).sum(-1)
    return out


@helion.kernel
def reductions(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return amin, amax, prod, argmin and argmax of each row."""
    m = x.size(0)
    low = torch.empty([m], dtype=x.dtype, device=x.device)
    high = torch.empty_like(low)
    product = torch.empty_like(low)
    first_low = torch.empty_like(low, dtype=torch.int64)
    first_high = torch.empty_like(low, dtype=torch.int64)
    for tile in hl.tile(m):
        row = x[tile, :]
        low[tile] = torch.amin(row, dim=-1)
        high[tile] = torch.amax(row, dim=-1)
        product[tile] = torch.prod(row, dim=-1)
        first_low[tile] = torch.argmin(row, dim=-1)
        first_high[tile] = torch.argmax(row, dim=-1)
    return low, high, product, first_low, first_high


@helion.kernel
def integer_sum(x: torch.Tensor) -> torch.Tensor:
    """Return row sums of an integer or bool tensor as int64."""
    out = torch.empty([x.size(0)], dtype=torch.int64, device=x.device)
    for tile in hl.tile(x.size(0)):
        out[tile] = x[tile, :].sum(-1)
    return out
