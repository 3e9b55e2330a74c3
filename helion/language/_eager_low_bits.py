"""Eager values of 4-bit floats and of the scales of block-scaled formats."""

from __future__ import annotations

import torch

# The eight magnitudes of a 4-bit float (1 sign, 2 exponent, 1 mantissa bit).
_MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_E2M1 = (*_MAGNITUDES, *(-value for value in _MAGNITUDES))


def e2m1_pair(packed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first (low) and second (high) value of each byte, as float32."""
    codes = packed.view(torch.uint8).to(torch.int64)
    table = torch.tensor(_E2M1, dtype=torch.float32, device=packed.device)
    return table[codes & 15], table[codes >> 4]


def e8m0_to_float32(scale: torch.Tensor) -> torch.Tensor:
    """Return ``2 ** (scale - 127)``, NaN for 255."""
    codes = scale.view(torch.uint8).to(torch.int32)
    # The code is the exponent field of a float32; 0 stands for a subnormal number.
    bits = torch.where(codes == 0, 1 << 22, codes << 23)
    return torch.where(codes == 255, torch.nan, bits.view(torch.float32))
