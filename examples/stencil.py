"""Stencils: every point is updated from its neighbours, at shifted tiles."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def heat_step(x: torch.Tensor, rate: float) -> torch.Tensor:
    """Return one step of heat flow on a grid whose border stays as it is.

    The loop covers the inner points only; ``tile + k`` is the tile moved by ``k``, so
    all five reads are inside the grid without a mask of their own.
    """
    m, n = x.size()
    out = x.clone()
    for tile_i, tile_j in hl.tile([m - 2, n - 2]):
        center = x[tile_i + 1, tile_j + 1]
        around = x[tile_i, tile_j + 1] + x[tile_i + 2, tile_j + 1]
        around = around + x[tile_i + 1, tile_j] + x[tile_i + 1, tile_j + 2]
        out[tile_i + 1, tile_j + 1] = center + rate * (around - 4.0 * center)
    return out


@helion.kernel
def smooth(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return each element's weighted mean with its neighbours, the ends repeated."""
    n = x.size(0)
    radius = hl.specialize(weight.size(0) // 2)
    out = torch.empty_like(x)
    for tile in hl.tile(n):
        acc = hl.zeros([tile], dtype=torch.float32)
        for shift in hl.static_range(2 * radius + 1):
            place = torch.clamp(tile.index + (shift - radius), 0, n - 1)
            acc = acc + x[place].to(torch.float32) * weight[shift]
        out[tile] = acc.to(x.dtype)
    return out


def heat_step_ref(x: torch.Tensor, rate: float) -> torch.Tensor:
    out = x.clone()
    around = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]
    out[1:-1, 1:-1] += rate * (around - 4 * x[1:-1, 1:-1])
    return out


def smooth_ref(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    radius = weight.size(0) // 2
    padded = torch.nn.functional.pad(x[None, None], (radius, radius), "replicate")
    return torch.nn.functional.conv1d(padded, weight[None, None].to(x.dtype))[0, 0]


CASES = [
    _testing.Case(
        "heat_step",
        heat_step,
        _testing.arguments(lambda data: (data.matrix(), 0.2)),
        heat_step_ref,
        configs=_testing.GRID_2D[:2],
    ),
    _testing.Case(
        "smooth",
        smooth,
        _testing.arguments(
            lambda data: (
                data.randn(data.pick(101, 1 << 24)),
                torch.hann_window(7, periodic=False, device=data.device) / 3,
            )
        ),
        smooth_ref,
        configs=_testing.configs({"block_sizes": [16]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
