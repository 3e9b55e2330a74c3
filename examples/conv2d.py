"""Convolution of images as a matrix product whose left side is gathered."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def conv2d(
    x: torch.Tensor, weight: torch.Tensor, stride: hl.constexpr, padding: hl.constexpr
) -> torch.Tensor:
    """Return the convolution of ``x [n, height, width, cin]``, channels last.

    ``weight`` is ``[kh, kw, cin, cout]``. Rows of the product are output pixels. For
    each position in the window a row reads the channels of one input pixel, found by
    index arithmetic; pixels outside the image are masked and count as 0.
    """
    n, height, width, cin = x.size()
    kh, kw, _, cout = weight.size()
    kh, kw = hl.specialize((kh, kw))
    out_h = (height + 2 * padding - kh) // stride + 1
    out_w = (width + 2 * padding - kw) // stride + 1
    flat = x.reshape(n * height * width, cin)
    out = torch.empty([n * out_h * out_w, cout], dtype=x.dtype, device=x.device)
    for tile_p, tile_o in hl.tile([n * out_h * out_w, cout]):
        image = tile_p.index // (out_h * out_w)
        top = tile_p.index // out_w % out_h * stride - padding
        left = tile_p.index % out_w * stride - padding
        acc = hl.zeros([tile_p, tile_o], dtype=torch.float32)
        for window in range(kh * kw):
            row = top + window // kw
            column = left + window % kw
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            pixel = (image * height + row) * width + column
            for tile_c in hl.tile(cin):
                patch = hl.load(flat, [pixel, tile_c], extra_mask=inside[:, None])
                taps = weight[window // kw, window % kw, tile_c, tile_o]
                acc = hl.dot(patch, taps, acc=acc)
        out[tile_p, tile_o] = acc.to(x.dtype)
    return out.view(n, out_h, out_w, cout)


def conv2d_ref(
    x: torch.Tensor, weight: torch.Tensor, stride: int, padding: int
) -> torch.Tensor:
    images, filters = x.permute(0, 3, 1, 2), weight.permute(3, 2, 0, 1)
    out = torch.nn.functional.conv2d(images, filters, stride=stride, padding=padding)
    return out.permute(0, 2, 3, 1)


def conv_args(data: _testing.Data) -> tuple[object, ...]:
    side, cin, cout = data.pick(9, 56), data.pick(10, 128), data.pick(18, 256)
    x = data.randn(data.pick(2, 32), side, side + 1, cin)
    return x, data.randn(3, 3, cin, cout) * cin**-0.5, data.pick(2, 1), 1


CASES = [
    _testing.Case(
        "conv2d",
        conv2d,
        _testing.arguments(conv_args),
        conv2d_ref,
        _testing.PRODUCT,
        _testing.configs({"block_sizes": [16, 16, 16]}, {"block_sizes": [64, 32, 16]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
