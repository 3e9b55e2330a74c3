"""Chains of elementwise operations, each fused into one kernel."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def gelu(x: torch.Tensor) -> torch.Tensor:
    """Return the exact (error function) GELU of ``x``."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size()):
        out[tile] = torch.nn.functional.gelu(x[tile])
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


def clamp_where_ref(
    x: torch.Tensor, low: float, high: float, mask: torch.Tensor
) -> torch.Tensor:
    return torch.where(mask, x.clamp(low, high), -x)


def quantize_ref(x: torch.Tensor, scale: float) -> torch.Tensor:
    return torch.round(x / scale).clamp(-128, 127).to(torch.int8)


CASES = [
    _testing.Case(
        "gelu",
        gelu,
        _testing.arguments(lambda data: (data.matrix(),)),
        torch.nn.functional.gelu,
        configs=_testing.GRID_2D,
    ),
    _testing.Case(
        "silu_mul",
        silu_mul,
        _testing.arguments(lambda data: (data.matrix(), data.matrix())),
        lambda gate, up: torch.nn.functional.silu(gate) * up,
        configs=_testing.GRID_2D,
    ),
    _testing.Case(
        "clamp_where",
        clamp_where,
        _testing.arguments(lambda data: (data.matrix(), -0.5, 0.25, data.matrix() > 0)),
        clamp_where_ref,
        configs=_testing.GRID_2D,
    ),
    _testing.Case(
        "quantize",
        quantize,
        _testing.arguments(lambda data: (data.matrix(), 0.015625)),
        quantize_ref,
        configs=_testing.GRID_2D,
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
