"""Eager reshapes: block sizes stand for the actual lengths of a short last tile."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def fitted_sizes(have: Sequence[int], want: Sequence[int]) -> list[int]:
    """Return the sizes of a reshape, the outermost changed one cut to what is there.

    Sizes that cannot be meant so stay as they are.
    """
    have, want = list(have), list(want)
    if -1 in want or math.prod(have) == math.prod(want):
        return want
    end = 0
    while end < min(len(have), len(want)) and have[-1 - end] == want[-1 - end]:
        end += 1
    start = 0
    while start < min(len(have), len(want)) - end and have[start] == want[start]:
        start += 1
    left = math.prod(have[start : len(have) - end])
    inner = math.prod(want[start + 1 : len(want) - end])
    is_cut = start < len(want) - end and inner and left % inner == 0
    if is_cut and left // inner <= want[start]:
        want[start] = left // inner
    return want


def _reshape(value: torch.Tensor, *shape: Any, **kwargs: Any) -> torch.Tensor:
    """``value.reshape(...)`` or ``.view(...)`` of a device value."""
    if "shape" in kwargs or "size" in kwargs:
        shape = (kwargs.pop("shape", None) or kwargs.pop("size"),)
    if len(shape) == 1 and isinstance(shape[0], torch.dtype) or kwargs:
        return torch.Tensor.view(value, *shape, **kwargs)
    sizes = shape[0] if shape and isinstance(shape[0], (list, tuple)) else shape
    plain = [int(size) for size in sizes]
    return torch.Tensor.reshape(value, fitted_sizes(value.shape, plain))


VIEW_HANDLERS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.reshape: _reshape,
    torch.Tensor.reshape: _reshape,
    torch.Tensor.view: _reshape,
}
