"""Batch norm: statistics of every channel in training, one fused line in inference."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def batch_norm(
    x: torch.Tensor,
    mean: torch.Tensor,
    variance: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    eps: float = 1e-5,
) -> torch.Tensor:
    """Return relu of ``x [n, c, pixels]``, normalized with the statistics given."""
    out = torch.empty_like(x)
    for tile_n, tile_c, tile_p in hl.tile(x.size()):
        scale = weight[tile_c] * torch.rsqrt(variance[tile_c] + eps)
        shift = bias[tile_c] - mean[tile_c] * scale
        value = x[tile_n, tile_c, tile_p] * scale[None, :, None] + shift[None, :, None]
        out[tile_n, tile_c, tile_p] = torch.relu(value).to(x.dtype)
    return out


@helion.kernel
def channel_statistics(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and variance of every channel of ``x [n, c, pixels]``.

    Running count, mean and sum of squared deviations of the blocks seen so far are
    merged with those of the next block: one pass, without cancellation.
    """
    n, channels, pixels = x.size()
    mean = torch.empty([channels], dtype=torch.float32, device=x.device)
    variance = torch.empty([channels], dtype=torch.float32, device=x.device)
    for c in hl.grid(channels):
        count = hl.zeros([], dtype=torch.float32)
        center = hl.zeros([], dtype=torch.float32)
        spread = hl.zeros([], dtype=torch.float32)
        for tile_n, tile_p in hl.tile([n, pixels]):
            block = x[tile_n, c, tile_p].to(torch.float32)
            size = (tile_n.end - tile_n.begin) * (tile_p.end - tile_p.begin)
            block_mean = block.sum(1).sum(0) / size
            off = block - block_mean
            delta = block_mean - center
            total = count + size
            center = center + delta * (size / total)
            spread = (
                spread
                + (off * off).sum(1).sum(0)
                + delta * delta * count * (size / total)
            )
            count = total
        mean[c] = center
        variance[c] = spread / count
    return mean, variance


def batch_norm_ref(x: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
    return torch.relu(torch.nn.functional.batch_norm(x, *rest))


def channel_statistics_ref(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    variance, mean = torch.var_mean(x, dim=(0, 2), correction=0)
    return mean, variance


def images(data: _testing.Data) -> torch.Tensor:
    return data.randn(data.pick(3, 32), data.pick(5, 256), data.pick(37, 3136))


def batch_norm_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    x = images(data)
    mean, weight, bias = (data.randn(x.size(1)) for _ in range(3))
    return x, mean, data.randn(x.size(1)).abs() + 0.5, weight, bias


CASES = [
    _testing.Case(
        "batch_norm",
        batch_norm,
        _testing.arguments(batch_norm_args),
        batch_norm_ref,
        configs=_testing.configs({"block_sizes": [1, 2, 16]}),
    ),
    _testing.Case(
        "channel_statistics",
        channel_statistics,
        _testing.arguments(lambda data: (images(data) + 3.0,)),
        channel_statistics_ref,
        configs=_testing.configs({"block_sizes": [2, 16]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
