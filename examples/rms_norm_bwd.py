"""Gradients of RMS norm in one pass over the rows: bands of rows, then a small sum."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def rms_norm_bwd(
    grad_out: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, rms: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients of ``x`` and ``weight``; ``rms`` is 1 / root mean square.

    Each program walks one band of rows, so every row is read once. It keeps the weight
    gradient of its band in registers; the host adds the bands up.
    """
    m, n = x.size()
    n = hl.specialize(n)
    rows = hl.register_block_size(m)
    dx = torch.empty_like(x)
    dweight = torch.empty(
        [helion.cdiv(m, rows), n], dtype=torch.float32, device=x.device
    )
    for band in hl.tile(m, block_size=rows):
        weight_sum = hl.zeros([n], dtype=torch.float32)
        for tile in hl.tile(band.begin, band.end):
            inverse = rms[tile][:, None]
            normal = x[tile, :].to(torch.float32) * inverse
            grad = grad_out[tile, :].to(torch.float32)
            weight_sum = weight_sum + torch.sum(grad * normal, dim=0)
            grad = grad * weight[:].to(torch.float32)
            along = torch.mean(grad * normal, dim=1)
            dx[tile, :] = ((grad - normal * along[:, None]) * inverse).to(x.dtype)
        dweight[band.id, :] = weight_sum
    return dx, dweight.sum(0)


def rms_norm_bwd_ref(
    grad_out: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, rms: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    normal = x * rms[:, None]
    grad = grad_out * weight
    along = (grad * normal).mean(1, keepdim=True)
    return (grad - normal * along) * rms[:, None], (grad_out * normal).sum(0)


def backward_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    x, grad_out = data.matrix(), data.matrix()
    rms = torch.rsqrt(x.float().square().mean(1) + 1e-6)
    return grad_out, x, data.randn(x.size(1)), rms


CASES = [
    _testing.Case(
        "rms_norm_bwd",
        rms_norm_bwd,
        _testing.arguments(backward_args),
        rms_norm_bwd_ref,
        _testing.LONG_SUM,
        _testing.configs({"block_sizes": [8, 4]}, {"block_sizes": [16, 1]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
