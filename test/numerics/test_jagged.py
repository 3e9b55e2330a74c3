"""``hl.jagged_tile``: rows of unequal length as blocks in which lanes are missing."""

from __future__ import annotations

import pytest
import torch

import helion
from test import jagged_kernels as kernels
from test.harness import check, randn

LENGTHS = (
    [0, 1, 7, 128],
    [0, 0, 0],
    [33, 0, 2, 31, 1, 0, 20],
)
BLOCKS = (
    None,
    helion.Config(block_sizes=[2, 16]),
    helion.Config(block_sizes=[1, 32]),
    helion.Config(block_sizes=[8, 1]),
)
BLOCKS_3 = (
    None,
    helion.Config(block_sizes=[2, 4, 16]),
    helion.Config(block_sizes=[1, 8, 32]),
    helion.Config(block_sizes=[4, 1, 8]),
)


def offsets_of(lengths: list[int]) -> torch.Tensor:
    """Return where each row begins, and the end of the last one."""
    ends = torch.tensor(lengths, dtype=torch.int64).cumsum(0)
    return torch.cat([torch.zeros(1, dtype=torch.int64), ends])


def rows_of(values: torch.Tensor, offsets: torch.Tensor) -> list[torch.Tensor]:
    """Return the rows themselves."""
    ends = offsets.tolist()
    return [values[a:b] for a, b in zip(ends, ends[1:])]


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_padding_changes_no_sum(way: str, lengths: list[int]) -> None:
    offsets = offsets_of(lengths)
    check(
        kernels.jagged_sum,
        randn(sum(lengths)),
        offsets[:-1].clone(),
        torch.tensor(lengths),
        way=way,
        reference=lambda values, _, __: torch.stack(
            [(row + 1).sum() for row in rows_of(values, offsets)]
        ),
        configs=BLOCKS,
    )


def extremes(values: torch.Tensor, offsets: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return maximum, minimum and sum of each row; of none, their identities."""
    inf = torch.full([1, values.size(1)], float("inf"), dtype=values.dtype)
    rows = rows_of(values, offsets)
    return (
        torch.stack([torch.cat([row, -inf]).amax(0) for row in rows]),
        torch.stack([torch.cat([row, inf]).amin(0) for row in rows]),
        torch.stack([row.sum(0) for row in rows]),
    )


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_folds_find_their_identity_in_padding(way: str, lengths: list[int]) -> None:
    values = randn(sum(lengths), 5)
    check(
        kernels.jagged_features,
        values,
        offsets_of(lengths),
        way=way,
        reference=extremes,
        configs=BLOCKS_3,
    )


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_softmax_of_rows(way: str, lengths: list[int]) -> None:
    check(
        kernels.jagged_softmax,
        randn(sum(lengths)),
        offsets_of(lengths),
        way=way,
        reference=lambda values, offsets: torch.cat(
            [row.softmax(0) for row in rows_of(values, offsets)]
        ),
        configs=(
            None,
            helion.Config(block_sizes=[2, 16, 8]),
            helion.Config(block_sizes=[1, 8, 64]),
        ),
    )


def test_stores_leave_the_rest_alone(way: str) -> None:
    lengths = [0, 1, 7, 20]

    def reference(
        values: torch.Tensor, offsets: torch.Tensor, dense: torch.Tensor
    ) -> torch.Tensor:
        out = dense.clone()
        for i, row in enumerate(rows_of(values, offsets)):
            out[i, : len(row)] += row
        return out

    check(
        kernels.jagged_add_dense,
        randn(sum(lengths)),
        offsets_of(lengths),
        randn(4, 23),
        way=way,
        reference=reference,
        configs=BLOCKS,
    )


def test_product_over_a_jagged_dim(way: str) -> None:
    def reference(
        x: torch.Tensor, y: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        pairs = zip(x + 1, y + 1, lengths.tolist())
        return torch.stack([a[:, :n] @ b[:n] for a, b, n in pairs])

    check(
        kernels.jagged_product,
        randn(4, 5, 19),
        randn(4, 19, 3),
        torch.tensor([0, 1, 7, 19]),
        way=way,
        reference=reference,
        configs=(
            None,
            helion.Config(block_sizes=[2, 16, 16, 16]),
            helion.Config(block_sizes=[1, 16, 16, 32]),
        ),
    )


def test_infinite_padding_is_not_multiplied(way: str) -> None:
    x, y = randn(2, 3, 9), randn(2, 9, 4)
    x[0, :, 5:], y[0, 5:] = float("nan"), float("inf")
    check(
        kernels.jagged_product,
        x,
        y,
        torch.tensor([5, 9]),
        way=way,
        reference=lambda x, y, _: torch.stack(
            [(x[0, :, :5] + 1) @ (y[0, :5] + 1), (x[1] + 1) @ (y[1] + 1)]
        ),
        configs=(None, helion.Config(block_sizes=[2, 16, 16, 16])),
    )


def test_jagged_tiles_in_jagged_tiles(way: str) -> None:
    outer = torch.tensor([3, 0, 5, 1])
    inner = torch.randint(0, 9, [4, 5])
    inner[0, 1], inner[2] = 0, torch.tensor([0, 8, 1, 0, 3])

    def reference(values: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return torch.stack(
            [
                sum(
                    ((row[j, : inner[i, j]] + 1).sum() for j in range(outer[i])),
                    torch.zeros((), dtype=values.dtype),
                )
                for i, row in enumerate(values)
            ]
        )

    check(
        kernels.doubly_jagged_sum,
        randn(4, 5, 9),
        outer,
        inner,
        way=way,
        reference=reference,
        configs=(
            None,
            helion.Config(block_sizes=[2, 4, 4]),
            helion.Config(block_sizes=[4, 1, 8]),
            helion.Config(block_sizes=[1, 2, 1]),
        ),
    )


@pytest.mark.parametrize("orders", [[0, 1], [1, 0]], ids=str)
def test_lengths_over_two_tiles(way: str, orders: list[int]) -> None:
    lengths = torch.randint(0, 6, [3, 4])
    lengths[0, 0] = 0
    check(
        kernels.lengths_of_two_dims,
        randn(3, 4, 5),
        lengths,
        way=way,
        reference=lambda values, _: torch.stack(
            [
                torch.stack([(v + 2)[:n].prod() for v, n in zip(row, counts)])
                for row, counts in zip(values, lengths)
            ]
        ),
        configs=(
            None,
            helion.Config(block_sizes=[2, 4, 2], loop_orders=[orders]),
            helion.Config(block_sizes=[1, 2, 8], loop_orders=[orders]),
        ),
    )


@pytest.mark.parametrize("lengths", [[0, 1, 7, 30], [0], [4]], ids=str)
def test_updates_leave_missing_lanes_out(way: str, lengths: list[int]) -> None:
    check(
        kernels.jagged_histogram,
        torch.randint(0, 5, [sum(lengths)]),
        offsets_of(lengths),
        5,
        way=way,
        reference=lambda ids, offsets, bins: torch.stack(
            [torch.bincount(row, minlength=bins) for row in rows_of(ids, offsets)]
        ).to(torch.int32),
        configs=BLOCKS,
    )


def test_scans_end_with_their_rows(way: str) -> None:
    lengths = torch.tensor([0, 1, 7, 5, 8])

    def reference(
        dense: torch.Tensor, _: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mask = torch.arange(8)[None, :] < lengths[:, None]
        value = torch.where(mask, dense + 1, 0)
        back = torch.where(mask, value.flip(1).cumsum(1).flip(1), 0)
        top = torch.where(mask, value, -99).amax(1)
        return back, torch.where(mask, value.cumsum(1), 0), top

    check(
        kernels.jagged_scans,
        randn(5, 8),
        lengths,
        way=way,
        reference=reference,
        # Scans are of one tile: it holds the longest row.
        configs=(
            helion.Config(block_sizes=[2, 8]),
            helion.Config(block_sizes=[1, 16]),
        ),
    )
