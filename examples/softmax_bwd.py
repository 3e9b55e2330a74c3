"""Gradient of softmax: one reduction along each row, held whole or walked."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def softmax_bwd(grad: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Return ``(grad - sum(grad * out)) * out`` of each row; ``out`` is the softmax."""
    dx = torch.empty_like(grad)
    for tile in hl.tile(grad.size(0)):
        g = grad[tile, :].to(torch.float32)
        y = out[tile, :].to(torch.float32)
        along = torch.sum(g * y, dim=1, keepdim=True)
        dx[tile, :] = ((g - along) * y).to(grad.dtype)
    return dx


@helion.kernel
def log_softmax_bwd(grad: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Return ``grad - exp(out) * sum(grad)``; ``out`` is the log softmax."""
    dx = torch.empty_like(grad)
    for tile in hl.tile(grad.size(0)):
        g = grad[tile, :].to(torch.float32)
        total = torch.sum(g, dim=1, keepdim=True)
        dx[tile, :] = (g - torch.exp(out[tile, :].to(torch.float32)) * total).to(
            grad.dtype
        )
    return dx


def softmax_bwd_ref(grad: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    return torch.ops.aten._softmax_backward_data(grad, out, 1, grad.dtype)


def log_softmax_bwd_ref(grad: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    return torch.ops.aten._log_softmax_backward_data(grad, out, 1, grad.dtype)


CASES = [
    _testing.Case(
        "softmax_bwd",
        softmax_bwd,
        _testing.arguments(lambda data: (data.matrix(), data.matrix().softmax(1))),
        softmax_bwd_ref,
        configs=_testing.ROWS,
    ),
    _testing.Case(
        "log_softmax_bwd",
        log_softmax_bwd,
        _testing.arguments(lambda data: (data.matrix(), data.matrix().log_softmax(1))),
        log_softmax_bwd_ref,
        _testing.LONG_SUM,
        _testing.ROWS[:2],
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
