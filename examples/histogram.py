"""Histograms by atomic additions to computed places."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def histogram(
    x: torch.Tensor, bins: hl.constexpr, low: float, high: float
) -> torch.Tensor:
    """Return how many elements of ``x`` fall into each of ``bins`` equal intervals.

    Values outside ``[low, high]`` are not counted; ``high`` belongs to the last bin.
    They are sent to one more bin, which is dropped at the end.
    """
    counts = torch.zeros([bins + 1], dtype=torch.int32, device=x.device)
    scale = bins / (high - low)
    for tile in hl.tile(x.size(0)):
        value = x[tile].to(torch.float32)
        place = torch.floor((value - low) * scale).to(torch.int32)
        place = torch.clamp(place, 0, bins - 1)
        is_inside = (value >= low) & (value <= high)
        hl.atomic_add(counts, [torch.where(is_inside, place, bins)], 1)
    return counts.narrow(0, 0, bins)


def histogram_ref(x: torch.Tensor, bins: int, low: float, high: float) -> torch.Tensor:
    # The same arithmetic as in the kernel: an edge is an edge in float32.
    x = x.float()
    place = torch.floor((x - low) * (bins / (high - low))).clamp(0, bins - 1).int()
    inside = place[(x >= low) & (x <= high)]
    return torch.bincount(inside, minlength=bins).to(torch.int32)


CASES = [
    _testing.Case(
        "histogram",
        histogram,
        _testing.arguments(
            lambda data: (
                data.randn(data.pick(1009, 1 << 24)),
                data.pick(8, 256),
                -2.0,
                2.0,
            )
        ),
        histogram_ref,
        configs=_testing.configs({"block_sizes": [128]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
