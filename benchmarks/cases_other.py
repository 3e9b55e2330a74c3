"""What else the examples do: counting, looking up, scanning, fused losses, columns."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from benchmarks.case import Args, BenchCase, nbytes_of, randn
from examples.embedding import embedding
from examples.fused_linear_cross_entropy import (
    fused_linear_cross_entropy,
    fused_linear_cross_entropy_ref,
)
from examples.histogram import histogram, histogram_ref
from examples.rope import rope_half, rope_half_ref
from examples.row_scan import cumsum_rows
from examples.segment_sum import segment_sum, segment_sum_ref
from examples.sorting import topk_softmax, topk_softmax_ref
from examples.two_phase import center_columns


def histogram_case(numel: int, bins: int) -> BenchCase:
    """Return how many float32 values fall into each of equal intervals."""

    def by_library(x: torch.Tensor, bins: int, low: float, high: float) -> torch.Tensor:
        return torch.histc(x, bins, low, high).to(torch.int32)

    return BenchCase(
        family="histogram",
        name=f"histogram_{numel}x{bins}",
        title=f"histogram of {numel >> 20} M in {bins} bins, float32",
        kernel=histogram,
        make_args=lambda device: (
            randn(device, numel, dtype=torch.float32),
            bins,
            -4.0,
            4.0,
        ),
        eager=histogram_ref,
        library={"library": by_library},
        compiled=by_library,
        results=lambda x, bins, *rest: x.new_empty(bins, dtype=torch.int32),
        syncs=frozenset({"eager"}),
    )


def embedding_case(rows: int, width: int, count: int) -> BenchCase:
    """Return rows of a table, picked at random."""

    def read(args: Args) -> int:
        ids, table = args
        # A row that is picked often is read once at the least.
        distinct = rows * (1 - (1 - 1 / rows) ** count)
        return nbytes_of(ids) + int(distinct * width * table.element_size())

    return BenchCase(
        family="embedding",
        name=f"embedding_{rows}x{width}x{count}",
        title=f"embedding, {count} of {rows} x {width}, bf16",
        kernel=embedding,
        make_args=lambda device: (
            torch.randint(rows, (count,), device=device),
            randn(device, rows, width),
        ),
        eager=lambda ids, table: F.embedding(ids, table),
        read=read,
        split=(0,),
        numel=count * width,
    )


def cumsum_case(m: int, n: int) -> BenchCase:
    """Return the running sums of rows, in float32."""
    return BenchCase(
        family="scan",
        name=f"cumsum_{m}x{n}",
        title=f"cumsum of rows {m} x {n}, bf16",
        kernel=cumsum_rows,
        make_args=lambda device: (randn(device, m, n),),
        eager=lambda x: torch.cumsum(x, 1, dtype=torch.float32),
        reference=lambda x: torch.cumsum(x, 1),
        split=(0,),
        numel=m * n,
    )


def center_columns_case(m: int, n: int) -> BenchCase:
    """Return a matrix without the means of its columns."""
    return BenchCase(
        family="columns",
        name=f"center_columns_{m}x{n}",
        title=f"x - mean of columns {m} x {n}, bf16",
        kernel=center_columns,
        make_args=lambda device: (randn(device, m, n),),
        eager=lambda x: x - x.mean(0),
    )


def rope_case(batch: int, length: int, heads: int, head: int) -> BenchCase:
    """Return rotary embeddings, by halves."""

    def make_args(device: str) -> Args:
        rates = 10000.0 ** -(torch.arange(head // 2, device=device) * 2.0 / head)
        angles = torch.arange(length, device=device).unsqueeze(1) * rates
        return randn(device, batch, length, heads, head), angles.cos(), angles.sin()

    return BenchCase(
        family="rope",
        name=f"rope_{batch}x{length}x{heads}x{head}",
        title=f"rope {batch} x {length} x {heads} x {head}, bf16",
        kernel=rope_half,
        make_args=make_args,
        eager=rope_half_ref,
    )


def segment_sum_case(rows: int, segments: int, width: int) -> BenchCase:
    """Return the sums of rows with the same sorted id, in float32."""

    def make_args(device: str) -> Args:
        ids = torch.arange(rows, device=device) * segments // rows
        return randn(device, rows, width), ids, segments

    def eager(values: torch.Tensor, ids: torch.Tensor, segments: int) -> torch.Tensor:
        return segment_sum_ref(values.float(), ids, segments)

    return BenchCase(
        family="segments",
        name=f"segment_sum_{rows}x{segments}x{width}",
        title=f"sums of {segments} segments of {rows} x {width}, bf16",
        kernel=segment_sum,
        make_args=make_args,
        eager=eager,
        reference=segment_sum_ref,
    )


def topk_case(m: int, n: int, k: int) -> BenchCase:
    """Return the probabilities of sampling among the likeliest of a row."""
    return BenchCase(
        family="sort",
        name=f"topk_softmax_{m}x{n}x{k}",
        title=f"softmax of the {k} largest of rows {m} x {n}, float32",
        kernel=topk_softmax,
        make_args=lambda device: (randn(device, m, n, dtype=torch.float32), k),
        eager=topk_softmax_ref,
        split=(0,),
        numel=m * n,
    )


def linear_loss_case(m: int, k: int, n: int) -> BenchCase:
    """Return a cross entropy of logits that are a product."""

    def make_args(device: str) -> Args:
        x, weight = randn(device, m, k), randn(device, n, k) * k**-0.5
        return x, weight, torch.randint(n, (m,), device=device)

    return BenchCase(
        family="fused_loss",
        name=f"linear_cross_entropy_{m}x{k}x{n}",
        title=f"cross entropy of a product {m} x {k} x {n}, bf16",
        kernel=fused_linear_cross_entropy,
        make_args=make_args,
        eager=fused_linear_cross_entropy_ref,
        flops=2 * m * k * n,
    )


CASES = [
    histogram_case(64 << 20, 256),
    embedding_case(128256, 4096, 16384),
    cumsum_case(16384, 5632),
    center_columns_case(16384, 5632),
    rope_case(4, 4096, 32, 128),
    segment_sum_case(1_000_000, 5000, 128),
    topk_case(65536, 512, 50),
    linear_loss_case(4096, 2048, 32000),
]
