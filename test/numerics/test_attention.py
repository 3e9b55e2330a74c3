"""Attention forward: plain and causal, around and across tile edges."""

from __future__ import annotations

import math

import pytest
import torch

import helion
from examples.attention import attention, causal_attention
from test.harness import check, randn

CONFIGS = (
    helion.Config(block_sizes=[1, 16, 16]),
    helion.Config(block_sizes=[1, 32, 16], pid_type="persistent_interleaved"),
)
TOLERANCE = {
    torch.float32: (1e-2, 1e-2),
    torch.float16: (1e-2, 1e-2),
    torch.bfloat16: (3e-2, 3e-2),
}


def reference(*qkv: torch.Tensor, causal: bool = False) -> torch.Tensor:
    q, k, v = qkv
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.size(-1))
    if causal:
        future = torch.ones_like(scores, dtype=torch.bool).triu(1)
        scores = scores.masked_fill(future, float("-inf"))
    return torch.softmax(scores, -1) @ v


def causal_reference(*qkv: torch.Tensor) -> torch.Tensor:
    return reference(*qkv, causal=True)


@pytest.mark.parametrize("length", [1, 16, 37])
@pytest.mark.parametrize(
    "kernel, right", [(attention, reference), (causal_attention, causal_reference)]
)
def test_attention_of_any_length(way: str, kernel, right, length: int) -> None:
    qkv = [randn(1, 2, length, 16) for _ in range(3)]
    check(
        kernel,
        *qkv,
        way=way,
        reference=right,
        configs=(None, *CONFIGS),
        tolerance=TOLERANCE,
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_attention_in_low_precision(way: str, dtype: torch.dtype) -> None:
    qkv = [randn(1, 1, 33, 16, dtype=dtype) for _ in range(3)]
    check(
        attention,
        *qkv,
        way=way,
        reference=reference,
        configs=CONFIGS,
        tolerance=TOLERANCE,
    )


def test_attention_with_more_keys_than_queries(way: str) -> None:
    args = randn(2, 5, 16), randn(2, 40, 16), randn(2, 40, 16)
    check(
        attention,
        *args,
        way=way,
        reference=reference,
        configs=CONFIGS,
        tolerance=TOLERANCE,
    )


def test_attention_reads_permuted_heads(way: str) -> None:
    qkv = [randn(1, 33, 2, 16).permute(0, 2, 1, 3) for _ in range(3)]
    check(
        attention,
        *qkv,
        way=way,
        reference=reference,
        configs=CONFIGS[:1],
        tolerance=TOLERANCE,
    )
