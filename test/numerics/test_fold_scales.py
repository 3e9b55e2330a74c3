"""Scores whose constant factor is moved: masks, signs, large values, empty rows."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch

import helion
import helion.language as hl
from test.harness import check, randn

Change = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
TOLERANCE = {torch.float32: (2e-5, 2e-5), torch.bfloat16: (3e-2, 3e-2)}
FLOOR = -1e30


@helion.kernel(dot_precision="highest")
def natural(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, change: Change
) -> torch.Tensor:
    """Return ``softmax(change(q @ k.T)) @ v``; rows without keys give 0."""
    m, d = q.size()
    d = hl.specialize(d)
    out = torch.empty_like(q)
    for tile_m in hl.tile(m):
        peak = hl.full([tile_m], FLOOR, dtype=torch.float32)
        total = hl.zeros([tile_m], dtype=torch.float32)
        acc = hl.zeros([tile_m, d], dtype=torch.float32)
        rows = q[tile_m, :]
        for tile_n in hl.tile(k.size(0)):
            scores = hl.dot(rows, k[tile_n, :].T)
            scores = change(scores, tile_m.index[:, None], tile_n.index[None, :])
            higher = torch.maximum(peak, torch.amax(scores, dim=1))
            weights = torch.exp(scores - higher[:, None])
            decay = torch.exp(peak - higher)
            total = total * decay + torch.sum(weights, dim=1)
            acc = acc * decay[:, None]
            acc = hl.dot(weights.to(v.dtype), v[tile_n, :], acc=acc)
            peak = higher
        total = torch.where(total > 0.0, total, 1.0)
        out[tile_m, :] = (acc / total[:, None]).to(out.dtype)
    return out


def natural_ref(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, change: Change
) -> torch.Tensor:
    i = torch.arange(q.size(0), device=q.device)[:, None]
    j = torch.arange(k.size(0), device=q.device)[None, :]
    return torch.softmax(change(q @ k.T, i, j), dim=1).nan_to_num(0.0) @ v


INF = float("inf")
CHANGES: dict[str, Change] = {
    "scaled": lambda s, i, j: s * 0.25,
    "plain": lambda s, i, j: s,
    "negative": lambda s, i, j: s * -0.25,
    "scaled, then masked": lambda s, i, j: torch.where(i >= j, s * 0.3, -INF),
    "masked, then scaled": lambda s, i, j: torch.where(i >= j, s, -INF) * 0.3,
    "filled": lambda s, i, j: (s * 0.3).masked_fill((i + j) % 3 == 0, -INF),
    "filled twice": lambda s, i, j: torch.where(
        j > 3, torch.where(i >= j, s * 0.3, 0.0), -INF
    ),
    "filled with a number": lambda s, i, j: torch.where(i >= j, s * 0.3, -5.0),
    "rows without keys": lambda s, i, j: torch.where(i >= j + 20, s * 0.3, -INF),
    "capped": lambda s, i, j: torch.tanh(s * 0.1) * 3.0,
    "twice": lambda s, i, j: (s * 0.3) * 0.5,
}


@pytest.mark.parametrize("name", CHANGES)
def test_scores_changed_in_many_ways(way: str, name: str) -> None:
    q, k, v = randn(40, 16), randn(37, 16), randn(37, 16)
    check(
        natural,
        *(q, k, v, CHANGES[name]),
        way=way,
        reference=natural_ref,
        configs=[helion.Config(block_sizes=[16, 32])],
        tolerance=TOLERANCE,
    )


def test_large_scores_lose_no_more_than_their_own_rounding(way: str) -> None:
    q, k, v = randn(16, 16) * 40.0, randn(64, 16) * 10.0, randn(64, 16)
    # The scores reach some thousands, of which float32 has steps of 2**-12.
    check(
        natural,
        *(q, k, v, CHANGES["scaled"]),
        way=way,
        reference=natural_ref,
        configs=[helion.Config(block_sizes=[16, 16])],
        tolerance={torch.float32: (2e-3, 2e-3)},
    )


def test_scores_in_low_precision(way: str) -> None:
    draw = functools.partial(randn, dtype=torch.bfloat16)
    check(
        natural,
        *(draw(16, 16), draw(40, 16), draw(40, 16), CHANGES["scaled, then masked"]),
        way=way,
        reference=natural_ref,
        configs=[helion.Config(block_sizes=[16, 16])],
        tolerance=TOLERANCE,
    )
