"""Attention forward: a loop over keys that carries maximum, sum and output."""

from __future__ import annotations

import math

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return ``softmax(q @ k.T / sqrt(d)) @ v`` for tensors ``[..., length, d]``.

    Scores of one block of keys live in registers only. When the running maximum
    grows, the sums so far are rescaled; ``exp2`` absorbs the factor log2(e).
    """
    head = hl.specialize(q.size(-1))
    q3 = q.reshape([-1, q.size(-2), head])
    k3 = k.reshape([-1, k.size(-2), head])
    v3 = v.reshape([-1, v.size(-2), head])
    out = torch.empty_like(q3)
    scale = math.log2(math.e) / math.sqrt(head)
    for tile_b, tile_m in hl.tile([q3.size(0), q3.size(1)]):
        m_i = hl.full([tile_b, tile_m], float("-inf"), dtype=torch.float32)
        l_i = hl.zeros([tile_b, tile_m], dtype=torch.float32)
        acc = hl.zeros([tile_b, tile_m, head], dtype=torch.float32)
        queries = q3[tile_b, tile_m, :]
        for tile_n in hl.tile(k3.size(1)):
            keys = k3[tile_b, tile_n, :].transpose(1, 2)
            scores = hl.dot(queries, keys) * scale
            m_new = torch.maximum(m_i, torch.amax(scores, dim=-1))
            weights = torch.exp2(scores - m_new[:, :, None])
            decay = torch.exp2(m_i - m_new)
            l_i = l_i * decay + torch.sum(weights, dim=-1)
            values = v3[tile_b, tile_n, :]
            acc = hl.dot(weights.to(v.dtype), values, acc=acc * decay[:, :, None])
            m_i = m_new
        out[tile_b, tile_m, :] = (acc / l_i[:, :, None]).to(out.dtype)
    return out.view(q.size())


@helion.kernel
def causal_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return attention in which position ``i`` sees the keys ``0 .. i`` only.

    The device ``if`` skips blocks of keys that lie wholly in the future.
    """
    length = q.size(-2)
    assert k.size(-2) == length, "causal attention needs as many keys as queries"
    head = hl.specialize(q.size(-1))
    q3 = q.reshape([-1, length, head])
    k3 = k.reshape([-1, length, head])
    v3 = v.reshape([-1, length, head])
    out = torch.empty_like(q3)
    scale = math.log2(math.e) / math.sqrt(head)
    for tile_b, tile_m in hl.tile([q3.size(0), length]):
        m_i = hl.full([tile_b, tile_m], float("-inf"), dtype=torch.float32)
        l_i = hl.zeros([tile_b, tile_m], dtype=torch.float32)
        acc = hl.zeros([tile_b, tile_m, head], dtype=torch.float32)
        queries = q3[tile_b, tile_m, :]
        for tile_n in hl.tile(length):
            if tile_n.begin < tile_m.end:
                keys = k3[tile_b, tile_n, :].transpose(1, 2)
                scores = hl.dot(queries, keys) * scale
                past = tile_m.index[:, None] >= tile_n.index[None, :]
                scores = torch.where(past[None, :, :], scores, float("-inf"))
                m_new = torch.maximum(m_i, torch.amax(scores, dim=-1))
                weights = torch.exp2(scores - m_new[:, :, None])
                decay = torch.exp2(m_i - m_new)
                l_i = l_i * decay + torch.sum(weights, dim=-1)
                values = v3[tile_b, tile_n, :]
                acc = hl.dot(weights.to(v.dtype), values, acc=acc * decay[:, :, None])
                m_i = m_new
        out[tile_b, tile_m, :] = (acc / l_i[:, :, None]).to(out.dtype)
    return out.view(q.size())


def attention_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    heads, length, head = data.pick(2, 64), data.pick(37, 1024), data.pick(16, 64)
    q, k, v = (data.randn(1, heads, length, head) for _ in range(3))
    return q, k, v


def causal_attention_ref(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
) -> torch.Tensor:
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


CASES = [
    _testing.Case(
        "attention",
        attention,
        _testing.arguments(attention_args),
        torch.nn.functional.scaled_dot_product_attention,
        _testing.PRODUCT,
        _testing.configs({"block_sizes": [1, 16, 16]}, {"block_sizes": [1, 32, 16]}),
    ),
    _testing.Case(
        "causal_attention",
        causal_attention,
        _testing.arguments(attention_args),
        causal_attention_ref,
        _testing.PRODUCT,
        _testing.configs({"block_sizes": [1, 16, 16]}, {"block_sizes": [1, 16, 32]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
