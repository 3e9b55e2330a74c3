"""Cross entropy: a reduction over each row and a gather of one element of it."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean of ``-log_softmax(logits)[row, labels[row]]`` over the rows.

    The target logit is read through a flat view, at positions computed on device.
    """
    n, v = logits.size()
    assert labels.size(0) == n, "one label for each row"
    flat = logits.view(-1)
    losses = torch.empty([n], dtype=torch.float32, device=logits.device)
    for tile in hl.tile(n):
        target = flat[tile.index * v + labels[tile]].to(torch.float32)
        row = logits[tile, :].to(torch.float32)
        peak = torch.amax(row, dim=1)
        total = torch.sum(torch.exp(row - peak[:, None]), dim=1)
        losses[tile] = peak + torch.log(total) - target
    return losses.mean()


def cross_entropy_args(data: _testing.Data) -> tuple[torch.Tensor, torch.Tensor]:
    logits = data.matrix()
    return logits, data.randint(0, logits.size(1), len(logits))


CASES = [
    _testing.Case(
        "cross_entropy",
        cross_entropy,
        _testing.arguments(cross_entropy_args),
        torch.nn.functional.cross_entropy,
        configs=_testing.ROWS,
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
