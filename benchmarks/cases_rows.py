"""Work on rows: softmax, normalizations forward and backward, cross entropy, sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

import helion
from benchmarks.case import Args, BenchCase, randn, widened
from examples.add_rms_norm import add_rms_norm
from examples.cross_entropy import cross_entropy
from examples.layer_norm import layer_norm, layer_norm_bwd_dwdb, layer_norm_bwd_dx
from examples.rms_norm import rms_norm
from examples.softmax import softmax, softmax_two_pass
from examples.softmax_bwd import softmax_bwd
from examples.sum import row_amax, row_argmax, row_sum, row_var

# Rows of a width so that one tensor in bf16 has 128 MB or more; the short one was
# measured from the beginning.
SHAPES = (
    (16384, 1000),
    (67200, 1000),
    (32768, 2048),
    (16384, 4096),
    (16384, 5632),
    (16384, 8192),
    (8192, 16384),
)

# ---- what PyTorch does instead ----


def softmax_rows(x: torch.Tensor) -> torch.Tensor:
    """Return the softmax of each row."""
    return torch.softmax(x, dim=1)


def rms_norm_parts(
    x: torch.Tensor, weight: torch.Tensor, eps: float = 1e-6
) -> torch.Tensor:
    """Return the RMS norm by its parts, in at least float32."""
    row = widened(x)
    inverse = torch.rsqrt(row.square().mean(1, keepdim=True) + eps)
    return (row * inverse * weight).to(x.dtype)


def rms_norm_call(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return PyTorch's own RMS norm."""
    return F.rms_norm(x, [x.size(1)], weight, 1e-6)


def add_rms_norm_parts(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the RMS norm of a sum, and the sum."""
    row = widened(x) + widened(residual)
    inverse = torch.rsqrt(row.square().mean(1, keepdim=True) + 1e-6)
    return (row * inverse * weight).to(x.dtype), row.to(x.dtype)


def add_rms_norm_call(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the same with PyTorch's own RMS norm."""
    total = x + residual
    return F.rms_norm(total, [x.size(1)], weight, 1e-6), total


def layer_norm_parts(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float = 1e-5
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return layer norm, means and 1 / deviations, in at least float32."""
    row = widened(x)
    mean = row.mean(1, keepdim=True)
    rstd = torch.rsqrt(row.var(1, correction=0, keepdim=True) + eps)
    out = (row - mean) * rstd * weight + bias
    return out.to(x.dtype), mean.squeeze(1), rstd.squeeze(1)


def layer_norm_call(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Return all three results of PyTorch's own layer norm."""
    return torch.native_layer_norm(x, [x.size(1)], weight, bias, 1e-5)


def dx_parts(
    grad_out: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    mean: torch.Tensor,
    rstd: torch.Tensor,
) -> torch.Tensor:
    """Return the gradient of the input of a layer norm, in at least float32."""
    normal = (widened(x) - mean.unsqueeze(1)) * rstd.unsqueeze(1)
    grad = widened(grad_out) * weight
    along = (grad * normal).mean(1, keepdim=True)
    step = grad - normal * along - grad.mean(1, keepdim=True)
    return (step * rstd.unsqueeze(1)).to(x.dtype)


def dx_call(
    grad_out: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    mean: torch.Tensor,
    rstd: torch.Tensor,
) -> torch.Tensor:
    """Return the same from the operator behind PyTorch's own backward pass."""
    stats, mask = (mean.unsqueeze(1), rstd.unsqueeze(1)), [True, False, False]
    return torch.ops.aten.native_layer_norm_backward(
        grad_out, x, [x.size(1)], *stats, weight, None, mask
    )[0]


def dwdb_parts(
    grad_out: torch.Tensor, x: torch.Tensor, mean: torch.Tensor, rstd: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients of weight and bias of a layer norm, in at least float32."""
    grad = widened(grad_out)
    normal = (widened(x) - mean.unsqueeze(1)) * rstd.unsqueeze(1)
    return (grad * normal).sum(0), grad.sum(0)


def dwdb_call(
    grad_out: torch.Tensor, x: torch.Tensor, mean: torch.Tensor, rstd: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Return the same in bf16 from the operator behind PyTorch's own backward pass."""
    # Of weight and bias only size and dtype count here; their values are not read.
    param = x.new_empty(x.size(1))
    stats, mask = (mean.unsqueeze(1), rstd.unsqueeze(1)), [False, True, True]
    return torch.ops.aten.native_layer_norm_backward(
        grad_out, x, [x.size(1)], *stats, param, param, mask
    )[1:]


def softmax_gradient(grad: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Return the gradient of the input of a softmax, in at least float32."""
    g, y = widened(grad), widened(out)
    return ((g - (g * y).sum(1, keepdim=True)) * y).to(grad.dtype)


def softmax_gradient_call(grad: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Return the same from the operator behind PyTorch's own backward pass."""
    return torch.ops.aten._softmax_backward_data(grad, out, 1, grad.dtype)


def row_losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return ``-log_softmax`` at each row's label, in at least float32."""
    wide = widened(logits)
    target = wide.gather(1, labels.unsqueeze(1)).squeeze(1)
    return torch.logsumexp(wide, dim=1) - target


# ---- cases ----


def softmax_case(m: int, n: int, kernel: helion.Kernel = softmax) -> BenchCase:
    """Return a softmax over rows in bf16."""
    return BenchCase(
        family="softmax",
        name=f"{kernel.name}_{m}x{n}",
        title=f"{kernel.name.replace('_', ' ')} {m} x {n}, bf16",
        kernel=kernel,
        make_args=lambda device: (randn(device, m, n),),
        eager=softmax_rows,
        split=(0,),
        numel=m * n,
    )


def softmax_bwd_case(m: int, n: int) -> BenchCase:
    """Return the gradient of the input of a softmax."""
    return BenchCase(
        family="softmax",
        name=f"softmax_bwd_{m}x{n}",
        title=f"softmax, gradient {m} x {n}, bf16",
        kernel=softmax_bwd,
        make_args=lambda device: (
            randn(device, m, n),
            torch.softmax(randn(device, m, n), dim=1),
        ),
        eager=softmax_gradient,
        library={"library": softmax_gradient_call},
        split=(0, 1),
        numel=m * n,
    )


def rms_norm_case(m: int, n: int) -> BenchCase:
    """Return an RMS norm in bf16."""
    return BenchCase(
        family="rms_norm",
        name=f"rms_norm_{m}x{n}",
        title=f"RMS norm {m} x {n}, bf16",
        kernel=rms_norm,
        make_args=lambda device: (randn(device, m, n), randn(device, n)),
        eager=rms_norm_parts,
        library={"library": rms_norm_call},
        split=(0,),
        numel=m * n,
    )


def add_rms_norm_case(m: int, n: int) -> BenchCase:
    """Return an RMS norm of a sum in bf16."""
    return BenchCase(
        family="rms_norm",
        name=f"add_rms_norm_{m}x{n}",
        title=f"x + y and its RMS norm {m} x {n}, bf16",
        kernel=add_rms_norm,
        make_args=lambda device: (
            randn(device, m, n),
            randn(device, m, n),
            randn(device, n),
        ),
        eager=add_rms_norm_parts,
        library={"library": add_rms_norm_call},
        split=(0, 1),
        numel=m * n,
    )


def layer_norm_case(m: int, n: int) -> BenchCase:
    """Return a layer norm in bf16, which also stores each row's two statistics."""
    return BenchCase(
        family="layer_norm",
        name=f"layer_norm_{m}x{n}",
        title=f"layer norm {m} x {n}, bf16",
        kernel=layer_norm,
        make_args=lambda device: (
            randn(device, m, n),
            randn(device, n),
            randn(device, n),
        ),
        eager=layer_norm_parts,
        library={"library": layer_norm_call},
        split=(0,),
        numel=m * n,
    )


def backward_args(device: str, m: int, n: int) -> Args:
    """Return grad_out, x, weight, and the mean and 1 / deviation of the rows of x."""
    x = randn(device, m, n)
    _, mean, rstd = layer_norm_parts(x, x.new_ones(n), x.new_zeros(n))
    grad, weight = randn(device, m, n), randn(device, n)
    return grad, x, weight, mean.contiguous(), rstd.contiguous()


def dx_case(m: int, n: int) -> BenchCase:
    """Return the gradient of the input of a layer norm in bf16."""
    return BenchCase(
        family="layer_norm_dx",
        name=f"layer_norm_dx_{m}x{n}",
        title=f"layer norm, dx {m} x {n}, bf16",
        kernel=layer_norm_bwd_dx,
        make_args=lambda device: backward_args(device, m, n),
        eager=dx_parts,
        library={"library": dx_call},
        split=(0, 1, 3, 4),
        numel=m * n,
    )


def dwdb_case(m: int, n: int) -> BenchCase:
    """Return the gradients of weight and bias of a layer norm in bf16."""

    def make_args(device: str) -> Args:
        grad_out, x, _, mean, rstd = backward_args(device, m, n)
        return grad_out, x, mean, rstd

    return BenchCase(
        family="layer_norm_dwdb",
        name=f"layer_norm_dwdb_{m}x{n}",
        title=f"layer norm, dweight and dbias {m} x {n}, bf16",
        kernel=layer_norm_bwd_dwdb,
        make_args=make_args,
        eager=dwdb_parts,
        library={"library": dwdb_call},
        split=(0, 1, 2, 3),
        numel=m * n,
        is_sum=True,
    )


def cross_entropy_case(m: int, n: int) -> BenchCase:
    """Return the mean cross entropy of bf16 logits; PyTorch's own result is bf16."""
    return BenchCase(
        family="cross_entropy",
        name=f"cross_entropy_{m}x{n}",
        title=f"cross entropy {m} x {n}, bf16",
        kernel=cross_entropy,
        make_args=lambda device: (
            randn(device, m, n),
            torch.randint(n, (m,), device=device),
        ),
        eager=lambda logits, labels: row_losses(logits, labels).mean(),
        library={"library": F.cross_entropy},
        reference=lambda logits, labels: row_losses(logits, labels).sum() / m,
        split=(0, 1),
        numel=m * n,
        is_sum=True,
    )


def reduction_case(
    kernel: helion.Kernel, eager: Callable[..., Any], m: int, n: int
) -> BenchCase:
    """Return a reduction of each row in bf16."""
    return BenchCase(
        family="reduction",
        name=f"{kernel.name}_{m}x{n}",
        title=f"{kernel.name.replace('_', ' ')} {m} x {n}, bf16",
        kernel=kernel,
        make_args=lambda device: (randn(device, m, n),),
        eager=eager,
        split=(0,),
        numel=m * n,
    )


def row_sum_case(m: int, n: int) -> BenchCase:
    """Return the sums of rows."""
    return reduction_case(row_sum, lambda x: x.sum(1), m, n)


def row_amax_case(m: int, n: int) -> BenchCase:
    """Return the largest values of rows."""
    return reduction_case(row_amax, lambda x: x.amax(1), m, n)


def row_var_case(m: int, n: int) -> BenchCase:
    """Return the variances of rows."""
    return reduction_case(row_var, lambda x: x.var(1, correction=0), m, n)


def row_argmax_case(m: int, n: int) -> BenchCase:
    """Return the places of the largest values of rows, the first of equal ones."""
    return reduction_case(row_argmax, lambda x: x.argmax(1), m, n)


CASES = [
    *(softmax_case(m, n) for m, n in SHAPES),
    softmax_bwd_case(16384, 5632),
    softmax_case(4096, 131072),
    softmax_case(4096, 131072, softmax_two_pass),
    *(rms_norm_case(m, n) for m, n in SHAPES),
    add_rms_norm_case(16384, 5632),
    *(layer_norm_case(m, n) for m, n in SHAPES),
    *(dx_case(m, n) for m, n in SHAPES),
    dwdb_case(16384, 5632),
    dwdb_case(1_152_000, 16),
    cross_entropy_case(8192, 128256),
    row_sum_case(16384, 5632),
    row_sum_case(1024, 262144),
    row_amax_case(16384, 5632),
    row_var_case(16384, 5632),
    row_argmax_case(16384, 5632),
]
