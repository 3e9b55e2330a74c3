"""Kernels that reach host values through lists, loops and names that are rebound."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

import helion
import helion.language as hl

Table = dict[str, tuple[helion.Kernel, tuple[Any, ...], Any]]

_GENERATOR = torch.Generator().manual_seed(0)
X, A, B = (torch.randn(13, generator=_GENERATOR) for _ in range(3))
FREE = [A, {"b": B}]


class Pair(NamedTuple):
    """A tensor and a list of tensors."""

    first: torch.Tensor
    rest: list[torch.Tensor]


# ---- lists, tuples and dicts ----


@helion.kernel()
def scatter(x: torch.Tensor, outs: list) -> None:
    """Store into each tensor of a list."""
    for t in hl.tile(x.size(0)):
        for i in hl.static_range(len(outs)):
            outs[i][t] = x[t] + i


@helion.kernel()
def scatter_nested(x: torch.Tensor, outs: tuple) -> None:
    """Store into tensors of a tuple of lists, with one index from the other end."""
    for t in hl.tile(x.size(0)):
        for i in hl.static_range(2):
            for j in hl.static_range(2):
                out = outs[1 - i][j]
                out[t] = x[t] + i * 10 + j


@helion.kernel()
def scatter_made(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Store into tensors that the kernel made, without an index."""
    outs = [torch.empty_like(x) for _ in range(2)]
    for t in hl.tile(x.size(0)):
        for i, out in enumerate(outs):
            out[t] = x[t] + i
    return outs[0], outs[1]


@helion.kernel()
def zipped(ins: list, outs: list) -> None:
    """Walk two lists at once."""
    for t in hl.tile(ins[0].size(0)):
        for value, out in zip(ins, outs, strict=True):
            out[t] = value[t] * 2


@helion.kernel()
def weighted(ins: dict, scales: list, shifts: tuple) -> torch.Tensor:
    """Read a dict and two lists of numbers."""
    out = torch.empty_like(ins["a"])
    for t in hl.tile(out.size(0)):
        total = hl.zeros([t])
        for i, name in enumerate(ins):
            total = total * 2 + ins[name][t] * scales[i] + shifts[i]
        for value in ins.values():
            total = total * 3 + value[t]
        out[t] = total
    return out


@helion.kernel()
def of_pair(pair: Pair) -> torch.Tensor:
    """Read the fields of a named tuple."""
    out = torch.empty_like(pair.first)
    for t in hl.tile(out.size(0)):
        total = pair.first[t]
        for i in hl.static_range(2):
            total = total * 2 + pair.rest[i][t]
        out[t] = total
    return out


@helion.kernel()
def of_globals(x: torch.Tensor) -> torch.Tensor:
    """Read tensors in containers of the module."""
    out = torch.empty_like(x)
    for t in hl.tile(x.size(0)):
        total = x[t] + A[t]
        for i in hl.static_range(1):
            total = total * 2 + FREE[i][t] + FREE[i + 1]["b"][t]
        out[t] = total
    return out


def _make_of_closure() -> Any:
    values = [A, B]

    def of_closure(x: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(x)
        for t in hl.tile(x.size(0)):
            total = x[t]
            for i in hl.static_range(2):
                total = total * 2 + values[i][t]
            out[t] = total
        return out

    of_closure.__qualname__ = "of_closure"
    return of_closure


of_closure = helion.kernel()(_make_of_closure())


@helion.kernel()
def reordered(x: torch.Tensor, ins: list) -> torch.Tensor:
    """Rebind the name of a list, and one of those in another."""
    ins = [ins[1], ins[0]]
    first = x + 1
    held = [first, x]
    first = x * 100
    out = torch.empty_like(x)
    for t in hl.tile(x.size(0)):
        total = first[t]
        for i in hl.static_range(2):
            total = total * 2 + ins[i][t]
        for value in held:
            total = total * 2 + value[t]
        out[t] = total
    return out


def containers() -> Table:
    """Return kernels with arguments and what the results must be."""
    outs = [torch.empty(13) for _ in range(4)]
    x = X.double()
    a, b = A.double(), B.double()
    ab = {"a": A, "b": B}
    total = (a * 3 + 5) * 2 + b * 4 + 6
    lists = [outs[:2], outs[2:]]
    return {
        "scatter": (scatter, (X, outs[:3]), [x, x + 1, x + 2]),
        "scatter_nested": (
            scatter_nested,
            (X, tuple(lists)),
            [x + 10, x + 11, x, x + 1],
        ),
        "scatter_made": (scatter_made, (X,), [x, x + 1]),
        "zipped": (zipped, ([A, B], outs[:2]), [a * 2, b * 2]),
        "weighted": (weighted, (ab, [3.0, 4.0], (5, 6)), [(total * 3 + a) * 3 + b]),
        "of_pair": (of_pair, (Pair(X, [A, B]),), [(x * 2 + a) * 2 + b]),
        "of_globals": (of_globals, (X,), [(x + a) * 2 + a + b]),
        "of_closure": (of_closure, (X,), [(x * 2 + a) * 2 + b]),
        "reordered": (
            reordered,
            (X, [A, B]),
            [(((x * 100 * 2 + b) * 2 + a) * 2 + x + 1) * 2 + x],
        ),
    }


# ---- names that are rebound ----


@helion.kernel()
def told_apart(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
    """Add to one of two tensors while the other is in use under its name."""
    target = b if x.size(0) < 0 else a
    if x.sum() * 0 == 0:
        target = b
    for t in hl.tile(x.size(0)):
        hl.atomic_add(target, [t], a[t] + x[t])


@helion.kernel()
def old_number(x: torch.Tensor) -> torch.Tensor:
    """Use what a name held before it was bound again."""
    n = 3
    if x.sum() * 0 == 0:
        n = 4
    old = n
    n = 2
    out = torch.zeros_like(x)
    for t in hl.tile(old):
        out[t] = x[t] * old + n
    return out


@helion.kernel()
def previous_turn(x: torch.Tensor) -> torch.Tensor:
    """Use what the turn before bound, in loops with one variable."""
    out = torch.zeros_like(x)
    last = 5
    for i in range(1, 4):
        before = last
        last = i * 2
        for t in hl.tile(x.size(0)):
            out[t] = out[t] * 2 + x[t] * before + last
    for i in [7, 9]:
        for u in hl.tile(x.size(0)):
            out[u] = out[u] + i + last
    return out


@helion.kernel()
def counted(x: torch.Tensor) -> torch.Tensor:
    """Count in a loop that does not say how often it runs."""
    out = torch.zeros_like(x)
    n = 0
    while n < 3:
        k = n
        n = n + 1
        for t in hl.tile(x.size(0)):
            out[t] = out[t] * 2 + k * 10 + n
    return out


@helion.kernel()
def swapped(x: torch.Tensor) -> torch.Tensor:
    """Exchange two tensors in every turn."""
    source, target = x + 1, torch.zeros_like(x)
    for _ in range(3):
        for t in hl.tile(x.size(0)):
            hl.store(target, [t], hl.load(source, [t]) * 2)
        source, target = target, source
    return source


@helion.kernel()
def grown(x: torch.Tensor) -> torch.Tensor:
    """Append to a list in a host loop, and walk it on the device."""
    parts = []
    for i in range(3):
        parts.append(x * i)
    out = torch.zeros_like(x)
    for t in hl.tile(x.size(0)):
        for part in parts:
            out[t] = out[t] * 2 + part[t]
    return out


@helion.kernel()
def late_binding(x: torch.Tensor) -> torch.Tensor:
    """Call functions after a name that they read was bound again."""
    c = 2

    def times(v: torch.Tensor) -> torch.Tensor:
        return v * c

    plus = lambda v: v + c  # noqa: E731 (the subject)
    c = 3
    out = torch.zeros_like(x)
    for t in hl.tile(x.size(0)):
        out[t] = plus(times(x[t]))
    return out


def rebound() -> Table:
    """Return kernels with arguments and what the results must be."""
    x, a, b = X.double(), A.double(), B.double()
    head = torch.where(torch.arange(13) < 4, x * 4 + 2, 0)
    turns = ((x * 5 + 2) * 2 + x * 2 + 4) * 2 + x * 4 + 6
    counts = torch.full_like(x, ((0 + 1) * 2 + 10 + 2) * 2 + 20 + 3)
    return {
        "told_apart": (told_apart, (X, A.clone(), B.clone()), [a, b + a + x]),
        "old_number": (old_number, (X,), [head]),
        "previous_turn": (previous_turn, (X,), [turns + 7 + 9 + 12]),
        "counted": (counted, (X,), [counts]),
        "swapped": (swapped, (X,), [(x + 1) * 8]),
        "grown": (grown, (X,), [x * 2 + x * 2]),
        "late_binding": (late_binding, (X,), [x * 3 + 3]),
    }


# ---- refused ----


@helion.kernel()
def halved(x: torch.Tensor) -> torch.Tensor:
    """Begin each turn with a tensor of another shape."""
    y = x
    for _ in range(2):
        z = torch.zeros([y.size(0) // 2], device=x.device)
        for t in hl.tile(z.size(0)):
            z[t] = y[t]
        y = z
    return y


@helion.kernel()
def one_path(x: torch.Tensor) -> torch.Tensor:
    """Walk a list that is longer on one path."""
    parts = [x]
    if x.sum() > 0:
        parts.append(x)
    out = torch.zeros_like(x)
    for t in hl.tile(x.size(0)):
        for part in parts:
            out[t] = part[t]
    return out


@helion.kernel()
def other_strides(x: torch.Tensor) -> torch.Tensor:
    """Read a tensor that is transposed on one path."""
    y = x
    if x.sum() > 0:
        y = x.t()
    out = torch.zeros_like(x)
    for t in hl.tile(x.size(0)):
        out[t, :] = y[t, :]
    return out


@helion.kernel()
def other_word(x: torch.Tensor) -> torch.Tensor:
    """Read a string that the next turn replaces."""
    out = torch.zeros_like(x)
    word = "a"
    for _ in range(2):
        for t in hl.tile(x.size(0)):
            out[t] = x[t] if word == "a" else 0
        word = "b"
    return out
