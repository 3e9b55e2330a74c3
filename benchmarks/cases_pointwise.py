"""Pointwise work on 64 MB and more: what counts is the memory."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from benchmarks.case import BenchCase, randn, size_text, widened
from benchmarks.kernels import bias_gelu
from examples.add import add
from examples.glu import glu, silu, swiglu_bwd
from examples.pointwise import clamp_where, gelu, quantize, silu_mul

FAMILY = "pointwise"


def add_case(*shape: int, dtype: torch.dtype = torch.float32) -> BenchCase:
    """Return an addition of two tensors of one shape."""
    text, numel = "x".join(map(str, shape)), math.prod(shape)
    kind = str(dtype).removeprefix("torch.")
    size = size_text(numel) if len(shape) == 1 else text
    return BenchCase(
        family=FAMILY,
        name=f"add_{text}_{kind}",
        title=f"add of {size}, {kind}",
        kernel=add,
        make_args=lambda device: (
            randn(device, *shape, dtype=dtype),
            randn(device, *shape, dtype=dtype),
        ),
        eager=torch.add,
        split=(0, 1),
        numel=numel,
    )


def swiglu(x: torch.Tensor, activation: object = None) -> torch.Tensor:
    """Return ``silu(gate) * up`` of rows with gate and up side by side."""
    gate, up = x.chunk(2, dim=1)
    return F.silu(gate) * up


def swiglu_case(m: int, n: int) -> BenchCase:
    """Return SwiGLU over rows of ``2 n`` elements."""
    return BenchCase(
        family=FAMILY,
        name=f"swiglu_{m}x{n}",
        title=f"SwiGLU {m} x 2*{n}, bf16",
        kernel=glu,
        make_args=lambda device: (randn(device, m, 2 * n), silu),
        eager=swiglu,
        split=(0,),
        numel=2 * m * n,
    )


def swiglu_gradient(grad: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the gradient of ``x``, computed in at least float32."""
    gate, up = widened(x).chunk(2, dim=1)
    wide = widened(grad)
    s = torch.sigmoid(gate)
    parts = [wide * up * s * (1 + gate * (1 - s)), wide * gate * s]
    return torch.cat(parts, dim=1).to(x.dtype)


def swiglu_bwd_case(m: int, n: int) -> BenchCase:
    """Return the gradient of SwiGLU."""
    return BenchCase(
        family=FAMILY,
        name=f"swiglu_bwd_{m}x{n}",
        title=f"SwiGLU, gradient {m} x 2*{n}, bf16",
        kernel=swiglu_bwd,
        make_args=lambda device: (randn(device, m, n), randn(device, m, 2 * n)),
        eager=swiglu_gradient,
        split=(0, 1),
        numel=2 * m * n,
    )


def bias_gelu_case(m: int, n: int) -> BenchCase:
    """Return the exact GELU of rows plus a bias."""
    return BenchCase(
        family=FAMILY,
        name=f"bias_gelu_{m}x{n}",
        title=f"GELU of x + bias {m} x {n}, bf16",
        kernel=bias_gelu,
        make_args=lambda device: (randn(device, m, n), randn(device, n)),
        eager=lambda x, bias: F.gelu(x + bias),
        split=(0,),
        numel=m * n,
    )


def gelu_case(m: int, n: int) -> BenchCase:
    """Return the exact GELU."""
    return BenchCase(
        family=FAMILY,
        name=f"gelu_{m}x{n}",
        title=f"GELU {m} x {n}, bf16",
        kernel=gelu,
        make_args=lambda device: (randn(device, m, n),),
        eager=F.gelu,
        split=(0,),
        numel=m * n,
    )


def silu_mul_case(m: int, n: int) -> BenchCase:
    """Return ``silu(gate) * up`` of two tensors."""
    return BenchCase(
        family=FAMILY,
        name=f"silu_mul_{m}x{n}",
        title=f"silu(gate) * up {m} x {n}, bf16",
        kernel=silu_mul,
        make_args=lambda device: (randn(device, m, n), randn(device, m, n)),
        eager=lambda gate, up: F.silu(gate) * up,
        split=(0, 1),
        numel=m * n,
    )


def clamp_where_case(m: int, n: int) -> BenchCase:
    """Return a selection by a mask."""
    return BenchCase(
        family=FAMILY,
        name=f"clamp_where_{m}x{n}",
        title=f"clamp where mask {m} x {n}, bf16",
        kernel=clamp_where,
        make_args=lambda device: (
            randn(device, m, n),
            -0.5,
            1.0,
            randn(device, m, n) > 0,
        ),
        eager=lambda x, low, high, mask: torch.where(mask, x.clamp(low, high), -x),
        split=(0, 3),
        numel=m * n,
    )


def quantize_case(m: int, n: int) -> BenchCase:
    """Return a rounding to int8; ties at the edge of two steps may round apart."""

    def eager(x: torch.Tensor, scale: float) -> torch.Tensor:
        steps = torch.round(widened(x) / scale)
        return torch.clamp(steps, -128.0, 127.0).to(torch.int8)

    return BenchCase(
        family=FAMILY,
        name=f"quantize_{m}x{n}",
        title=f"bf16 to int8 {m} x {n}",
        kernel=quantize,
        make_args=lambda device: (randn(device, m, n), 0.03125),
        eager=eager,
        split=(0,),
        numel=m * n,
    )


CASES = [
    add_case(128 << 20),
    add_case(16 << 20),
    add_case(8192, 8192, dtype=torch.bfloat16),
    swiglu_case(16384, 5632),
    swiglu_case(8192, 11008),
    swiglu_bwd_case(8192, 11008),
    bias_gelu_case(16384, 5632),
    bias_gelu_case(8192, 8192),
    gelu_case(16384, 5632),
    silu_mul_case(16384, 5632),
    clamp_where_case(16384, 5632),
    quantize_case(16384, 5632),
]
