"""Squeeze and excitation: pool each channel, two small layers, scale each channel."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def squeeze_excite(
    x: torch.Tensor, squeeze: torch.Tensor, excite: torch.Tensor
) -> torch.Tensor:
    """Return ``x [n, channels, pixels]`` times a gate in ``(0, 1)`` for each channel.

    Three loops are three launches: each reads what all of the one before has written.
    The two layers in the middle are small enough for one program a block of samples.
    """
    n, channels, pixels = x.size()
    rows = x.view(-1, pixels)
    pooled = torch.empty([n, channels], dtype=x.dtype, device=x.device)
    gate = torch.empty([n, channels], dtype=torch.float32, device=x.device)
    flat_pooled, flat_gate = pooled.view(-1), gate.view(-1)
    out = torch.empty_like(rows)
    for tile in hl.tile(rows.size(0)):
        flat_pooled[tile] = torch.mean(rows[tile, :].to(torch.float32), 1).to(x.dtype)
    for tile in hl.tile(n):
        hidden = torch.relu(hl.dot(pooled[tile, :], squeeze[:, :])).to(x.dtype)
        gate[tile, :] = torch.sigmoid(hl.dot(hidden, excite[:, :]))
    for tile in hl.tile(rows.size(0)):
        out[tile, :] = (rows[tile, :] * flat_gate[tile][:, None]).to(x.dtype)
    return out.view(x.size())


def squeeze_excite_ref(
    x: torch.Tensor, squeeze: torch.Tensor, excite: torch.Tensor
) -> torch.Tensor:
    hidden = torch.relu(x.mean(-1) @ squeeze)
    return x * torch.sigmoid(hidden @ excite)[:, :, None]


def image_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    n, channels, reduced = data.pick(3, 32), data.pick(20, 256), data.pick(16, 16)
    x = data.randn(n, channels, data.pick(37, 3136)) + 0.5
    return x, data.randn(channels, reduced) * 0.1, data.randn(reduced, channels)


CASES = [
    _testing.Case(
        "squeeze_excite",
        squeeze_excite,
        _testing.arguments(image_args),
        squeeze_excite_ref,
        _testing.PRODUCT,
        _testing.configs({"block_sizes": [4, 16, 8]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
