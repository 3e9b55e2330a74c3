"""Inclusive scans: hl.associative_scan, hl.cumsum and hl.cumprod."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from . import _decorators
from .reduce_ops import (
    CombineFn,
    TensorOrTuple,
    Tensors,
    as_tuple,
    combine_rule,
    wrap_dim,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@_decorators.api(is_device_only=True)
def associative_scan(
    combine_fn: CombineFn,
    input_tensor: TensorOrTuple,
    dim: int,
    reverse: bool = False,
) -> TensorOrTuple:
    """Return the running combination along a dim, each element included.

    Args:
        combine_fn: an associative function as in :func:`reduce`.
        input_tensor: a tensor, or a tuple of tensors of one shape.
        dim: the scanned dim; negative counts from the end.
        reverse: scan from the last element to the first.

    Returns:
        A tensor or a tuple with the shapes and dtypes of the inputs.

    Raises:
        exc.TypeInferenceError: ``combine_fn`` cannot be called.
        IndexError: ``dim`` is out of range.
    """
    tensors = as_tuple(input_tensor)
    is_tuple = isinstance(input_tensor, tuple)
    axis = wrap_dim(dim, tensors[0].ndim)
    combine = combine_rule(combine_fn, is_tuple)
    result = _in_order(tensors, axis, reverse, lambda ts: _scan(combine, ts, axis))
    return result if is_tuple else result[0]


@_decorators.api(is_device_only=True)
def cumsum(input_tensor: torch.Tensor, dim: int, reverse: bool = False) -> torch.Tensor:
    """Return the running sum along ``dim`` in the dtype of the input.

    ``torch.cumsum`` and ``x.cumsum`` sum integers and bools as int64 in a kernel too,
    as everywhere in torch.

    Args:
        input_tensor: any numeric tensor; bools count as "any so far".
        dim: the scanned dim; negative counts from the end.
        reverse: sum from the last element to the first.
    """
    return _cumulate(torch.cumsum, torch.add, input_tensor, dim, reverse)


@_decorators.api(is_device_only=True)
def cumprod(
    input_tensor: torch.Tensor, dim: int, reverse: bool = False
) -> torch.Tensor:
    """Return the running product along ``dim`` in the dtype of the input.

    ``torch.cumprod`` and ``x.cumprod`` multiply integers and bools as int64 in a kernel
    too, as everywhere in torch.

    Args:
        input_tensor: any numeric tensor; bools count as "all so far".
        dim: the scanned dim; negative counts from the end.
        reverse: multiply from the last element to the first.
    """
    return _cumulate(torch.cumprod, torch.mul, input_tensor, dim, reverse)


def _cumulate(
    native: Callable[..., torch.Tensor],
    combine_fn: CombineFn,
    tensor: torch.Tensor,
    dim: int,
    reverse: bool,
) -> torch.Tensor:
    axis = wrap_dim(dim, tensor.ndim)
    combine = combine_rule(combine_fn, is_tuple=False)

    def step(tensors: Tensors) -> Tensors:
        if tensor.dtype == torch.bool:  # torch sums bools as int64
            return _scan(combine, tensors, axis)
        return (native(tensors[0], axis, dtype=tensor.dtype),)

    return _in_order((tensor,), axis, reverse, step)[0]


def _in_order(
    tensors: Tensors, axis: int, reverse: bool, step: Callable[[Tensors], Tensors]
) -> Tensors:
    """Apply ``step`` front to back, or back to front if ``reverse``."""
    if not reverse or tensors[0].ndim == 0:
        return step(tensors)
    return tuple(t.flip(axis) for t in step(tuple(t.flip(axis) for t in tensors)))


def _scan(
    combine: Callable[[Tensors, Tensors], Tensors], tensors: Tensors, axis: int
) -> Tensors:
    """Combine with the element 1, 2, 4, ... before until all before are in."""
    if tensors[0].ndim == 0:
        return tensors
    size, distance = tensors[0].shape[axis], 1
    while distance < size:
        rest = size - distance
        earlier = tuple(t.narrow(axis, 0, rest) for t in tensors)
        later = tuple(t.narrow(axis, distance, rest) for t in tensors)
        heads = tuple(t.narrow(axis, 0, distance) for t in tensors)
        tails = combine(earlier, later)
        tensors = tuple(torch.cat(pair, dim=axis) for pair in zip(heads, tails))
        distance *= 2
    return tensors


def torch_scan(
    combine_fn: CombineFn,
    xs: torch.Tensor | Sequence[torch.Tensor],
    dim: int,
    reverse: bool = False,
    combine_mode: str = "pointwise",
) -> Any:
    """Scan as ``torch._higher_order_ops.associative_scan`` does, with its arguments."""
    if isinstance(xs, torch.Tensor):
        return associative_scan(combine_fn, xs, dim, reverse)

    kind: Any = type(xs)

    def combine(left: Tensors, right: Tensors) -> Tensors:
        return tuple(combine_fn(kind(left), kind(right)))

    return kind(associative_scan(combine, tuple(xs), dim, reverse))
