"""A linear layer and its cross entropy, without ever storing the logits."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel(ignore_warnings=[helion.exc.TensorOperationInWrapper])
def fused_linear_cross_entropy(
    x: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Return the mean cross entropy of the logits ``x @ weight.T``.

    One program makes one block of logits, a plain matrix product, and boils it down to
    a log-sum-exp for each row. Memory holds one number for a row and a block of the
    vocabulary instead of the logits; the last line merges them, on the host on purpose.
    """
    n, hidden = x.size()
    vocab = weight.size(0)
    columns = hl.register_block_size(32, 256)
    blocks = helion.cdiv(vocab, columns)
    partial = torch.empty([n, blocks], dtype=torch.float32, device=x.device)
    target = torch.zeros([n], dtype=torch.float32, device=x.device)
    for tile_n, tile_v in hl.tile([n, vocab], block_size=[None, columns]):
        acc = hl.zeros([tile_n, tile_v], dtype=torch.float32)
        for tile_k in hl.tile(hidden):
            acc = hl.dot(x[tile_n, tile_k], weight[tile_v, tile_k].T, acc=acc)
        inside = (tile_v.index < vocab)[None, :]
        logits = torch.where(inside, acc, float("-inf"))
        peak = torch.amax(logits, dim=1)
        total = torch.sum(torch.exp(logits - peak[:, None]), dim=1)
        partial[tile_n, tile_v.id] = peak + torch.log(total)
        is_label = tile_v.index[None, :] == labels[tile_n][:, None]
        found = torch.sum(torch.where(is_label, acc, 0.0), dim=1)
        hl.atomic_add(target, [tile_n], found)
    return (torch.logsumexp(partial, dim=1) - target).mean()


def fused_linear_cross_entropy_ref(
    x: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(x @ weight.T, labels)


def linear_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    n, hidden, vocab = data.pick(19, 4096), data.pick(33, 2048), data.pick(171, 32000)
    x, weight = data.randn(n, hidden), data.randn(vocab, hidden) * hidden**-0.5
    return x, weight, data.randint(0, vocab, n)


CASES = [
    _testing.Case(
        "fused_linear_cross_entropy",
        fused_linear_cross_entropy,
        _testing.arguments(linear_args),
        fused_linear_cross_entropy_ref,
        _testing.PRODUCT,
        _testing.configs({"block_sizes": [32, 16, 16]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
