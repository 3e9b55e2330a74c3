"""Loops in parts: every way to write a mask, tiles of unequal sizes, ragged ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import helion
import helion.language as hl
from test.harness import TOLERANCES, check, randn, run

Mask = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
BLOCKS = [(16, 16), (32, 16), (16, 32)]


@helion.kernel(dot_precision="highest")
def masked_product(
    x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, first: hl.constexpr, mask: Mask
) -> torch.Tensor:
    """Return ``mask(x @ y.T) @ z``; columns before ``first`` are left out."""
    m, k = x.size()
    k = hl.specialize(k)
    out = torch.empty_like(x)
    for tile_m in hl.tile(m):
        acc = hl.zeros([tile_m, k], dtype=torch.float32)
        rows = x[tile_m, :]
        for tile_n in hl.tile(first, y.size(0)):
            scores = hl.dot(rows, y[tile_n, :].T)
            scores = mask(scores, tile_m.index[:, None], tile_n.index[None, :])
            # Not 0 in padded lanes: they must be left out.
            acc += hl.dot(scores + 1.0, z[tile_n, :])
        out[tile_m, :] = acc
    return out


MASKS: dict[str, Mask] = {
    "past": lambda s, i, j: torch.where(i >= j, s, -3.0),
    "past, columns first": lambda s, i, j: torch.where(j <= i, s, -3.0),
    "strict past": lambda s, i, j: torch.where(i > j, s, -3.0),
    "future": lambda s, i, j: torch.where(j > i, s, -3.0),
    "future as the other side": lambda s, i, j: torch.where(i >= j, -3.0, s),
    "shifted": lambda s, i, j: torch.where(i + 7 >= j, s, -3.0),
    "shifted back": lambda s, i, j: torch.where(i >= j + 5, s, -3.0),
    "difference": lambda s, i, j: torch.where(i - j < 20, s, -3.0),
    "window": lambda s, i, j: torch.where((i - j >= 0) & (i - j < 20), s, -3.0),
    "band": lambda s, i, j: torch.where((i <= j + 9) & (j < i + 17), s, -3.0),
    "not the future": lambda s, i, j: torch.where(~(i < j), s, -3.0),
    "filled": lambda s, i, j: s.masked_fill((i < j) | (i - j >= 20), -3.0),
    "columns": lambda s, i, j: torch.where(j < 40, s, -3.0),
    "rows and columns": lambda s, i, j: torch.where((i + j < 40) & (j >= 3), s, -3.0),
    "with a value": lambda s, i, j: torch.where((i >= j) & (s > 0.0), s, -3.0),
    "none": lambda s, i, j: s * 2.0,
}


def masked_product_ref(
    x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, first: int, mask: Mask
) -> torch.Tensor:
    i = torch.arange(x.size(0), device=x.device)[:, None]
    j = torch.arange(y.size(0), device=x.device)[None, :]
    scores = mask(x @ y.T, i, j) + 1.0
    return scores[:, first:] @ z[first:]


@pytest.mark.parametrize("name", MASKS)
def test_masks_of_every_form(way: str, name: str) -> None:
    x, y, z = randn(50, 16), randn(70, 16), randn(70, 16)
    configs = [
        helion.Config(block_sizes=[*blocks], peel_masks=peel)
        for blocks, peel in zip([*BLOCKS[1:], BLOCKS[0]], ([True], [True], [False]))
    ]
    check(
        masked_product,
        *(x, y, z, 0, MASKS[name]),
        way=way,
        reference=masked_product_ref,
        configs=configs,
        tolerance={**TOLERANCES, torch.float32: (1e-4, 1e-4)},
    )


@pytest.mark.parametrize("blocks", BLOCKS, ids=str)
@pytest.mark.parametrize("sizes", [(1, 1), (15, 33), (64, 64), (17, 48)], ids=str)
def test_parts_give_the_same_bits_as_one_loop(sizes: tuple[int, int], blocks) -> None:
    x, y, z = randn(sizes[0], 16), randn(sizes[1], 16), randn(sizes[1], 16)
    results = [
        run(
            masked_product,
            *(x, y, z, min(5, sizes[1]), MASKS["window"]),
            way="interpreted",
            config=helion.Config(block_sizes=[*blocks], peel_masks=[peel]),
        )
        for peel in (True, False)
    ]
    assert torch.equal(*results)


@helion.kernel(static_shapes=False, dot_precision="highest")
def dynamic_causal(
    x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, window: int
) -> torch.Tensor:
    """Keys after a query, and those ``window`` before it, do not count."""
    m, k = x.size()
    k = hl.specialize(k)
    out = torch.empty_like(x)
    for tile_m in hl.tile(m):
        acc = hl.zeros([tile_m, k], dtype=torch.float32)
        rows = x[tile_m, :]
        for tile_n in hl.tile(y.size(0)):
            if tile_n.begin < tile_m.end:
                scores = hl.dot(rows, y[tile_n, :].T)
                i, j = tile_m.index[:, None], tile_n.index[None, :]
                seen = (i >= j) & (i - j < window)
                acc = hl.dot(torch.where(seen, scores, 0.0), z[tile_n, :], acc=acc)
        out[tile_m, :] = acc
    return out


def dynamic_causal_ref(
    x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, window: int
) -> torch.Tensor:
    i = torch.arange(x.size(0), device=x.device)[:, None]
    age = i - torch.arange(y.size(0), device=x.device)[None, :]
    return torch.where((age >= 0) & (age < window), x @ y.T, 0.0) @ z


@pytest.mark.parametrize("window", [0, 1, 9, 40, 2**31 - 1, -(2**31)])
def test_windows_of_dynamic_length(way: str, window: int) -> None:
    for m, n in ((40, 40), (33, 17), (16, 50)):
        x, y, z = randn(m, 16), randn(n, 16), randn(n, 16)
        check(
            dynamic_causal,
            *(x, y, z, window),
            way=way,
            reference=dynamic_causal_ref,
            configs=[helion.Config(block_sizes=[*blocks]) for blocks in BLOCKS[1:]],
            tolerance={**TOLERANCES, torch.float32: (1e-4, 1e-4)},
        )


@helion.kernel(dot_precision="highest")
def skipping(x: torch.Tensor, y: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """Add up the products of the tiles that begin in ``low .. high``."""
    m, k = x.size()
    k = hl.specialize(k)
    out = torch.empty([m, m], dtype=torch.float32, device=x.device)
    turns = torch.empty([m, m], dtype=torch.float32, device=x.device)
    for tile_m, tile_l in hl.tile([m, m]):
        acc = hl.zeros([tile_m, tile_l], dtype=torch.float32)
        count = hl.zeros([tile_m, tile_l], dtype=torch.float32)
        for tile_n in hl.tile(k, block_size=16):
            if tile_n.begin >= low and tile_n.begin <= high:
                acc = hl.dot(x[tile_m, tile_n], y[tile_n, tile_l], acc=acc)
                count += 1.0
        out[tile_m, tile_l] = acc
        turns[tile_m, tile_l] = count
    return out + 1000.0 * turns


@pytest.mark.parametrize("low, high", [(0, 60), (17, 32), (16, 31), (40, 20), (-9, 3)])
def test_turns_that_do_nothing_are_left_out(way: str, low: int, high: int) -> None:
    x, y = randn(16, 72), randn(72, 16)
    begins = [n for n in range(0, 72, 16) if low <= n <= high]
    right = sum(x[:, n : n + 16].double() @ y[n : n + 16].double() for n in begins)
    found = run(skipping, x, y, low, high, way=way)
    torch.testing.assert_close(
        found.double(), right + 1000.0 * len(begins) + torch.zeros(16, 16).double(),
        rtol=1e-4, atol=1e-3,
    )  # fmt: skip
