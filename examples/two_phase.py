"""Two dependent loops in one function: the second reads what all of the first wrote."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def center_columns(x: torch.Tensor) -> torch.Tensor:
    """Return ``x`` minus the mean of each of its columns.

    The two top-level loops are two launches in source order, so the means are
    complete before any program of the second loop reads them.
    """
    m, n = x.size()
    mean = torch.empty([n], dtype=torch.float32, device=x.device)
    out = torch.empty_like(x)
    for tile in hl.tile(n):
        mean[tile] = x[:, tile].to(torch.float32).mean(0)
    for tile_m, tile_n in hl.tile([m, n]):
        centered = x[tile_m, tile_n].to(torch.float32) - mean[tile_n][None, :]
        out[tile_m, tile_n] = centered.to(x.dtype)
    return out


CASES = [
    _testing.Case(
        "center_columns",
        center_columns,
        _testing.arguments(lambda data: (data.matrix(),)),
        lambda x: x - x.mean(0),
        configs=_testing.configs(
            {"block_sizes": [8, 4, 16]}, {"block_sizes": [1, 16, 4]}
        ),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
