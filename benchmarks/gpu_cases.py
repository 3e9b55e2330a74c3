"""The kernels timed on a GPU, each with its rivals, its reference and its floor."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

import helion
from examples.add import add
from examples.attention import attention
from examples.cross_entropy import cross_entropy
from examples.layer_norm import layer_norm, layer_norm_bwd_dwdb, layer_norm_bwd_dx
from examples.matmul import matmul
from examples.softmax import softmax, softmax_two_pass

# Largest number of float64 elements of an intermediate result in a reference.
CHUNK_NUMEL = 1 << 28

Args = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class GpuCase:
    """One kernel at one size; cases of one kernel make a group.

    ``eager`` is what one writes in PyTorch without looking further, with results of
    the same dtypes; ``library`` is PyTorch's one call for the job, None if ``eager`` is
    that. ``reference`` gets and returns float64. ``split`` names the arguments whose
    first dimension the results follow, or over which they are sums if ``is_sum``, and
    ``numel`` counts the largest intermediate of ``reference``. ``flops`` are what no
    version can save, 0 where only memory counts.
    """

    name: str
    title: str
    kernel: helion.Kernel
    make_args: Callable[[], Args]
    eager: Callable[..., Any]
    reference: Callable[..., Any]
    split: tuple[int, ...]
    numel: int
    library: Callable[..., Any] | None = None
    flops: int = 0
    is_sum: bool = False

    @property
    def group(self) -> str:
        """The name of the kernel."""
        return self.kernel.name

    def fake_args(self) -> Args:
        """Return arguments without memory, which need no GPU."""
        with FakeTensorMode():
            return self.make_args()

    def bytes_moved(self) -> int:
        """Return the bytes of every argument and of every result, once each."""
        with FakeTensorMode():
            args = self.make_args()
            return sum(t.nbytes for t in (*args, *as_tuple(self.eager(*args))))

    def floor_ms(self, bytes_per_s: float, flops_per_s: float) -> float:
        """Return the time that the memory or the matrix units need at the least."""
        return 1e3 * max(self.bytes_moved() / bytes_per_s, self.flops / flops_per_s)

    def forms(self) -> dict[str, Callable[..., Any]]:
        """Return the different PyTorch functions for this job by what they are."""
        forms = {"eager": self.eager, "library": self.library}
        return {form: fn for form, fn in forms.items() if fn is not None}

    def expected(self, args: Args) -> Iterator[tuple[Any, Args]]:
        """Yield the float64 results, each with the index of the part that it is."""
        chunks = self._reference_chunks(args)
        if not self.is_sum:
            yield from chunks
            return
        columns = zip(*(values for _, values in chunks))
        yield ..., tuple(torch.stack(column).sum(0) for column in columns)

    def _reference_chunks(self, args: Args) -> Iterator[tuple[slice, Args]]:
        rows = args[self.split[0]].size(0)
        step = max(1, rows * CHUNK_NUMEL // max(self.numel, CHUNK_NUMEL))
        for start in range(0, rows, step):
            part = slice(start, min(start + step, rows))
            chosen = (
                arg[part] if i in self.split else arg for i, arg in enumerate(args)
            )
            wide = (arg.double() if arg.is_floating_point() else arg for arg in chosen)
            yield part, as_tuple(self.reference(*wide))


def as_tuple(value: Any) -> Args:
    """Return the results of a kernel as a tuple of tensors."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def randn(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    """Return normal values on the GPU."""
    return torch.randn(shape, dtype=dtype, device="cuda")


def randint(high: int, count: int) -> torch.Tensor:
    """Return integers in ``[0, high)`` on the GPU."""
    return torch.randint(high, (count,), device="cuda")


def widened(x: torch.Tensor) -> torch.Tensor:
    """Return ``x`` in at least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


# ---- what PyTorch does instead; fake tensors here have no subscripts without CUDA ----


def fused_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return SDPA; its fused kernels want separate batch and head dims."""
    return F.scaled_dot_product_attention(q[None], k[None], v[None])[0]


def attention_parts(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return attention with all scores in memory."""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.size(-1))
    return torch.softmax(scores, dim=-1) @ v


def softmax_rows(x: torch.Tensor) -> torch.Tensor:
    """Return the softmax of each row."""
    return torch.softmax(x, dim=1)


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


def row_losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return ``-log_softmax`` at each row's label, in at least float32."""
    wide = widened(logits)
    target = wide.gather(1, labels.unsqueeze(1)).squeeze(1)
    return torch.logsumexp(wide, dim=1) - target


# ---- cases ----


def matmul_case(m: int, k: int, n: int) -> GpuCase:
    """Return a matrix product in bf16."""
    return GpuCase(
        name="matmul",
        title=f"matmul {m} x {k} x {n}, bf16",
        kernel=matmul,
        make_args=lambda: (randn(m, k), randn(k, n)),
        eager=torch.mm,
        reference=torch.mm,
        flops=2 * m * k * n,
        split=(0,),
        numel=m * max(k, n),
    )


def softmax_case(name: str, m: int, n: int, kernel: helion.Kernel = softmax) -> GpuCase:
    """Return a softmax over rows in bf16."""
    spelling = kernel.name.replace("_", " ")
    return GpuCase(
        name=name,
        title=f"{spelling} {m} x {n}, bf16",
        kernel=kernel,
        make_args=lambda: (randn(m, n),),
        eager=softmax_rows,
        reference=softmax_rows,
        split=(0,),
        numel=m * n,
    )


def layer_norm_case(name: str, m: int, n: int) -> GpuCase:
    """Return a layer norm in bf16, which also stores each row's two statistics."""
    return GpuCase(
        name=name,
        title=f"layer norm {m} x {n}, bf16",
        kernel=layer_norm,
        make_args=lambda: (randn(m, n), randn(n), randn(n)),
        eager=layer_norm_parts,
        library=layer_norm_call,
        reference=layer_norm_parts,
        split=(0,),
        numel=m * n,
    )


def backward_args(m: int, n: int) -> Args:
    """Return grad_out, x, weight, and the mean and 1 / deviation of the rows of x."""
    x = randn(m, n)
    _, mean, rstd = layer_norm_parts(x, x.new_ones(n), x.new_zeros(n))
    return randn(m, n), x, randn(n), mean.contiguous(), rstd.contiguous()


def dx_case(m: int, n: int) -> GpuCase:
    """Return the gradient of the input of a layer norm in bf16."""
    return GpuCase(
        name=f"layer_norm_bwd_dx_{n}",
        title=f"layer norm, dx {m} x {n}, bf16",
        kernel=layer_norm_bwd_dx,
        make_args=lambda: backward_args(m, n),
        eager=dx_parts,
        library=dx_call,
        reference=dx_parts,
        split=(0, 1, 3, 4),
        numel=m * n,
    )


def dwdb_case(m: int, n: int) -> GpuCase:
    """Return the gradients of weight and bias of a layer norm in bf16."""

    def make_args() -> Args:
        grad_out, x, _, mean, rstd = backward_args(m, n)
        return grad_out, x, mean, rstd

    return GpuCase(
        name=f"layer_norm_bwd_dwdb_{n}",
        title=f"layer norm, dweight and dbias {m} x {n}, bf16",
        kernel=layer_norm_bwd_dwdb,
        make_args=make_args,
        eager=dwdb_parts,
        library=dwdb_call,
        reference=dwdb_parts,
        split=(0, 1, 2, 3),
        numel=m * n,
        is_sum=True,
    )


def cross_entropy_case(m: int, n: int) -> GpuCase:
    """Return the mean cross entropy of bf16 logits; PyTorch's own result is bf16."""
    return GpuCase(
        name=f"cross_entropy_{n}",
        title=f"cross entropy {m} x {n}, bf16",
        kernel=cross_entropy,
        make_args=lambda: (randn(m, n), randint(n, m)),
        eager=lambda logits, labels: row_losses(logits, labels).mean(),
        library=F.cross_entropy,
        reference=lambda logits, labels: row_losses(logits, labels).sum() / m,
        split=(0, 1),
        numel=m * n,
        is_sum=True,
    )


def attention_case(heads: int, length: int, head: int) -> GpuCase:
    """Return attention without a mask in bf16; ``heads`` counts batches too."""
    return GpuCase(
        name="attention",
        title=f"attention {heads} x {length} x {head}, bf16",
        kernel=attention,
        make_args=lambda: tuple(randn(heads, length, head) for _ in range(3)),
        eager=attention_parts,
        library=fused_attention,
        reference=attention_parts,
        flops=4 * heads * length * length * head,
        split=(0, 1, 2),
        numel=heads * length * length,
    )


def add_case(numel: int) -> GpuCase:
    """Return an addition of float32 vectors."""
    return GpuCase(
        name="add",
        title=f"add of {numel / 2**20:.0f} M, float32",
        kernel=add,
        make_args=lambda: tuple(randn(numel, dtype=torch.float32) for _ in range(2)),
        eager=torch.add,
        reference=torch.add,
        split=(0, 1),
        numel=numel,
    )


CASES: dict[str, GpuCase] = {
    case.name: case
    for case in (
        matmul_case(4096, 4096, 4096),
        attention_case(64, 4096, 128),
        add_case(128 << 20),
        softmax_case("softmax", 23831, 5632),
        softmax_case("softmax_131072", 4096, 131072),
        softmax_case("softmax_two_pass_131072", 4096, 131072, softmax_two_pass),
        cross_entropy_case(8192, 128256),
        layer_norm_case("layer_norm_1000", 16384, 1000),
        layer_norm_case("layer_norm_4096", 16384, 4096),
        layer_norm_case("layer_norm", 16384, 5632),
        layer_norm_case("layer_norm_8192", 16384, 8192),
        *(dx_case(16384, n) for n in (1000, 4096, 5632, 8192)),
        dwdb_case(1_152_000, 16),
        dwdb_case(16384, 5632),
    )
}
GROUPS: dict[str, tuple[str, ...]] = {
    group: tuple(name for name, case in CASES.items() if case.group == group)
    for group in dict.fromkeys(case.group for case in CASES.values())
}


def chosen_cases(words: Iterable[str]) -> tuple[str, ...]:
    """Return the cases that any of the words names, in the order of ``CASES``.

    A word is a group, a case, or a pattern of the names of cases. Raises ``KeyError``
    with the word that names nothing.
    """
    chosen: set[str] = set()
    for word in words:
        found = GROUPS.get(word) or [name for name in CASES if fnmatchcase(name, word)]
        if not found:
            raise KeyError(word)
        chosen.update(found)
    return tuple(name for name in CASES if name in chosen)
