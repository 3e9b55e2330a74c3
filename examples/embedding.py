"""Embedding look-up: rows of a table chosen by an index tensor."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


@helion.kernel
def embedding(ids: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Return ``table[ids]`` for ids of any shape; loaded values serve as an index."""
    flat = ids.reshape(-1)
    _, width = table.size()
    out = torch.empty([flat.size(0), width], dtype=table.dtype, device=table.device)
    for tile_i, tile_w in hl.tile([flat.size(0), width]):
        out[tile_i, tile_w] = table[flat[tile_i], tile_w]
    return out.view(*ids.size(), width)


def main() -> None:
    """Compare with PyTorch's embedding; a look-up is exact."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows, width = (32000, 1024) if device == "cuda" else (29, 37)
    table = torch.randn([rows, width], device=device)
    ids = torch.randint(0, rows, [7, 33], device=device)
    expected = torch.nn.functional.embedding(ids, table)
    torch.testing.assert_close(embedding(ids, table), expected, rtol=0, atol=0)
    print(f"embedding agrees with PyTorch on {device}")


if __name__ == "__main__":
    main()
