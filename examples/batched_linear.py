"""A linear layer for each member of a batch, with bias and GELU in the same kernel."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def batched_linear_gelu(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """Return ``gelu(x[b] @ weight[b] + bias[b])`` for every ``b``."""
    batch, m, k = x.size()
    n = weight.size(2)
    out = torch.empty([batch, m, n], dtype=x.dtype, device=x.device)
    for tile_b, tile_m, tile_n in hl.tile([batch, m, n]):
        acc = hl.zeros([tile_b, tile_m, tile_n], dtype=torch.float32)
        for tile_k in hl.tile(k):
            acc = torch.baddbmm(
                acc, x[tile_b, tile_m, tile_k], weight[tile_b, tile_k, tile_n]
            )
        acc = acc + bias[tile_b, tile_n][:, None, :]
        gelu = torch.nn.functional.gelu(acc, approximate="tanh")
        out[tile_b, tile_m, tile_n] = gelu.to(x.dtype)
    return out


@helion.kernel
def broadcast_bmm(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return ``x[b] @ y`` for every ``b``: one matrix shared by the whole batch.

    The batch is folded into the rows, which turns it into one large product.
    """
    batch, m, k = x.size()
    n = y.size(1)
    rows = x.reshape(batch * m, k)
    out = torch.empty([batch * m, n], dtype=x.dtype, device=x.device)
    for tile_m, tile_n in hl.tile(out.size()):
        acc = hl.zeros([tile_m, tile_n], dtype=torch.float32)
        for tile_k in hl.tile(k):
            acc = torch.addmm(acc, rows[tile_m, tile_k], y[tile_k, tile_n])
        out[tile_m, tile_n] = acc.to(x.dtype)
    return out.view(batch, m, n)


def batched_linear_gelu_ref(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    linear = torch.baddbmm(bias[:, None, :], x, weight)
    return torch.nn.functional.gelu(linear, approximate="tanh")


def linear_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    batch, m = data.pick(3, 16), data.pick(18, 1024)
    k, n = data.pick(21, 1024), data.pick(19, 768)
    weight = data.randn(batch, k, n) * k**-0.5
    return data.randn(batch, m, k), weight, data.randn(batch, n)


def shared_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    x, weight, _ = linear_args(data)
    return x, weight[0]


CASES = [
    _testing.Case(
        "batched_linear_gelu",
        batched_linear_gelu,
        _testing.arguments(linear_args),
        batched_linear_gelu_ref,
        _testing.PRODUCT,
        _testing.configs({"block_sizes": [1, 16, 16, 16]}),
    ),
    _testing.Case(
        "broadcast_bmm",
        broadcast_bmm,
        _testing.arguments(shared_args),
        torch.matmul,
        _testing.PRODUCT,
        _testing.configs({"block_sizes": [16, 16, 16]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
