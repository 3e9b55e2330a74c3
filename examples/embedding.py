"""Embedding look-up: rows of a table chosen by an index tensor."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def embedding(ids: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Return ``table[ids]`` for ids of any shape; loaded values serve as an index."""
    flat = ids.reshape(-1)
    _, width = table.size()
    out = torch.empty([flat.size(0), width], dtype=table.dtype, device=table.device)
    for tile_i, tile_w in hl.tile([flat.size(0), width]):
        out[tile_i, tile_w] = table[flat[tile_i], tile_w]
    return out.view(*ids.size(), width)


def embedding_args(data: _testing.Data) -> tuple[torch.Tensor, torch.Tensor]:
    rows = data.pick(29, 32000)
    ids = data.randint(0, rows, 7, data.pick(5, 1023))
    return ids, data.randn(rows, data.pick(37, 1024))


CASES = [
    _testing.Case(
        "embedding",
        embedding,
        _testing.arguments(embedding_args),
        torch.nn.functional.embedding,
        configs=_testing.GRID_2D,
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
