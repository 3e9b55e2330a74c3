"""Reductions of rows: sum, mean, largest value, its position, variance."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


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


def main() -> None:
    """Compare short and long rows with PyTorch."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shapes = [(4096, 5632), (4, 1 << 22)] if device == "cuda" else [(13, 37), (2, 5000)]
    for m, n in shapes:
        x = torch.randn([m, n], device=device)
        close = {"rtol": 1e-3, "atol": 1e-5 * n**0.5 + 1e-4}
        torch.testing.assert_close(row_sum(x), x.sum(-1), **close)
        torch.testing.assert_close(row_sum_tiled(x), x.sum(-1), **close)
        torch.testing.assert_close(row_mean(x), x.mean(-1), **close)
        torch.testing.assert_close(row_amax(x), x.amax(-1))
        torch.testing.assert_close(row_argmax(x), x.argmax(-1))
        torch.testing.assert_close(row_var(x), x.var(-1, correction=0), **close)
    print(f"sum agrees with PyTorch on {device}")


if __name__ == "__main__":
    main()
