"""Loops that gather folds of their tiles: one fold behind the loop, the same result."""

from __future__ import annotations

import pytest
import torch

import helion
import helion.language as hl
from test import harness


@helion.kernel
def column_sums(x: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    m, n = x.size()
    out = torch.empty([n], dtype=torch.float32, device=x.device)
    for tile_n in hl.tile(n):
        acc = start[tile_n]
        for tile_m in hl.tile(m):
            acc = acc + x[tile_m, tile_n].to(torch.float32).exp().sum(0)
        out[tile_n] = acc
    return out


@helion.kernel
def row_extremes(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    m, n = x.size()
    high = torch.empty([m], dtype=x.dtype, device=x.device)
    low = torch.empty([m], dtype=x.dtype, device=x.device)
    for tile_m in hl.tile(m):
        top = hl.full([tile_m], float("-inf"), dtype=x.dtype)
        least = hl.full([tile_m], float("inf"), dtype=x.dtype)
        for tile_n in hl.tile(n):
            values = x[tile_m, tile_n]
            top = torch.maximum(top, values.amax(1))
            least = torch.minimum(values.amin(1), least)
        high[tile_m] = top
        low[tile_m] = least
    return high, low


@helion.kernel
def segment_sums(values: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    count = offsets.size(0) - 1
    out = torch.empty([count], dtype=values.dtype, device=values.device)
    for i in hl.grid(count):
        acc = hl.zeros([], dtype=torch.float32)
        for tile in hl.tile(offsets[i], offsets[i + 1]):
            acc = acc + values[tile].cos().sum(0)
        out[i] = acc
    return out


@helion.kernel
def running_sums(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The carried value is read in every turn: it cannot be folded later."""
    m, n = x.size()
    out = torch.empty([m], dtype=torch.float32, device=x.device)
    peak = torch.empty([m], dtype=torch.float32, device=x.device)
    for tile_m in hl.tile(m):
        acc = hl.zeros([tile_m], dtype=torch.float32)
        top = hl.zeros([tile_m], dtype=torch.float32)
        for tile_n in hl.tile(n):
            acc = acc + x[tile_m, tile_n].sum(1)
            top = torch.maximum(top, acc)
        out[tile_m] = acc
        peak[tile_m] = top
    return out, peak


@pytest.mark.parametrize("sizes", [(4, 8), (1, 16), (32, 1), (1, 1)])
@pytest.mark.parametrize("shape", [(37, 13), (1, 5), (16, 8)])
def test_column_sums(way: str, shape: tuple[int, int], sizes: tuple[int, int]) -> None:
    x, start = torch.randn(shape), torch.randn(shape[1])
    config = helion.Config(block_sizes=list(sizes))
    found = harness.run(column_sums, x, start, way=way, config=config)
    expected = start.double() + x.double().exp().sum(0)
    torch.testing.assert_close(found.double().cpu(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sizes", [(2, 8), (1, 1), (4, 64)])
def test_extremes_keep_nan_and_infinity(way: str, sizes: tuple[int, int]) -> None:
    x = torch.randn(7, 29)
    x[1, 3], x[2, 28], x[3, 0] = float("nan"), float("inf"), float("-inf")
    config = helion.Config(block_sizes=list(sizes))
    high, low = harness.run(row_extremes, x, way=way, config=config)
    torch.testing.assert_close(high.cpu(), x.amax(1), equal_nan=True)
    torch.testing.assert_close(low.cpu(), x.amin(1), equal_nan=True)


@pytest.mark.parametrize("size", [1, 4, 16])
def test_lanes_behind_a_segment_count_nothing(way: str, size: int) -> None:
    lengths = torch.tensor([0, 3, 17, 1, 0, 8])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    values = torch.randn(int(offsets[-1]))
    config = helion.Config(block_sizes=[size])
    found = harness.run(segment_sums, values, offsets, way=way, config=config)
    parts = values.double().cos().split(lengths.tolist())
    expected = torch.stack([part.sum() for part in parts])
    torch.testing.assert_close(found.double().cpu(), expected, rtol=1e-5, atol=1e-5)


def test_a_value_read_in_the_loop_is_folded_there(way: str) -> None:
    # Growing sums have the same peak whatever the tile is.
    x = torch.rand(5, 21)
    config = helion.Config(block_sizes=[2, 4])
    out, peak = harness.run(running_sums, x, way=way, config=config)
    torch.testing.assert_close(out.cpu(), x.sum(1))
    torch.testing.assert_close(peak.cpu(), x.sum(1))


def test_the_loop_has_no_fold() -> None:
    args = harness.fake_cuda((torch.empty(64, 64), torch.empty(64)))
    text = column_sums.bind(args).to_triton_code(helion.Config(block_sizes=[16, 16]))
    loop = text.index("for offset_1")
    assert text.count("tl.sum") == 1
    line = next(t for t in text[loop:].splitlines() if "tl.sum" in t)
    assert len(line) - len(line.lstrip()) == 4, "the fold stands behind the loop"
