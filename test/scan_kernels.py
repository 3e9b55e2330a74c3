"""Kernels with combine functions, scans and random numbers."""

from __future__ import annotations

import torch

import helion
import helion.language as hl

# ---- combine functions ----


def larger(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the larger one; NaN wins."""
    return torch.maximum(left, right)


def length(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the hypotenuse."""
    return torch.sqrt(left * left + right * right)


def first_peak(
    left: tuple[torch.Tensor, ...], right: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the larger value with its index; the lower index of equal ones."""
    is_left = (left[0] > right[0]) | ((left[0] == right[0]) & (left[1] < right[1]))
    return torch.where(is_left, left[0], right[0]), torch.where(
        is_left, left[1], right[1]
    )


def compose(
    a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``x -> c * (a * x + b) + d`` as a pair; the order matters."""
    return a * c, b * c + d


def clipped_sum(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the sum, at most 4; associative if nothing is negative."""
    return torch.clamp(left + right, max=4)


def either(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return all bits of both."""
    return left | right


# ---- hl.reduce ----


@helion.kernel
def fold_rows(x: torch.Tensor, combine: object, other: hl.constexpr) -> torch.Tensor:
    """Return each row folded with ``combine``."""
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        out[tile] = hl.reduce(combine, x[tile, :], dim=-1, other=other)
    return out


@helion.kernel
def fold_all(x: torch.Tensor, combine: object, other: hl.constexpr) -> torch.Tensor:
    """Return each ``x[i]`` folded over all its dims, which are kept."""
    out = torch.empty([x.size(0), 1, 1], dtype=x.dtype, device=x.device)
    for i in hl.grid(x.size(0)):
        out[i, :, :] = hl.reduce(combine, x[i, :, :], other=other, keep_dims=True)
    return out


@helion.kernel
def fold_tiles(x: torch.Tensor, combine: object, other: hl.constexpr) -> torch.Tensor:
    """Return column folds, one tile of rows after the other."""
    out = torch.full([x.size(1)], other, dtype=x.dtype, device=x.device)
    for tile_n in hl.tile(x.size(1)):
        acc = hl.full([tile_n], other, dtype=x.dtype)
        for tile_m in hl.tile(x.size(0)):
            part = hl.reduce(combine, x[tile_m, tile_n], dim=0, other=other)
            acc = combine(acc, part)
        out[tile_n] = acc
    return out


@helion.kernel
def row_peaks(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each row's largest value and where it stands first."""
    values = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    places = torch.empty([x.size(0)], dtype=torch.int32, device=x.device)
    for tile in hl.tile(x.size(0)):
        row = x[tile, :]
        index = hl.arange(x.size(1)).to(torch.int32)[None, :].expand(row.shape)
        value, place = hl.reduce(
            first_peak, (row, index), dim=1, other=(float("-inf"), 2**30)
        )
        values[tile] = value
        places[tile] = place
    return values, places


# ---- scans ----


@helion.kernel
def scan_rows(x: torch.Tensor, combine: object, reverse: hl.constexpr) -> torch.Tensor:
    """Return ``combine`` run along each row of ``x + 1``, whose padding is 1."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile, :] = hl.associative_scan(combine, x[tile, :] + 1, 1, reverse)
    return out


@helion.kernel
def recurrence(a: torch.Tensor, b: torch.Tensor, reverse: hl.constexpr) -> torch.Tensor:
    """Return ``y[i] = a[i] * y[i - 1] + b[i]`` along each row."""
    out = torch.empty_like(a)
    for tile in hl.tile(a.size(0)):
        pair = (a[tile, :] + 0, b[tile, :] + 1)
        _, value = hl.associative_scan(compose, pair, -1, reverse=reverse)
        out[tile, :] = value
    return out


@helion.kernel
def cumulate(
    x: torch.Tensor, dim: hl.constexpr, reverse: hl.constexpr
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return running sum and product along a dim of each ``x[i]``."""
    sums, products = torch.empty_like(x), torch.empty_like(x)
    for i in hl.grid(x.size(0)):
        value = x[i, :, :]
        sums[i, :, :] = hl.cumsum(value, dim, reverse)
        products[i, :, :] = hl.cumprod(value, dim, reverse)
    return sums, products


@helion.kernel
def tile_cumsum(x: torch.Tensor, reverse: hl.constexpr) -> torch.Tensor:
    """Return the running sums of ``x + 1`` inside each tile of rows."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile, :] = hl.cumsum(x[tile, :] + 1, 0, reverse)
    return out


@helion.kernel
def torch_cumulate(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return torch's running sum and product of rows, in torch's dtypes."""
    wide = x.dtype if x.dtype.is_floating_point else torch.int64
    sums = torch.empty(x.size(), dtype=wide, device=x.device)
    products = torch.empty(x.size(), dtype=wide, device=x.device)
    for tile in hl.tile(x.size(0)):
        sums[tile, :] = torch.cumsum(x[tile, :], dim=1)
        products[tile, :] = x[tile, :].cumprod(-1)
    return sums, products


# ---- stacking ----


@helion.kernel
def stack_rows(x: torch.Tensor, dim: hl.constexpr) -> torch.Tensor:
    """Return ``x``, ``2 * x`` and ``-x`` stacked along a new dim."""
    m, n = x.size()
    sizes = [m, n]
    sizes.insert(dim, 3)
    out = torch.empty(sizes, dtype=x.dtype, device=x.device)
    for tile in hl.tile(m):
        value = x[tile, :]
        stacked = torch.stack([value, value * 2, -value], dim=dim)
        if dim == 0:
            out[:, tile, :] = stacked
        else:
            out[tile, :, :] = stacked
    return out


@helion.kernel
def rotate_half(x: torch.Tensor) -> torch.Tensor:
    """Return ``[-right half, left half]`` of each row."""
    m, n = x.size()
    half = n // 2
    out = torch.empty_like(x)
    halves = x.view(m, 2, half)
    for tile in hl.tile(m):
        left, right = halves[tile, 0, :], halves[tile, 1, :]
        out[tile, :] = torch.cat([-right, left], dim=-1)
    return out


# ---- random numbers ----


@helion.kernel
def random_like(x: torch.Tensor, seed: int) -> torch.Tensor:
    """Return uniform numbers of the shape of ``x``."""
    out = torch.empty(x.size(), dtype=torch.float32, device=x.device)
    for tile_m, tile_n in hl.tile(x.size()):
        out[tile_m, tile_n] = hl.rand([tile_m, tile_n], seed)
    return out


@helion.kernel
def random_rows(x: torch.Tensor, seed: torch.Tensor) -> torch.Tensor:
    """Return uniform numbers, a whole row at a time; the seed is in memory."""
    out = torch.empty(x.size(), dtype=torch.float32, device=x.device)
    for tile in hl.tile(x.size(0)):
        out[tile, :] = hl.rand([tile, x.size(1)], seed=seed[0])
    return out


@helion.kernel
def random_row_sums(x: torch.Tensor, seed: int) -> torch.Tensor:
    """Return the sums of rows, of which about half the elements are dropped."""
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        keep = hl.rand([tile, x.size(1)], seed) < 0.5
        out[tile] = torch.where(keep, x[tile, :], 0.0).sum(1)
    return out


@helion.kernel
def random_ints(
    x: torch.Tensor, low: hl.constexpr, high: hl.constexpr, seed: int
) -> torch.Tensor:
    """Return integers from ``low`` up to ``high`` of the shape of ``x``."""
    out = torch.empty(x.size(), dtype=torch.int32, device=x.device)
    for tile_m, tile_n in hl.tile(x.size()):
        out[tile_m, tile_n] = hl.randint([tile_m, tile_n], low, high, seed)
    return out


@helion.kernel
def random_span(x: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """Return integers between run-time bounds."""
    out = torch.empty(x.size(), dtype=torch.int32, device=x.device)
    for tile in hl.tile(x.size(0)):
        out[tile] = hl.randint([tile], low, high, seed=7)
    return out


@helion.kernel
def random_at(offsets: torch.Tensor, seed: int) -> tuple[torch.Tensor, ...]:
    """Return ``hl.rand`` and the four words of ``hl.rand4x`` at given counters."""
    first = torch.empty(offsets.size(), dtype=torch.float32, device=offsets.device)
    words = torch.empty([4, offsets.size(0)], device=offsets.device)
    for tile in hl.tile(offsets.size(0)):
        first[tile] = hl.rand([tile], seed, offsets=offsets[tile])
        a, b, c, d = hl.rand4x(seed, offsets[tile])
        words[0, tile] = a
        words[1, tile] = b
        words[2, tile] = c
        words[3, tile] = d
    return first, words


# ---- torch's running extrema ----


@helion.kernel
def running(x: torch.Tensor, dim: hl.constexpr) -> tuple[torch.Tensor, ...]:
    """Return running maxima and minima with their places, along a dim of ``x[i]``."""
    values = torch.empty([2, *x.size()], dtype=x.dtype, device=x.device)
    places = torch.empty([2, *x.size()], dtype=torch.int64, device=x.device)
    for i in hl.grid(x.size(0)):
        high = torch.cummax(x[i, :, :], dim)
        values[0, i, :, :] = high.values
        places[0, i, :, :] = high.indices
        low, place = x[i, :, :].cummin(dim=dim)
        values[1, i, :, :] = low
        places[1, i, :, :] = place
    return values, places


@helion.kernel
def running_log_sum(x: torch.Tensor) -> torch.Tensor:
    """Return ``logcumsumexp`` of each row."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile, :] = torch.logcumsumexp(x[tile, :], dim=-1)
    return out


@helion.kernel
def typed_sums(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return running sums and products of rows, in dtypes that are asked for."""
    sums = torch.empty(x.size(), dtype=torch.float32, device=x.device)
    products = torch.empty(x.size(), dtype=torch.int32, device=x.device)
    for tile in hl.tile(x.size(0)):
        sums[tile, :] = x[tile, :].cumsum(-1, dtype=torch.float32)
        products[tile, :] = torch.cumprod(x[tile, :], 1, dtype=torch.int32)
    return sums, products


@helion.kernel
def torch_scan(x: torch.Tensor, reverse: hl.constexpr) -> torch.Tensor:
    """Return running products of rows by torch's own scan."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile, :] = torch._higher_order_ops.associative_scan(
            torch.mul, x[tile, :], 1, reverse=reverse
        )
    return out


# ---- forms of combine functions ----


@helion.kernel
def combine_sum(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the sum; a kernel may be a combine function."""
    return left + right


@helion.kernel
def forms(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scans and folds of rows by combine functions of all forms."""
    scans = torch.empty([5, *x.size()], device=x.device)
    folds = torch.empty([5, x.size(0)], device=x.device)
    for tile in hl.tile(x.size(0)):
        row = x[tile, :]
        scans[0, tile, :] = hl.associative_scan(lambda a, b: a + b, row, dim=-1)
        scans[1, tile, :] = hl.associative_scan(combine_sum, row, dim=1, reverse=True)
        scans[2, tile, :] = hl.associative_scan(torch.maximum, row, 1)
        scans[3, tile, :] = hl.associative_scan(compose, (row, row), 1)[1]
        scans[4, tile, :] = hl.associative_scan(first_peak, (row, row * 0), 1)[0]
        folds[0, tile] = hl.reduce(lambda a, b: a + b, row, dim=-1)
        folds[1, tile] = hl.reduce(combine_sum, row, dim=1, keep_dims=True).squeeze(1)
        folds[2, tile] = hl.reduce(torch.maximum, row, 1, float("-inf"))
        folds[3, tile] = hl.reduce(two_extrema, (row, row), 1, (-1e9, 1e9))[1]
        folds[4, tile] = hl.reduce(pair_extrema, (row, row), 1, other=(-1e9, 1e9))[0]
    return scans, folds


def two_extrema(
    a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the larger of the firsts and the smaller of the seconds."""
    return torch.maximum(a, c), torch.minimum(b, d)


def pair_extrema(
    left: tuple[torch.Tensor, ...], right: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the same of two pairs."""
    return two_extrema(*left, *right)
