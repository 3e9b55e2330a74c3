"""Two dependent loops in one function: the second reads what all of the first wrote."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


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


def main() -> None:
    """Compare with the same two steps in PyTorch."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shape = (4096, 1500) if device == "cuda" else (13, 37)
    x = torch.randn(shape, device=device) + 3.0
    expected = x - x.mean(0)
    torch.testing.assert_close(center_columns(x), expected, rtol=1e-4, atol=1e-4)
    print(f"two_phase agrees with PyTorch on {device}")


if __name__ == "__main__":
    main()
