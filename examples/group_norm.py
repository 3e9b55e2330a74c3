"""Group norm and instance norm: statistics over channels and pixels of one sample."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def group_norm(
    x: torch.Tensor,
    groups: hl.constexpr,
    weight: torch.Tensor,
    bias: torch.Tensor,
    eps: float = 1e-5,
) -> torch.Tensor:
    """Return ``x`` normalized over each group of channels; ``x`` is ``[n, c, h, w]``.

    One group of one sample is contiguous, hence a row of the view. The channel of an
    element, which picks its weight, is computed from its position in the row.
    """
    n, channels, height, width = x.size()
    pixels = height * width
    per_group = channels // groups
    rows = x.reshape(n * groups, per_group * pixels)
    out = torch.empty_like(rows)
    for tile in hl.tile(rows.size(0)):
        row = rows[tile, :].to(torch.float32)
        centered = row - torch.mean(row, dim=1, keepdim=True)
        variance = torch.mean(centered * centered, dim=1, keepdim=True)
        first = (tile.index % groups) * per_group
        channel = first[:, None] + (hl.arange(per_group * pixels) // pixels)[None, :]
        scaled = centered * torch.rsqrt(variance + eps) * weight[channel]
        out[tile, :] = (scaled + bias[channel]).to(x.dtype)
    return out.view(x.size())


def group_norm_args(data: _testing.Data) -> tuple[object, ...]:
    channels, side = data.pick(6, 256), data.pick(5, 56)
    x = data.randn(data.pick(3, 32), channels, side, side)
    return x, data.pick(2, 32), data.randn(channels), data.randn(channels)


def instance_norm_args(data: _testing.Data) -> tuple[object, ...]:
    x, _, weight, bias = group_norm_args(data)
    return x, x.size(1), weight, bias


CASES = [
    _testing.Case(
        name,
        group_norm,
        _testing.arguments(make_args),
        torch.nn.functional.group_norm,
        configs=_testing.configs(
            {"block_sizes": [2]}, {"block_sizes": [1], "reduction_loops": [16]}
        ),
    )
    for name, make_args in (
        ("group_norm", group_norm_args),
        ("instance_norm", instance_norm_args),
    )
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
