"""Chains of elementwise operations, each fused into one kernel."""

from __future__ import annotations

import math

import torch

import helion
import helion.language as hl


@helion.kernel
def gelu(x: torch.Tensor) -> torch.Tensor:
    """Return the exact (error function) GELU of ``x``."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size()):
        value = x[tile].to(torch.float32)
        half = 0.5 * value
        out[tile] = (half * (1.0 + torch.erf(value / math.sqrt(2.0)))).to(x.dtype)
    return out


@helion.kernel
def silu_mul(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """Return ``silu(gate) * up``, the gated unit of many transformer blocks."""
    out = torch.empty_like(gate)
    for tile in hl.tile(gate.size()):
        g = gate[tile].to(torch.float32)
        out[tile] = (g * torch.sigmoid(g) * up[tile]).to(gate.dtype)
    return out


@helion.kernel
def clamp_where(
    x: torch.Tensor, low: float, high: float, mask: torch.Tensor
) -> torch.Tensor:
    """Return ``x`` clamped to ``[low, high]`` where ``mask``, and ``-x`` elsewhere."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size()):
        value = x[tile]
        out[tile] = torch.where(mask[tile], torch.clamp(value, low, high), -value)
    return out


@helion.kernel
def quantize(x: torch.Tensor, scale: float) -> torch.Tensor:
    """Return ``x / scale`` rounded, saturated to a byte and stored as int8."""
    out = torch.empty_like(x, dtype=torch.int8)
    for tile in hl.tile(x.size()):
        scaled = torch.round(x[tile].to(torch.float32) / scale)
        out[tile] = torch.clamp(scaled, -128.0, 127.0).to(torch.int8)
    return out


def main() -> None:
    """Compare each chain with the same chain in PyTorch."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shape = (4096, 5632) if device == "cuda" else (33, 17)
    x = torch.randn(shape, device=device)
    y = torch.randn(shape, device=device)
    mask = y > 0
    torch.testing.assert_close(gelu(x), torch.nn.functional.gelu(x))
    torch.testing.assert_close(silu_mul(x, y), torch.nn.functional.silu(x) * y)
    expected = torch.where(mask, x.clamp(-0.5, 0.25), -x)
    torch.testing.assert_close(clamp_where(x, -0.5, 0.25, mask), expected)
    expected = torch.round(x / 0.0625).clamp(-128, 127).to(torch.int8)
    torch.testing.assert_close(quantize(x, 0.0625), expected)
    print(f"pointwise agrees with PyTorch on {device}")


if __name__ == "__main__":
    main()
