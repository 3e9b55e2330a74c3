"""Rotary position embedding, for both layouts of the rotated pairs."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def rope_half(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate element ``i`` of each head with element ``i + head / 2``.

    ``x`` is ``[batch, length, heads, head]``; ``cos`` and ``sin`` are
    ``[length, head / 2]``, read once for a block of positions and used by all heads.
    """
    batch, length, heads, head = x.size()
    half = hl.specialize(head // 2)
    pairs = x.reshape(batch, length, heads, 2, half)
    out = torch.empty_like(pairs)
    for b, tile_t, tile_h in hl.tile(
        [batch, length, heads], block_size=[1, None, None]
    ):
        c = cos[tile_t, :][None, :, None, :]
        s = sin[tile_t, :][None, :, None, :]
        first = pairs[b, tile_t, tile_h, 0, :].to(torch.float32)
        second = pairs[b, tile_t, tile_h, 1, :].to(torch.float32)
        out[b, tile_t, tile_h, 0, :] = (first * c - second * s).to(x.dtype)
        out[b, tile_t, tile_h, 1, :] = (second * c + first * s).to(x.dtype)
    return out.view(x.size())


@helion.kernel
def rope_interleaved(
    x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
) -> torch.Tensor:
    """Rotate element ``2 i`` of each head with element ``2 i + 1``.

    A head is loaded in one piece; ``hl.split`` takes the pairs apart in registers and
    ``hl.join`` puts them together again.
    """
    batch, length, heads, head = x.size()
    half = hl.specialize(head // 2)
    pairs = x.reshape(batch, length, heads, half, 2)
    out = torch.empty_like(pairs)
    for b, tile_t, tile_h in hl.tile(
        [batch, length, heads], block_size=[1, None, None]
    ):
        c = cos[tile_t, :][None, :, None, :]
        s = sin[tile_t, :][None, :, None, :]
        even, odd = hl.split(pairs[b, tile_t, tile_h, :, :].to(torch.float32))
        turned = hl.join(even * c - odd * s, odd * c + even * s)
        out[b, tile_t, tile_h, :, :] = turned.to(x.dtype)
    return out.view(x.size())


def rope_half_ref(
    x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
) -> torch.Tensor:
    c, s = cos[None, :, None, :], sin[None, :, None, :]
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * c - second * s, second * c + first * s], -1).to(x.dtype)


def rope_interleaved_ref(
    x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
) -> torch.Tensor:
    c, s = cos[None, :, None, :], sin[None, :, None, :]
    even, odd = x[..., ::2], x[..., 1::2]
    turned = torch.stack([even * c - odd * s, odd * c + even * s], -1)
    return turned.flatten(-2).to(x.dtype)


def rope_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    length, head = data.pick(13, 4096), data.pick(16, 128)
    x = data.randn(2, length, data.pick(3, 32), head)
    rates = 10000.0 ** -(torch.arange(head // 2, device=data.device) * 2.0 / head)
    angles = torch.arange(length, device=data.device)[:, None] * rates
    return x, angles.cos(), angles.sin()


CASES = [
    _testing.Case(
        f"rope_{layout}",
        kernel,
        _testing.arguments(rope_args),
        reference,
        configs=_testing.configs({"block_sizes": [4, 2]}),
    )
    for layout, kernel, reference in (
        ("half", rope_half, rope_half_ref),
        ("interleaved", rope_interleaved, rope_interleaved_ref),
    )
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
