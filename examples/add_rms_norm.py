"""Residual addition and RMS norm in one kernel, as transformer blocks begin."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def add_rms_norm(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, eps: float = 1e-6
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the RMS norm of ``x + residual``, and the sum for the next block."""
    m, n = x.size()
    out = torch.empty_like(x)
    total = torch.empty_like(x)
    for tile in hl.tile(m):
        row = x[tile, :].to(torch.float32) + residual[tile, :].to(torch.float32)
        total[tile, :] = row.to(x.dtype)
        inverse = torch.rsqrt(torch.mean(row * row, dim=1) + eps)
        out[tile, :] = (row * inverse[:, None] * weight[:]).to(x.dtype)
    return out, total


def add_rms_norm_ref(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    total = x + residual
    return torch.nn.functional.rms_norm(total, [x.size(1)], weight, 1e-6), total


CASES = [
    _testing.Case(
        "add_rms_norm",
        add_rms_norm,
        _testing.arguments(
            lambda data: (x := data.matrix(), data.matrix(), data.randn(x.size(1)))
        ),
        add_rms_norm_ref,
        configs=_testing.ROWS,
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
