"""Sums of rows of unequal length: an inner loop whose bounds are data."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


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


def main() -> None:
    """Compare with a loop over the segments, some of them empty."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    longest, width = (5000, 257) if device == "cuda" else (19, 9)
    lengths = torch.tensor([0, 1, longest, 7, 0, longest // 2])
    ends = [0, *lengths.cumsum(0).tolist()]
    values = torch.randn([ends[-1], width], device=device)
    offsets = torch.tensor(ends, device=device)
    expected = torch.stack(
        [values[b:e].sum(0) for b, e in zip(ends, ends[1:], strict=False)]
    )
    found = jagged_row_sum(values, offsets)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
    print(f"jagged_row_sum agrees with PyTorch on {device}")


if __name__ == "__main__":
    main()
