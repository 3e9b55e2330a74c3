"""Sorts: stable in every way, NaN largest, padding never among the real elements."""

from __future__ import annotations

import pytest
import torch

import helion
from helion import exc
from test import interpreter_worker
from test import sort_kernels as kernels
from test.harness import offline, randn, run, run_emitted

NAN, INF = float("nan"), float("inf")
DTYPES = [
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.bool,
    torch.uint8,
    torch.int16,
    torch.int32,
    torch.int64,
]


def hard(rows: int, columns: int, dtype: torch.dtype) -> torch.Tensor:
    """Return few different values, so many are equal, and the extreme ones."""
    x = torch.randint(-3, 4, (rows, columns)).to(dtype)
    if dtype.is_floating_point:
        row = torch.tensor([NAN, INF, -INF, -0.0, 0.0, -NAN, -0.0, INF])
        x[0, :8] = row.to(dtype)
        x[1] = NAN
        x[2] = INF
    elif dtype != torch.bool:
        info = torch.iinfo(dtype)
        x[0, :4] = torch.tensor([info.max, info.min, info.max, info.min], dtype=dtype)
        x[1] = info.max
    return x


def assert_same(found: torch.Tensor, wanted: torch.Tensor) -> None:
    """Compare exactly; zeros have their sign."""
    torch.testing.assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)
    if wanted.is_floating_point():
        real = ~wanted.isnan()
        assert torch.equal(torch.signbit(found)[real], torch.signbit(wanted)[real])


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sort_is_stable(way: str, dtype: torch.dtype, descending: bool) -> None:
    x = hard(5, 13, dtype)
    wanted = torch.sort(x, dim=-1, descending=descending, stable=True)
    config = helion.Config(block_sizes=[4])
    values, places = run(kernels.sort_rows, x, descending, way=way, config=config)
    assert_same(values, wanted.values)
    assert torch.equal(places, wanted.indices)


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("k", [1, 3, 8, 13])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64], ids=str)
def test_topk_takes_the_first_of_equals(
    way: str, dtype: torch.dtype, k: int, largest: bool
) -> None:
    x = hard(5, 13, dtype)
    wanted = torch.sort(x, dim=-1, descending=largest, stable=True)
    config = helion.Config(block_sizes=[4])
    values, places = run(kernels.largest, x, k, largest, way=way, config=config)
    assert_same(values, wanted.values[:, :k])
    assert torch.equal(places, wanted.indices[:, :k])


@pytest.mark.parametrize("length", [1, 2, 16, 17])
def test_lengths(way: str, length: int) -> None:
    x = randn(3, length, dtype=torch.bfloat16)
    values, places = run(kernels.sort_rows, x, False, way=way)
    wanted = x.sort(dim=1, stable=True)
    assert_same(values, wanted.values)
    assert torch.equal(places, wanted.indices)
    top, index = run(kernels.largest, x, length, True, way=way)
    assert_same(top, x.sort(dim=1, descending=True, stable=True).values)
    assert torch.equal(x.gather(1, index), top)


@pytest.mark.parametrize("dim", [0, 1, -1, 2])
def test_any_dim(way: str, dim: int) -> None:
    x = torch.randint(0, 5, (5, 6, 7)).float()
    config = helion.Config(block_sizes=[4])
    values, places = run(kernels.sort_dim, x, dim, way=way, config=config)
    # Eager tiles and compiled ones are the same; the plain function has one.
    parts = [x] if way == "plain" else list(x.split(4))
    wanted = torch.cat([p.sort(dim, descending=True).values for p in parts])
    order = torch.cat([p.argsort(dim=dim, stable=True) for p in parts])
    assert torch.equal(values, wanted)
    assert torch.equal(places, order)


def test_tiles_sort_their_padding_last(way: str) -> None:
    x = randn(13, 5) - 10
    config = helion.Config(block_sizes=[8, 4])
    found = run(kernels.sort_tiles, x, way=way, config=config)
    parts = [x] if way == "plain" else list(x.split(8))
    assert torch.equal(found, torch.cat([(p + 1).msort() for p in parts]))


def test_topk_of_columns(way: str) -> None:
    x = randn(11, 6)
    found = run(kernels.largest_of_columns, x, 3, way=way)
    assert torch.equal(found, x.topk(3, dim=0).values)


@pytest.mark.parametrize("block_size", [2, 4])
def test_best_of_tiles(way: str, block_size: int) -> None:
    x = randn(5, 12)
    config = helion.Config(block_sizes=[4, block_size])
    found = run(kernels.largest_of_tiles, x, way=way, config=config)
    assert torch.equal(found, x.topk(2, dim=1).values)


def test_missing_elements_come_last() -> None:
    # Python has no lanes that do not exist, and nothing to take there.
    x, lengths = randn(6, 8) - 9, torch.tensor([3, 0, 8, 1, 5, 2])
    config = helion.Config(block_sizes=[4, 4])
    request = (kernels.best_of_jagged, (x, lengths), config, frozenset())
    found, _ = interpreter_worker.call(run_emitted, request)
    kept = torch.where(torch.arange(8) < lengths[:, None], x, -INF)
    assert torch.equal(found, kept.topk(2, dim=1).values)


def test_results_are_used_on(way: str) -> None:
    x = randn(6, 20)
    weights, experts = run(kernels.route, x, 3, way=way)
    values, index = x.topk(3)
    torch.testing.assert_close(weights, values.softmax(1))
    assert torch.equal(experts, index.int())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("columns", [4, 9])
def test_order_statistics(way: str, dtype: torch.dtype, columns: int) -> None:
    x = torch.randint(-3, 4, (5, columns, 3)).to(dtype)
    x[0, 1:, 0] = NAN
    x[1, 2, 1] = NAN
    x[2] = NAN
    values, places, whole = run(kernels.statistics, x, 3, way=way)
    rows = x[:, :, 0]
    assert_same(values[0], rows.median(1).values)
    assert_same(values[1], rows.kthvalue(3, 1).values)
    assert_same(values[2], rows.nanmedian(1).values)
    for value, place in zip(values, places, strict=True):
        assert_same(rows.gather(1, place[:, None])[:, 0], value)
    assert_same(whole[:, 0], torch.stack([part.median() for part in x]))
    assert_same(whole[:, 1], torch.stack([part.nanmedian() for part in x]))


def test_places_of_statistics_are_the_same_in_each_way(way: str) -> None:
    x = torch.randint(0, 2, (4, 8, 3)).float()
    _, places, _ = run(kernels.statistics, x, 3, way=way)
    order = x[:, :, 0].argsort(dim=1, stable=True)
    assert torch.equal(places, torch.stack([order[:, 3], order[:, 2], order[:, 3]]))


def test_dynamic_shapes(way: str) -> None:
    x = hard(5, 13, torch.float32)
    wanted = torch.sort(x, dim=1, descending=True, stable=True)
    values, places = run(kernels.sort_rows, x, True, way=way, static_shapes=False)
    assert_same(values, wanted.values)
    assert torch.equal(places, wanted.indices)
    top, index = run(kernels.largest, x, 3, True, way=way, static_shapes=False)
    assert_same(top, wanted.values[:, :3])
    assert torch.equal(index, wanted.indices[:, :3])


@pytest.mark.parametrize("shape", [(0, 4), (3, 0)], ids=str)
def test_nothing_to_sort(way: str, shape: tuple[int, int]) -> None:
    values, places = run(kernels.sort_rows, torch.empty(shape), False, way=way)
    assert values.shape == places.shape == shape


# ---- without a way ----


@pytest.mark.parametrize("arch", ["sm_90", "sm_100", "gfx942"])
def test_sorts_assemble(arch: str) -> None:
    config = helion.Config(block_sizes=[2], num_warps=2)
    for dtype in (torch.bfloat16, torch.float64):
        x = torch.empty(3, 13, dtype=dtype)
        offline(kernels.sort_rows, x, True, arch=arch, config=config)
        offline(kernels.largest, x, 3, True, arch=arch, config=config)
        offline(kernels.statistics, x[:, :, None], 3, arch=arch, config=config)


def test_a_sorted_row_stays_in_one_tile() -> None:
    bound = kernels.sort_rows.bind((torch.empty(4, 64), False))
    assert not bound.config_spec.reduction_loops


def test_tiles_are_long_enough_for_topk() -> None:
    bound = kernels.largest_of_tiles.bind((torch.empty(8, 64),))
    config = bound.config_spec.normalize(helion.Config(block_sizes=[4, 1]))
    assert config.block_sizes == [4, 2]


def test_topk_of_more_than_there_is() -> None:
    with pytest.raises(exc.TorchOpTracingError, match="k is 5, but the dim has 4") as e:
        kernels.largest.bind((torch.empty(3, 4), 5, True))
    assert "torch.topk(x[tile, :], k, largest=is_largest)" in str(e.value)


def test_dim_out_of_range() -> None:
    with pytest.raises(exc.ReductionDimInvalidForShape):
        kernels.sort_dim.bind((torch.empty(3, 4, 5), 3))
