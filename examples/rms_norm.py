"""Root-mean-square normalization of rows."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


@helion.kernel
def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float = 1e-6) -> torch.Tensor:
    """Return each row of ``x`` divided by its root mean square, times ``weight``."""
    m, n = x.size()
    assert weight.size(0) == n, "one weight for each column"
    out = torch.empty_like(x)
    for tile in hl.tile(m):
        row = x[tile, :].to(torch.float32)
        inverse = torch.rsqrt(torch.mean(row * row, dim=1) + eps)
        out[tile, :] = (row * inverse[:, None] * weight[:]).to(x.dtype)
    return out


def main() -> None:
    """Compare with the formula in PyTorch."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    m, n = (4096, 5632) if device == "cuda" else (13, 37)
    x = torch.randn([m, n], device=device)
    weight = torch.randn([n], device=device)
    expected = torch.nn.functional.rms_norm(x, [n], weight, 1e-6)
    torch.testing.assert_close(rms_norm(x, weight), expected)
    print(f"rms_norm agrees with PyTorch on {device}")


if __name__ == "__main__":
    main()
