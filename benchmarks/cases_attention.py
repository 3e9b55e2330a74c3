"""Attention: full and causal, with shared heads, and of one query to a long cache."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.case import Args, BenchCase, randn
from examples.attention import attention, causal_attention
from examples.decode_attention import decode_attention, decode_attention_ref
from examples.gqa_attention import gqa_attention, gqa_attention_ref

Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def fused(is_causal: bool, *backends: SDPBackend) -> Attention:
    """Return SDPA for ``[heads, length, head]``, by one of its kernels if named."""

    def call(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        # The fused kernels want separate batch and head dims.
        q, k, v = (tensor.unsqueeze(0) for tensor in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=is_causal).squeeze(0)

    def chosen(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        with sdpa_kernel(list(backends)):
            return call(q, k, v)

    return chosen if backends else call


def parts(is_causal: bool) -> Attention:
    """Return attention with all scores in memory."""

    def call(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.size(-1))
        if is_causal:
            past = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device)
            scores = scores.masked_fill(~past.tril(), float("-inf"))
        return torch.softmax(scores, dim=-1) @ v

    return call


def attention_case(heads: int, length: int, head: int, is_causal: bool) -> BenchCase:
    """Return attention in bf16; ``heads`` counts batches too."""
    kind = "causal" if is_causal else "full"
    flops = 4 * heads * length * length * head
    return BenchCase(
        family="attention",
        name=f"attention_{kind}_{heads}x{length}x{head}",
        title=f"{kind} attention {heads} x {length} x {head}, bf16",
        kernel=causal_attention if is_causal else attention,
        make_args=lambda device: tuple(
            randn(device, heads, length, head) for _ in range(3)
        ),
        eager=fused(is_causal),
        reference=parts(is_causal),
        # The first rows are means of few: large beside the rest, and so is a rounding.
        limit=2e-2 if is_causal else None,
        library={
            "cudnn": fused(is_causal, SDPBackend.CUDNN_ATTENTION),
            "flash": fused(is_causal, SDPBackend.FLASH_ATTENTION),
        },
        flops=flops // 2 if is_causal else flops,
        split=(0, 1, 2),
        numel=heads * length * length,
    )


def gqa_case(batch: int, heads: int, kv_heads: int, length: int) -> BenchCase:
    """Return causal attention whose heads share keys, head 128."""
    head = 128

    def make_args(device: str) -> Args:
        q = randn(device, batch, heads, length, head)
        shape = (batch, kv_heads, length, head)
        return q, randn(device, *shape), randn(device, *shape)

    def reference(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        k, v = (t.repeat_interleave(q.size(1) // t.size(1), dim=1) for t in (k, v))
        return parts(True)(q, k, v)

    return BenchCase(
        family="attention",
        name=f"gqa_{batch}x{heads}x{kv_heads}x{length}x{head}",
        title=f"causal, {heads} heads share {kv_heads}, {batch} x {length}, bf16",
        kernel=gqa_attention,
        make_args=make_args,
        eager=gqa_attention_ref,
        reference=reference,
        flops=2 * batch * heads * length * length * head,
        split=(0, 1, 2),
        numel=batch * heads * length * length,
    )


def decode_case(batch: int, heads: int, kv_heads: int, length: int) -> BenchCase:
    """Return attention of one query a sample to ``length`` keys, head 128."""
    head = 128

    def make_args(device: str) -> Args:
        shape = (batch, kv_heads, length, head)
        q = randn(device, batch, heads, head)
        lengths = torch.full((batch,), length, device=device)
        return q, randn(device, *shape), randn(device, *shape), lengths

    def unmasked(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        # All samples have all keys here, which this call relies on.
        found = F.scaled_dot_product_attention(q.unsqueeze(2), k, v, enable_gqa=True)
        return found.squeeze(2)

    return BenchCase(
        family="decode",
        name=f"decode_{batch}x{heads}x{kv_heads}x{length}x{head}",
        title=f"one query, {heads} heads share {kv_heads}, {batch} x {length}, bf16",
        kernel=decode_attention,
        make_args=make_args,
        eager=decode_attention_ref,
        library={"library": unmasked},
        flops=4 * batch * heads * length * head,
        split=(0, 1, 2, 3),
        numel=batch * heads * length * head,
    )


# About as many operations at every length.
CASES = [
    *(
        attention_case(heads, length, head, is_causal)
        for head in (64, 128)
        for is_causal in (False, True)
        for heads, length in ((64, 4096), (32, 8192), (16, 16384))
    ),
    gqa_case(4, 32, 8, 2048),
    decode_case(8, 32, 8, 16384),
    decode_case(64, 32, 8, 4096),
    decode_case(1, 32, 8, 65536),
]
