"""Sums of the rows of each segment, for rows that are sorted by segment."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


def add_within_segment(
    left: tuple[torch.Tensor, torch.Tensor], right: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add what is left of a row to it, unless a segment begins at the row."""
    (sums, begins), (row, row_begins) = left, right
    return torch.where(row_begins > 0, row, sums + row), torch.maximum(
        begins, row_begins
    )


@helion.kernel
def segment_sum(values: torch.Tensor, ids: torch.Tensor, segments: int) -> torch.Tensor:
    """Return ``out[s]``, the sum of the rows of ``values`` with ``ids == s``.

    A scan over a block of rows starts again wherever the id changes. Only the last row
    of a segment in the block is added to memory: one atomic operation for a segment
    instead of one for a row.
    """
    rows, width = values.size()
    out = torch.zeros([segments, width], dtype=torch.float32, device=values.device)
    for tile_r, tile_w in hl.tile([rows, width]):
        here = ids[tile_r]
        before = hl.load(ids, [tile_r.index - 1], extra_mask=tile_r.index > 0)
        after = hl.load(ids, [tile_r.index + 1], extra_mask=tile_r.index < rows - 1)
        row = values[tile_r, tile_w].to(torch.float32)
        begins = (here != before)[:, None].expand(row.size()).to(torch.int32)
        sums, _ = hl.associative_scan(add_within_segment, (row, begins), dim=0)
        is_last = (here != after) | (tile_r.index == tile_r.end - 1)
        is_last = is_last | (tile_r.index == rows - 1)
        kept = torch.where(is_last[:, None], sums, 0.0)
        hl.atomic_add(out, [here, tile_w], kept)
    return out


def segment_sum_ref(
    values: torch.Tensor, ids: torch.Tensor, segments: int
) -> torch.Tensor:
    out = torch.zeros(
        [segments, values.size(1)], dtype=values.dtype, device=values.device
    )
    return out.index_add(0, ids, values)


def segment_args(data: _testing.Data) -> tuple[object, ...]:
    rows, segments = data.pick(71, 200_000), data.pick(9, 5000)
    ids = data.randint(0, segments, rows).sort().values
    return data.randn(rows, data.pick(5, 128)), ids, segments


CASES = [
    _testing.Case(
        "segment_sum",
        segment_sum,
        _testing.arguments(segment_args),
        segment_sum_ref,
        _testing.LONG_SUM,
        _testing.configs({"block_sizes": [16, 4]}, {"block_sizes": [128, 8]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
