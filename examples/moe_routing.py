"""Mixture of experts, first part: pick the experts of each token, count and sort."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def moe_routing(
    logits: torch.Tensor, k: hl.constexpr
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the ``k`` experts of each token, their weights, and each expert's load.

    Experts are found one after the other: take the largest, strike it out, repeat. The
    weights are the softmax over the chosen logits only. Loads are atomic counts.
    """
    tokens, experts = logits.size()
    chosen = torch.empty([tokens, k], dtype=torch.int64, device=logits.device)
    weight = torch.empty([tokens, k], dtype=torch.float32, device=logits.device)
    load = torch.zeros([experts], dtype=torch.int32, device=logits.device)
    for tile in hl.tile(tokens):
        row = logits[tile, :].to(torch.float32)
        column = hl.arange(experts)[None, :]
        peak = torch.amax(row, dim=1)
        total = hl.zeros([tile], dtype=torch.float32)
        for slot in hl.static_range(k):
            best = torch.argmax(row, dim=1)
            value = torch.exp(torch.amax(row, dim=1) - peak)
            chosen[tile, slot] = best
            weight[tile, slot] = value
            total = total + value
            hl.atomic_add(load, [best], 1)
            row = torch.where(column == best[:, None], float("-inf"), row)
        for slot in hl.static_range(k):
            weight[tile, slot] = weight[tile, slot] / total
    return chosen, weight, load


def moe_routing_ref(
    logits: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    values, chosen = logits.topk(k, dim=1)
    load = torch.bincount(chosen.flatten(), minlength=logits.size(1))
    return chosen, values.softmax(1), load.to(torch.int32)


def routing_args(data: _testing.Data) -> tuple[object, ...]:
    tokens, experts = data.pick(37, 16384), data.pick(11, 64)
    # All different in each row: equal logits may be chosen in any order.
    order = data.randn(tokens, experts, dtype=torch.float32).argsort(1)
    return (order * 0.125 - 4.0).to(data.dtype), data.pick(3, 4)


CASES = [
    _testing.Case(
        "moe_routing",
        moe_routing,
        _testing.arguments(routing_args),
        moe_routing_ref,
        configs=_testing.configs({"block_sizes": [4]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
