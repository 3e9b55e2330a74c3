"""Reductions of rows: lengths from 1 to 4 million, dtypes, special values."""

from __future__ import annotations

import pytest
import torch

import helion
from examples import sum as rows
from test import kernels
from test.harness import check, randn, run

FLOATS = [torch.float16, torch.bfloat16, torch.float32]
CONFIGS = (
    None,
    helion.Config(block_sizes=[4]),
    helion.Config(block_sizes=[2], reduction_loops=[8]),
)
TOLERANCE = {torch.float32: (1e-4, 1e-4), torch.float16: (5e-3, 2e-2)}
ROW_KERNELS = {
    "sum": (rows.row_sum, lambda x: x.sum(-1)),
    "mean": (rows.row_mean, lambda x: x.mean(-1)),
    "amax": (rows.row_amax, lambda x: x.amax(-1)),
    "argmax": (rows.row_argmax, lambda x: x.argmax(-1)),
    "var": (rows.row_var, lambda x: x.var(-1, correction=0)),
    "exp_sum": (kernels.exp_sum, lambda x: x.exp().sum(-1)),
}


def all_reductions(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    low, high = x.amin(-1), x.amax(-1)
    return low, high, x.prod(-1), x.argmin(-1), x.argmax(-1)


@pytest.mark.parametrize("shape", [(1, 1), (5, 1), (0, 9), (3, 32), (5, 67)], ids=str)
@pytest.mark.parametrize("name", ROW_KERNELS)
def test_row_reduction_takes_any_shape(way: str, name: str, shape) -> None:
    kernel, reference = ROW_KERNELS[name]
    configs = CONFIGS if shape[1] > 8 else CONFIGS[:2]
    check(
        kernel,
        randn(*shape),
        way=way,
        reference=reference,
        configs=configs,
        tolerance=TOLERANCE,
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["sum", "mean", "amax", "argmax"])
def test_row_reduction_in_low_precision(way: str, name: str, dtype) -> None:
    kernel, reference = ROW_KERNELS[name]
    loose = {torch.float16: (5e-3, 2e-2), torch.bfloat16: (2e-2, 1e-1)}
    check(
        kernel,
        randn(3, 67, dtype=dtype),
        way=way,
        reference=reference,
        configs=CONFIGS,
        tolerance=loose,
    )


@pytest.mark.parametrize("name", ["sum", "mean", "amax"])
def test_row_reduction_in_float64(way: str, name: str) -> None:
    kernel, reference = ROW_KERNELS[name]
    x = randn(3, 67, dtype=torch.float64)
    check(kernel, x, way=way, reference=reference, configs=CONFIGS)


@pytest.mark.parametrize("length", [2, 1000, 65536, (1 << 22) - 1])
def test_sum_of_long_rows(way: str, length: int) -> None:
    exact = {torch.float32: (1e-4, 1e-5 * length**0.5 + 1e-5)}
    check(
        rows.row_sum,
        randn(1, length),
        way=way,
        reference=lambda x: x.sum(-1),
        tolerance=exact,
    )


def test_argmax_of_a_long_row_walked_in_chunks(way: str) -> None:
    x = randn(2, 100_003)
    config = helion.Config(block_sizes=[1], reduction_loops=[8192])
    check(
        rows.row_argmax,
        x,
        way=way,
        reference=lambda x: x.argmax(-1),
        configs=(config,),
    )


def test_argmax_takes_the_first_of_equal_values(way: str) -> None:
    x = torch.zeros(2, 67)
    x[1, 5] = x[1, 40] = 1.0
    for config in CONFIGS[: 1 if way == "plain" else None]:
        found = run(rows.row_argmax, x, way=way, config=config)
        assert found.tolist() == [0, 5]


def test_all_negative_rows_are_not_beaten_by_padding(way: str) -> None:
    x = -randn(5, 67).abs() - 1.0
    check(
        kernels.reductions,
        x,
        way=way,
        reference=all_reductions,
        configs=CONFIGS,
        tolerance={torch.float32: (1e-4, 1e-4)},
    )


def test_all_positive_rows_are_not_beaten_by_padding(way: str) -> None:
    x = randn(5, 37).abs() + 0.5
    check(
        kernels.reductions,
        x,
        way=way,
        reference=all_reductions,
        configs=CONFIGS,
        tolerance={torch.float32: (1e-4, 1e-4)},
    )


def test_nan_wins_amax_and_spoils_sum(way: str) -> None:
    x = randn(3, 67)
    x[1, 66] = float("nan")
    x[2, 0] = float("inf")
    for kernel in (rows.row_sum, rows.row_amax):
        reference = torch.sum if kernel is rows.row_sum else torch.amax
        check(
            kernel,
            x,
            way=way,
            reference=lambda x, fn=reference: fn(x, -1),
            configs=CONFIGS,
            tolerance=TOLERANCE,
        )


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.bool], ids=str)
def test_integer_sums_are_exact(way: str, dtype: torch.dtype) -> None:
    check(
        kernels.integer_sum,
        randn(5, 67, dtype=dtype),
        way=way,
        reference=lambda x: x.sum(-1),
        configs=CONFIGS,
    )


def test_sum_over_an_explicit_loop(way: str) -> None:
    check(
        rows.row_sum_tiled,
        randn(5, 67),
        way=way,
        reference=lambda x: x.sum(-1),
        configs=(None, helion.Config(block_sizes=[4, 16])),
        tolerance=TOLERANCE,
    )


def test_sum_over_two_whole_dimensions(way: str) -> None:
    check(
        kernels.sum_two_dims,
        randn(5, 6, 11),
        way=way,
        reference=lambda x: x.sum((1, 2)),
        configs=CONFIGS[:2],
        tolerance=TOLERANCE,
    )


def test_column_sum_over_tiles_of_rows(way: str) -> None:
    check(
        kernels.column_sum,
        randn(37, 5),
        way=way,
        reference=lambda x: x.sum(0),
        configs=(None, helion.Config(block_sizes=[4, 8])),
        tolerance=TOLERANCE,
    )


def test_row_and_column_sums_together(way: str) -> None:
    check(
        kernels.row_and_column_sums,
        randn(9, 20),
        way=way,
        reference=lambda x: (x.sum(1), x.sum(0)),
        configs=CONFIGS[:2],
        tolerance=TOLERANCE,
    )


def test_reduce_with_a_combine_function(way: str) -> None:
    check(
        kernels.row_product,
        randn(5, 7),
        way=way,
        reference=lambda x: x.prod(1),
        configs=CONFIGS[:2],
        tolerance=TOLERANCE,
    )
