"""Branches on the device: on the position of a tile and on a loaded value."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def scale_prefix(x: torch.Tensor, cut: int, scale: float) -> torch.Tensor:
    """Return ``x`` with its first ``cut`` elements multiplied by ``scale``.

    Tiles wholly before or after the cut take a branch without a mask.
    """
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        if tile.end <= cut:
            result = x[tile] * scale
        elif tile.begin >= cut:
            result = x[tile]
        else:
            result = torch.where(tile.index < cut, x[tile] * scale, x[tile])
        out[tile] = result
    return out


@helion.kernel
def activate_rows(x: torch.Tensor, mode: torch.Tensor) -> torch.Tensor:
    """Return each row of ``x`` through relu where its mode is positive, else tanh.

    ``mode[i]`` is a scalar on the device, so each program takes one branch.
    """
    m, n = x.size()
    out = torch.empty_like(x)
    for i in hl.grid(m):
        kind = mode[i]
        for tile in hl.tile(n):
            if kind > 0:
                result = torch.relu(x[i, tile])
            else:
                result = torch.tanh(x[i, tile])
            out[i, tile] = result
    return out


def scale_prefix_ref(x: torch.Tensor, cut: int, scale: float) -> torch.Tensor:
    return torch.cat([x[:cut] * scale, x[cut:]])


def activate_rows_ref(x: torch.Tensor, mode: torch.Tensor) -> torch.Tensor:
    return torch.where(mode[:, None] > 0, torch.relu(x), torch.tanh(x))


CASES = [
    _testing.Case(
        "scale_prefix",
        scale_prefix,
        _testing.arguments(lambda data: (data.randn(data.pick(101, 100003)), 47, 2.5)),
        scale_prefix_ref,
        configs=_testing.configs(
            {"block_sizes": [16]}, {"block_sizes": [8], "num_warps": 1}
        ),
    ),
    _testing.Case(
        "activate_rows",
        activate_rows,
        _testing.arguments(
            lambda data: (x := data.matrix(), data.randint(-1, 2, len(x)))
        ),
        activate_rows_ref,
        configs=_testing.configs({"block_sizes": [16]}, {"block_sizes": [64]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
