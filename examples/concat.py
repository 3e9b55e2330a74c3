"""Concatenation of two matrices: masked loads from both, one store."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def concat(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return ``torch.cat([x, y], dim=1)``.

    A block of output columns may lie in ``x``, in ``y`` or across the seam.
    ``extra_mask`` keeps each load from touching memory outside its tensor.
    """
    m, left = x.size()
    _, right = y.size()
    out = torch.empty([m, left + right], dtype=x.dtype, device=x.device)
    for tile_m, tile_n in hl.tile(out.size()):
        column = tile_n.index
        in_x = (column < left)[None, :]
        from_x = hl.load(x, [tile_m, column], extra_mask=in_x)
        from_y = hl.load(y, [tile_m, column - left], extra_mask=column[None, :] >= left)
        out[tile_m, tile_n] = torch.where(in_x, from_x, from_y)
    return out


def concat_args(data: _testing.Data) -> tuple[torch.Tensor, torch.Tensor]:
    rows, left, right = data.pick(13, 4096), data.pick(37, 1500), data.pick(50, 3003)
    return data.randn(rows, left), data.randn(rows, right)


CASES = [
    _testing.Case(
        "concat",
        concat,
        _testing.arguments(concat_args),
        lambda x, y: torch.cat([x, y], dim=1),
        configs=_testing.GRID_2D,
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
