"""Histograms: each program counts a long tile, then adds its counts to the sum."""

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
    """
    total = torch.zeros([bins], dtype=torch.int32, device=x.device)
    # A program adds to every bin once, so it counts many elements, some at a time.
    many = hl.register_block_size(32768, 1 << 18)
    some = hl.register_block_size(8192, 16384)
    for part in hl.tile(x.size(0), block_size=many):
        counts = hl.zeros([bins], dtype=torch.int32)
        for tile in hl.tile(part.begin, part.end, block_size=some):
            counts += torch.histc(x[tile], bins, low, high).to(torch.int32)
        hl.atomic_add(total, [slice(None)], counts)
    return total


def histogram_ref(x: torch.Tensor, bins: int, low: float, high: float) -> torch.Tensor:
    return torch.histc(x.float(), bins, low, high).to(torch.int32)


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
        configs=_testing.configs({"block_sizes": [65536, 8192]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
