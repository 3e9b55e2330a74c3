"""Kernels that take parts of device values, contract them and check their shapes."""

from __future__ import annotations

import torch

import helion
import helion.language as hl

# ---- parts of values ----


@helion.kernel
def halves(x: torch.Tensor) -> torch.Tensor:
    """Return the second half of each row less the first, of a computed value."""
    m, n = x.size()
    out = x.new_empty([m, n // 2])
    for tile in hl.tile(m):
        row = x[tile, :] * 1.5
        out[tile, :] = row[:, n // 2 :] - row.narrow(1, 0, n // 2)
    return out


@helion.kernel
def loaded_half(x: torch.Tensor) -> torch.Tensor:
    """Return the first half of each row as it is."""
    m, n = x.size()
    out = x.new_empty([m, n // 2])
    for tile in hl.tile(m):
        out[tile, :] = x[tile, :].narrow(1, 0, n // 2)
    return out


@helion.kernel
def steps(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return every third column, a sum of columns, and all but the outer ones."""
    m, n = x.size()
    third = x.new_empty([m, (n + 2) // 3])
    total = x.new_empty([m])
    inner = x.new_empty([m, n - 3])
    for tile in hl.tile(m):
        row = x[tile, :].exp()
        third[tile, :] = row[:, ::3]
        picked = row[:, 2] + row.select(1, -1) + x[tile, :][:, 1]
        total[tile] = row[:, ::3].sum(1) + picked
        inner[tile, :] = row[:, 1:-2]
    return third, total, inner


@helion.kernel
def bits(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return some columns of a negated mask, and whether every other one has a bit."""
    m, n = x.size()
    some = torch.empty([m, n // 4], dtype=torch.bool, device=x.device)
    found = torch.empty([m], dtype=torch.bool, device=x.device)
    for tile in hl.tile(m):
        mask = ~x[tile, :]
        some[tile, :] = mask[:, 4 : 4 + n // 4]
        found[tile] = mask[:, ::2].any(1)
    return some, found


@helion.kernel
def read_before_store(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return half of each row as it was before the row is cleared."""
    m, n = x.size()
    kept = x.clone()
    out = x.new_empty([m, n // 2])
    for tile in hl.tile(m):
        row = kept[tile, :]
        kept[tile, :] = row * 0
        out[tile, :] = row[:, : n // 2]
    return out, kept


@helion.kernel
def halves_in_a_loop(x: torch.Tensor) -> torch.Tensor:
    """Add halves of a row that was loaded outside the loop."""
    m, n = x.size()
    out = x.new_empty([m, n // 2])
    for tile in hl.tile(m):
        row = x[tile, :]
        total = hl.zeros([tile, n // 2])
        for i in range(3):
            total = total + row[:, : n // 2] * i + row[:, n // 2 :]
        out[tile, :] = total
    return out


@helion.kernel
def corners(x: torch.Tensor) -> torch.Tensor:
    """Return a difference of parts along two dims at once."""
    m, n, p = x.size()
    out = x.new_empty([m, n - 1, 2])
    for tile in hl.tile(m):
        value = x[tile, :, :]
        out[tile, :, :] = (value + 1)[:, 1:, 2:4] - value[:, : n - 1, -2:]
    return out


@helion.kernel
def later_rows(x: torch.Tensor) -> torch.Tensor:
    """Return sums over all rows but the first two."""
    m, n = x.size()
    out = x.new_empty([n])
    for tile in hl.tile(n):
        out[tile] = x[:, tile][2:, :].sum(0)
    return out


@helion.kernel
def differences(x: torch.Tensor) -> torch.Tensor:
    """Return the differences of neighbours in each row."""
    m, n = x.size()
    n = hl.specialize(n)
    out = x.new_empty([m, n - 1])
    for tile in hl.tile(m):
        out[tile, :] = x[tile, :].sin().diff(dim=1)
    return out


@helion.kernel
def checked(x: torch.Tensor) -> torch.Tensor:
    """Return row sums after torch._check has seen host and device shapes."""
    m, n = x.size()
    torch._check(n >= 3, lambda: "at least three columns")
    torch._check(x.dim() == 2)
    out = x.new_empty([m])
    for tile in hl.tile(m):
        row = x[tile, :]
        torch._check(row.size(1) == n, lambda: f"{n} columns")
        torch._check(tile.begin >= 0)
        out[tile] = row.sum(1)
    return out


PARTS = {
    "halves": (halves, [(9, 10)]),
    "loaded_half": (loaded_half, [(9, 11)]),
    "steps": (steps, [(9, 11)]),
    "read_before_store": (read_before_store, [(9, 16)]),
    "halves_in_a_loop": (halves_in_a_loop, [(9, 16)]),
    "corners": (corners, [(9, 16, 6)]),
    "later_rows": (later_rows, [(9, 16)]),
    "differences": (differences, [(9, 11)]),
    "checked": (checked, [(9, 7)]),
}


# ---- contractions ----


@helion.kernel
def rows_and_products(
    x: torch.Tensor, y: torch.Tensor, w: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Return contractions with rows as tiles: sums, products and outer products."""
    m, n = x.size()
    p = y.size(1)
    chain = x.new_empty([m])
    product, turned = x.new_empty([m, p]), x.new_empty([p, m])
    outer, scaled = x.new_empty([m, n, p]), x.new_empty([m, n])
    for tile in hl.tile(m):
        a, b, c = x[tile, :], y[tile, :], w[:, :]
        chain[tile] = torch.einsum("mn,mp,np->m", a, b, c)
        product[tile, :] = torch.einsum("mn, np", a, c)
        turned[:, tile] = torch.einsum("mn,np->pm", [a, c])
        outer[tile, :, :] = torch.einsum("...n,...p->...np", a, b)
        scaled[tile, :] = torch.einsum("m,mn->mn", torch.einsum("mp->m", b), a)
    return chain, product, turned, outer, scaled


@helion.kernel
def summed_rows(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return contractions over rows: in a loop over tiles, and over all at once."""
    m, n = x.size()
    looped, whole = x.new_empty([n]), x.new_empty([n, y.size(1)])
    for tile in hl.tile(n):
        total = hl.zeros([tile])
        for rows in hl.tile(m):
            total += torch.einsum("mn,mn->n", x[rows, tile], x[rows, tile])
        looped[tile] = total
        whole[tile, :] = torch.einsum("mn,mp->np", x[:, tile], y[:, :])
    return looped, whole


@helion.kernel
def batches(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return batched products, and what is left of them when all is summed."""
    b, m, _ = x.size()
    out, total = x.new_empty([b, m, y.size(2)]), x.new_empty([b])
    for tile in hl.tile(b):
        left, right = x[tile, :, :], y[tile, :, :]
        out[tile, :, :] = torch.einsum("bik,bkj->bij", left, right)
        total[tile] = torch.einsum("bik,bkj->b", left, right)
    return out, total


CONTRACTIONS = {
    "rows_and_products": (rows_and_products, [(9, 7), (9, 5), (7, 5)]),
    "summed_rows": (summed_rows, [(9, 7), (9, 5)]),
    "batches": (batches, [(9, 7, 5), (9, 5, 6)]),
}


# ---- what is refused ----


def part_of(x: torch.Tensor, take: hl.constexpr) -> torch.Tensor:
    """Return the sum of what ``take(value, tile, n)`` makes of each row."""
    m, n = x.size()
    out = x.new_empty([m])
    for tile in hl.tile(m):
        out[tile] = take(x[tile, :], tile, n).sum(-1)
    return out
