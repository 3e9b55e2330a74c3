"""Softmax along rows of unequal length, with running maximum and sum."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def jagged_softmax(values: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Return the softmax of each ``values[offsets[i] : offsets[i + 1]]``, by column.

    The maximum and the sum of a jagged tile are those of what exists: where a row has
    ended, they find the identity.
    """
    count, width = offsets.size(0) - 1, values.size(1)
    out = torch.empty_like(values)
    for rows, feats in hl.tile([count, width]):
        start = offsets[rows]
        length = offsets[rows.index + 1] - start
        peak = hl.full([rows, feats], float("-inf"), dtype=torch.float32)
        total = hl.zeros([rows, feats], dtype=torch.float32)
        for cols in hl.jagged_tile(length):
            place = start[:, None] + cols.index[None, :]
            part = values[place, feats].to(torch.float32)
            new = torch.maximum(peak, part.amax(1))
            # A row without elements so far has no maximum to subtract.
            shift = torch.where(new == float("-inf"), 0.0, new)
            part = torch.exp(part - shift[:, None, :])
            total = total * torch.exp(peak - shift) + part.sum(1)
            peak = new
        for cols in hl.jagged_tile(length):
            place = start[:, None] + cols.index[None, :]
            part = values[place, feats].to(torch.float32)
            part = torch.exp(part - peak[:, None, :]) / total[:, None, :]
            out[place, feats] = part.to(out.dtype)
    return out


def jagged_softmax_ref(values: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    ends = offsets.tolist()
    pairs = zip(ends[:-1], ends[1:], strict=True)
    return torch.cat([values[begin:end].softmax(0) for begin, end in pairs])


def jagged_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    longest = data.pick(37, 2048)
    lengths = data.randint(0, longest + 1, data.pick(6, 512))
    lengths[:3] = torch.tensor([0, 1, longest], device=data.device)
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    return data.randn(int(offsets[-1]), data.pick(9, 128)), offsets


CASES = [
    _testing.Case(
        "jagged_softmax",
        jagged_softmax,
        _testing.arguments(jagged_args),
        jagged_softmax_ref,
        configs=_testing.configs(
            {"block_sizes": [2, 16, 8, 16]}, {"block_sizes": [1, 8, 32, 8]}
        ),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
