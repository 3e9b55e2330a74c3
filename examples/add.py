"""Elementwise addition with PyTorch's broadcasting and type promotion."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


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


def main() -> None:
    """Compare with PyTorch: equal shapes, a row against a column, mixed types."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    m, n = (4096, 5632) if device == "cuda" else (33, 17)
    x = torch.randn([m, n], device=device)
    y = torch.randn([m, n], device=device, dtype=torch.float16)
    torch.testing.assert_close(add(x, x), x + x)
    torch.testing.assert_close(add(x, y), x + y)
    torch.testing.assert_close(add(x[:, :1], y[:1]), x[:, :1] + y[:1])
    print(f"add agrees with PyTorch on {device}")


if __name__ == "__main__":
    main()
