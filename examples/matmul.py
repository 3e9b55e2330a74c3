"""Matrix products: plain, batched, with a fused epilogue, and split along K."""

from __future__ import annotations

from collections.abc import Callable

import torch

import helion
import helion.language as hl


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


def main() -> None:
    """Compare with PyTorch's products."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    m, k, n = (1024, 2048, 512) if device == "cuda" else (33, 70, 17)
    dtype = torch.float16 if device == "cuda" else torch.float32
    x = torch.randn([m, k], device=device, dtype=dtype)
    y = torch.randn([k, n], device=device, dtype=dtype)
    bias = torch.randn([n], device=device, dtype=dtype)
    close = {"rtol": 1e-2, "atol": 1e-1 if device == "cuda" else 1e-4}
    torch.testing.assert_close(matmul(x, y), x @ y, **close)
    expected = torch.relu((x @ y) + bias)
    torch.testing.assert_close(matmul(x, y, bias_relu(bias)), expected, **close)
    torch.testing.assert_close(matmul_split_k(x, y), (x @ y).float(), **close)
    batch = torch.stack([x, -x]), torch.stack([y, y])
    torch.testing.assert_close(bmm(*batch), torch.bmm(*batch), **close)
    print(f"matmul agrees with PyTorch on {device}")


if __name__ == "__main__":
    main()
