"""Host tensors with sizes that follow from block sizes, and torch's work on them."""

from __future__ import annotations

import pytest
import torch

import helion
import helion.language as hl
from test.harness import check, randn


@helion.kernel
def split_logsumexp(x: torch.Tensor) -> torch.Tensor:
    m, n = x.size()
    block = hl.register_block_size(4, 32)
    parts = helion.cdiv(n, block)
    peak = x.new_empty([m, parts])
    total = x.new_empty([m, parts])
    for tile_m, tile_n in hl.tile([m, n], block_size=[None, block]):
        values = x[tile_m, tile_n]
        top = values.amax(1)
        peak[tile_m, tile_n.id] = top
        total[tile_m, tile_n.id] = torch.exp(values - top[:, None]).sum(1)
    highest = peak.amax(1)
    scaled = total * torch.exp(peak - highest[:, None])
    return highest + torch.log(scaled.sum(1)) + 0 * torch.logsumexp(peak, 1)


@pytest.mark.parametrize("width", [1, 2, 31, 70])
def test_host_math_on_a_tensor_with_one_entry_per_tile(width: int, way: str) -> None:
    check(
        split_logsumexp,
        randn(13, width),
        way=way,
        reference=lambda x: torch.logsumexp(x, 1),
        configs=(
            None,
            helion.Config(block_sizes=[4, 8]),
            helion.Config(block_sizes=[8, 32]),
        ),
    )
