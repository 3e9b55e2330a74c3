"""Ways to write layer norm backward, from arguments (grad_out, x, weight, mean, rstd).

All return the gradients of x, weight and bias; each writes the column sums differently.
"""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from examples import layer_norm as example
from test.harness import poisoned

Gradients = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@helion.kernel
def partial_buffers(
    grad_out: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    mean: torch.Tensor,
    rstd: torch.Tensor,
) -> Gradients:
    """Sum into one row of a partial buffer per block of rows, as RMS norm does."""
    m, n = x.size(0), hl.specialize(x.size(1))
    block = hl.register_block_size(m)
    dx = torch.empty_like(x)
    blocks = (m + block - 1) // block
    weight_parts = x.new_empty(blocks, n, dtype=torch.float32)
    bias_parts = x.new_empty(blocks, n, dtype=torch.float32)
    for rows in hl.tile(m, block_size=block):
        weight_sum = weight.new_zeros(n, dtype=torch.float32)
        bias_sum = weight.new_zeros(n, dtype=torch.float32)
        for tile in hl.tile(rows.begin, rows.end):
            scale = rstd[tile].unsqueeze(1)
            normal = (x[tile, :].to(torch.float32) - mean[tile].unsqueeze(1)) * scale
            grad = grad_out[tile, :].to(torch.float32)
            weight_sum += (grad * normal).sum(0)
            bias_sum += grad.sum(0)
            grad = grad * weight[:].to(torch.float32)
            along = (grad * normal).sum(1, keepdim=True) / n
            shift = grad.sum(1, keepdim=True) / n
            dx[tile, :] = ((grad - normal * along - shift) * scale).to(x.dtype)
        weight_parts[rows.id, :] = weight_sum
        bias_parts[rows.id, :] = bias_sum
    return dx, weight_parts.sum(0), bias_parts.sum(0)


@helion.kernel
def block_reductions(
    grad_out: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    mean: torch.Tensor,
    rstd: torch.Tensor,
) -> Gradients:
    """Reduce each block of rows at once, without a loop over its rows."""
    m, n = x.size()
    n = hl.specialize(n)
    block = hl.register_block_size(m)
    dx = torch.empty_like(x)
    parts = torch.empty([2, helion.cdiv(m, block), n], device=x.device)
    for tile in hl.tile(m, block_size=block):
        normal = (x[tile, :].float() - mean[tile, None]) * rstd[tile, None]
        grad = grad_out[tile, :].float()
        parts[0, tile.id, :] = torch.sum(grad * normal, dim=0)
        parts[1, tile.id, :] = torch.sum(grad, dim=0)
        grad = grad * weight[None, :].float()
        along = torch.mean(grad * normal, dim=-1, keepdim=True)
        step = grad - normal * along - torch.mean(grad, dim=-1, keepdim=True)
        dx[tile, :] = (step * rstd[tile, None]).to(x.dtype)
    return dx, parts[0].sum(0), parts[1].sum(0)


@helion.kernel
def einsum_in_loop(
    grad_out: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    mean: torch.Tensor,
    rstd: torch.Tensor,
) -> Gradients:
    """Contract with torch.einsum: over rows in one loop, along them in another."""
    m, n = x.size()
    dx = torch.empty_like(x)
    dweight = torch.empty([n], dtype=torch.float32, device=x.device)
    dbias = torch.empty([n], dtype=torch.float32, device=x.device)
    for columns in hl.tile(n):
        weight_sum = hl.zeros([columns], dtype=torch.float32)
        bias_sum = hl.zeros([columns], dtype=torch.float32)
        for rows in hl.tile(m):
            grad = grad_out[rows, columns].to(torch.float32)
            centered = x[rows, columns].to(torch.float32) - mean[rows][:, None]
            weight_sum += torch.einsum("mn,mn,m->n", grad, centered, rstd[rows])
            bias_sum += torch.einsum("mn->n", grad)
        dweight[columns] = weight_sum
        dbias[columns] = bias_sum
    for rows in hl.tile(m):
        centered = x[rows, :].to(torch.float32) - mean[rows][:, None]
        normal = torch.einsum("mn,m->mn", centered, rstd[rows])
        grad = torch.einsum(
            "...n,n->...n", grad_out[rows, :].float(), weight[:].float()
        )
        along = torch.einsum("mn,mn->m", grad, normal) / n
        shift = torch.einsum("mn->m", grad) / n
        step = grad - torch.einsum("m,mn->mn", along, normal) - shift[:, None]
        dx[rows, :] = (step * rstd[rows][:, None]).to(x.dtype)
    return dx, dweight, dbias


@helion.kernel
def per_sample(
    grad_out: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    mean: torch.Tensor,
    rstd: torch.Tensor,
) -> Gradients:
    """Keep accumulators for each row, all in float32, and no partial buffers."""
    m, n = x.size()
    n = hl.specialize(n)
    dx = torch.empty_like(x)
    dweight = torch.zeros([n], dtype=torch.float32, device=x.device)
    dbias = torch.zeros([n], dtype=torch.float32, device=x.device)
    for rows in hl.tile(m):
        along = hl.zeros([rows], dtype=torch.float32)
        shift = hl.zeros([rows], dtype=torch.float32)
        scale = rstd[rows].to(torch.float32)[:, None]
        for columns in hl.tile(n):
            grad = grad_out[rows, columns].to(torch.float32)
            centered = x[rows, columns].to(torch.float32) - mean[rows][:, None]
            normal = centered * scale
            hl.atomic_add(dweight, [columns], (grad * normal).sum(0))
            hl.atomic_add(dbias, [columns], grad.sum(0))
            grad = grad * weight[columns].to(torch.float32)
            along += (grad * normal).sum(1) / n
            shift += grad.sum(1) / n
        for columns in hl.tile(n):
            grad = grad_out[rows, columns].to(torch.float32)
            grad = grad * weight[columns].to(torch.float32)
            centered = x[rows, columns].to(torch.float32) - mean[rows][:, None]
            step = grad - centered * scale * along[:, None] - shift[:, None]
            dx[rows, columns] = (step * scale).to(x.dtype)
    return dx, dweight, dbias


@helion.kernel
def in_halves(
    grad_out: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    mean: torch.Tensor,
    rstd: torch.Tensor,
) -> Gradients:
    """Check shapes with torch._check and work on both halves of each row."""
    m, n = x.size()
    torch._check(grad_out.size(1) == n, lambda: "grad_out is as wide as x")
    torch._check(weight.size(0) == n)
    n = hl.specialize(n)
    half = n // 2
    dx = torch.empty_like(x)
    dweight = torch.empty([n], dtype=torch.float32, device=x.device)
    dbias = torch.empty([n], dtype=torch.float32, device=x.device)
    for rows in hl.tile(m):
        normal = (x[rows, :].to(torch.float32) - mean[rows, None]) * rstd[rows, None]
        torch._check(normal.size(1) == n)
        factor = weight[:].to(torch.float32)
        left = grad_out[rows, :].narrow(1, 0, half) * factor[:half]
        right = grad_out[rows, :][:, half:] * factor[half:]
        left_normal, right_normal = normal[:, :half], normal.narrow(1, half, n - half)
        along = (left * left_normal).sum(1) + (right * right_normal).sum(1)
        shift = left.sum(1) + right.sum(1)
        along, shift = along[:, None] / n, shift[:, None] / n
        scale = rstd[rows, None]
        left = (left - left_normal * along - shift) * scale
        right = (right - right_normal * along - shift) * scale
        dx[rows, :half] = left.to(x.dtype)
        dx[rows, half:] = right.to(x.dtype)
    for columns in hl.tile(n):
        grad = grad_out[:, columns].to(torch.float32)
        normal = (x[:, columns].to(torch.float32) - mean[:, None]) * rstd[:, None]
        dweight[columns] = (grad * normal).sum(0)
        dbias[columns] = grad.sum(0)
    return dx, dweight, dbias


@helion.kernel
def explicit_buffers(
    grad_out: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    mean: torch.Tensor,
    rstd: torch.Tensor,
) -> Gradients:
    """Allocate every buffer with its device, dtype and shape spelled out."""
    m = x.shape[0]
    n = hl.specialize(x.shape[1])
    device = grad_out.device
    block = hl.register_block_size(m)
    dx = torch.empty((m, n), dtype=x.dtype, device=device)
    blocks = helion.cdiv(m, block)
    weight_parts = torch.zeros((blocks, n), dtype=torch.float32, device=device)
    bias_parts = torch.full([blocks, n], 0.0, dtype=torch.float32, device=device)
    for rows in hl.tile(m, block_size=block):
        weight_sum = torch.zeros((n,), dtype=torch.float32, device=device)
        bias_sum = torch.zeros(n, device=device)
        for tile in hl.tile(rows.begin, rows.end):
            scale = rstd[tile][:, None]
            normal = (x[tile, :].to(torch.float32) - mean[tile][:, None]) * scale
            grad = grad_out[tile, :].to(torch.float32)
            weight_sum = weight_sum + (grad * normal).sum(dim=0)
            bias_sum = bias_sum + grad.sum(dim=0)
            grad = grad * weight[:].to(torch.float32)
            along = (grad * normal).sum(dim=1)[:, None] * (1.0 / n)
            shift = grad.sum(dim=1)[:, None] * (1.0 / n)
            dx[tile, :] = ((grad - normal * along - shift) * scale).to(x.dtype)
        weight_parts[rows.id, :] = weight_sum
        bias_parts[rows.id, :] = bias_sum
    return dx, weight_parts.sum(0), bias_parts.sum(0)


VARIANTS = {
    "partial_buffers": partial_buffers,
    "block_reductions": block_reductions,
    "einsum_in_loop": einsum_in_loop,
    "per_sample": per_sample,
    "in_halves": in_halves,
    "explicit_buffers": explicit_buffers,
}
KERNELS = {**VARIANTS, "layer_norm_bwd": example.layer_norm_bwd}


# ---- arguments and the truth ----


def backward_args(
    m: int, n: int, dtype: torch.dtype, device: str = "cpu"
) -> tuple[torch.Tensor, ...]:
    """Return random (grad_out, x, weight, mean, rstd), the statistics being right."""
    sizes = (m, n), (m, n), (n,)
    grad_out, x, weight = (torch.randn(s, device=device).to(dtype) for s in sizes)
    wide = x.double()
    rstd = torch.rsqrt(wide.var(1, correction=0) + 1e-5)
    return grad_out, x, weight, wide.mean(1).float(), rstd.float()


def true_gradients(
    grad_out: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, *_: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Return what autograd finds in float64."""
    given = (x.double(), weight.double(), torch.zeros_like(weight, dtype=torch.float64))
    inputs = [value.requires_grad_() for value in given]
    out = torch.nn.functional.layer_norm(inputs[0], [x.size(1)], *inputs[1:])
    return torch.autograd.grad(out, inputs, grad_out.double())


def assert_gradients(
    found: tuple[torch.Tensor, ...], args: tuple[torch.Tensor, ...]
) -> None:
    """Compare gradients with float64; sums over many rows may be off by their root."""
    tolerance = {torch.float32: 1e-4, torch.float16: 4e-3, torch.bfloat16: 2e-2}
    slack = 1e-5 * args[0].size(0) ** 0.5
    for mine, right in zip(found, true_gradients(*args), strict=True):
        limit = tolerance[mine.dtype]
        torch.testing.assert_close(mine.double(), right, rtol=limit, atol=limit + slack)


def reset_before_each_width(
    name: str, widths: list[int], device: str
) -> list[tuple[torch.Tensor, ...]]:
    """Return gradients at several widths, with the kernel's memory cleared before."""
    kernel = helion.kernel(KERNELS[name].fn)
    found = []
    for width in widths:
        kernel.reset()
        torch.manual_seed(width)
        args = backward_args(5, width, torch.float32, device)
        bound = kernel.bind(args)
        with poisoned():
            found.append(
                bound.compile_config(bound.config_spec.default_config())(*args)
            )
    return found
