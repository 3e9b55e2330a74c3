"""One dense batched product, called with nested tensors: three jagged products."""

from __future__ import annotations

from typing import Any

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def bmm(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return ``a @ b`` for each of the matrices in ``[B, M, K]`` and ``[B, K, N]``.

    Nothing here knows of rows of unequal length. Given nested tensors, a ragged size is
    that of the longest sample; loads and stores leave out what a sample lacks, and a
    result made of a ragged size is a nested tensor again.
    """
    batch, m, k = a.size()
    assert k == b.size(1), "the inner sizes differ"
    n = b.size(2)
    out = torch.empty([batch, m, n], dtype=a.dtype, device=a.device)
    for tile_b, tile_m, tile_n in hl.tile([batch, m, n]):
        acc = hl.zeros([tile_b, tile_m, tile_n], dtype=torch.float32)
        for tile_k in hl.tile(k):
            left, right = a[tile_b, tile_m, tile_k], b[tile_b, tile_k, tile_n]
            acc = torch.baddbmm(acc, left, right)
        out[tile_b, tile_m, tile_n] = acc.to(out.dtype)
    return out


def dense_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    batch, k = data.pick(3, 32), data.pick(13, 512)
    m, n = data.pick(9, 1024), data.pick(17, 256)
    return data.randn(batch, m, k), data.randn(batch, k, n)


CASES = [
    _testing.Case(
        "jagged_bmm_dense",
        bmm,
        _testing.arguments(dense_args),
        torch.bmm,
        _testing.PRODUCT,
        _testing.configs({"block_sizes": [1, 16, 16, 16]}),
    ),
]


def nested_args(data: _testing.Data) -> tuple[Any, Any, torch.Tensor]:
    """Return two nested tensors of the same rows, and dense factors for them."""
    longest, k = data.pick(19, 2048), data.pick(13, 128)
    lengths = data.randint(0, longest + 1, data.pick(5, 64)).tolist()
    lengths[:3] = [0, 1, longest]
    samples = [data.randn(length, k) for length in lengths]
    x: Any = torch.nested.nested_tensor(samples, layout=torch.jagged)
    values = data.randn(sum(lengths), k)
    y = torch.nested.nested_tensor_from_jagged(values, x.offsets())
    return x, y, data.randn(len(lengths), k, data.pick(7, 256))


def check_nested(device: str) -> None:
    """Compare the three jagged products with loops over the samples."""
    x, y, dense = nested_args(_testing.Data(device, device == "cpu"))
    rows, others = x.unbind(), y.unbind()
    transposed = y.transpose(1, 2)
    longest = max(len(row) for row in rows)
    forms = {
        "jagged @ dense": (
            bmm(x, dense),
            [row @ matrix for row, matrix in zip(rows, dense, strict=True)],
        ),
        "jagged @ jagged, summed over the rows": (
            bmm(x.transpose(1, 2), y),
            [row.T @ other for row, other in zip(rows, others, strict=True)],
        ),
        "jagged @ jagged, a score for each pair of rows": (
            bmm(x, transposed),
            [
                torch.nn.functional.pad(row @ other.T, (0, longest - len(other)))
                for row, other in zip(rows, others, strict=True)
            ],
        ),
    }
    rtol, atol = _testing.PRODUCT[dense.dtype]
    for name, (found, expected) in forms.items():
        for mine, right in zip(found.unbind(), expected, strict=True):
            torch.testing.assert_close(mine, right, rtol=rtol, atol=atol)
        print(f"{name}: agrees with PyTorch on {device}")


def main() -> None:
    """Check every case against PyTorch, and the products of nested tensors."""
    _testing.main(CASES)
    check_nested("cuda" if torch.cuda.is_available() else "cpu")


if __name__ == "__main__":
    main()
