"""Loops that several programs share (split-K): right, the same bits on every run."""

from __future__ import annotations

import pytest
import torch

import helion
from test import fold_kernels, split_kernels
from test.harness import check, randn, run

MODES = ("partials", "semaphore", "stream")
SHAPES = [(5, 33, 67), (16, 16, 0), (3, 17, 1), (0, 16, 16), (20, 1, 130)]
PIDS = ("flat", "xyz", "persistent_blocked", "persistent_interleaved")


def split(
    *blocks: int, splits: int = 4, mode: str = "semaphore", **more
) -> helion.Config:
    sizes = list(blocks) or [16, 16, 16]
    return helion.Config(
        block_sizes=sizes, loop_splits=[splits], split_mode=mode, **more
    )


def linear_relu(x: torch.Tensor, y: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return torch.relu(x @ y + bias)


def linear_args(m: int, n: int, k: int, dtype=torch.float32) -> list[torch.Tensor]:
    return [randn(m, k, dtype=dtype), randn(k, n, dtype=dtype), randn(n, dtype=dtype)]


def check_linear(way: str, shape, config: helion.Config, **settings) -> None:
    check(
        split_kernels.linear_relu,
        *linear_args(*shape),
        way=way,
        reference=linear_relu,
        configs=[config],
        tolerance={torch.float32: (1e-3, 1e-3)},
        **settings,
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_odd_sizes(way: str, shape, mode: str) -> None:
    check_linear(way, shape, split(splits=3, mode=mode))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(5, 33, 67), (3, 5, 0)], ids=str)
def test_dynamic_sizes(way: str, shape, mode: str) -> None:
    config = split(16, 32, 16, splits=16, mode=mode)
    check_linear(way, shape, config, static_shapes=False, dot_precision="ieee")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pid_type", PIDS)
def test_every_grid(way: str, mode: str, pid_type: str) -> None:
    more = {"loop_orders": [[1, 0]], "l2_groupings": [2 if mode != "partials" else 1]}
    check_linear(way, (40, 35, 50), split(mode=mode, pid_type=pid_type, **more))


@pytest.mark.parametrize("multiplier", [1, 2, 16])
@pytest.mark.parametrize("shape", [(16, 16, 150), (40, 70, 50), (64, 16, 33)], ids=str)
def test_streams_of_any_number_of_programs(way: str, shape, multiplier: int) -> None:
    more = {"pid_type": "persistent_blocked", "num_sm_multiplier": multiplier}
    check_linear(way, shape, split(mode="stream", **more))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("mode", MODES)
def test_low_precision(way: str, dtype, mode: str) -> None:
    check(
        split_kernels.linear_relu,
        *linear_args(5, 33, 67, dtype),
        way=way,
        reference=linear_relu,
        configs=[split(mode=mode)],
        tolerance={torch.float16: (1e-2, 1e-2), torch.bfloat16: (4e-2, 4e-2)},
    )


@pytest.mark.parametrize("mode", MODES)
def test_several_accumulators(way: str, mode: str) -> None:
    check(
        split_kernels.gated,
        randn(20, 67),
        randn(67, 33),
        randn(67, 33),
        way=way,
        reference=lambda x, y, z: torch.sigmoid(x @ y) * (x @ z),
        configs=[split(16, 32, 16, mode=mode)],
        tolerance={torch.float32: (1e-3, 1e-3)},
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("blocks", [(1, 16, 16, 16), (2, 16, 16, 16)], ids=str)
def test_batches(way: str, mode: str, blocks) -> None:
    pid_type = PIDS[1 + MODES.index(mode)]
    check(
        split_kernels.batched,
        randn(3, 5, 67),
        randn(3, 67, 17),
        way=way,
        reference=torch.bmm,
        configs=[split(*blocks, mode=mode, pid_type=pid_type)],
        tolerance={torch.float32: (1e-3, 1e-3)},
    )


@pytest.mark.parametrize("mode", MODES)
def test_what_was_there_before_counts_once(way: str, mode: str) -> None:
    total, x, y = randn(20, 24), randn(20, 67), randn(67, 24)
    wanted = total.double() + x.double() @ y.double()
    peak = run(
        split_kernels.added_to, total, x, y, way=way, config=split(16, 16, mode=mode)
    )
    torch.testing.assert_close(total.double(), wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(peak.double(), wanted.amax(-1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("low", [0, 5, 67, 90])
def test_sums_and_extremes(way: str, mode: str, low: int) -> None:
    x = randn(6, 67)
    x[2, 60], x[3, 66] = float("nan"), float("inf")
    found = run(split_kernels.extremes, x, low, way=way, config=split(4, 8, mode=mode))
    rest = x[:, low:].double()
    one = torch.ones(6, 1, dtype=torch.float64)
    wanted = (
        3 - rest.sum(-1),
        torch.cat([-one, rest], 1).amax(-1),
        torch.cat([one, rest], 1).amin(-1),
    )
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(
            mine.double(), theirs, rtol=1e-4, atol=1e-4, equal_nan=True
        )


@pytest.mark.parametrize("mode", MODES[:2])
def test_runs_of_any_length(way: str, mode: str) -> None:
    lengths = torch.tensor([0, 1, 67, 3, 0, 40])
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    values = randn(int(lengths.sum()), 5)
    config = split(4, 8, mode=mode)
    found = run(split_kernels.jagged_totals, values, offsets, way=way, config=config)
    runs = values.double().split(lengths.tolist())
    wanted = torch.stack([one.sum(0) for one in runs])
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_loop_in_the_loop(way: str, mode: str) -> None:
    x, taps = randn(20, 20), randn(5, 17, 20)
    config = split(mode=mode, splits=3)
    found = run(split_kernels.convolved, x, taps, way=way, config=config)
    wanted = sum(taps[i].double() @ x[:, i : i + 16].double() for i in range(5))
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("splits", [[4, 2], [1, 3]], ids=str)
def test_two_launches(way: str, mode: str, splits: list[int]) -> None:
    config = helion.Config(block_sizes=[16] * 6, loop_splits=splits, split_mode=mode)
    x, y = randn(5, 35), randn(35, 35)
    found = run(split_kernels.two_products, x, y, way=way, config=config)
    once = x.double() @ y.double()
    for mine, theirs in zip(found, (once, once @ y.double()), strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("mode", MODES)
def test_integers(way: str, mode: str) -> None:
    x, y = randn(20, 200, dtype=torch.int8), randn(200, 40, dtype=torch.int8)
    config = split(32, 32, 32, mode=mode)
    found = run(split_kernels.integer_product, x, y, way=way, config=config)
    assert torch.equal(found, (x.double() @ y.double()).to(torch.int32))


@pytest.mark.parametrize("mode", MODES)
def test_sums_in_half_precision(way: str, mode: str) -> None:
    x, y = randn(20, 70, dtype=torch.float16), randn(70, 40, dtype=torch.float16)
    found = run(split_kernels.half_product, x, y, way=way, config=split(mode=mode))
    wanted = x.double() @ y.double()
    torch.testing.assert_close(found.double(), wanted, rtol=2e-2, atol=5e-2)


@pytest.mark.parametrize("mode", MODES)
def test_splits_of_a_reduction_in_one_launch(way: str, mode: str) -> None:
    x = randn(67, 5)
    x[3], x[40] = -9.0, -9.0
    config = helion.Config(
        block_sizes=[4], reduction_loops=[8], reduction_splits=[4], split_mode=mode
    )
    found = run(fold_kernels.column_folds, x, way=way, config=config)
    x = x.double()
    wanted = x.sum(0), x.amax(0), x.argmin(0), x.var(0, correction=0)
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine.double(), theirs.double(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_the_same_bits_every_time(way: str, mode: str) -> None:
    args = linear_args(20, 17, 150)
    config = split(mode=mode, splits=5)
    kernel = split_kernels.linear_relu
    first, *others = [run(kernel, *args, way=way, config=config) for _ in range(3)]
    for other in others:
        assert torch.equal(first, other)
