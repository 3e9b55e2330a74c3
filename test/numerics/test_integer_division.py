"""Division of sizes and scalars in device code rounds down, as Python does."""

from __future__ import annotations

import pytest
import torch

import helion
import helion.language as hl
from test.harness import check


@helion.kernel
def quotients(x: torch.Tensor, number: int, below: int) -> torch.Tensor:
    m = x.size(0)
    out = torch.empty([5, m], dtype=torch.int64, device=x.device)
    for tile in hl.tile(m):
        out[0, tile] = x[tile] + number // below
        out[1, tile] = x[tile] + number % below
        out[2, tile] = x[tile] + -(-m // 2)
        out[3, tile] = x[tile] + (tile.begin - m) // 3
        out[4, tile] = x[tile] + (number - m) % 4
    return out


def reference(x: torch.Tensor, number: int, below: int) -> torch.Tensor:
    m, starts = x.size(0), torch.arange(x.size(0)) // 4 * 4
    rows = [number // below, number % below, -(-m // 2), (starts - m) // 3]
    return torch.stack([x + row for row in [*rows, (number - m) % 4]])


@pytest.mark.parametrize("static_shapes", [True, False])
@pytest.mark.parametrize("number", [-7, -6, 0, 7])
@pytest.mark.parametrize("below", [3, -3])
def test_division_rounds_down(
    way: str, number: int, below: int, static_shapes: bool
) -> None:
    if way == "plain":
        pytest.skip("a tile of plain Python is the whole tensor")
    check(
        quotients,
        *(torch.arange(13), number, below),
        way=way,
        reference=reference,
        configs=[helion.Config(block_sizes=[4])],
        static_shapes=static_shapes,
    )
