"""A linear layer with the layer norm of its result as the epilogue."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def matmul_layer_norm(
    x: torch.Tensor,
    y: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    eps: float = 1e-5,
) -> torch.Tensor:
    """Return ``layer_norm(x @ y) * weight + bias``.

    One program owns whole rows of the product, so that their mean and variance are
    taken from the accumulator and the product never goes to memory.
    """
    m, k = x.size()
    n = hl.specialize(y.size(1))
    out = torch.empty([m, n], dtype=x.dtype, device=x.device)
    for tile_m in hl.tile(m):
        acc = hl.zeros([tile_m, n], dtype=torch.float32)
        for tile_k in hl.tile(k):
            acc = hl.dot(x[tile_m, tile_k], y[tile_k, :], acc=acc)
        centered = acc - torch.mean(acc, dim=1, keepdim=True)
        variance = torch.mean(centered * centered, dim=1, keepdim=True)
        normal = centered * torch.rsqrt(variance + eps)
        out[tile_m, :] = (normal * weight[:] + bias[:]).to(x.dtype)
    return out


def matmul_layer_norm_ref(
    x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    return torch.nn.functional.layer_norm(x @ y, [y.size(1)], weight, bias)


def linear_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    m, k, n = data.pick(21, 4096), data.pick(50, 1024), data.pick(24, 256)
    return data.randn(m, k), data.randn(k, n), data.randn(n), data.randn(n)


CASES = [
    _testing.Case(
        "matmul_layer_norm",
        matmul_layer_norm,
        _testing.arguments(linear_args),
        matmul_layer_norm_ref,
        _testing.PRODUCT,
        _testing.configs({"block_sizes": [16, 16]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
