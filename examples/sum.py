"""Reductions of rows: sum, mean, largest value, its position, variance."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def row_sum(x: torch.Tensor) -> torch.Tensor:
    """Return the sum of each row; the Config says if a row is held whole or walked."""
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        out[tile] = x[tile, :].sum(-1)
    return out


@helion.kernel
def row_sum_tiled(x: torch.Tensor) -> torch.Tensor:
    """Return the sum of each row, walked in blocks of columns by an explicit loop."""
    m, n = x.size()
    out = torch.empty([m], dtype=x.dtype, device=x.device)
    for tile_m in hl.tile(m):
        acc = hl.zeros([tile_m], dtype=torch.float32)
        for tile_n in hl.tile(n):
            acc = acc + x[tile_m, tile_n].to(torch.float32).sum(-1)
        out[tile_m] = acc.to(x.dtype)
    return out


@helion.kernel
def row_mean(x: torch.Tensor) -> torch.Tensor:
    """Return the mean of each row."""
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        out[tile] = torch.mean(x[tile, :], dim=-1)
    return out


@helion.kernel
def row_amax(x: torch.Tensor) -> torch.Tensor:
    """Return the largest value of each row; a NaN in the row wins."""
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        out[tile] = torch.amax(x[tile, :], dim=-1)
    return out


@helion.kernel
def row_argmax(x: torch.Tensor) -> torch.Tensor:
    """Return the position of the first largest value of each row."""
    out = torch.empty([x.size(0)], dtype=torch.int64, device=x.device)
    for tile in hl.tile(x.size(0)):
        out[tile] = torch.argmax(x[tile, :], dim=-1)
    return out


@helion.kernel
def row_var(x: torch.Tensor) -> torch.Tensor:
    """Return the variance of each row, divided by its full length."""
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        out[tile] = torch.var(x[tile, :], dim=-1, correction=0)
    return out


CASES = [
    _testing.Case(
        "row_sum",
        row_sum,
        _testing.arguments(lambda data: (data.matrix(),)),
        lambda x: x.sum(-1),
        _testing.LONG_SUM,
        _testing.ROWS,
    ),
    _testing.Case(
        "row_sum_tiled",
        row_sum_tiled,
        _testing.arguments(lambda data: (data.matrix(),)),
        lambda x: x.sum(-1),
        _testing.LONG_SUM,
        _testing.configs({"block_sizes": [4, 16]}, {"block_sizes": [8, 4]}),
    ),
    _testing.Case(
        "row_mean",
        row_mean,
        _testing.arguments(lambda data: (data.matrix(),)),
        lambda x: x.mean(-1),
        configs=_testing.ROWS,
    ),
    _testing.Case(
        "row_amax",
        row_amax,
        _testing.arguments(lambda data: (data.matrix(),)),
        lambda x: x.amax(-1),
        configs=_testing.ROWS,
    ),
    _testing.Case(
        "row_argmax",
        row_argmax,
        _testing.arguments(lambda data: (data.matrix(),)),
        lambda x: x.argmax(-1),
        configs=_testing.ROWS,
    ),
    _testing.Case(
        "row_var",
        row_var,
        _testing.arguments(lambda data: (data.matrix(),)),
        lambda x: x.var(-1, correction=0),
        _testing.LONG_SUM,
        _testing.ROWS,
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
