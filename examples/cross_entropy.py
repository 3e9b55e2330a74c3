"""Cross entropy: a reduction over each row and a gather of one element of it."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


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


def main() -> None:
    """Compare with PyTorch's cross entropy."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    n, v = (4096, 32000) if device == "cuda" else (13, 37)
    logits = torch.randn([n, v], device=device)
    labels = torch.randint(0, v, [n], device=device)
    expected = torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(cross_entropy(logits, labels), expected)
    print(f"cross_entropy agrees with PyTorch on {device}")


if __name__ == "__main__":
    main()
