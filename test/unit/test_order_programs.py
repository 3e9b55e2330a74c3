"""Programs of a launch whose loops get longer begin with the longest."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from test import harness


@helion.kernel
def prefix_products(x: torch.Tensor) -> torch.Tensor:
    """Row tile i is multiplied by all columns up to its own end."""
    n = x.size(0)
    out = torch.empty_like(x)
    for tile_m in hl.tile(n):
        acc = hl.zeros([tile_m], dtype=torch.float32)
        for tile_n in hl.tile(tile_m.end):
            acc = acc + (x[tile_m][:, None] * x[tile_n][None, :]).sum(1)
        out[tile_m] = acc
    return out


@helion.kernel
def suffix_products(x: torch.Tensor) -> torch.Tensor:
    """Here the first tiles have the longest loops already."""
    n = x.size(0)
    out = torch.empty_like(x)
    for tile_m in hl.tile(n):
        acc = hl.zeros([tile_m], dtype=torch.float32)
        for tile_n in hl.tile(tile_m.begin, n):
            acc = acc + (x[tile_m][:, None] * x[tile_n][None, :]).sum(1)
        out[tile_m] = acc
    return out


def first_offset(kernel: helion.Kernel) -> str:
    """Return the line that finds the first row of a program."""
    args = harness.fake_cuda((torch.empty(100),))
    text = kernel.bind(args).to_triton_code(helion.Config(block_sizes=[16, 16]))
    return next(line for line in text.splitlines() if "offset_0 =" in line)


def test_growing_loops_count_from_the_end() -> None:
    assert "- 1 - pid_0" in first_offset(prefix_products)


def test_shrinking_loops_keep_their_order() -> None:
    assert "- pid_0" not in first_offset(suffix_products)


def test_every_tile_is_computed_once() -> None:
    x = torch.randn(101)
    config = helion.Config(block_sizes=[16, 8])
    found = harness.run(prefix_products, x, way="interpreted", config=config)
    ends = [min(i // 16 * 16 + 16, 101) for i in range(101)]
    sums = torch.stack([x[:end].double().sum() for end in ends])
    torch.testing.assert_close(found.double(), x.double() * sums, rtol=1e-5, atol=1e-5)
