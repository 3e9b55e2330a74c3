"""Matrix products: square, thin, long, batched, with epilogues, of narrow types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks import kernels
from benchmarks.case import Args, BenchCase, randn
from examples.conv2d import conv2d, conv2d_ref
from examples.fp8_matmul import fp8_matmul
from examples.grouped_matmul import grouped_matmul, grouped_matmul_ref
from examples.int_weight_matmul import (
    matmul_int4_weight,
    matmul_int4_weight_ref,
    matmul_int_weight,
    matmul_int_weight_ref,
)
from examples.matmul import bmm, matmul, matmul_split_k
from examples.moe_matmul import moe_matmul, moe_matmul_ref

E4M3 = torch.float8_e4m3fn

# Of an activation: the epilogue of the kernel, and what PyTorch does.
ACTIVATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "relu": (kernels.relu_epilogue, torch.relu),
    "gelu": (kernels.gelu_epilogue, F.gelu),
    "silu": (kernels.silu_epilogue, F.silu),
}


def matmul_case(
    m: int, k: int, n: int, dtype: torch.dtype = torch.bfloat16
) -> BenchCase:
    """Return a matrix product; float32 is multiplied as tf32 on all sides."""
    is_wide = dtype == torch.float32
    kind = "tf32" if is_wide else str(dtype).removeprefix("torch.")
    suffix = "" if dtype == torch.bfloat16 else f"_{kind}"
    return BenchCase(
        family="matmul" if min(m, n) > 64 else "thin_matmul",
        name=f"matmul_{m}x{k}x{n}{suffix}",
        title=f"matmul {m} x {k} x {n}, {kind}",
        kernel=matmul,
        make_args=lambda device: (
            randn(device, m, k, dtype=dtype),
            randn(device, k, n, dtype=dtype),
        ),
        eager=torch.mm,
        autotune=True,
        flops=2 * m * k * n,
        rate="tf32" if is_wide else "bf16",
        split=(0,),
        numel=m * max(k, n),
        limit=2e-3 if is_wide else None,
    )


def epilogue_case(m: int, k: int, n: int, activation: str) -> BenchCase:
    """Return a product in bf16 with a bias and an activation."""
    epilogue, function = ACTIVATIONS[activation]

    def eager(x: torch.Tensor, y: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return function(torch.addmm(bias, x, y))

    return BenchCase(
        family="matmul_epilogue",
        name=f"matmul_{activation}_{m}x{k}x{n}",
        title=f"{activation}(matmul + bias) {m} x {k} x {n}, bf16",
        kernel=matmul,
        kernel_args=lambda x, y, bias: (x, y, epilogue(bias)),
        make_args=lambda device: (
            randn(device, m, k),
            randn(device, k, n),
            randn(device, n),
        ),
        eager=eager,
        autotune=True,
        flops=2 * m * k * n,
        split=(0,),
        numel=m * max(k, n),
    )


def bmm_case(batch: int, m: int, k: int, n: int) -> BenchCase:
    """Return products of pairs of matrices in bf16."""
    return BenchCase(
        family="bmm",
        name=f"bmm_{batch}x{m}x{k}x{n}",
        title=f"batched matmul {batch} x {m} x {k} x {n}, bf16",
        kernel=bmm,
        make_args=lambda device: (
            randn(device, batch, m, k),
            randn(device, batch, k, n),
        ),
        eager=torch.bmm,
        autotune=True,
        flops=2 * batch * m * k * n,
        split=(0, 1),
        numel=batch * m * max(k, n),
    )


def split_k_case(m: int, k: int, n: int) -> BenchCase:
    """Return a product in float32 of bf16 matrices, with a long inner dimension."""
    return BenchCase(
        family="split_k",
        name=f"matmul_split_k_{m}x{k}x{n}",
        title=f"matmul split along K {m} x {k} x {n}, bf16",
        kernel=matmul_split_k,
        make_args=lambda device: (randn(device, m, k), randn(device, k, n)),
        eager=lambda x, y: (x @ y).float(),
        reference=torch.mm,
        autotune=True,
        flops=2 * m * k * n,
        split=(0,),
        numel=m * max(k, n),
    )


# ---- 8-bit floats ----


def fp8_matrices(device: str, m: int, k: int, n: int) -> tuple[torch.Tensor, ...]:
    """Return two factors; the second one lies by columns, as the hardware reads it."""
    return randn(device, m, k, dtype=E4M3), randn(device, n, k, dtype=E4M3).t()


def fp8_rows_case(m: int, k: int, n: int) -> BenchCase:
    """Return a product of 8-bit floats with a scale for each row and column."""

    def make_args(device: str) -> Args:
        scales = (torch.rand(size, device=device) + 0.5 for size in (m, n))
        return (*fp8_matrices(device, m, k, n), *scales)

    def eager(x: Any, y: Any, scale_x: Any, scale_y: Any) -> torch.Tensor:
        wide = torch.mm(x.to(torch.bfloat16), y.to(torch.bfloat16))
        return (wide * scale_x.unsqueeze(1) * scale_y.unsqueeze(0)).bfloat16()

    def reference(x: Any, y: Any, scale_x: Any, scale_y: Any) -> torch.Tensor:
        return torch.mm(x, y) * scale_x.unsqueeze(1) * scale_y.unsqueeze(0)

    def scaled_mm(fast: bool) -> Callable[..., torch.Tensor]:
        return lambda x, y, scale_x, scale_y: torch._scaled_mm(
            x,
            y,
            scale_x.unsqueeze(1),
            scale_y.unsqueeze(0),
            out_dtype=torch.bfloat16,
            use_fast_accum=fast,
        )

    return BenchCase(
        family="fp8_matmul",
        name=f"fp8_rows_{m}x{k}x{n}",
        title=f"fp8 matmul, scale a row {m} x {k} x {n}",
        kernel=fp8_matmul,
        kernel_args=lambda *args: (*args, torch.bfloat16),
        make_args=make_args,
        eager=eager,
        reference=reference,
        library={"library": scaled_mm(False)},
        shown={"fast accumulation": scaled_mm(True)},
        flops=2 * m * k * n,
        rate="fp8",
        split=(0, 2),
        numel=m * max(k, n),
    )


def fp8_tensor_case(m: int, k: int, n: int) -> BenchCase:
    """Return a product of 8-bit floats with one scale for all."""

    def scaled_mm(fast: bool) -> Callable[..., torch.Tensor]:
        return lambda x, y, scale, one: torch._scaled_mm(
            x,
            y,
            scale,
            one,
            out_dtype=torch.bfloat16,
            use_fast_accum=fast,
        )

    return BenchCase(
        family="fp8_matmul",
        name=f"fp8_{m}x{k}x{n}",
        title=f"fp8 matmul {m} x {k} x {n}",
        kernel=kernels.fp8_matmul_tensor,
        # The library wants a scale for each side.
        kernel_args=lambda x, y, scale, one: (x, y, scale),
        make_args=lambda device: (
            *fp8_matrices(device, m, k, n),
            torch.rand(1, device=device) + 0.5,
            torch.ones(1, device=device),
        ),
        eager=lambda x, y, scale, one: (
            torch.mm(x.to(torch.bfloat16), y.to(torch.bfloat16)) * scale
        ).bfloat16(),
        reference=lambda x, y, scale, one: torch.mm(x, y) * scale,
        library={"library": scaled_mm(False)},
        shown={"fast accumulation": scaled_mm(True)},
        flops=2 * m * k * n,
        rate="fp8",
        split=(0,),
        numel=m * max(k, n),
    )


# ---- integer weights, groups, convolutions ----


def int8_case(m: int, k: int, n: int) -> BenchCase:
    """Return a product with int8 weights."""
    return BenchCase(
        family="int_matmul",
        name=f"int8_weight_{m}x{k}x{n}",
        title=f"matmul, int8 weights {m} x {k} x {n}, bf16",
        kernel=matmul_int_weight,
        make_args=lambda device: (
            randn(device, m, k),
            torch.randint(-128, 128, (k, n), device=device).to(torch.int8),
            randn(device, n) / (128 * k**0.5),
        ),
        eager=matmul_int_weight_ref,
        flops=2 * m * k * n,
        split=(0,),
        numel=max(m, k) * n,
    )


def int4_case(m: int, k: int, n: int, group: int = 128) -> BenchCase:
    """Return a product with packed 4-bit weights."""
    return BenchCase(
        family="int_matmul",
        name=f"int4_weight_{m}x{k}x{n}",
        title=f"matmul, int4 weights {m} x {k} x {n}, bf16",
        kernel=matmul_int4_weight,
        make_args=lambda device: (
            randn(device, m, k),
            torch.randint(-128, 128, (k // 2, n), device=device).to(torch.int8),
            randn(device, k // group, n) / (8 * k**0.5),
            group,
        ),
        eager=matmul_int4_weight_ref,
        flops=2 * m * k * n,
        split=(0,),
        numel=max(m, k) * n,
    )


def grouped_case(shapes: tuple[tuple[int, int, int], ...]) -> BenchCase:
    """Return products of pairs of matrices of unequal shapes."""
    return BenchCase(
        family="grouped",
        name=f"grouped_matmul_{len(shapes)}",
        title=f"{len(shapes)} products in one launch, bf16",
        kernel=grouped_matmul,
        make_args=lambda device: (
            [randn(device, m, k) for m, k, _ in shapes],
            [randn(device, k, n) for _, k, n in shapes],
        ),
        eager=grouped_matmul_ref,
        flops=sum(2 * m * k * n for m, k, n in shapes),
    )


def moe_case(tokens: int, experts: int, k: int, n: int) -> BenchCase:
    """Return products of tokens with the weights of their experts."""

    def make_args(device: str) -> Args:
        # As even as it gets without being a multiple of any tile.
        loads = [tokens // experts + (-1) ** e * (7 * e + 1) for e in range(experts)]
        loads[-1] += tokens - sum(loads)
        ends = [sum(loads[:e]) for e in range(experts + 1)]
        order = torch.randperm(tokens, device=device)
        offsets = torch.tensor(ends, dtype=torch.int32, device=device)
        weight = randn(device, experts, k, n) * k**-0.5
        return randn(device, tokens, k), weight, order, offsets

    def by_library(x: Any, weight: Any, order: Any, offsets: Any) -> torch.Tensor:
        found = torch._grouped_mm(x[order], weight, offs=offsets[1:], out_dtype=x.dtype)
        return torch.empty_like(found).index_copy_(0, order, found)

    return BenchCase(
        family="grouped",
        name=f"moe_matmul_{tokens}x{experts}x{k}x{n}",
        title=f"{experts} experts, {tokens} x {k} x {n}, bf16",
        kernel=moe_matmul,
        make_args=make_args,
        eager=moe_matmul_ref,
        library={"library": by_library},
        compiled=by_library,
        flops=2 * tokens * k * n,
        results=lambda x, weight, *rest: x.new_empty(x.size(0), weight.size(2)),
        syncs=frozenset({"eager"}),
    )


def conv2d_case(batch: int, side: int, cin: int, cout: int) -> BenchCase:
    """Return a 3 x 3 convolution, channels last."""
    return BenchCase(
        family="conv",
        name=f"conv2d_{batch}x{side}x{side}x{cin}x{cout}",
        title=f"conv2d {batch} x {side} x {side} x {cin} to {cout}, bf16",
        kernel=conv2d,
        make_args=lambda device: (
            randn(device, batch, side, side, cin),
            randn(device, 3, 3, cin, cout) * cin**-0.5,
            1,
            1,
        ),
        eager=conv2d_ref,
        flops=2 * 9 * batch * side * side * cin * cout,
        split=(0,),
        numel=9 * batch * side * side * cin,
    )


CASES = [
    matmul_case(4096, 4096, 4096),
    matmul_case(8192, 8192, 8192),
    matmul_case(2048, 16384, 2048),
    matmul_case(4096, 4096, 4096, torch.float32),
    *(
        epilogue_case(size, size, size, activation)
        for size in (4096, 8192)
        for activation in ACTIVATIONS
    ),
    *(matmul_case(m, 8192, 8192) for m in (1, 8, 16, 64)),
    bmm_case(64, 1024, 1024, 1024),
    split_k_case(1024, 2048, 512),
    split_k_case(128, 65536, 128),
    *(make(s, s, s) for make in (fp8_tensor_case, fp8_rows_case) for s in (4096, 8192)),
    int8_case(16, 8192, 8192),
    int8_case(256, 4096, 4096),
    int4_case(16, 8192, 8192),
    int4_case(256, 4096, 4096),
    grouped_case(((1024, 2048, 512), (300, 4096, 1024), (2048, 512, 2048))),
    moe_case(8192, 32, 1024, 2048),
    conv2d_case(32, 56, 128, 256),
]
