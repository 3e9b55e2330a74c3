"""Attention to a window of recent keys: work grows with the window, not the length."""

from __future__ import annotations

import math

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def sliding_window_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int
) -> torch.Tensor:
    """Return attention in which ``i`` sees keys ``max(0, i - window + 1) .. i``.

    ``q``, ``k`` and ``v`` are ``[heads, length, head]``. Both bounds of the loop over
    keys follow the tile of queries.
    """
    heads, length, head = q.size()
    head = hl.specialize(head)
    out = torch.empty_like(q)
    scale = math.log2(math.e) / math.sqrt(head)
    for tile_h, tile_m in hl.tile([heads, length], block_size=[1, None]):
        h = tile_h.begin
        # A finite floor: the first block may have no key for the last queries.
        m_i = hl.full([tile_m], -1.0e30, dtype=torch.float32)
        l_i = hl.zeros([tile_m], dtype=torch.float32)
        acc = hl.zeros([tile_m, head], dtype=torch.float32)
        queries = q[h, tile_m, :]
        for tile_n in hl.tile(max(tile_m.begin - window + 1, 0), tile_m.end):
            scores = hl.dot(queries, k[h, tile_n, :].T) * scale
            age = tile_m.index[:, None] - tile_n.index[None, :]
            scores = torch.where((age >= 0) & (age < window), scores, float("-inf"))
            m_new = torch.maximum(m_i, torch.amax(scores, dim=1))
            weights = torch.exp2(scores - m_new[:, None])
            decay = torch.exp2(m_i - m_new)
            l_i = l_i * decay + torch.sum(weights, dim=1)
            values = v[h, tile_n, :]
            acc = hl.dot(weights.to(v.dtype), values, acc=acc * decay[:, None])
            m_i = m_new
        out[h, tile_m, :] = (acc / l_i[:, None]).to(out.dtype)
    return out


def sliding_window_ref(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int
) -> torch.Tensor:
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.size(-1))
    position = torch.arange(q.size(1), device=q.device)
    age = position[:, None] - position[None, :]
    hidden = (age < 0) | (age >= window)
    return torch.softmax(scores.masked_fill(hidden, float("-inf")), dim=-1) @ v


def window_args(data: _testing.Data) -> tuple[object, ...]:
    heads, length, head = data.pick(2, 32), data.pick(67, 4096), data.pick(16, 64)
    q, k, v = (data.randn(heads, length, head) for _ in range(3))
    return q, k, v, data.pick(20, 512)


CASES = [
    _testing.Case(
        "sliding_window_attention",
        sliding_window_attention,
        _testing.arguments(window_args),
        sliding_window_ref,
        _testing.PRODUCT,
        _testing.configs({"block_sizes": [16, 16]}, {"block_sizes": [32, 16]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
