"""Backward kernels of the examples that have none of their own."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


@helion.kernel
def rms_norm_bwd(
    grad_out: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, eps: float = 1e-6
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients of x and weight; each band of rows has a partial sum."""
    m, n = x.size()
    n = hl.specialize(n)
    rows = hl.register_block_size(m)
    dx = torch.empty_like(x)
    dweight = torch.empty(
        [helion.cdiv(m, rows), n], dtype=torch.float32, device=x.device
    )
    for band in hl.tile(m, block_size=rows):
        total = hl.zeros([n], dtype=torch.float32)
        for tile in hl.tile(band.begin, band.end):
            row = x[tile, :].to(torch.float32)
            scale = torch.rsqrt(torch.mean(row * row, dim=1) + eps)[:, None]
            normal = row * scale
            grad = grad_out[tile, :].to(torch.float32)
            total = total + torch.sum(grad * normal, dim=0)
            grad = grad * weight[:].to(torch.float32)
            along = torch.mean(grad * normal, dim=1)[:, None]
            dx[tile, :] = ((grad - normal * along) * scale).to(x.dtype)
        dweight[band.id, :] = total
    return dx, dweight.sum(0)


@helion.kernel
def softmax_bwd(grad_out: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the gradient of ``x`` in ``softmax(x, dim=1)``, which is computed anew."""
    dx = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out = torch.softmax(x[tile, :].to(torch.float32), dim=1)
        grad = grad_out[tile, :].to(torch.float32)
        shift = torch.sum(grad * out, dim=1)
        dx[tile, :] = ((grad - shift[:, None]) * out).to(x.dtype)
    return dx


@helion.kernel
def cross_entropy_bwd(
    grad_out: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Return the gradient of the logits in the mean loss over all rows."""
    n, v = logits.size()
    dlogits = torch.empty_like(logits)
    for tile in hl.tile(n):
        out = torch.softmax(logits[tile, :].to(torch.float32), dim=1)
        hit = (labels[tile][:, None] == hl.arange(v)[None, :]).to(torch.float32)
        scale = grad_out[None].to(torch.float32) / n
        dlogits[tile, :] = ((out - hit) * scale).to(logits.dtype)
    return dlogits


@helion.kernel
def row_sum_bwd(grad_out: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the gradient of ``x`` in ``x.sum(-1)``: one number for a whole row."""
    dx = torch.empty_like(x)
    for rows, columns in hl.tile(x.size()):
        dx[rows, columns] = grad_out[rows][:, None].expand(rows, columns)
    return dx
