"""Folds that several programs share: right, and the same bits on every run."""

from __future__ import annotations

import pytest
import torch

import helion
from examples import sum as rows
from examples.cross_entropy import cross_entropy
from examples.layer_norm import layer_norm_bwd_dwdb
from test import fold_kernels
from test.harness import check, randn, run


def split(*blocks: int, chunk: int = 8, splits: int = 4, **more) -> helion.Config:
    return helion.Config(
        block_sizes=list(blocks),
        reduction_loops=[chunk],
        reduction_splits=[splits],
        **more,
    )


CONFIGS = [split(4), split(1, chunk=16, splits=2), split(2, chunk=2, splits=64)]
ROWS = {
    "row_sum": lambda x: x.sum(-1),
    "row_mean": lambda x: x.mean(-1),
    "row_amax": lambda x: x.amax(-1),
    "row_argmax": lambda x: x.argmax(-1),
    "row_var": lambda x: x.var(-1, correction=0),
}


def column_folds(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return x.sum(0), x.amax(0), x.argmin(0), x.var(0, correction=0)


@pytest.mark.parametrize("shape", [(5, 67), (2, 128), (3, 33)], ids=str)
@pytest.mark.parametrize("name", ROWS)
def test_split_rows(way: str, name: str, shape) -> None:
    kernel = getattr(rows, name)
    check(kernel, randn(*shape), way=way, reference=ROWS[name], configs=CONFIGS)


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("shape", [(67, 5), (131, 16)], ids=str)
def test_split_columns(way: str, shape, static: bool) -> None:
    x = randn(*shape)
    x[3], x[40] = -9.0, -9.0  # a tie between splits: the first one wins
    kernel = fold_kernels.column_folds
    for config in CONFIGS:
        found = run(kernel, x, way=way, config=config, static_shapes=static)
        for mine, theirs in zip(found, column_folds(x.double()), strict=True):
            torch.testing.assert_close(
                mine.double(), theirs.double(), rtol=1e-4, atol=1e-4
            )


def test_split_folds_of_bools(way: str) -> None:
    x = randn(67, 5)
    x[:, 1], x[:, 2], x[33, 3], x[33, 4] = 1.0, -1.0, 1.0, -1.0
    check(
        fold_kernels.columns_above,
        x,
        way=way,
        reference=lambda x: ((x > 0).any(0), (x > 0).all(0), (x > 0).sum(0)),
        configs=CONFIGS,
    )


def test_split_logsumexp_of_special_values(way: str) -> None:
    x = randn(6, 67)
    x[0, 3], x[1, 60], x[2] = float("inf"), float("nan"), float("-inf")
    x[3, :50] = float("-inf")
    kernel = fold_kernels.log_sum_exp
    check(kernel, x, way=way, reference=lambda x: x.logsumexp(-1), configs=CONFIGS)


def test_split_beside_other_work(way: str) -> None:
    """What stands before and after the fold is done once, in place too."""
    x, scale, y = randn(67, 5), randn(5), randn(5)
    expected = y.double() + scale.double() * x.double().sum(0)
    found = run(fold_kernels.scaled_total, x, scale, y, way=way, config=CONFIGS[0])
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pid_type", ["flat", "xyz", "persistent_interleaved"])
@pytest.mark.parametrize("order", [[0, 1], [1, 0]], ids=str)
def test_split_of_a_grid_of_two_dims(way: str, pid_type: str, order) -> None:
    config = split(2, 4, loop_orders=[order], pid_type=pid_type)
    check(
        fold_kernels.plane_sums,
        randn(5, 7, 67),
        way=way,
        reference=lambda x: x.sum(-1),
        configs=[config],
    )


@pytest.mark.parametrize("shape", [(0, 5), (67, 0), (1, 1)], ids=str)
def test_split_of_nothing(way: str, shape) -> None:
    check(
        layer_norm_bwd_dwdb,
        randn(*shape),
        randn(*shape),
        randn(shape[0]),
        randn(shape[0]),
        way=way,
        reference=lambda g, x, mean, rstd: (
            (g * (x - mean[:, None]) * rstd[:, None]).sum(0),
            g.sum(0),
        ),
        configs=[None],
    )


def test_split_cross_entropy(way: str) -> None:
    x, labels = randn(3, 301), torch.randint(0, 301, [3])
    loss = run(cross_entropy, x, labels, way=way, config=split(1, chunk=16))
    expected = torch.nn.functional.cross_entropy(x.double(), labels)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)


def test_split_gives_the_same_bits_every_time(way: str) -> None:
    x = randn(301, 5) * 1e3
    runs = [
        run(fold_kernels.column_folds, x, way=way, config=CONFIGS[2]) for _ in range(3)
    ]
    for other in runs[1:]:
        for first, second in zip(runs[0], other, strict=True):
            assert torch.equal(first, second)


def test_buffers_leave_the_users_names_alone(way: str) -> None:
    kernel, config = fold_kernels.sums_of_named, CONFIGS[0]
    check(
        kernel, randn(5, 67), way=way, reference=lambda x: x.sum(-1), configs=[config]
    )
