"""Products in double precision, where Triton has them."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from test import harness


@helion.kernel
def matmul64(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    m, k = x.size()
    n = y.size(1)
    out = torch.empty([m, n], dtype=x.dtype, device=x.device)
    for tile_m, tile_n in hl.tile([m, n]):
        acc = hl.zeros([tile_m, tile_n], dtype=torch.float64)
        for tile_k in hl.tile(k):
            acc = torch.addmm(acc, x[tile_m, tile_k], y[tile_k, tile_n])
        out[tile_m, tile_n] = acc
    return out


def test_double_product_keeps_double_precision(way: str) -> None:
    args = (
        harness.randn(20, 33, dtype=torch.float64),
        harness.randn(33, 17, dtype=torch.float64),
    )
    tolerance = {"rtol": 1e-12, "atol": 1e-12}
    found = harness.run(matmul64, *args, way=way)
    torch.testing.assert_close(found.cpu(), args[0] @ args[1], **tolerance)


def test_double_product_assembles() -> None:
    args = (torch.randn(64, 64).double(), torch.randn(64, 64).double())
    assert all(kernel.registers for kernel in harness.offline(matmul64, *args))
