"""Gathers, scatters, offsets, masks and data-dependent bounds."""

from __future__ import annotations

import pytest
import torch

import helion
from examples.concat import concat
from examples.cross_entropy import cross_entropy
from examples.embedding import embedding
from examples.jagged_row_sum import jagged_row_sum
from test import kernels
from test.harness import check, randn, run

SMALL_1D = (None, helion.Config(block_sizes=[8]))
SMALL_2D = (None, helion.Config(block_sizes=[4, 8]))


@pytest.mark.parametrize("shape", [(1,), (7,), (2, 3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64], ids=str)
def test_embedding_with_ids_of_any_shape(way: str, shape, dtype) -> None:
    ids = torch.randint(0, 11, shape).to(dtype)
    check(
        embedding,
        ids,
        randn(11, 13),
        way=way,
        reference=torch.nn.functional.embedding,
        configs=SMALL_2D,
    )


@pytest.mark.parametrize("n, v", [(1, 1), (5, 37), (9, 64)])
def test_cross_entropy(way: str, n: int, v: int) -> None:
    check(
        cross_entropy,
        randn(n, v),
        torch.randint(0, v, [n]),
        way=way,
        reference=torch.nn.functional.cross_entropy,
        configs=(None, helion.Config(block_sizes=[2])),
    )


@pytest.mark.parametrize("left, right", [(1, 1), (16, 16), (5, 23), (0, 4)])
def test_concat_at_any_seam(way: str, left: int, right: int) -> None:
    check(
        concat,
        randn(3, left),
        randn(3, right),
        way=way,
        reference=lambda x, y: torch.cat([x, y], 1),
        configs=SMALL_2D,
    )


@pytest.mark.parametrize("lengths", [[0], [5], [0, 3, 0, 17, 1]], ids=str)
def test_loop_bounds_from_data(way: str, lengths: list[int]) -> None:
    ends = [0, *torch.tensor(lengths).cumsum(0).tolist()]
    check(
        jagged_row_sum,
        randn(ends[-1], 5),
        torch.tensor(ends),
        way=way,
        reference=lambda values, _: torch.stack(
            [values[b:e].sum(0) for b, e in zip(ends, ends[1:])]
        ),
        configs=SMALL_2D,
    )


def test_tile_plus_offset(way: str) -> None:
    check(
        kernels.shifted_difference,
        randn(38),
        way=way,
        reference=lambda x: x[1:] - x[:-1],
        configs=SMALL_1D,
    )


def test_computed_index(way: str) -> None:
    check(
        kernels.reverse,
        randn(37),
        way=way,
        reference=lambda x: x.flip(0),
        configs=SMALL_1D,
    )


def test_masked_store_leaves_the_rest(way: str) -> None:
    check(
        kernels.masked_store,
        randn(37),
        randn(37),
        way=way,
        reference=lambda x, y: torch.where(x > 0, x, y),
        configs=SMALL_1D,
    )


def test_histogram_counts_repeated_ids(way: str) -> None:
    check(
        kernels.histogram,
        torch.randint(0, 7, [101]),
        7,
        way=way,
        reference=lambda ids, n: torch.bincount(ids, minlength=n).to(torch.int32),
        configs=SMALL_1D,
    )


def test_size_one_dimension_broadcasts_on_load(way: str) -> None:
    check(
        kernels.size_one_load,
        randn(9, 13),
        randn(9, 1),
        way=way,
        reference=torch.mul,
        configs=SMALL_2D,
    )


def test_tile_facts(way: str) -> None:
    found = run(kernels.tile_facts, randn(21), way=way)
    position = torch.arange(21)
    begin = position // 8 * 8
    wanted = torch.stack([begin, (begin + 8).clamp(max=21), position // 8, position])
    assert torch.equal(found, wanted)
