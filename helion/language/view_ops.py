"""Taking apart and putting together the last dim: hl.split and hl.join."""

from __future__ import annotations

import torch

from . import _decorators


@_decorators.api(is_device_only=True)
def split(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the even and the odd elements of a last dim of size 2.

    Args:
        tensor: at least 1-D, its last dim of size 2.

    Returns:
        Two tensors of shape ``tensor.shape[:-1]``; ``hl.join`` undoes it.

    Raises:
        ValueError: the last dim has another size.
    """
    if tensor.ndim == 0 or tensor.shape[-1] != 2:
        raise ValueError(
            f"hl.split needs a last dim of size 2, not shape {tuple(tensor.shape)}"
        )
    first, second = torch.unbind(tensor, dim=-1)
    return first.clone(), second.clone()


@_decorators.api(is_device_only=True)
def join(tensor0: torch.Tensor, tensor1: torch.Tensor) -> torch.Tensor:
    """Return both tensors, broadcast to one shape, stacked along a new last dim.

    Raises:
        TypeError: the dtypes differ.
    """
    if tensor0.dtype != tensor1.dtype:
        raise TypeError(
            f"hl.join needs equal dtypes, not {tensor0.dtype} and {tensor1.dtype}"
        )
    return torch.stack(torch.broadcast_tensors(tensor0, tensor1), dim=-1)
