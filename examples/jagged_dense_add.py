"""Rows of unequal length added to the front of dense rows: hl.jagged_tile."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def jagged_dense_add(
    values: torch.Tensor, offsets: torch.Tensor, dense: torch.Tensor
) -> torch.Tensor:
    """Return ``dense`` with ``values[offsets[i] : offsets[i + 1]]`` added to row ``i``.

    ``hl.jagged_tile(length)`` walks as far as the longest row of the tile reaches. Used
    together with ``rows`` it has, of each row, only what exists: nothing else is read
    or written, and no mask is spelled out.
    """
    out = dense.clone()
    for rows in hl.tile(dense.size(0)):
        start = offsets[rows]
        length = offsets[rows.index + 1] - start
        for cols in hl.jagged_tile(length):
            place = start[:, None] + cols.index[None, :]
            out[rows, cols] = dense[rows, cols] + values[place]
    return out


def rows_of(values: torch.Tensor, offsets: torch.Tensor) -> list[torch.Tensor]:
    ends = offsets.tolist()
    return [values[begin:end] for begin, end in zip(ends[:-1], ends[1:], strict=True)]


def jagged_dense_add_ref(
    values: torch.Tensor, offsets: torch.Tensor, dense: torch.Tensor
) -> torch.Tensor:
    out = dense.clone()
    for i, row in enumerate(rows_of(values, offsets)):
        out[i, : len(row)] += row
    return out


def jagged_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    count, width = data.pick(7, 4096), data.pick(37, 1024)
    lengths = data.randint(0, width + 1, count)
    lengths[:3] = torch.tensor([0, 1, width], device=data.device)
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    return data.randn(int(offsets[-1])), offsets, data.randn(count, width)


CASES = [
    _testing.Case(
        "jagged_dense_add",
        jagged_dense_add,
        _testing.arguments(jagged_args),
        jagged_dense_add_ref,
        configs=_testing.configs({"block_sizes": [2, 8]}, {"block_sizes": [1, 16]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
