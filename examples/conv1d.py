"""Convolutions in one dimension: depthwise and causal, or by products."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def causal_conv1d(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """Return silu of the causal depthwise convolution of ``x``.

    ``x`` is ``[batch, length, channels]``, ``weight`` is ``[channels, taps]``. The loop
    over the taps is unrolled; each tap reads the same tile a little earlier in time,
    which is in cache by then.
    """
    batch, length, channels = x.size()
    taps = hl.specialize(weight.size(1))
    out = torch.empty_like(x)
    for b, tile_t, tile_c in hl.tile(
        [batch, length, channels], block_size=[1, None, None]
    ):
        acc = hl.zeros([tile_t, tile_c], dtype=torch.float32)
        for tap in hl.static_range(taps):
            time = tile_t.index - (taps - 1 - tap)
            earlier = hl.load(
                x, [b.begin, time, tile_c], extra_mask=(time >= 0)[:, None]
            )
            acc = acc + earlier.to(torch.float32) * weight[tile_c, tap][None, :]
        acc = acc + bias[tile_c][None, :]
        out[b.begin, tile_t, tile_c] = (acc * torch.sigmoid(acc)).to(x.dtype)
    return out


@helion.kernel
def conv1d(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the convolution of ``x [batch, length, cin]`` without padding.

    ``weight`` is ``[taps, cin, cout]``. Each tap is a matrix product with ``x`` shifted
    by the tap; all of them add to one accumulator.
    """
    batch, length, cin = x.size()
    taps, _, cout = weight.size()
    taps = hl.specialize(taps)
    out = torch.empty([batch, length - taps + 1, cout], dtype=x.dtype, device=x.device)
    for b, tile_t, tile_o in hl.tile(out.size(), block_size=[1, None, None]):
        acc = hl.zeros([tile_t, tile_o], dtype=torch.float32)
        for tap in hl.static_range(taps):
            for tile_c in hl.tile(cin):
                shifted = x[b.begin, tile_t + tap, tile_c]
                acc = hl.dot(shifted, weight[tap, tile_c, tile_o], acc=acc)
        out[b.begin, tile_t, tile_o] = acc.to(x.dtype)
    return out


def causal_conv1d_ref(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    channels, taps = weight.size()
    padded = torch.nn.functional.pad(x.transpose(1, 2), (taps - 1, 0))
    out = torch.nn.functional.conv1d(padded, weight[:, None], bias, groups=channels)
    return torch.nn.functional.silu(out.transpose(1, 2))


def conv1d_ref(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    out = torch.nn.functional.conv1d(x.transpose(1, 2), weight.permute(2, 1, 0))
    return out.transpose(1, 2)


def causal_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    channels = data.pick(21, 4096)
    x = data.randn(data.pick(2, 8), data.pick(19, 2048), channels)
    return x, data.randn(channels, 4), data.randn(channels)


def conv_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    cin, cout = data.pick(12, 256), data.pick(18, 512)
    x = data.randn(data.pick(2, 16), data.pick(21, 1024), cin)
    return x, data.randn(3, cin, cout) * cin**-0.5


CASES = [
    _testing.Case(
        "causal_conv1d",
        causal_conv1d,
        _testing.arguments(causal_args),
        causal_conv1d_ref,
        configs=_testing.configs({"block_sizes": [8, 16]}),
    ),
    _testing.Case(
        "conv1d",
        conv1d,
        _testing.arguments(conv_args),
        conv1d_ref,
        _testing.PRODUCT,
        _testing.configs({"block_sizes": [16, 16, 16]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
