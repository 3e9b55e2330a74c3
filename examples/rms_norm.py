"""Root-mean-square normalization of rows."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


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


def rms_norm_ref(
    x: torch.Tensor, weight: torch.Tensor, eps: float = 1e-6
) -> torch.Tensor:
    return torch.nn.functional.rms_norm(x, [x.size(1)], weight, eps)


CASES = [
    _testing.Case(
        "rms_norm",
        rms_norm,
        _testing.arguments(lambda data: (x := data.matrix(), data.randn(x.size(1)))),
        rms_norm_ref,
        configs=_testing.ROWS,
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
