"""Rows scaled to length one, as for embeddings that are compared by cosine."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def l2_normalize(x: torch.Tensor, eps: float = 1e-12) -> torch.Tensor:
    """Return each row of ``x`` divided by the larger of its norm and ``eps``."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        row = x[tile, :].to(torch.float32)
        norm = torch.sqrt(torch.sum(row * row, dim=1, keepdim=True))
        out[tile, :] = (row / torch.clamp(norm, min=eps)).to(x.dtype)
    return out


@helion.kernel
def cosine_similarity(
    x: torch.Tensor, y: torch.Tensor, eps: float = 1e-8
) -> torch.Tensor:
    """Return the cosine between row ``i`` of ``x`` and row ``i`` of ``y``."""
    out = torch.empty([x.size(0)], dtype=torch.float32, device=x.device)
    for tile in hl.tile(x.size(0)):
        a = x[tile, :].to(torch.float32)
        b = y[tile, :].to(torch.float32)
        lengths = torch.sum(a * a, dim=1) * torch.sum(b * b, dim=1)
        out[tile] = torch.sum(a * b, dim=1) * torch.rsqrt(
            torch.clamp(lengths, min=eps * eps)
        )
    return out


CASES = [
    _testing.Case(
        "l2_normalize",
        l2_normalize,
        _testing.arguments(lambda data: (data.matrix(),)),
        torch.nn.functional.normalize,
        configs=_testing.ROWS[:2],
    ),
    _testing.Case(
        "cosine_similarity",
        cosine_similarity,
        _testing.arguments(lambda data: (data.matrix(), data.matrix())),
        lambda x, y: torch.nn.functional.cosine_similarity(x, y),
        configs=_testing.ROWS[:2],
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
