"""Softmax over rows: by one torch call, by its parts, and online in two passes."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def softmax(x: torch.Tensor) -> torch.Tensor:
    """Return the softmax of each row of ``x``; ``x[tile, :]`` is a block of rows."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile, :] = torch.softmax(x[tile, :], dim=1)
    return out


@helion.kernel
def softmax_parts(x: torch.Tensor) -> torch.Tensor:
    """Return the softmax of each row, spelled as maximum, exponential and sum."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        row = x[tile, :].to(torch.float32)
        shifted = torch.exp(row - torch.amax(row, dim=1, keepdim=True))
        out[tile, :] = (shifted / torch.sum(shifted, dim=1, keepdim=True)).to(x.dtype)
    return out


@helion.kernel
def softmax_two_pass(x: torch.Tensor) -> torch.Tensor:
    """Return the softmax of each row, reading it twice in blocks of columns.

    The first pass keeps the running maximum and rescales the running sum when it
    grows, so that a row of any length needs registers for one block only.
    """
    m, n = x.size()
    out = torch.empty_like(x)
    for tile_m in hl.tile(m):
        peak = hl.full([tile_m], float("-inf"), dtype=torch.float32)
        total = hl.zeros([tile_m], dtype=torch.float32)
        for tile_n in hl.tile(n):
            values = x[tile_m, tile_n].to(torch.float32)
            higher = torch.maximum(peak, torch.amax(values, dim=1))
            block = torch.exp(values - higher[:, None])
            total = total * torch.exp(peak - higher) + block.sum(dim=1)
            peak = higher
        for tile_n in hl.tile(n):
            values = x[tile_m, tile_n].to(torch.float32)
            scaled = torch.exp(values - peak[:, None]) / total[:, None]
            out[tile_m, tile_n] = scaled.to(x.dtype)
    return out


def softmax_ref(x: torch.Tensor) -> torch.Tensor:
    return torch.softmax(x, dim=1)


CASES = [
    _testing.Case(
        "softmax",
        softmax,
        _testing.arguments(lambda data: (data.matrix(),)),
        softmax_ref,
        configs=_testing.ROWS,
    ),
    _testing.Case(
        "softmax_parts",
        softmax_parts,
        _testing.arguments(lambda data: (data.matrix(),)),
        softmax_ref,
        configs=_testing.ROWS,
    ),
    _testing.Case(
        "softmax_two_pass",
        softmax_two_pass,
        _testing.arguments(lambda data: (data.matrix(),)),
        softmax_ref,
        configs=_testing.configs(
            {"block_sizes": [4, 16, 8]}, {"block_sizes": [1, 8, 64]}
        ),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
