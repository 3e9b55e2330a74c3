"""Branches on the device: on the position of a tile and on a loaded value."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


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


def main() -> None:
    """Compare with masks in PyTorch."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    m, n = (512, 5000) if device == "cuda" else (7, 37)
    x = torch.randn([m, n], device=device)
    cut = n // 3
    expected = torch.cat([x[0, :cut] * 2.5, x[0, cut:]])
    torch.testing.assert_close(scale_prefix(x[0], cut, 2.5), expected)
    mode = torch.randint(-1, 2, [m], device=device)
    expected = torch.where(mode[:, None] > 0, torch.relu(x), torch.tanh(x))
    torch.testing.assert_close(activate_rows(x, mode), expected)
    print(f"branch agrees with PyTorch on {device}")


if __name__ == "__main__":
    main()
