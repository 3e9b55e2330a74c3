"""Elementwise addition with PyTorch's broadcasting and type promotion."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return ``x + y`` for any two shapes that broadcast together.

    The lines before the loop run on the host. ``tile`` stands for one block of
    positions per dimension of ``out``; the loop body runs once per block, in parallel.
    """
    x, y = torch.broadcast_tensors(x, y)
    out = torch.empty(
        x.shape, dtype=torch.promote_types(x.dtype, y.dtype), device=x.device
    )
    for tile in hl.tile(out.size()):
        out[tile] = x[tile] + y[tile]
    return out


CASES = [
    _testing.Case(
        "add",
        add,
        _testing.arguments(lambda data: (data.matrix(), data.matrix())),
        torch.add,
        configs=(
            *_testing.GRID_2D,
            helion.Config(block_sizes=[16, 16], flatten_loops=[True]),
        ),
    ),
    _testing.Case(
        "add_broadcast",
        add,
        _testing.arguments(
            lambda data: (data.randn(33, 1), data.randn(17, dtype=torch.float16))
        ),
        torch.add,
        configs=_testing.GRID_2D,
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
