"""Sums of rows of unequal length: an inner loop whose bounds are data."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def jagged_row_sum(values: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Return, for each ``i``, the sum of ``values[offsets[i] : offsets[i + 1]]``.

    ``values`` is ``[total, width]``, ``offsets`` one longer than the result. Both
    bounds of the inner loop are loaded from ``offsets``; an empty segment gives 0.
    """
    count = offsets.size(0) - 1
    width = values.size(1)
    out = torch.empty([count, width], dtype=values.dtype, device=values.device)
    for i in hl.grid(count):
        begin = offsets[i]
        end = offsets[i + 1]
        for tile_w in hl.tile(width):
            acc = hl.zeros([tile_w], dtype=torch.float32)
            for tile_k in hl.tile(begin, end):
                acc = acc + values[tile_k, tile_w].to(torch.float32).sum(0)
            out[i, tile_w] = acc.to(values.dtype)
    return out


def jagged_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    longest = data.pick(19, 5000)
    lengths = torch.tensor([0, 1, longest, 7, 0, longest // 2])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    values = data.randn(int(offsets[-1]), data.pick(9, 257))
    return values, offsets.to(data.device)


def jagged_row_sum_ref(values: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    ends = offsets.tolist()
    pairs = zip(ends[:-1], ends[1:], strict=True)
    return torch.stack([values[begin:end].sum(0) for begin, end in pairs])


CASES = [
    _testing.Case(
        "jagged_row_sum",
        jagged_row_sum,
        _testing.arguments(jagged_args),
        jagged_row_sum_ref,
        _testing.LONG_SUM,
        _testing.configs({"block_sizes": [4, 8]}, {"block_sizes": [16, 1]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
