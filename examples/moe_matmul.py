"""Mixture of experts, second part: one product for each expert on its own tokens."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def moe_matmul(
    x: torch.Tensor, weight: torch.Tensor, order: torch.Tensor, offsets: torch.Tensor
) -> torch.Tensor:
    """Return ``x[t] @ weight[expert of t]`` for every token ``t``.

    ``order`` lists the tokens expert by expert; those of expert ``e`` are
    ``order[offsets[e] : offsets[e + 1]]``. Rows are gathered as they are multiplied and
    scattered back, so that nothing is sorted in memory.
    """
    tokens, k = x.size()
    experts, _, n = weight.size()
    out = torch.empty([tokens, n], dtype=x.dtype, device=x.device)
    for expert, tile_n in hl.tile([experts, n], block_size=[1, None]):
        e = expert.begin
        for tile_t in hl.tile(offsets[e], offsets[e + 1]):
            rows = order[tile_t]
            acc = hl.zeros([tile_t, tile_n], dtype=torch.float32)
            for tile_k in hl.tile(k):
                acc = hl.dot(x[rows, tile_k], weight[e, tile_k, tile_n], acc=acc)
            out[rows, tile_n] = acc.to(x.dtype)
    return out


def moe_matmul_ref(
    x: torch.Tensor, weight: torch.Tensor, order: torch.Tensor, offsets: torch.Tensor
) -> torch.Tensor:
    out = x.new_empty(x.size(0), weight.size(2))
    ends = offsets.tolist()
    for expert, (begin, end) in enumerate(zip(ends[:-1], ends[1:])):
        rows = order[begin:end]
        out[rows] = x[rows] @ weight[expert]
    return out


def moe_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    tokens, experts = data.pick(41, 8192), data.pick(5, 32)
    k, n = data.pick(20, 1024), data.pick(24, 2048)
    expert = data.randint(0, experts, tokens)
    expert = torch.where(expert == 1, 0, expert)  # one expert has nothing to do
    loads = torch.bincount(expert, minlength=experts)
    offsets = torch.nn.functional.pad(loads.cumsum(0), (1, 0))
    weight = data.randn(experts, k, n) * k**-0.5
    return data.randn(tokens, k), weight, expert.argsort(), offsets


CASES = [
    _testing.Case(
        "moe_matmul",
        moe_matmul,
        _testing.arguments(moe_args),
        moe_matmul_ref,
        _testing.PRODUCT,
        _testing.configs({"block_sizes": [16, 16, 16]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
