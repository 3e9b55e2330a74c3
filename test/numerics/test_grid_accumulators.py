"""Host tensors that a tile loop updates: what Python would add up, and always so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import helion
from test import accumulator_kernels as kernels
from test import harness, interpreter_worker
from test.harness import check, randn, run

CONFIGS = (None, *(helion.Config(block_sizes=[size]) for size in (1, 4, 16)))
PAIRS = (None, *(helion.Config(block_sizes=list(s)) for s in ((1, 2), (8, 4))))


def replaced(x: torch.Tensor, block: int) -> torch.Tensor:
    """Return what ``column_sums_replaced`` gives for one block size."""
    return x.sum(0) - sum(part.amax(0) for part in x.split(block))


def every_pair(x: torch.Tensor) -> torch.Tensor:
    return x[3:].sum().expand(2)


def both_rows(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([torch.zeros_like(x[0]), x.sum(0)])


@pytest.mark.parametrize("static_shapes", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_sums_in_place(way: str, dtype: torch.dtype, static_shapes: bool) -> None:
    check(
        kernels.column_sums,
        randn(37, 24, dtype=dtype),
        way=way,
        reference=lambda x: x.sum(0),
        configs=CONFIGS,
        static_shapes=static_shapes,
    )


@pytest.mark.parametrize("size", [4, 16])
def test_sums_that_replace_the_tensor(way: str, size: int) -> None:
    if way == "plain":
        pytest.skip("the result depends on the block size")
    check(
        kernels.column_sums_replaced,
        randn(37, 24),
        way=way,
        reference=lambda x: replaced(x, size),
        configs=[helion.Config(block_sizes=[size])],
    )


def test_bfloat16_sums_are_rounded_once(way: str) -> None:
    if way in ("plain", "eager"):
        pytest.skip("Python rounds after each tile")
    x = torch.full((512, 16), 1.0, dtype=torch.bfloat16)
    config = helion.Config(block_sizes=[1])
    acc = torch.zeros(16, dtype=torch.bfloat16)
    if way == "interpreted":  # alone, as eager differs here
        request = (kernels.sum_beside, (x, acc), config, frozenset())
        found, _ = interpreter_worker.call(harness.run_emitted, request)
    else:
        found = run(kernels.sum_beside, x, acc, way=way, config=config)
    assert torch.equal(found, torch.full_like(acc, 512))


def test_the_callers_tensor_is_updated(way: str) -> None:
    for config in CONFIGS:
        x, acc = randn(21, 24), randn(24)
        wanted = acc.double() - x.double().sum(0)
        found = run(kernels.sum_into, x, acc, way=way, config=config)
        torch.testing.assert_close(acc.double(), wanted, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found.double(), 2 * wanted, rtol=1e-5, atol=1e-5)


def test_a_replaced_argument_stays(way: str) -> None:
    x, acc = randn(21, 24), randn(24)
    before = acc.clone()
    found = run(kernels.sum_beside, x, acc, way=way)
    assert torch.equal(acc, before)
    torch.testing.assert_close(found, before + x.sum(0), rtol=1e-5, atol=1e-5)


CASES: list[tuple[Any, tuple[Any, ...], Callable[..., Any], Any]] = [
    (
        kernels.moments,
        (randn(21, 24),),
        lambda x: (x.sum(), (x * x).sum(0), 1 + 3 * x.sum(0).expand(3, -1)),
        CONFIGS,
    ),
    (
        kernels.extremes,
        (randn(21, 24),),
        lambda x: (x.amin(0).clamp(max=0), x.amax(0).clamp(min=0)),
        CONFIGS,
    ),
    (kernels.product, (1 + randn(9, 5) / 8,), torch.prod, PAIRS),
    (kernels.pairs, (randn(21, 10),), every_pair, PAIRS),
    (kernels.every_third, (randn(21, 24), 0), lambda x, b: x[b::3].sum(0), (None,)),
    (kernels.every_third, (randn(21, 24), 4), lambda x, b: x[b::3].sum(0), (None,)),
    (
        kernels.centered,
        (randn(21, 24),),
        lambda x: x - x.mean(0) + x.sum(0),
        (None, helion.Config(block_sizes=[4, 8])),
    ),
    (
        kernels.whole_update,
        (randn(21, 24), randn(24)),
        lambda x, a: a + x.sum(0),
        CONFIGS,
    ),
    (kernels.column_tiles, (randn(21, 24),), lambda x: 1 - x.sum(0), PAIRS),
    (kernels.inner_tiles, (randn(21, 24),), both_rows, PAIRS),
    (
        kernels.own_elements,
        (randn(21, 24), randn(21)),
        lambda x, o: o + x.sum(1),
        (None,),
    ),
    (kernels.repeated, (randn(21, 24), 3), lambda x, n: n * x.sum(0), CONFIGS),
]


@pytest.mark.parametrize("static_shapes", [True, False])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].fn.__name__)
def test_updates(way: str, case: Any, static_shapes: bool) -> None:
    kernel, args, reference, configs = case
    check(
        kernel,
        *args,
        way=way,
        reference=reference,
        configs=configs,
        static_shapes=static_shapes,
    )


def test_updates_in_loops_and_branches(way: str) -> None:
    if way == "plain":
        pytest.skip("the result depends on the block size")

    def reference(x: torch.Tensor) -> torch.Tensor:
        parts = [p.sum() for row in x.split(4) for p in row.split(8, dim=1)]
        total = sum(p.clamp(min=0) for p in parts) - x[4:].sum()
        return (total + len(x[4:].split(4))).expand(2)

    config = helion.Config(block_sizes=[4, 8])
    check(kernels.nested, randn(21, 24), way=way, reference=reference, configs=[config])


def test_integers_wrap_around(way: str) -> None:
    if way == "plain":
        pytest.skip("a plain loop has one tile")
    x = torch.ones(21, 8)
    found = run(kernels.counted, x, way=way)
    assert found.dtype == torch.int8
    assert torch.equal(found, torch.full((8,), 21 * 50, dtype=torch.int32).to(found))


@pytest.mark.parametrize("static_shapes", [True, False])
def test_a_loop_without_tiles_adds_nothing(way: str, static_shapes: bool) -> None:
    x = randn(0, 24)
    low, high = run(kernels.extremes, x, way=way, static_shapes=static_shapes)
    assert torch.equal(low, torch.zeros(24)) and torch.equal(high, low)
    found = run(kernels.column_sums, x, way=way, static_shapes=static_shapes)
    assert torch.equal(found, torch.zeros(24))


def test_nan_reaches_an_extreme(way: str) -> None:
    x = randn(21, 24)
    x[7, 3] = torch.nan
    low, high = run(kernels.extremes, x, way=way)
    assert low.isnan().sum() == high.isnan().sum() == 1


def test_two_runs_give_the_same_bits(way: str) -> None:
    x = randn(200, 24)
    config = helion.Config(block_sizes=[8])
    first, second = (
        run(kernels.column_sums, x, way=way, config=config) for _ in range(2)
    )
    assert torch.equal(first, second)


def test_a_bound_kernel_serves_other_lengths(way: str) -> None:
    for rows in (5, 16, 33):
        x = randn(rows, 24)
        found = run(kernels.column_sums, x, way=way, static_shapes=False)
        torch.testing.assert_close(found, x.sum(0), rtol=1e-5, atol=1e-5)
