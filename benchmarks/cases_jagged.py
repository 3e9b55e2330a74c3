"""Rows of unequal length: sums, means, softmax and attention."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import torch
import torch.nn.functional as F

from benchmarks.case import Args, BenchCase, randn
from benchmarks.kernels import jagged_attention
from examples.jagged_mean import jagged_mean
from examples.jagged_row_sum import jagged_row_sum
from examples.jagged_softmax import jagged_softmax

FAMILY = "jagged"


def ends_of(count: int, longest: int) -> list[int]:
    """Return where samples of seeded lengths up to ``longest`` begin and end."""
    rng = random.Random(f"{count} {longest}")
    ends = [0]
    for length in (longest, *(rng.randint(0, longest) for _ in range(count - 1))):
        ends.append(ends[-1] + length)
    return ends


def padded(
    values: torch.Tensor, offsets: torch.Tensor, longest: int, fill: float
) -> torch.Tensor:
    """Return ``[samples, longest, width]`` with ``fill`` where nothing exists."""
    return torch.ops.aten._jagged_to_padded_dense_forward(
        values, [offsets], [longest], fill
    )


def packed(dense: torch.Tensor, offsets: torch.Tensor, total: int) -> torch.Tensor:
    """Return the rows that exist, one after the other."""
    return torch.ops.aten._padded_dense_to_jagged_forward(dense, [offsets], total)


def nested(values: torch.Tensor, offsets: torch.Tensor, longest: int) -> torch.Tensor:
    """Return a nested tensor over the values; its longest row is known beforehand."""
    return torch.nested.nested_tensor_from_jagged(
        values, offsets, min_seqlen=0, max_seqlen=longest
    )


def by_sample(
    fn: Callable[[torch.Tensor], torch.Tensor],
) -> Callable[..., list[torch.Tensor]]:
    """Return a function that calls ``fn`` on the rows of each sample."""

    def call(values: torch.Tensor, offsets: torch.Tensor) -> list[torch.Tensor]:
        ends = offsets.tolist()
        return [fn(values[begin:end]) for begin, end in zip(ends[:-1], ends[1:])]

    return call


def values_args(device: str, count: int, longest: int, width: int) -> Args:
    """Return packed rows, and where each sample begins and ends."""
    ends = ends_of(count, longest)
    return randn(device, ends[-1], width), torch.tensor(ends, device=device)


def sum_case(count: int, longest: int, width: int) -> BenchCase:
    """Return the sum of the rows of each sample."""
    summed = by_sample(lambda rows: rows.sum(0))
    return BenchCase(
        family=FAMILY,
        name=f"jagged_sum_{count}x{longest}x{width}",
        title=f"jagged sum, {count} samples up to {longest} x {width}, bf16",
        kernel=jagged_row_sum,
        make_args=lambda device: values_args(device, count, longest, width),
        eager=lambda values, offsets: padded(values, offsets, longest, 0.0).sum(1),
        reference=lambda values, offsets: torch.stack(summed(values, offsets)),
        library={
            "nested": lambda values, offsets: nested(values, offsets, longest).sum(1),
            "segment_reduce": lambda values, offsets: torch.segment_reduce(
                values, "sum", offsets=offsets, axis=0, unsafe=True
            ),
        },
        results=lambda values, offsets: values.new_empty(count, width),
        syncs=frozenset({"nested", "segment_reduce"}),
    )


def mean_case(count: int, longest: int, width: int) -> BenchCase:
    """Return the mean of the rows of each sample, 0 of none."""
    meant = by_sample(lambda rows: rows.sum(0) / max(rows.size(0), 1))

    def eager(values: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        total = padded(values, offsets, longest, 0.0).sum(1, dtype=torch.float32)
        lengths = offsets.diff().clamp(min=1).unsqueeze(1)
        return (total / lengths).to(values.dtype)

    return BenchCase(
        family=FAMILY,
        name=f"jagged_mean_{count}x{longest}x{width}",
        title=f"jagged mean, {count} samples up to {longest} x {width}, bf16",
        kernel=jagged_mean,
        make_args=lambda device: values_args(device, count, longest, width),
        eager=eager,
        reference=lambda values, offsets: torch.stack(meant(values, offsets)),
        results=lambda values, offsets: values.new_empty(count, width),
    )


def softmax_case(count: int, longest: int, width: int) -> BenchCase:
    """Return the softmax along the rows of each sample, by column."""
    scaled = by_sample(lambda rows: rows.softmax(0))

    def eager(values: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        dense = padded(values, offsets, longest, -1e30)
        return packed(torch.softmax(dense, dim=1), offsets, values.size(0))

    return BenchCase(
        family=FAMILY,
        name=f"jagged_softmax_{count}x{longest}x{width}",
        title=f"jagged softmax, {count} samples up to {longest} x {width}, bf16",
        kernel=jagged_softmax,
        make_args=lambda device: values_args(device, count, longest, width),
        eager=eager,
        reference=lambda values, offsets: torch.cat(scaled(values, offsets)),
        library={
            "nested": lambda values, offsets: torch.softmax(
                nested(values, offsets, longest), dim=1
            ).values()
        },
        results=lambda values, offsets: torch.empty_like(values),
        syncs=frozenset({"nested"}),
    )


def padded_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    offsets: torch.Tensor,
    longest: int,
) -> torch.Tensor:
    """Return attention by SDPA over samples of one length, with a mask."""
    q4, k4, v4 = (
        padded(t.flatten(1), offsets, longest, 0.0)
        .unflatten(2, t.shape[1:])
        .transpose(1, 2)
        for t in (q, k, v)
    )
    there = torch.arange(longest, device=q.device)
    mask = there.unsqueeze(0) < offsets.diff().unsqueeze(1)
    mask = mask.unsqueeze(1).unsqueeze(1)
    found = F.scaled_dot_product_attention(q4, k4, v4, attn_mask=mask)
    rows = found.transpose(1, 2).flatten(2)
    return packed(rows, offsets, q.size(0)).view(q.shape)


def flash_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    offsets: torch.Tensor,
    longest: int,
) -> torch.Tensor:
    """Return attention by the library's kernel for packed samples."""
    return torch.ops.aten._flash_attention_forward(
        q, k, v, offsets, offsets, longest, longest, 0.0, False, False
    )[0]


def attention_by_sample(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    offsets: torch.Tensor,
    longest: int,
) -> torch.Tensor:
    """Return attention of one sample after the other, by its parts."""
    found, ends = [], offsets.tolist()
    for begin, end in zip(ends[:-1], ends[1:]):
        a, b, c = (t[begin:end].transpose(0, 1) for t in (q, k, v))
        scores = a @ b.transpose(1, 2) / math.sqrt(q.size(2))
        found.append((torch.softmax(scores, dim=-1) @ c).transpose(0, 1))
    return torch.cat(found)


def attention_case(count: int, longest: int, heads: int, head: int) -> BenchCase:
    """Return attention within each sample of packed queries, keys and values."""
    ends = ends_of(count, longest)
    squares = sum((b - a) ** 2 for a, b in zip(ends[:-1], ends[1:]))

    def make_args(device: str) -> Args:
        qkv = (randn(device, ends[-1], heads, head) for _ in range(3))
        return (*qkv, torch.tensor(ends, dtype=torch.int32, device=device), longest)

    return BenchCase(
        family=FAMILY,
        name=f"jagged_attention_{count}x{longest}x{heads}x{head}",
        title=f"jagged attention, {count} up to {longest}, {heads} x {head}, bf16",
        kernel=jagged_attention,
        make_args=make_args,
        eager=padded_attention,
        reference=attention_by_sample,
        library={"flash": flash_attention},
        flops=4 * squares * heads * head,
        results=lambda q, *rest: torch.empty_like(q),
    )


CASES = [
    sum_case(512, 2048, 128),
    sum_case(64, 16384, 256),
    mean_case(512, 2048, 128),
    softmax_case(512, 2048, 128),
    attention_case(64, 2048, 16, 64),
    attention_case(32, 4096, 16, 128),
]
