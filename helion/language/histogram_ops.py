"""Counting, as torch.histc and torch.bincount need it on device.

Kernels call these functions of torch; these ops are what remains of them. A value that
has no counter is not counted, and neither are lanes that do not exist.
"""

from __future__ import annotations

import torch

from . import _decorators


@_decorators.api(is_device_only=True)
def count_in_range(
    input_tensor: torch.Tensor,
    bins: int,
    low: float | torch.Tensor,
    high: float | torch.Tensor,
) -> torch.Tensor:
    """Return in int32 how many floats fall into each of equal parts of a range.

    The place of a value is ``(value - low) * bins / (high - low)``, each operation
    rounded, which is what torch computes; ``high`` belongs to the last part.
    """
    low, high = (torch.as_tensor(v).to(input_tensor) for v in (low, high))
    is_inside = (input_tensor >= low) & (input_tensor <= high)
    place = (input_tensor[is_inside] - low) * bins / (high - low)
    place = place.to(torch.int64).clamp(max=bins - 1)
    return torch.bincount(place, minlength=bins).to(torch.int32)


@_decorators.api(is_device_only=True)
def count_values(input_tensor: torch.Tensor, size: int) -> torch.Tensor:
    """Return in int32 how often each of 0 ... ``size - 1`` is there."""
    wide = input_tensor.to(torch.int64)
    counted = wide[(wide >= 0) & (wide < size)]
    return torch.bincount(counted, minlength=size).to(torch.int32)
