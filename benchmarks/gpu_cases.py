"""The kernels timed on a GPU, each with its rivals, its reference and its floor."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

import helion
from examples.add import add
from examples.attention import attention
from examples.layer_norm import layer_norm
from examples.matmul import matmul
from examples.softmax import softmax

# Largest number of float64 elements of an intermediate result in a reference.
CHUNK_NUMEL = 1 << 28


@dataclass(frozen=True)
class GpuCase:
    """One kernel at one size.

    ``eager`` is what one writes in PyTorch without looking further, ``library`` its one
    call for the job. ``flops`` and ``bytes_moved`` are what no version can save.
    ``split`` names the arguments whose first dimension the results follow, and
    ``numel`` counts the largest intermediate of ``reference``.
    """

    name: str
    title: str
    kernel: helion.Kernel
    dtype: torch.dtype
    shapes: tuple[tuple[int, ...], ...]
    eager: Callable[..., Any]
    library: Callable[..., Any]
    reference: Callable[..., Any]
    flops: int
    bytes_moved: int
    split: tuple[int, ...]
    numel: int

    def make_args(self) -> tuple[torch.Tensor, ...]:
        """Return random arguments on the GPU."""
        return tuple(
            torch.randn(shape, dtype=self.dtype, device="cuda") for shape in self.shapes
        )

    def fake_args(self) -> tuple[torch.Tensor, ...]:
        """Return arguments without memory, which need no GPU."""
        with FakeTensorMode():
            return self.make_args()

    def floor_ms(self, bytes_per_s: float, flops_per_s: float) -> float:
        """Return the time that the memory or the matrix units need at the least."""
        return 1e3 * max(self.bytes_moved / bytes_per_s, self.flops / flops_per_s)

    def reference_chunks(
        self, args: tuple[torch.Tensor, ...]
    ) -> Iterator[tuple[slice, Any]]:
        """Yield the float64 results for ranges of the first dimension."""
        rows = self.shapes[self.split[0]][0]
        step = max(1, rows * CHUNK_NUMEL // max(self.numel, CHUNK_NUMEL))
        for start in range(0, rows, step):
            part = slice(start, min(start + step, rows))
            chosen = [
                arg[part] if i in self.split else arg for i, arg in enumerate(args)
            ]
            yield part, self.reference(*(arg.double() for arg in chosen))


def fused_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return SDPA; its fused kernels want separate batch and head dims."""
    return F.scaled_dot_product_attention(q[None], k[None], v[None])[0]


def layer_norm_parts(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float = 1e-5
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return layer norm, means and 1 / deviations, in at least float32."""
    row = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = row.mean(1, keepdim=True)
    rstd = torch.rsqrt(row.var(1, correction=0, keepdim=True) + eps)
    out = (row - mean) * rstd * weight + bias
    return out.to(x.dtype), mean[:, 0], rstd[:, 0]


def attention_parts(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return attention with all scores in memory."""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.size(-1))
    return torch.softmax(scores, dim=-1) @ v


def matmul_case(m: int, k: int, n: int) -> GpuCase:
    """Return a matrix product in bf16."""
    return GpuCase(
        name="matmul",
        title=f"matmul {m} x {k} x {n}, bf16",
        kernel=matmul,
        dtype=torch.bfloat16,
        shapes=((m, k), (k, n)),
        eager=lambda x, y: x @ y,
        library=torch.mm,
        reference=torch.mm,
        flops=2 * m * k * n,
        bytes_moved=2 * (m * k + k * n + m * n),
        split=(0,),
        numel=m * max(k, n),
    )


def softmax_case(m: int, n: int) -> GpuCase:
    """Return a softmax over rows in bf16."""

    def row_softmax(x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x, dim=1)

    return GpuCase(
        name="softmax",
        title=f"softmax {m} x {n}, bf16",
        kernel=softmax,
        dtype=torch.bfloat16,
        shapes=((m, n),),
        eager=row_softmax,
        library=row_softmax,
        reference=row_softmax,
        flops=0,
        bytes_moved=2 * 2 * m * n,
        split=(0,),
        numel=m * n,
    )


def layer_norm_case(m: int, n: int) -> GpuCase:
    """Return a layer norm in bf16, which also stores each row's two statistics."""
    return GpuCase(
        name="layer_norm",
        title=f"layer norm {m} x {n}, bf16",
        kernel=layer_norm,
        dtype=torch.bfloat16,
        shapes=((m, n), (n,), (n,)),
        eager=layer_norm_parts,
        library=lambda x, weight, bias: F.layer_norm(x, [x.size(1)], weight, bias),
        reference=layer_norm_parts,
        flops=0,
        bytes_moved=2 * 2 * m * n + 2 * 2 * n + 2 * 4 * m,
        split=(0,),
        numel=m * n,
    )


def attention_case(heads: int, length: int, head: int) -> GpuCase:
    """Return attention without a mask in bf16; ``heads`` counts batches too."""
    return GpuCase(
        name="attention",
        title=f"attention {heads} x {length} x {head}, bf16",
        kernel=attention,
        dtype=torch.bfloat16,
        shapes=((heads, length, head),) * 3,
        eager=attention_parts,
        library=fused_attention,
        reference=attention_parts,
        flops=4 * heads * length * length * head,
        bytes_moved=2 * 4 * heads * length * head,
        split=(0, 1, 2),
        numel=heads * length * length,
    )


def add_case(numel: int) -> GpuCase:
    """Return an addition of float32 vectors."""
    return GpuCase(
        name="add",
        title=f"add of {numel / 2**20:.0f} M, float32",
        kernel=add,
        dtype=torch.float32,
        shapes=((numel,),) * 2,
        eager=lambda x, y: x + y,
        library=torch.add,
        reference=torch.add,
        flops=0,
        bytes_moved=3 * 4 * numel,
        split=(0, 1),
        numel=numel,
    )


CASES: dict[str, GpuCase] = {
    case.name: case
    for case in (
        matmul_case(4096, 4096, 4096),
        softmax_case(23831, 5632),
        layer_norm_case(16384, 5632),
        attention_case(64, 4096, 128),
        add_case(128 << 20),
    )
}
