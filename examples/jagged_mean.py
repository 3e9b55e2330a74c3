"""Means of rows of unequal length, with masks written out: what a jagged tile does."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def jagged_mean(values: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Return the mean of each ``values[offsets[i] : offsets[i + 1]]``, 0 of no rows.

    The inner loop runs as far as the longest row of the tile; ``extra_mask`` keeps the
    loads of shorter rows from what comes after them, and what is masked is 0.
    """
    count, width = offsets.size(0) - 1, values.size(1)
    out = torch.empty([count, width], dtype=values.dtype, device=values.device)
    for rows, feats in hl.tile([count, width]):
        start = offsets[rows]
        length = offsets[rows.index + 1] - start
        total = hl.zeros([rows, feats], dtype=torch.float32)
        for cols in hl.tile(length.amax()):
            exists = cols.index[None, :] < length[:, None]
            part = hl.load(
                values,
                [start[:, None] + cols.index[None, :], feats],
                extra_mask=exists[:, :, None],
            )
            total = total + part.to(torch.float32).sum(1)
        mean = total / torch.clamp(length, min=1).to(torch.float32)[:, None]
        out[rows, feats] = mean.to(out.dtype)
    return out


def jagged_mean_ref(values: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    ends = offsets.tolist()
    pairs = zip(ends[:-1], ends[1:], strict=True)
    return torch.stack([values[b:e].sum(0) / max(e - b, 1) for b, e in pairs])


def jagged_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    longest = data.pick(37, 2048)
    lengths = data.randint(0, longest + 1, data.pick(6, 512))
    lengths[:4] = torch.tensor([0, 1, 7, longest], device=data.device)
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    return data.randn(int(offsets[-1]), data.pick(9, 128)), offsets.to(torch.int32)


CASES = [
    _testing.Case(
        "jagged_mean",
        jagged_mean,
        _testing.arguments(jagged_args),
        jagged_mean_ref,
        _testing.LONG_SUM,
        _testing.configs({"block_sizes": [2, 16, 8]}, {"block_sizes": [1, 8, 32]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
