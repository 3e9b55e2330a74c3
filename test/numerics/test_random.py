"""Random numbers: the same in every way, whatever the block sizes."""

from __future__ import annotations

import pytest
import torch

import helion
from helion.language.random_ops import philox, uniform
from test import scan_kernels as kernels
from test.harness import run

SEEDS = [0, 42, 2**40 + 7, -5]


def words(seed: int, offsets: torch.Tensor) -> torch.Tensor:
    """Return the four words at each offset as signed integers."""
    stacked = torch.stack(philox(seed, offsets))
    return torch.where(stacked >= 2**31, stacked - 2**32, stacked)


@pytest.mark.parametrize("block_sizes", [[8, 8], [1, 4]], ids=str)
@pytest.mark.parametrize("seed", SEEDS)
def test_positions_do_not_depend_on_blocks(
    way: str, seed: int, block_sizes: list[int]
) -> None:
    x = torch.empty(13, 21)
    config = helion.Config(block_sizes=block_sizes)
    found = run(kernels.random_like, x, seed, way=way, config=config)
    wanted = uniform(philox(seed, torch.arange(13 * 21))[0]).view(13, 21)
    assert torch.equal(found, wanted)


def test_whole_rows_and_a_seed_in_memory(way: str) -> None:
    x, seed = torch.empty(5, 21), torch.tensor([2**33 + 1])
    config = helion.Config(block_sizes=[4])
    found = run(kernels.random_rows, x, seed, way=way, config=config)
    wanted = uniform(philox(seed[0], torch.arange(5 * 21))[0]).view(5, 21)
    assert torch.equal(found, wanted)


def test_extents_known_only_at_run_time(way: str) -> None:
    x, seed = torch.empty(5, 21), torch.tensor([3])
    found = run(kernels.random_rows, x, seed, way=way, static_shapes=False)
    wanted = uniform(philox(3, torch.arange(5 * 21))[0]).view(5, 21)
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("chunk", [None, 8])
def test_row_walked_in_chunks(way: str, chunk: int | None) -> None:
    x = torch.arange(5 * 37.0).view(5, 37)
    config = helion.Config(block_sizes=[4], reduction_loops=[chunk])
    found = run(kernels.random_row_sums, x, 3, way=way, config=config)
    keep = uniform(philox(3, torch.arange(5 * 37))[0]).view(5, 37) < 0.5
    assert torch.equal(found, torch.where(keep, x, 0.0).sum(1))


@pytest.mark.parametrize("low, high", [(0, 2), (-5, 9), (-(2**31), 2**31 - 1)])
def test_integers_in_a_range(way: str, low: int, high: int) -> None:
    x = torch.empty(13, 21)
    found = run(kernels.random_ints, x, low, high, 3, way=way)
    first = words(3, torch.arange(13 * 21))[0]
    wanted = (low + first.abs() % (high - low)).int()
    assert torch.equal(found, wanted.view(13, 21))
    assert low <= found.min() and found.max() < high


def test_integers_between_run_time_bounds(way: str) -> None:
    found = run(kernels.random_span, torch.empty(100), -3, 4, way=way)
    first = words(7, torch.arange(100))[0]
    assert torch.equal(found, (first.abs() % 7 - 3).int())


@pytest.mark.parametrize("seed", SEEDS)
def test_counters_of_the_user(way: str, seed: int) -> None:
    offsets = torch.tensor([0, 1, -1, 2**31 - 1, 2**31, 2**32 + 5, 2**35, -(2**40)])
    first, four = run(kernels.random_at, offsets, seed, way=way)
    wanted = torch.stack([uniform(word) for word in philox(seed, offsets)])
    assert torch.equal(first, wanted[0])
    assert torch.equal(four, wanted)


def test_small_counters_may_be_negative(way: str) -> None:
    offsets = torch.arange(-4, 4, dtype=torch.int32)
    first, _ = run(kernels.random_at, offsets, 9, way=way)
    assert torch.equal(first, uniform(philox(9, offsets)[0]))
