"""The gated delta rule: a matrix state that forgets, and corrects what it predicts."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def gated_delta_rule(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    gate: torch.Tensor,
    beta: torch.Tensor,
) -> torch.Tensor:
    """Return ``q[t] @ state`` after each step of the recurrence.

    A step decays the ``[head, width]`` state by ``gate[t]``, reads what it holds for
    ``k[t]`` and moves that towards ``v[t]`` by the fraction ``beta[t]``. Columns of the
    state are independent: each program keeps some of them in registers for all time.
    """
    heads, length, head = q.size()
    head, width = hl.specialize(head), v.size(2)
    out = torch.empty_like(v)
    for h, tile_v in hl.tile([heads, width], block_size=[1, None]):
        state = hl.zeros([head, tile_v], dtype=torch.float32)
        for t in range(length):
            key = k[h.begin, t, :].to(torch.float32)[:, None]
            state = state * gate[h.begin, t].to(torch.float32)
            held = torch.sum(state * key, dim=0)
            error = v[h.begin, t, tile_v].to(torch.float32) - held
            state = state + key * (error * beta[h.begin, t].to(torch.float32))[None, :]
            query = q[h.begin, t, :].to(torch.float32)[:, None]
            out[h.begin, t, tile_v] = torch.sum(state * query, dim=0).to(v.dtype)
    return out


# A loop over time, which torch.compile would unroll.
@torch.compiler.disable
def gated_delta_rule_ref(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    gate: torch.Tensor,
    beta: torch.Tensor,
) -> torch.Tensor:
    state = torch.zeros_like(k[:, 0, :, None] * v[:, 0, None, :])
    out = []
    for t in range(q.size(1)):
        state = state * gate[:, t, None, None]
        error = v[:, t] - (state * k[:, t, :, None]).sum(1)
        state = state + k[:, t, :, None] * (error * beta[:, t, None])[:, None, :]
        out.append((state * q[:, t, :, None]).sum(1))
    return torch.stack(out, dim=1)


def delta_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    heads, length, head = data.pick(2, 64), data.pick(11, 1024), data.pick(16, 64)
    q, k = (data.randn(heads, length, head) for _ in range(2))
    k = torch.nn.functional.normalize(k, dim=-1)
    gate, beta = (torch.sigmoid(data.randn(heads, length) + 2.0) for _ in range(2))
    return q, k, data.randn(heads, length, data.pick(13, 128)), gate, beta


CASES = [
    _testing.Case(
        "gated_delta_rule",
        gated_delta_rule,
        _testing.arguments(delta_args),
        gated_delta_rule_ref,
        _testing.LONG_SUM,
        _testing.configs({"block_sizes": [4]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
