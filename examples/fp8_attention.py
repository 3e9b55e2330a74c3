"""Attention on 8-bit floats: both products run on the fast 8-bit matrix units."""

from __future__ import annotations

import math

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def fp8_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Return attention of float8 ``q [heads, m, head]`` in float16.

    Softmax weights lie in ``[0, 1]``; times 256 they use the range of float8 well, and
    the sum of the weights divides the factor out.
    """
    heads, m, head = q.size()
    head = hl.specialize(head)
    out = torch.empty([heads, m, head], dtype=torch.float16, device=q.device)
    scale = math.log2(math.e) / math.sqrt(head)
    for tile_h, tile_m in hl.tile([heads, m], block_size=[1, None]):
        h = tile_h.begin
        m_i = hl.full([tile_m], float("-inf"), dtype=torch.float32)
        l_i = hl.zeros([tile_m], dtype=torch.float32)
        acc = hl.zeros([tile_m, head], dtype=torch.float32)
        queries = q[h, tile_m, :]
        for tile_n in hl.tile(k.size(1)):
            scores = hl.dot(queries, k[h, tile_n, :].T) * scale
            m_new = torch.maximum(m_i, torch.amax(scores, dim=1))
            weights = torch.exp2(scores - m_new[:, None] + 8.0)
            decay = torch.exp2(m_i - m_new)
            # Not of the rounded weights: ptxas before CUDA 13 misplaces casts from fp8.
            l_i = l_i * decay + torch.sum(weights, dim=1)
            acc *= decay[:, None]
            acc = hl.dot(weights.to(v.dtype), v[h, tile_n, :], acc=acc)
            m_i = m_new
        out[h, tile_m, :] = (acc / l_i[:, None]).to(torch.float16)
    return out


def fp8_attention_ref(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
) -> torch.Tensor:
    wide = (x if x.dtype == torch.float64 else x.half() for x in (q, k, v))
    return torch.nn.functional.scaled_dot_product_attention(*wide)


def fp8_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    heads, length, head = data.pick(2, 64), data.pick(37, 2048), data.pick(32, 64)
    dtype = torch.float8_e4m3fn
    q, k, v = (data.randn(heads, length, head, dtype=dtype) for _ in range(3))
    return q, k, v


CASES = [
    _testing.Case(
        "fp8_attention",
        fp8_attention,
        _testing.arguments(fp8_args),
        fp8_attention_ref,
        # A weight in float8 is off by up to 1 / 16.
        {torch.float16: (6e-2, 6e-2)},
        _testing.configs({"block_sizes": [16, 32]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
