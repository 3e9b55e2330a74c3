"""Sorting along the last dim, as the decompositions of torch's functions need it.

Kernels call torch.sort, topk and their kin; these ops are what remains of them. Every
order is stable: of equal elements the first stays first. NaN is the largest element.
"""

from __future__ import annotations

import torch

from . import _decorators

Pair = tuple[torch.Tensor, torch.Tensor]


@_decorators.api(is_device_only=True)
def sort_last(input_tensor: torch.Tensor, descending: bool = False) -> Pair:
    """Return the elements in order along the last dim, and where they were."""
    values, indices = torch.sort(
        input_tensor, dim=-1, descending=descending, stable=True
    )
    return values, indices


@_decorators.api(is_device_only=True)
def first_sorted(
    input_tensor: torch.Tensor, count: int, descending: bool = False
) -> Pair:
    """Return the first ``count`` elements of ``sort_last``, and where they were."""
    values, indices = torch.sort(
        input_tensor, dim=-1, descending=descending, stable=True
    )
    return values[..., :count], indices[..., :count]


@_decorators.api(is_device_only=True)
def kth_of_all(input_tensor: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Return, as a 0-d tensor, what stands at a 0-d ``place`` in the order of all."""
    return torch.sort(input_tensor.reshape(-1)).values[place]
