"""Dropout whose mask is never stored: it is drawn again from its seed."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def dropout(x: torch.Tensor, p: float, seed: int) -> torch.Tensor:
    """Return ``x`` with elements zeroed with probability ``p``, the others scaled up.

    A random number depends on the seed and on the position in the whole tensor, not on
    the tile sizes or the device.
    """
    out = torch.empty_like(x)
    for tile in hl.tile(x.size()):
        keep = hl.rand(tile, seed=seed) >= p
        out[tile] = torch.where(keep, x[tile] * (1.0 / (1.0 - p)), 0.0)
    return out


@helion.kernel
def dropout_add(
    x: torch.Tensor, residual: torch.Tensor, p: float, seed: int
) -> torch.Tensor:
    """Return ``dropout(x) + residual``, as at the end of a transformer block.

    The backward pass is ``dropout`` of the gradient with the same seed.
    """
    out = torch.empty_like(x)
    for tile_m, tile_n in hl.tile(x.size()):
        keep = hl.rand([tile_m, tile_n], seed=seed) >= p
        kept = torch.where(keep, x[tile_m, tile_n] * (1.0 / (1.0 - p)), 0.0)
        out[tile_m, tile_n] = kept + residual[tile_m, tile_n]
    return out


def dropout_ref(x: torch.Tensor, p: float, seed: int) -> torch.Tensor:
    # At the prompt hl.rand gives the same numbers as in a kernel.
    keep = hl.rand(list(x.size()), seed=seed, device=x.device) >= p
    return torch.where(keep, x / (1 - p), 0.0)


def dropout_add_ref(
    x: torch.Tensor, residual: torch.Tensor, p: float, seed: int
) -> torch.Tensor:
    return dropout_ref(x, p, seed) + residual


CASES = [
    _testing.Case(
        "dropout",
        dropout,
        _testing.arguments(
            lambda data: (data.randn(data.pick(1009, 1 << 24)), 0.3, 1234)
        ),
        dropout_ref,
        configs=_testing.configs({"block_sizes": [64]}),
    ),
    _testing.Case(
        "dropout_add",
        dropout_add,
        _testing.arguments(lambda data: (data.matrix(), data.matrix(), 0.1, 99)),
        dropout_add_ref,
        configs=_testing.GRID_2D[:2],
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
