"""Histograms: as many counters as asked for, edges where torch has them."""

from __future__ import annotations

import math

import pytest
import torch

import helion
from helion import exc
from test import histogram_kernels as kernels
from test.harness import offline, randn, run

NAN, INF = float("nan"), float("inf")
TILES = helion.Config(block_sizes=[256])


def edges(bins: int, low: float, high: float, dtype: torch.dtype) -> torch.Tensor:
    """Return the edges of all bins, their neighbours, and what is not counted."""
    at = torch.linspace(low, high, bins + 1, dtype=dtype)
    outside = torch.tensor([NAN, INF, -INF, low - 1, high + 1], dtype=dtype)
    ends = torch.tensor([low, high, high], dtype=dtype)
    around = [torch.nextafter(at, torch.full_like(at, end)) for end in (INF, -INF)]
    return torch.cat([at, *around, outside, ends])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    ("bins", "low", "high"),
    [(1, 0.0, 1.0), (2, -1.5, 1.5), (23, -0.3, 1.9), (256, 0.1, 0.7), (100, 3.0, 7.7)],
)
def test_edges_are_those_of_torch(
    way: str, bins: int, low: float, high: float, dtype: torch.dtype
) -> None:
    # Arguments of a launch are float32.
    low, high = torch.tensor([low, high]).tolist()
    x = edges(bins, low, high, dtype)
    found = run(kernels.histc_tiles, x, bins, low, high, way=way, config=TILES)
    assert found.dtype == dtype
    assert torch.equal(found, torch.histc(x, bins, low, high))


@pytest.mark.parametrize("scale", [1e-37, 1e-25, 1e25, 1e35])
def test_edges_of_extreme_ranges(way: str, scale: float) -> None:
    x = edges(37, -scale, 2 * scale, torch.float32)
    found = run(kernels.histc_rows, x[:, None], 37, -scale, 2 * scale, way=way)
    assert torch.equal(found, torch.histc(x, 37, -scale, 2 * scale))


@pytest.mark.parametrize("low", [0.1, -1.7])
def test_constant_ranges_of_doubles(way: str, low: float) -> None:
    x = edges(33, low, 1.3, torch.float64)[:, None]
    found = run(kernels.histc_rows, x, 33, low, 1.3, way=way)
    assert torch.equal(found, torch.histc(x, 33, low, 1.3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_placed_in_float32(way: str, dtype: torch.dtype) -> None:
    x = randn(37, 19, dtype=dtype)
    found = run(kernels.histc_rows, x, 40, -1, 2, way=way)
    assert torch.equal(found, torch.histc(x.float(), 40, -1, 2).to(dtype))


@pytest.mark.parametrize("length", [1, 2, 31, 255, 1009])
def test_padding_is_not_counted(way: str, length: int) -> None:
    x = torch.rand(length)
    found = run(kernels.histc_tiles, x, 20, -0.5, 0.5, way=way, config=TILES)
    assert torch.equal(found, torch.histc(x, 20, -0.5, 0.5))


def test_equal_ends_ask_for_the_range_of_the_data(way: str) -> None:
    x = randn(6, 19) + 5
    x[2] = 3.0
    found = run(kernels.histc_of_each, x, 7, way=way)
    assert torch.equal(found, torch.stack([torch.histc(row, 7) for row in x]))


@pytest.mark.parametrize("size", [1, 2, 23, 32, 300])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int16, torch.uint8], ids=str)
def test_bincount_of_three_dims(way: str, dtype: torch.dtype, size: int) -> None:
    least = torch.iinfo(dtype).min
    x = torch.randint(-3, 40, (5, 7, 11)).clamp(min=max(least, -3)).to(dtype)
    x[0, 0, :2] = torch.tensor([least, torch.iinfo(dtype).max], dtype=dtype)
    if dtype == torch.int64:
        x[0, 0, 2] = 1 << 32
    config = helion.Config(block_sizes=[4, 2, 8])
    found = run(kernels.bincount_tiles, x, size, way=way, config=config)
    counted = x[(x >= 0) & (x.to(torch.int64) < size)]
    assert found.dtype == torch.int64
    assert torch.equal(found, torch.bincount(counted, minlength=size))


@pytest.mark.parametrize("block_sizes", [[1, 1, 1], [8, 1, 1], [1, 1, 64]])
def test_bincount_of_few_elements(way: str, block_sizes: list[int]) -> None:
    x = torch.randint(-1, 6, (4, 3, 5))
    config = helion.Config(block_sizes=block_sizes, num_warps=8)
    found = run(kernels.bincount_tiles, x, 5, way=way, config=config)
    counted = x[(x >= 0) & (x < 5)]
    assert torch.equal(found, torch.bincount(counted, minlength=5))


@pytest.mark.parametrize("size", [23, 32, 33])
def test_counts_are_used_on(way: str, size: int) -> None:
    x = torch.randint(-2, 40, (5, 77))
    config = helion.Config(block_sizes=[32])
    found = run(kernels.bincount_loop, x, size, way=way, config=config)
    rows = [row[(row >= 0) & (row < size)] for row in x]
    wanted = torch.stack([torch.bincount(row, minlength=size) for row in rows])
    assert torch.equal(found[:, :-1], wanted)
    assert torch.equal(found[:, -1], wanted.sum(1))


def test_missing_elements_of_rows_are_not_counted(way: str) -> None:
    x, lengths = torch.randint(0, 9, (6, 8)), torch.tensor([3, 0, 8, 1, 5, 2])
    config = helion.Config(block_sizes=[4, 4])
    found = run(kernels.bincount_of_jagged, x, lengths, 9, way=way, config=config)
    exists = torch.arange(8) < lengths[:, None]
    assert torch.equal(found, torch.bincount(x[exists], minlength=9))


def test_nothing_to_count(way: str) -> None:
    empty = torch.empty(3, 0)
    assert run(kernels.histc_rows, empty, 5, 0, 1, way=way).tolist() == [0.0] * 5
    empty = torch.empty(2, 0, 3, dtype=torch.int64)
    assert run(kernels.bincount_tiles, empty, 5, way=way).tolist() == [0] * 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_histc_assembles(dtype: torch.dtype) -> None:
    (found,) = offline(
        kernels.histc_tiles,
        torch.empty(1 << 20, dtype=dtype),
        256,
        -2.0,
        2.0,
        config=helion.Config(block_sizes=[4096], num_warps=4),
    )
    assert not found.spill_bytes
    # 8 counters a thread, looked at for each of its 32 elements.
    assert found.ptx_or_asm.count("popc.b32") == 8 * 32
    # One division, of the width of the range: none per element.
    divisions = found.ptx_or_asm.count("div.rn.f32")
    assert divisions == (1 if dtype == torch.float32 else 0)


@pytest.mark.parametrize(
    "shape",
    [(5, 7, 11), (1, 1, 1), (64, 16, 1)],
    ids=lambda shape: str(math.prod(shape)),
)
def test_bincount_assembles(shape: tuple[int, ...]) -> None:
    x = torch.empty(shape, dtype=torch.int64)
    (found,) = offline(kernels.bincount_tiles, x, 23)
    assert "vote.sync.ballot" in found.ptx_or_asm


WRONG = [
    (kernels.histc_tiles, torch.empty(9), 0, "bins is 0"),
    (kernels.histc_tiles, torch.empty(9), 1 << 20, "hl.atomic_add"),
    (kernels.histc_tiles, torch.empty(9, dtype=torch.int32), 4, "torch.bincount"),
    (kernels.bincount_tiles, torch.empty(2, 3, 4), 4, "integer dtype"),
    (kernels.bincount_tiles, torch.empty(2, 3, 4, dtype=torch.bool), 4, "integer"),
]


@pytest.mark.parametrize(("kernel", "x", "count", "text"), WRONG)
def test_what_has_no_counters(
    kernel: helion.Kernel, x: torch.Tensor, count: int, text: str
) -> None:
    more = (0.0, 1.0) if kernel is kernels.histc_tiles else ()
    with pytest.raises(exc.TorchOpTracingError, match=text):
        kernel.bind((x, count, *more))


@pytest.mark.parametrize(("low", "high"), [(2.0, 1.0), (0.0, INF), (NAN, 1.0)], ids=str)
def test_ranges_have_ends(low: float, high: float) -> None:
    with pytest.raises(exc.TorchOpTracingError, match="histc: "):
        kernels.histc_rows.bind((torch.empty(3, 4), 5, low, high))
