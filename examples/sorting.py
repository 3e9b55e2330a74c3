"""Sorted rows, the largest values of rows, and sampling from the most likely tokens."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def sort_rows(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each row in ascending order, and where its elements came from."""
    values = torch.empty_like(x)
    indices = torch.empty(x.size(), dtype=torch.int64, device=x.device)
    for tile in hl.tile(x.size(0)):
        values[tile, :], indices[tile, :] = torch.sort(x[tile, :], dim=-1)
    return values, indices


@helion.kernel
def topk_rows(x: torch.Tensor, k: hl.constexpr) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ``k`` largest values of each row and their places, largest first."""
    values = torch.empty([x.size(0), k], dtype=x.dtype, device=x.device)
    indices = torch.empty([x.size(0), k], dtype=torch.int64, device=x.device)
    for tile in hl.tile(x.size(0)):
        values[tile, :], indices[tile, :] = torch.topk(x[tile, :], k, dim=-1)
    return values, indices


@helion.kernel
def topk_softmax(logits: torch.Tensor, k: hl.constexpr) -> torch.Tensor:
    """Return the probabilities of sampling among the ``k`` largest logits of a row.

    The smallest of the ``k`` is a threshold; what lies below it becomes -inf.
    """
    out = torch.empty(logits.size(), dtype=torch.float32, device=logits.device)
    for tile in hl.tile(logits.size(0)):
        row = logits[tile, :].to(torch.float32)
        best, _ = torch.topk(row, k, dim=-1)
        threshold = torch.amin(best, dim=-1, keepdim=True)
        kept = torch.where(row >= threshold, row, float("-inf"))
        out[tile, :] = torch.softmax(kept, dim=-1)
    return out


def topk_softmax_ref(logits: torch.Tensor, k: int) -> torch.Tensor:
    threshold = logits.topk(k, dim=-1).values[:, -1:]
    return logits.masked_fill(logits < threshold, float("-inf")).softmax(-1)


def distinct_rows(data: _testing.Data) -> torch.Tensor:
    # No equal elements in a row: these may be sorted in any order.
    m, n = data.pick(13, 16384), data.pick(37, 512)
    order = data.randn(m, n, dtype=torch.float32).argsort(1)
    return ((order - n // 2) * 0.125).to(data.dtype)


CASES = [
    _testing.Case(
        "sort_rows",
        sort_rows,
        _testing.arguments(lambda data: (distinct_rows(data),)),
        lambda x: tuple(x.sort(dim=-1)),
        configs=_testing.configs({"block_sizes": [2]}),
    ),
    _testing.Case(
        "topk_rows",
        topk_rows,
        _testing.arguments(lambda data: (distinct_rows(data), data.pick(3, 8))),
        lambda x, k: tuple(x.topk(k, dim=-1)),
        configs=_testing.configs({"block_sizes": [2]}),
    ),
    _testing.Case(
        "topk_softmax",
        topk_softmax,
        _testing.arguments(lambda data: (distinct_rows(data), data.pick(5, 32))),
        topk_softmax_ref,
        configs=_testing.configs({"block_sizes": [2]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
