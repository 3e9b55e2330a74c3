"""Attention of one new token to a long cache, which is split over many programs."""

from __future__ import annotations

import math

import torch

import helion
import helion.language as hl
from helion import _testing

# Keys of one program. Short enough that a few sequences fill the GPU.
CHUNK = 512


@helion.kernel
def decode_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Return attention of ``q [batch, heads, head]`` to the first ``lengths[b]`` keys.

    ``k`` and ``v`` are ``[batch, kv heads, longest, head]``. The query heads that share
    keys are the rows of one product. Each program finds the output and the log-sum-exp
    of one chunk of keys; the second loop weighs the chunks.
    """
    batch, heads, head = q.size()
    kv_heads, longest = k.size(1), k.size(2)
    head = hl.specialize(head)
    group = hl.specialize(heads // kv_heads)
    rows = batch * kv_heads
    chunks = helion.cdiv(longest, CHUNK)
    q3 = q.reshape(rows, group, head)
    k3 = k.reshape(rows, longest, head)
    v3 = v.reshape(rows, longest, head)
    part = torch.empty(
        [rows, chunks, group, head], dtype=torch.float32, device=q.device
    )
    lse = torch.empty([rows, chunks, group], dtype=torch.float32, device=q.device)
    out = torch.empty_like(q3)
    scale = 1.0 / math.sqrt(head)
    for row, chunk in hl.grid([rows, chunks]):
        length = lengths[row // kv_heads]
        m_i = hl.full([group], -1.0e30, dtype=torch.float32)
        l_i = hl.zeros([group], dtype=torch.float32)
        acc = hl.zeros([group, head], dtype=torch.float32)
        queries = q3[row, :, :]
        for tile_n in hl.tile(chunk * CHUNK, min(chunk * CHUNK + CHUNK, longest)):
            scores = hl.dot(queries, k3[row, tile_n, :].T) * scale
            scores = torch.where(
                (tile_n.index < length)[None, :], scores, float("-inf")
            )
            m_new = torch.maximum(m_i, torch.amax(scores, dim=1))
            weights = torch.exp(scores - m_new[:, None])
            decay = torch.exp(m_i - m_new)
            l_i = l_i * decay + torch.sum(weights, dim=1)
            values = v3[row, tile_n, :]
            acc = hl.dot(weights.to(v.dtype), values, acc=acc * decay[:, None])
            m_i = m_new
        part[row, chunk, :, :] = acc / torch.clamp(l_i, min=1.0e-30)[:, None]
        lse[row, chunk, :] = m_i + torch.log(l_i)
    for row, member in hl.grid([rows, group]):
        share = torch.softmax(lse[row, :, member], dim=0)
        total = torch.sum(part[row, :, member, :] * share[:, None], dim=0)
        out[row, member, :] = total.to(out.dtype)
    return out.view(q.size())


def decode_attention_ref(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    position = torch.arange(k.size(2), device=q.device)
    mask = (position < lengths[:, None])[:, None, None, :]
    return torch.nn.functional.scaled_dot_product_attention(
        q[:, :, None, :], k, v, attn_mask=mask, enable_gqa=True
    ).squeeze(2)


def decode_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    batch, heads, kv_heads = data.pick(2, 8), data.pick(4, 32), data.pick(2, 8)
    longest, head = data.pick(601, 16384), data.pick(16, 128)
    q = data.randn(batch, heads, head)
    k, v = (data.randn(batch, kv_heads, longest, head) for _ in range(2))
    return q, k, v, data.randint(1, longest + 1, batch)


CASES = [
    _testing.Case(
        "decode_attention",
        decode_attention,
        _testing.arguments(decode_args),
        decode_attention_ref,
        _testing.PRODUCT,
        _testing.configs({"block_sizes": [64]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
