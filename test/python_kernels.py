"""Kernels of Python constructs in device code, one construct each."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import torch

import helion
import helion.language as hl

SCALE = 3.0
WEIGHTS = [0.25, 0.5]

# ---- continue and break ----


@helion.kernel
def skip_tiles(x: torch.Tensor, first: int) -> torch.Tensor:
    out = torch.zeros_like(x)
    for t in hl.tile(x.size(0)):
        if t.begin < first:
            continue
        out[t] = x[t] * 2
    return out


@helion.kernel
def skip_in_parts(x: torch.Tensor, n: int, m: int) -> torch.Tensor:
    out = torch.zeros_like(x)
    for t in hl.tile(x.size(0)):
        v = x[t]
        if n > 3:
            v = v + 1
            if m > 3:
                out[t] = v
                continue
            v = v * 2
        elif m > 2:
            continue
        out[t] = v + 10
    return out


@helion.kernel
def sum_until_large(x: torch.Tensor, limit: float) -> torch.Tensor:
    """Sum a row until the sum passes a limit, element by element."""
    out = torch.empty([x.size(0), 2], dtype=x.dtype, device=x.device)
    for i in hl.grid(x.size(0)):
        total = hl.zeros([], dtype=x.dtype)
        turns = 0
        for j in hl.grid(x.size(1)):
            value = x[i, j]
            if value < 0:
                continue
            total = total + value
            turns = turns + 1
            if total > limit:
                break
        out[i, 0] = total
        out[i, 1] = turns
    return out


@helion.kernel
def store_until_negative(x: torch.Tensor) -> torch.Tensor:
    out = torch.zeros_like(x)
    for i in hl.grid(x.size(0)):
        for j in range(x.size(1)):
            if x[i, j] < 0:
                break
            out[i, j] = x[i, j]
    return out


@helion.kernel
def break_two_levels(x: torch.Tensor, limit: float) -> torch.Tensor:
    """Stop both loops over planes and rows at the first row sum over the limit."""
    out = torch.zeros([x.size(0)], dtype=x.dtype, device=x.device)
    for i in hl.grid(x.size(0)):
        total = hl.zeros([], dtype=x.dtype)
        for j in hl.grid(x.size(1)):
            for k in hl.grid(x.size(2)):
                if x[i, j, k] < 0:
                    break
                total = total + x[i, j, k]
            if total > limit:
                break
        out[i] = total
    return out


@helion.kernel
def while_true(x: torch.Tensor) -> torch.Tensor:
    """Find where each row first holds a negative element, looking no further."""
    out = torch.empty([x.size(0)], dtype=torch.int64, device=x.device)
    for i in hl.grid(x.size(0)):
        at = hl.zeros([], dtype=torch.int64)
        while True:
            if at >= x.size(1):
                break
            if x[i, at] < 0:
                break
            at = at + 1
        out[i] = at
    return out


@helion.kernel
def while_with_continue(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for i in hl.grid(x.size(0)):
        at, total = 0, hl.zeros([], dtype=x.dtype)
        while at < x.size(1):
            value = x[i, at]
            at = at + 1
            if value < 0:
                continue
            total = total + value
            if total > 2:
                break
        out[i] = total
    return out


@helion.kernel
def break_in_unrolled(x: torch.Tensor, n: int) -> torch.Tensor:
    out = torch.empty_like(x)
    for t in hl.tile(x.size(0)):
        v = x[t]
        for i in hl.static_range(6):
            if i == 1:
                continue
            if i == 4:
                break
            if i > n:
                break
            v = v * 2 + i
        out[t] = v
    return out


@helion.kernel
def break_in_list(xs: list[torch.Tensor], n: int) -> torch.Tensor:
    out = torch.empty_like(xs[0])
    for t in hl.tile(out.size(0)):
        v = hl.zeros([t])
        for i, y in enumerate(xs):
            v = v + y[t]
            if i == n:
                break
        for a, b in zip(xs, [1, 2, 3]):
            if b == 2:
                continue
            v = v + a[t] * b
        out[t] = v
    return out


@helion.kernel
def break_tile_loop(x: torch.Tensor, limit: int) -> torch.Tensor:
    """Sum the row tiles that begin before the limit."""
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for i in hl.tile(x.size(0)):
        total = hl.zeros([i], dtype=x.dtype)
        for j in hl.tile(x.size(1)):
            if j.begin >= limit:
                break
            total = total + x[i, j].sum(1)
        out[i] = total
    return out


@helion.kernel
def static_while(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for t in hl.tile(x.size(0)):
        parts = []
        i = 0
        while True:
            parts.append(x[t] + i)
            i += 1
            if i == 3:
                break
        out[t] = parts[0] + parts[1] * parts[2]
    return out


@helion.kernel
def atomics_until(x: torch.Tensor, stop: torch.Tensor) -> torch.Tensor:
    """Count the elements in front of the first one that equals the stop value."""
    out = torch.zeros([x.size(0)], dtype=torch.int32, device=x.device)
    for i in hl.grid(x.size(0)):
        for j in hl.grid(x.size(1)):
            if x[i, j] == stop[i]:
                break
            hl.atomic_add(out, [i], 1)
    return out


# ---- expressions ----


@helion.kernel
def ternaries(x: torch.Tensor, y: torch.Tensor, n: int) -> torch.Tensor:
    out = torch.empty_like(x)
    for t in hl.tile(x.size(0)):
        scale = 2 if n > 3 else 0.5
        total = x[t].sum()
        sign = 1.0 if total > 0 else (-1.0 if total < -2 else 0.0)
        a, b = (x[t], 1) if n > 3 else (y[t], t.begin)
        out[t] = a * scale + sign + b
    return out


@helion.kernel
def guarded_loads(x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Read only at the positions that exist."""
    out = torch.empty([ids.size(0)], dtype=x.dtype, device=x.device)
    for i in hl.grid(ids.size(0)):
        at = ids[i]
        found = x[at] if at >= 0 and at < x.size(0) else -1.0
        is_large = at >= 0 and at < x.size(0) and x[at] > 1
        out[i] = found + (10 if is_large or not at != 2 else 0)
    return out


@helion.kernel
def logic(x: torch.Tensor, n: int, m: int) -> torch.Tensor:
    out = torch.empty_like(x)
    for t in hl.tile(x.size(0)):
        v = x[t] + (n or 7) + (m and 5)
        if n in (1, 3) or m not in {2, 4, n}:
            v = v * 2
        if 0 < n <= 3 and not (m == 2):
            v = v + 100
        out[t] = v
    return out


@helion.kernel
def walrus(x: torch.Tensor, n: int) -> torch.Tensor:
    out = torch.empty_like(x)
    for t in hl.tile(x.size(0)):
        if (total := x[t].sum()) > 0:
            v = x[t] * total
        else:
            v = x[t] - total
        i = 0
        while (i := i + 1) < n:
            v = v + i
        out[t] = v
    return out


@helion.kernel
def containers(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for t in hl.tile(x.size(0)):
        parts = [x[t]]
        parts.append(y[t])
        parts.insert(0, x[t] * 2)
        last = parts.pop()
        parts.extend([last, *parts])
        named = {f"p{i}": v for i, v in enumerate(parts) if i != 1}
        named["extra"] = sum(v * k for k, v in zip([3, 1, 2], reversed(parts[:3])))
        weights = sorted({4, 1, 3})
        total = named.get("none", 0.5)
        for weight, key in zip([*weights, 5, 6], named.keys(), strict=True):
            total = total + named[key] * weight
        del named["extra"], last
        out[t] = total + len(named.items())
    return out


@helion.kernel
def checked(x: torch.Tensor, n: int) -> torch.Tensor:
    """Double a vector of at least one element, for a positive n."""
    out = torch.empty_like(x)
    for t in hl.tile(x.size(0)):
        """A docstring in a loop."""
        assert x.dim() == 1, "a vector is needed"
        assert n > 0, f"n is {n}"
        pass
        out[t] = x[t] * 2
    return out


@helion.kernel
def printing(x: torch.Tensor, n: int) -> torch.Tensor:
    out = torch.empty_like(x)
    for t in hl.tile(x.size(0)):
        total = x[t].sum()
        print("plain text")
        print("two values", total, n)
        print(f"total {total} of 100%, n={n}, {x.dim()} dim", t.begin)
        out[t] = x[t] + 1
    return out


# ---- functions ----


def clipped(value: torch.Tensor, limit: int, low: float = 0.0) -> torch.Tensor:
    """Return early, on a condition that is known at run time only."""
    if limit > 3:
        return value.clamp(min=low)
    if limit < 0:
        return value
    return value * limit


def row_sum(x: torch.Tensor, rows: hl.Tile, *, stop: int = 1 << 30) -> torch.Tensor:
    total = hl.zeros([rows], dtype=x.dtype)
    for columns in hl.tile(x.size(1)):
        if columns.begin >= stop:
            break
        total = total + x[rows, columns].sum(1)
    return total


def add_into(total: torch.Tensor, x: torch.Tensor, rows: hl.Tile, n: int) -> None:
    for _ in range(n):
        total += x[rows, 0]


def first_over(values: list[int], limit: int) -> int:
    for i, value in enumerate(values):
        if value > limit:
            return i
    return -1


def last_turn(x: torch.Tensor, rows: hl.Tile, n: int):
    """Return from the middle of nested loops, with two values."""
    total = hl.zeros([rows])
    for i in range(5):
        for j in hl.grid(x.size(1)):
            total = total + x[rows, j]
            if i * 10 + j == n:
                return total * 2
    return total


def both(left: torch.Tensor, right: torch.Tensor, n: int):
    if n > 3:
        return left, right, 1
    return right, left * n, 2


def twice(function, value):
    return function(function(value)) if True else value


@helion.kernel
def calls(x: torch.Tensor, n: int) -> torch.Tensor:
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)

    def shifted(value, by=1.0, *more, **named):
        if n > 3:
            return value + by + len(more)
        return value - by * named.get("times", 1)

    for t in hl.tile(x.size(0)):
        total = row_sum(x, t)
        add_into(total, x, t, n)
        bounded = functools.partial(clipped, low=-0.5)
        total = bounded(total, n) + first_over([1, 5, 9], 4)
        out[t] = shifted(total, 2.0, 7) + shifted(total, times=3)
    return out


@helion.kernel
def returns(x: torch.Tensor, n: int) -> torch.Tensor:
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for t in hl.tile(x.size(0)):
        total = last_turn(x, t, n)
        first, second, k = both(total, x[t, 0], n)
        kind = 3 if isinstance(n, int) else 4
        out[t] = first * 100 + second * k + kind
    return out


@helion.kernel
def nested_functions(x: torch.Tensor, n: int) -> torch.Tensor:
    out = torch.empty_like(x)
    for t in hl.tile(x.size(0)):
        scale = 1.0

        def scaled(value, k=2, *, add=0.0):
            half = value / 2 if n > 3 else value
            return half * scale * k + add

        def maker(k):
            def made(value):
                return value * k if n > 2 else value - k

            return made

        scale = 3.0
        v = twice(lambda value: scaled(value, add=n), x[t])
        out[t] = maker(5)(v) + twice(torch.sin, x[t])
    return out


def scale_all(x: torch.Tensor, out: torch.Tensor, factor: float = SCALE) -> None:
    """Launch from a helper."""
    for t in hl.tile(x.size(0)):
        if x[t].sum() > 1e6:
            continue
        out[t] = x[t] * factor + WEIGHTS[0]


def scaled_copy(x: torch.Tensor, n: int) -> torch.Tensor:
    out = torch.empty_like(x)
    if n > 3:
        scale_all(x, out, factor=2.0)
        return out
    for t in hl.tile(out.size(0)):
        out[t] = x[t] - SCALE
    return out


@helion.kernel
def launching_helpers(x: torch.Tensor, n: int) -> torch.Tensor:
    first = scaled_copy(x, n)

    def finish(value, result):
        for t in hl.tile(value.size(0)):
            result[t] = value[t] + n

    out = torch.empty_like(x)
    scale_all(first, out)
    finish(out, out)
    return out


# ---- arguments ----


@dataclasses.dataclass
class Layer:
    weight: torch.Tensor
    scale: float
    bias: torch.Tensor | None = None


class Pair(NamedTuple):
    left: torch.Tensor
    count: int


@helion.kernel
def structured(
    layer: Layer, pair: Pair, table: dict, nested: list, function: Callable
) -> torch.Tensor:
    x = table["x"]
    out = torch.empty_like(x)
    for t in hl.tile(x.size(0)):
        v = x[t] * layer.weight[t] * layer.scale + pair.left[t] * pair.count
        if layer.bias is not None:
            v = v + layer.bias[t]
        for row in nested:
            for item, k in row:
                v = v + item[t] * k
        for key, value in table["more"].items():
            v = v + value[t] * len(key)
        out[t] = function(v) if pair.count > 1 else v
    return out


def make_kernel(factor: float, weight: torch.Tensor, function: Callable):
    @helion.kernel
    def closed(x: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(x)
        for t in hl.tile(x.size(0)):
            out[t] = function(x[t]) * factor + weight[t]
        return out

    return closed


# ---- loops and branches ----


@helion.kernel
def names_of_one_tensor(x: torch.Tensor, n: int) -> torch.Tensor:
    """A name keeps its value when another name of it is rebound in a while."""
    out = torch.empty_like(x)
    for t in hl.tile(x.size(0)):
        a = x[t]
        b = a
        i = 0
        while i < n:
            a = a + 1
            i = i + 1
        out[t] = a * 100 + b
    return out


@helion.kernel
def list_of_accumulators(x: torch.Tensor, n: int) -> torch.Tensor:
    out = torch.empty_like(x)
    for t in hl.tile(x.size(0)):
        sums = [hl.zeros([t]), hl.zeros([t])]
        for i in range(n):
            sums[0].add_(x[t])
            sums[1].sub_(x[t] * i)
        out[t] = sums[0] * 10 + sums[1]
    return out


@helion.kernel
def unread_names(x: torch.Tensor, n: int) -> torch.Tensor:
    """Each side of a branch gives a name another type, and reads it itself."""
    out = torch.empty_like(x)
    for t in hl.tile(x.size(0)):
        if n > 3:
            values = [x[t]]
            scale, only = 2, x[t] + 1
            out[t] = values[0] * scale + only
        else:
            values = x[t].half()
            scale = 0.5
            out[t] = values * scale
    return out
