"""Matrix products: plain, batched, with a fused epilogue, and split along K."""

from __future__ import annotations

from collections.abc import Callable

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def matmul(
    x: torch.Tensor,
    y: torch.Tensor,
    epilogue: Callable[
        [torch.Tensor, tuple[torch.Tensor, ...]], torch.Tensor
    ] = lambda acc, tile: acc,
) -> torch.Tensor:
    """Return ``epilogue(x @ y)``, accumulated in float32.

    ``epilogue`` is inlined after the loop over K. It gets the accumulator and the
    tiles of its rows and columns, and may read tensors that it closes over.
    """
    m, k = x.size()
    k2, n = y.size()
    assert k == k2, f"size mismatch {k} != {k2}"
    out = torch.empty(
        [m, n], dtype=torch.promote_types(x.dtype, y.dtype), device=x.device
    )
    for tile_m, tile_n in hl.tile([m, n]):
        acc = hl.zeros([tile_m, tile_n], dtype=torch.float32)
        for tile_k in hl.tile(k):
            acc = torch.addmm(acc, x[tile_m, tile_k], y[tile_k, tile_n])
        out[tile_m, tile_n] = epilogue(acc, (tile_m, tile_n)).to(out.dtype)
    return out


@helion.kernel
def bmm(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the product of every pair of matrices in two batches."""
    b, m, k = x.size()
    _, _, n = y.size()
    out = torch.empty(
        [b, m, n], dtype=torch.promote_types(x.dtype, y.dtype), device=x.device
    )
    for tile_b, tile_m, tile_n in hl.tile([b, m, n]):
        acc = hl.zeros([tile_b, tile_m, tile_n], dtype=torch.float32)
        for tile_k in hl.tile(k):
            acc = torch.baddbmm(
                acc, x[tile_b, tile_m, tile_k], y[tile_b, tile_k, tile_n]
            )
        out[tile_b, tile_m, tile_n] = acc.to(out.dtype)
    return out


@helion.kernel
def matmul_split_k(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return ``x @ y`` in float32, with the long K dimension spread over programs.

    ``chunk`` is one more block size of the Config: how much of K one program sums
    before it adds its part to ``out``.
    """
    m, k = x.size()
    _, n = y.size()
    chunk = hl.register_block_size(16, 4096)
    out = torch.zeros([m, n], dtype=torch.float32, device=x.device)
    for tile_m, tile_n, outer_k in hl.tile([m, n, k], block_size=[None, None, chunk]):
        acc = hl.zeros([tile_m, tile_n], dtype=torch.float32)
        for inner_k in hl.tile(outer_k.begin, outer_k.end):
            acc = torch.addmm(acc, x[tile_m, inner_k], y[inner_k, tile_n])
        hl.atomic_add(out, [tile_m, tile_n], acc)
    return out


def bias_relu(bias: torch.Tensor) -> Callable[..., torch.Tensor]:
    """Return an epilogue that adds ``bias`` to each row and clips below zero."""

    def epilogue(acc: torch.Tensor, tile: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return torch.relu(acc + bias[tile[1]])

    return epilogue


def matmul_ref(
    x: torch.Tensor,
    y: torch.Tensor,
    epilogue: Callable[..., torch.Tensor] | None = None,
) -> torch.Tensor:
    product = x @ y
    everything = (slice(None), slice(None))
    return product if epilogue is None else epilogue(product, everything)


def product_args(data: _testing.Data) -> tuple[torch.Tensor, torch.Tensor]:
    m, k, n = data.pick(33, 1024), data.pick(70, 2048), data.pick(17, 512)
    return data.randn(m, k), data.randn(k, n)


def bmm_args(data: _testing.Data) -> tuple[torch.Tensor, torch.Tensor]:
    m, k, n = data.pick(18, 512), data.pick(21, 768), data.pick(19, 256)
    return data.randn(3, m, k), data.randn(3, k, n)


CASES = [
    _testing.Case(
        "matmul",
        matmul,
        _testing.arguments(product_args),
        matmul_ref,
        _testing.PRODUCT,
        _testing.configs(
            {"block_sizes": [16, 16, 16]},
            {"block_sizes": [32, 16, 32], "l2_groupings": [2]},
            {"block_sizes": [16, 32, 16], "loop_orders": [[1, 0]]},
        ),
    ),
    _testing.Case(
        "matmul_bias_relu",
        matmul,
        _testing.arguments(
            lambda data: (
                *product_args(data),
                bias_relu(data.randn(data.pick(17, 512))),
            )
        ),
        matmul_ref,
        _testing.PRODUCT,
        _testing.configs({"block_sizes": [16, 16, 16]}),
    ),
    _testing.Case(
        "bmm",
        bmm,
        _testing.arguments(bmm_args),
        torch.bmm,
        _testing.PRODUCT,
        _testing.configs({"block_sizes": [1, 16, 16, 16]}),
    ),
    _testing.Case(
        "matmul_split_k",
        matmul_split_k,
        _testing.arguments(product_args),
        matmul_ref,
        _testing.PRODUCT,
        _testing.configs(
            {"block_sizes": [32, 16, 16, 16]}, {"block_sizes": [128, 32, 32, 32]}
        ),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
