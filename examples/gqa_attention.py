"""Causal attention in which several query heads share one head of keys and values."""

from __future__ import annotations

import math

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def gqa_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return causal attention of ``q [batch, heads, length, head]``.

    ``k`` and ``v`` have fewer heads; query head ``h`` reads head ``h // group``. The
    loop over keys ends with the last query of the tile, so the future costs nothing.
    """
    batch, heads, length, head = q.size()
    head = hl.specialize(head)
    group = heads // k.size(1)
    q3 = q.reshape(-1, length, head)
    k3 = k.reshape(-1, length, head)
    v3 = v.reshape(-1, length, head)
    out = torch.empty_like(q3)
    scale = math.log2(math.e) / math.sqrt(head)
    for tile_h, tile_m in hl.tile([batch * heads, length], block_size=[1, None]):
        shared = tile_h.begin // group
        m_i = hl.full([tile_m], float("-inf"), dtype=torch.float32)
        l_i = hl.zeros([tile_m], dtype=torch.float32)
        acc = hl.zeros([tile_m, head], dtype=torch.float32)
        queries = q3[tile_h.begin, tile_m, :]
        for tile_n in hl.tile(0, tile_m.end):
            scores = hl.dot(queries, k3[shared, tile_n, :].T) * scale
            past = tile_m.index[:, None] >= tile_n.index[None, :]
            scores = torch.where(past, scores, float("-inf"))
            m_new = torch.maximum(m_i, torch.amax(scores, dim=1))
            weights = torch.exp2(scores - m_new[:, None])
            decay = torch.exp2(m_i - m_new)
            l_i = l_i * decay + torch.sum(weights, dim=1)
            values = v3[shared, tile_n, :]
            acc = hl.dot(weights.to(v.dtype), values, acc=acc * decay[:, None])
            m_i = m_new
        out[tile_h.begin, tile_m, :] = (acc / l_i[:, None]).to(out.dtype)
    return out.view(q.size())


def gqa_attention_ref(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
) -> torch.Tensor:
    return torch.nn.functional.scaled_dot_product_attention(
        q, k, v, is_causal=True, enable_gqa=True
    )


def gqa_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    batch, heads, kv_heads = data.pick(2, 4), data.pick(4, 32), data.pick(2, 8)
    length, head = data.pick(37, 2048), data.pick(16, 128)
    q = data.randn(batch, heads, length, head)
    k, v = (data.randn(batch, kv_heads, length, head) for _ in range(2))
    return q, k, v


CASES = [
    _testing.Case(
        "gqa_attention",
        gqa_attention,
        _testing.arguments(gqa_args),
        gqa_attention_ref,
        _testing.PRODUCT,
        _testing.configs({"block_sizes": [16, 16]}, {"block_sizes": [32, 16]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
