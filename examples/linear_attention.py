"""Causal linear attention in chunks: a state between chunks, products inside them."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def linear_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return ``out[i] = sum over j <= i of (q[i] . k[j]) v[j]`` for each head.

    The sum over earlier chunks is ``q @ state`` with ``state = sum of k[j] v[j]``; only
    the pairs inside a chunk are multiplied out. ``q`` is ``[heads, length, head]``.
    """
    heads, length, head = q.size()
    head, width = hl.specialize(head), v.size(2)
    out = torch.empty_like(v)
    for tile_h, tile_v in hl.tile([heads, width], block_size=[1, None]):
        h = tile_h.begin
        state = hl.zeros([head, tile_v], dtype=torch.float32)
        for tile_t in hl.tile(length):
            queries = q[h, tile_t, :]
            keys = k[h, tile_t, :]
            values = v[h, tile_t, tile_v]
            past = tile_t.index[:, None] >= tile_t.index[None, :]
            scores = torch.where(past, hl.dot(queries, keys.T), 0.0)
            inside = hl.dot(scores.to(v.dtype), values)
            result = hl.dot(queries, state.to(q.dtype), acc=inside)
            out[h, tile_t, tile_v] = result.to(v.dtype)
            state = hl.dot(keys.T, values, acc=state)
    return out


def linear_attention_ref(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
) -> torch.Tensor:
    return (q @ k.transpose(1, 2)).tril() @ v


def linear_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    heads, length, head = data.pick(2, 64), data.pick(53, 2048), data.pick(16, 64)
    q, k = (data.randn(heads, length, head) * 0.1 for _ in range(2))
    return q, k, data.randn(heads, length, data.pick(24, 128))


CASES = [
    _testing.Case(
        "linear_attention",
        linear_attention,
        _testing.arguments(linear_args),
        linear_attention_ref,
        _testing.PRODUCT,
        _testing.configs({"block_sizes": [16, 16]}, {"block_sizes": [32, 32]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
