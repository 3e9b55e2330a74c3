"""Eager histograms, with as many counters as on device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


def _histc(
    x: torch.Tensor, bins: int = 100, min: Any = 0, max: Any = 0
) -> torch.Tensor:
    """Half precision is placed in float32; without elements no range is asked for."""
    if x.dtype.is_floating_point and not x.numel():
        return torch.zeros([bins], dtype=x.dtype, device=x.device)
    if x.dtype in (torch.float16, torch.bfloat16):
        return torch.histc(x.float(), bins, min, max).to(x.dtype)
    return torch.histc(x, bins, min, max)


def _bincount(x: torch.Tensor, weights: Any = None, minlength: int = 0) -> torch.Tensor:
    if weights is not None or not minlength or _is_refused(x.dtype):
        return torch.bincount(x, weights, minlength)
    # A number of counters may be none of the input's dtype.
    flat = x.flatten().to(torch.int64)
    counted = flat[(flat >= 0) & (flat < minlength)]
    return torch.bincount(counted, minlength=minlength)


def _is_refused(dtype: torch.dtype) -> bool:
    return dtype.is_floating_point or dtype == torch.bool


HISTOGRAM_HANDLERS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.histc: _histc,
    torch.Tensor.histc: _histc,
    torch.bincount: _bincount,
    torch.Tensor.bincount: _bincount,
}
