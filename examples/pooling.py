"""Pooling of images: the largest or the mean value of each window."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def max_pool2d(
    x: torch.Tensor, size: hl.constexpr, stride: hl.constexpr
) -> torch.Tensor:
    """Return the largest value of each window of ``x [n, channels, height, width]``.

    Windows may overlap. The loop over a window is unrolled, and each of its places is a
    tile whose rows and columns are ``stride`` apart.
    """
    n, channels, height, width = x.size()
    planes = x.reshape(n * channels, height, width)
    out_h, out_w = (height - size) // stride + 1, (width - size) // stride + 1
    out = torch.empty([n * channels, out_h, out_w], dtype=x.dtype, device=x.device)
    for plane, tile_i, tile_j in hl.tile(out.size(), block_size=[1, None, None]):
        best = hl.full([tile_i, tile_j], float("-inf"), dtype=x.dtype)
        for place in hl.static_range(size * size):
            rows = tile_i.index * stride + place // size
            columns = tile_j.index * stride + place % size
            best = torch.maximum(best, x_at(planes, plane.begin, rows, columns))
        out[plane.begin, tile_i, tile_j] = best
    return out.view(n, channels, out_h, out_w)


def x_at(
    planes: torch.Tensor, plane: int, rows: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    """Return the tile of one plane at these rows and columns."""
    return planes[plane, rows, columns]


@helion.kernel
def global_mean_pool(x: torch.Tensor) -> torch.Tensor:
    """Return the mean of each channel of ``x [n, channels, height, width]``."""
    n, channels, height, width = x.size()
    rows = x.reshape(n * channels, height * width)
    out = torch.empty([n * channels], dtype=x.dtype, device=x.device)
    for tile in hl.tile(n * channels):
        out[tile] = torch.mean(rows[tile, :].to(torch.float32), dim=1).to(x.dtype)
    return out.view(n, channels)


def max_pool2d_ref(x: torch.Tensor, size: int, stride: int) -> torch.Tensor:
    return torch.nn.functional.max_pool2d(x, size, stride)


def images(data: _testing.Data) -> torch.Tensor:
    side = data.pick(11, 112)
    return data.randn(data.pick(2, 32), data.pick(3, 64), side, side + data.pick(2, 0))


CASES = [
    _testing.Case(
        "max_pool2d",
        max_pool2d,
        _testing.arguments(lambda data: (images(data), 3, 2)),
        max_pool2d_ref,
        configs=_testing.configs({"block_sizes": [2, 4]}),
    ),
    _testing.Case(
        "global_mean_pool",
        global_mean_pool,
        _testing.arguments(lambda data: (images(data),)),
        lambda x: x.mean((2, 3)),
        configs=_testing.ROWS[:2],
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
