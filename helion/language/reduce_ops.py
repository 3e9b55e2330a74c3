"""Reductions with a combine function of the user: hl.reduce."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch

from .. import exc
from . import _decorators

Tensors = tuple[torch.Tensor, ...]
TensorOrTuple = torch.Tensor | Tensors
CombineFn = Callable[..., Any]
Fill = int | float | bool


@_decorators.api(is_device_only=True)
def reduce(
    combine_fn: CombineFn,
    input_tensor: TensorOrTuple,
    dim: int | None = None,
    other: Fill | Sequence[Fill] = 0,
    keep_dims: bool = False,
) -> TensorOrTuple:
    """Reduce one dim, or all, with an associative and commutative function.

    Args:
        combine_fn: takes two scalars and returns one. For a tuple of N tensors it takes
            two tuples, or N left and then N right scalars, and returns a tuple of N.
        input_tensor: a tensor, or a tuple of tensors of one shape.
        dim: the dim that is reduced (negative counts from the end); None reduces all.
        other: what masked lanes hold, so pass the identity of ``combine_fn``; a tuple
            for a tuple of tensors. It is also the result over no elements.
        keep_dims: keep the reduced dims with size 1.

    Returns:
        A tensor or a tuple of tensors with the dtypes of the inputs.

    Raises:
        exc.TypeInferenceError: ``combine_fn`` cannot be called.
        ValueError: ``other`` has another length than the tuple.
        IndexError: ``dim`` is out of range.

    Example::

        peak = hl.reduce(torch.maximum, x[i, :], dim=1, other=float("-inf"))
    """
    tensors = as_tuple(input_tensor)
    fills = fill_values(other, len(tensors))
    is_tuple = isinstance(input_tensor, tuple)
    rank = tensors[0].ndim
    if dim is None:
        flat, axis = tuple(t.reshape(-1) for t in tensors), 0
    else:
        flat, axis = tensors, wrap_dim(dim, rank)
    combine = combine_rule(combine_fn, is_tuple)
    result = _reduce_pairs(combine, flat, axis, fills)
    if keep_dims:
        result = tuple(_kept_dims(t, dim, rank) for t in result)
    return result if is_tuple else result[0]


def as_tuple(value: TensorOrTuple) -> Tensors:
    """Return the tensors of a reduction or scan as a tuple.

    Raises:
        TypeError: ``value`` is neither a tensor nor a tuple of tensors.
        exc.ShapeMismatch: the shapes of the tuple differ.
    """
    tensors = value if isinstance(value, tuple) else (value,)
    if not tensors or not all(isinstance(t, torch.Tensor) for t in tensors):
        raise TypeError(f"a tensor or a tuple of tensors is needed, not {value!r}")
    for tensor in tensors[1:]:
        if tensor.shape != tensors[0].shape:
            raise exc.ShapeMismatch(
                left=tuple(tensors[0].shape), right=tuple(tensor.shape)
            )
    return tensors


def fill_values(other: Fill | Sequence[Fill], count: int) -> list[Fill]:
    """Return the fill of each of ``count`` tensors; one number counts for all.

    Raises:
        ValueError: ``other`` is a sequence of another length.
    """
    if not isinstance(other, (list, tuple)):
        return [other] * count  # pyright: ignore[reportReturnType] no sequence
    if len(other) != count:
        raise ValueError(f"other has {len(other)} values for {count} tensors")
    return list(other)


def wrap_dim(dim: int, rank: int) -> int:
    """Return ``dim`` counted from the front.

    Raises:
        TypeError: it is no int.
        IndexError: it is out of range.
    """
    if not isinstance(dim, int) or isinstance(dim, bool):
        raise TypeError(f"dim is {dim!r}, but must be one int")
    if not -max(rank, 1) <= dim < max(rank, 1):
        raise IndexError(f"dim {dim} is out of range for a tensor of rank {rank}")
    return dim % max(rank, 1)


def takes_tuples(combine_fn: CombineFn, count: int) -> bool:
    """Return whether a combine function of ``count`` tensors takes two tuples."""
    try:
        parameters = inspect.signature(combine_fn).parameters.values()
    except (TypeError, ValueError):
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds for p in parameters) == 2 or count == 1


def plain_function(combine_fn: object) -> CombineFn:
    """Return the Python function of a kernel object, or the function itself.

    Raises:
        exc.TypeInferenceError: it cannot be called.
    """
    if not callable(combine_fn):
        raise exc.TypeInferenceError(
            f"the combine function is {combine_fn!r}, which cannot be called"
        )
    return getattr(combine_fn, "fn", combine_fn)


def combine_rule(
    combine_fn: object, is_tuple: bool
) -> Callable[[Tensors, Tensors], Tensors]:
    """Return ``combine_fn`` as a function of two tuples that keeps the dtypes."""
    function = plain_function(combine_fn)

    def combine(left: Tensors, right: Tensors) -> Tensors:
        if not is_tuple:
            result = (function(left[0], right[0]),)
        elif takes_tuples(function, len(left)):
            result = function(left, right)
        else:
            result = function(*left, *right)
        if not _are_scalars(result, len(left)):
            raise exc.TypeInferenceError(
                f"the combine function must return one scalar for each of "
                f"{len(left)} tensor(s)"
            )
        return tuple(
            torch.as_tensor(new).to(old.dtype) for new, old in zip(result, left)
        )

    return combine


def _are_scalars(result: object, count: int) -> bool:
    """Return whether a combine function gave a value for each of its tensors."""
    if not isinstance(result, (list, tuple)) or len(result) != count:
        return False
    return all(isinstance(value, (torch.Tensor, int, float)) for value in result)


def _reduce_pairs(
    combine: Callable[[Tensors, Tensors], Tensors],
    tensors: Tensors,
    axis: int,
    fills: list[Fill],
) -> Tensors:
    """Combine neighbours, in order, until one element is left along ``axis``."""
    if tensors[0].ndim == 0:
        return tensors
    if tensors[0].shape[axis] == 0:
        return tuple(
            torch.full_like(t.sum(axis), fill, dtype=t.dtype)
            for t, fill in zip(tensors, fills)
        )
    while (size := tensors[0].shape[axis]) > 1:
        left = tuple(_every_second(t, axis, 0, size // 2) for t in tensors)
        right = tuple(_every_second(t, axis, 1, size // 2) for t in tensors)
        paired = combine(left, right)
        if size % 2:
            last = tuple(t.narrow(axis, size - 1, 1) for t in tensors)
            paired = tuple(torch.cat(pair, dim=axis) for pair in zip(paired, last))
        tensors = paired
    return tuple(t.squeeze(axis) for t in tensors)


def _kept_dims(result: torch.Tensor, dim: int | None, rank: int) -> torch.Tensor:
    if dim is None or rank == 0:
        return result.reshape([1] * rank)
    return result.unsqueeze(wrap_dim(dim, rank))


def _every_second(
    tensor: torch.Tensor, axis: int, start: int, count: int
) -> torch.Tensor:
    positions = torch.arange(start, 2 * count, 2, device=tensor.device)
    return tensor.index_select(axis, positions)
