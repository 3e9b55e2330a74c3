"""Attention with a score function as an argument: ALiBi, bias, soft cap, documents."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

import helion
import helion.language as hl
from helion import _testing

ScoreFunction = Callable[[torch.Tensor, int, torch.Tensor, torch.Tensor], torch.Tensor]


@helion.kernel
def flex_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, change: ScoreFunction
) -> torch.Tensor:
    """Return attention whose scores go through ``change(scores, head, i, j)``.

    ``i`` are the positions of the queries, a column, and ``j`` those of the keys, a
    row. The function is inlined and may read tensors that it closes over. Scores of
    -inf drop a key; where a query has no key at all the result is 0.
    """
    batch, heads, m, head = q.size()
    head = hl.specialize(head)
    q3 = q.reshape(-1, m, head)
    k3 = k.reshape(-1, k.size(2), head)
    v3 = v.reshape(-1, k.size(2), head)
    out = torch.empty_like(q3)
    scale = 1.0 / math.sqrt(head)
    for tile_h, tile_m in hl.tile([batch * heads, m], block_size=[1, None]):
        bh = tile_h.begin
        # A finite floor: differences of it are 0, not NaN.
        m_i = hl.full([tile_m], -1.0e30, dtype=torch.float32)
        l_i = hl.zeros([tile_m], dtype=torch.float32)
        acc = hl.zeros([tile_m, head], dtype=torch.float32)
        queries = q3[bh, tile_m, :]
        for tile_n in hl.tile(k3.size(1)):
            scores = hl.dot(queries, k3[bh, tile_n, :].T) * scale
            i, j = tile_m.index[:, None], tile_n.index[None, :]
            scores = change(scores, bh % heads, i, j)
            m_new = torch.maximum(m_i, torch.amax(scores, dim=1))
            weights = torch.exp(scores - m_new[:, None])
            decay = torch.exp(m_i - m_new)
            l_i = l_i * decay + torch.sum(weights, dim=1)
            values = v3[bh, tile_n, :]
            acc = hl.dot(weights.to(v.dtype), values, acc=acc * decay[:, None])
            m_i = m_new
        total = torch.where(l_i > 0.0, l_i, 1.0)
        out[bh, tile_m, :] = (acc / total[:, None]).to(out.dtype)
    return out.view(q.size())


def alibi(slopes: torch.Tensor) -> ScoreFunction:
    """Return a score function that favours near keys, by a slope for each head."""
    return lambda scores, h, i, j: scores - slopes[h] * (i - j).abs()


def biased(bias: torch.Tensor) -> ScoreFunction:
    """Return a score function that adds ``bias[head, i, j]``."""
    return lambda scores, h, i, j: scores + bias[h, i, j]


def soft_cap(limit: float) -> ScoreFunction:
    """Return a score function that keeps scores within ``(-limit, limit)``."""
    return lambda scores, h, i, j: limit * torch.tanh(scores / limit)


def same_document(ids: torch.Tensor) -> ScoreFunction:
    """Return a score function that hides the keys of other documents and the future."""
    return lambda scores, h, i, j: torch.where(
        (ids[i] == ids[j]) & (i >= j), scores, float("-inf")
    )


def flex_attention_ref(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, change: ScoreFunction
) -> torch.Tensor:
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.size(-1))
    i = torch.arange(q.size(2), device=q.device)[:, None]
    j = torch.arange(k.size(2), device=q.device)[None, :]
    changed = [change(scores[:, h], h, i, j) for h in range(q.size(1))]
    return torch.softmax(torch.stack(changed, dim=1), dim=-1) @ v


def case(
    name: str, function: Callable[[_testing.Data, int, int], ScoreFunction]
) -> _testing.Case:
    def make_args(data: _testing.Data) -> tuple[object, ...]:
        heads, length, head = data.pick(2, 16), data.pick(37, 2048), data.pick(16, 64)
        q, k, v = (data.randn(2, heads, length, head) for _ in range(3))
        return q, k, v, function(data, heads, length)

    return _testing.Case(
        name,
        flex_attention,
        _testing.arguments(make_args),
        flex_attention_ref,
        _testing.PRODUCT,
        _testing.configs({"block_sizes": [16, 16]}),
    )


CASES = [
    case(
        "attention_alibi",
        lambda data, heads, length: alibi(
            2.0 ** -torch.arange(1.0, heads + 1.0, device=data.device)
        ),
    ),
    case(
        "attention_biased",
        lambda data, heads, length: biased(data.randn(heads, length, length)),
    ),
    case("attention_soft_cap", lambda data, heads, length: soft_cap(1.5)),
    case(
        "attention_documents",
        lambda data, heads, length: same_document(
            torch.arange(length, device=data.device) * 5 // length
        ),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
