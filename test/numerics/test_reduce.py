"""hl.reduce: known and own combine functions, dims, tuples, padding, dtypes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import helion
from test import scan_kernels as kernels
from test.harness import check, randn

CONFIGS = (None, helion.Config(block_sizes=[4]), helion.Config(block_sizes=[1]))
LOOPED = (*CONFIGS, helion.Config(block_sizes=[2], reduction_loops=[8]))
TOLERANCE = {torch.float32: (1e-4, 1e-4), torch.float16: (5e-3, 2e-2)}


def norm(x: torch.Tensor) -> torch.Tensor:
    """Return the lengths of rows; one element is never combined."""
    return x.norm(dim=-1) if x.size(-1) > 1 else x[..., 0]


FOLDS: dict[str, tuple[Callable[..., torch.Tensor], float, Callable]] = {
    "add": (torch.add, 0, lambda x: x.sum(-1)),
    "mul": (torch.mul, 1, lambda x: x.prod(-1)),
    "maximum": (torch.maximum, float("-inf"), lambda x: x.amax(-1)),
    "minimum": (torch.minimum, float("inf"), lambda x: x.amin(-1)),
    "larger": (kernels.larger, float("-inf"), lambda x: x.amax(-1)),
    "length": (kernels.length, 0, norm),
}


@pytest.mark.parametrize("length", [1, 32, 67])
@pytest.mark.parametrize("name", FOLDS)
def test_rows_of_any_length(way: str, name: str, length: int) -> None:
    combine, other, reference = FOLDS[name]
    known = name != "length" and length > 8
    check(
        kernels.fold_rows,
        randn(5, length),
        combine,
        other,
        way=way,
        reference=lambda x, *_: reference(x),
        configs=LOOPED if known else CONFIGS,
        tolerance=TOLERANCE,
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["add", "larger", "length"])
def test_low_precision(way: str, name: str, dtype: torch.dtype) -> None:
    combine, other, reference = FOLDS[name]
    check(
        kernels.fold_rows,
        randn(3, 37, dtype=dtype),
        combine,
        other,
        way=way,
        reference=lambda x, *_: reference(x),
        tolerance={torch.float16: (5e-3, 2e-2), torch.bfloat16: (4e-2, 1e-1)},
    )


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.int64], ids=str)
def test_integer_sums_wrap_in_their_own_dtype(way: str, dtype: torch.dtype) -> None:
    check(
        kernels.fold_rows,
        randn(5, 67, dtype=dtype),
        torch.add,
        0,
        way=way,
        reference=lambda x, *_: x.sum(-1, dtype=dtype),
        configs=CONFIGS,
    )


@pytest.mark.parametrize("combine, other", [(kernels.either, 0), (torch.mul, 1)])
def test_bools(way: str, combine: Callable[..., torch.Tensor], other: int) -> None:
    x = randn(9, 5) > 1
    wanted = x.any(1) if other == 0 else x.all(1)
    check(
        kernels.fold_rows,
        x,
        combine,
        other,
        way=way,
        reference=lambda *_: wanted,
        configs=CONFIGS,
    )


def test_nan_wins_as_in_eager(way: str) -> None:
    x = randn(3, 37)
    x[1, 36] = float("nan")
    check(
        kernels.fold_rows,
        x,
        kernels.larger,
        float("-inf"),
        way=way,
        reference=lambda x, *_: x.amax(-1),
        configs=CONFIGS,
    )


@pytest.mark.parametrize("name", ["mul", "length"])
def test_all_dims_at_once_kept(way: str, name: str) -> None:
    combine, other, reference = FOLDS[name]
    check(
        kernels.fold_all,
        randn(3, 5, 6),
        combine,
        other,
        way=way,
        reference=lambda x, *_: reference(x.flatten(1))[:, None, None],
        tolerance=TOLERANCE,
    )


def test_tile_by_tile(way: str) -> None:
    sizes = [4, 8], [4, 1], [1, 8]
    check(
        kernels.fold_tiles,
        randn(37, 5),
        kernels.length,
        0.0,
        way=way,
        reference=lambda x, *_: x.norm(dim=0),
        configs=[None, *(helion.Config(block_sizes=s) for s in sizes)],
        tolerance=TOLERANCE,
    )


@pytest.mark.parametrize("shape", [(5, 37), (3, 64)], ids=str)
def test_tuple_of_value_and_index(way: str, shape: tuple[int, int]) -> None:
    x = randn(*shape)
    x[1, 3] = x[1, 30] = 9.0
    check(
        kernels.row_peaks,
        x,
        way=way,
        reference=lambda x: (x.amax(1), x.argmax(1).int()),
        configs=CONFIGS,
    )


def test_dynamic_shapes(way: str) -> None:
    check(
        kernels.fold_rows,
        randn(5, 37),
        kernels.length,
        0,
        way=way,
        reference=lambda x, *_: x.norm(dim=-1),
        static_shapes=False,
    )


def test_zero_columns_give_other(way: str) -> None:
    check(
        kernels.fold_rows,
        torch.empty(5, 0),
        kernels.length,
        3.0,
        way=way,
        reference=lambda x, *_: torch.full([5], 3.0),
    )
