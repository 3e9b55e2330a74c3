"""Matrix products of a list of pairs of any shapes, in one launch."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def grouped_matmul(
    xs: list[torch.Tensor], ys: list[torch.Tensor]
) -> list[torch.Tensor]:
    """Return ``x @ y`` for every pair; the shapes may differ from pair to pair.

    One launch does it all. A program owns the same block of rows and columns of every
    result: loops over lists are unrolled on the device, and the loops over a block that
    a smaller result does not have turn zero times.
    """
    rows, columns = hl.register_block_size(16, 128), hl.register_block_size(16, 128)
    outs = [x.new_empty([x.size(0), y.size(1)]) for x, y in zip(xs, ys)]
    most_rows = max([x.size(0) for x in xs])
    most_columns = max([y.size(1) for y in ys])
    for i, j in hl.grid(
        [helion.cdiv(most_rows, rows), helion.cdiv(most_columns, columns)]
    ):
        for x, y, out in zip(xs, ys, outs):
            m, n = out.size()
            for tile_m in hl.tile(i * rows, min(i * rows + rows, m), block_size=rows):
                for tile_n in hl.tile(
                    j * columns, min(j * columns + columns, n), block_size=columns
                ):
                    acc = hl.zeros([tile_m, tile_n], dtype=torch.float32)
                    for tile_k in hl.tile(x.size(1)):
                        acc = hl.dot(x[tile_m, tile_k], y[tile_k, tile_n], acc=acc)
                    out[tile_m, tile_n] = acc.to(out.dtype)
    return outs


def grouped_matmul_ref(
    xs: list[torch.Tensor], ys: list[torch.Tensor]
) -> list[torch.Tensor]:
    return [x @ y for x, y in zip(xs, ys)]


def pairs(data: _testing.Data) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    shapes = [(17, 33, 20), (5, 16, 37), (32, 7, 9)]
    if not data.small:
        shapes = [(1024, 2048, 512), (300, 4096, 1024), (2048, 512, 2048)]
    return (
        [data.randn(m, k) for m, k, _ in shapes],
        [data.randn(k, n) for _, k, n in shapes],
    )


CASES = [
    _testing.Case(
        "grouped_matmul",
        grouped_matmul,
        _testing.arguments(pairs),
        grouped_matmul_ref,
        _testing.PRODUCT,
        _testing.configs({"block_sizes": [16, 32, 16, 16, 32]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
