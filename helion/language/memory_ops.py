"""Reading and writing tensors: hl.load, hl.store and hl.subscript."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .. import exc
from . import _decorators
from ._eager import is_loaded, mark_loaded
from ._eager_axes import note_load
from ._eager_indexing import Selection, fit_mask, native, select
from .stack_ops import StackTensor, stack_load, stack_store

if TYPE_CHECKING:
    from collections.abc import Sequence


@_decorators.api(is_device_only=True)
def load(
    tensor: torch.Tensor | StackTensor,
    index: Sequence[object],
    extra_mask: torch.Tensor | None = None,
    eviction_policy: str | None = None,
) -> torch.Tensor:
    """Return a copy of ``tensor[index]``; masked lanes hold 0 and are never read.

    Every 1-D index (tile, slice, integer tensor) gives the result a dim of its own, so
    several of them form a grid. Integer tensors of two or more dims broadcast together,
    and ints and 0-d tensors drop the dim. The result has the dtype of ``tensor``.

    Args:
        tensor: a host tensor or a stack tensor.
        index: one element for each dim; ``[]`` for a 0-d tensor.
        extra_mask: bools that broadcast to the result; False lanes are masked too.
        eviction_policy: ``"evict_first"``, ``"evict_last"`` or None, a cache hint.

    Raises:
        exc.RankMismatch: the index has too few or too many elements.
        exc.InvalidIndexingType: an element cannot be an index.
        exc.ShapeMismatch: the mask does not broadcast to the result.

    Example::

        row = hl.load(x, [i, tile], extra_mask=tile.index < length)
    """
    if isinstance(tensor, StackTensor):
        return stack_load(tensor, _sequence(index), extra_mask)
    result = select(tensor, _sequence(index), is_padded=False).read()
    if extra_mask is not None:
        lanes = fit_mask(extra_mask, tuple(result.shape))
        result = torch.where(lanes, result, torch.zeros_like(result))
    return note_load(mark_loaded(result), tensor, index)


@_decorators.api(is_device_only=True, impure=True)
def store(
    tensor: torch.Tensor | StackTensor,
    index: Sequence[object],
    value: torch.Tensor | bool | float,
    extra_mask: torch.Tensor | None = None,
) -> None:
    """Do ``tensor[index] = value``; masked lanes are not written.

    Args:
        tensor: a host tensor or a stack tensor.
        index: as in :func:`load`.
        value: a number, a 0-d tensor, or a tensor that broadcasts to the selection and
            has its rank (leading dims of size 1 aside); cast to the tensor's dtype.
        extra_mask: bools that broadcast to the selection; False lanes are masked.

    Raises:
        exc.RankMismatch: the index or the value has another rank.
        exc.ShapeMismatch: the value or the mask does not broadcast to the selection.
        exc.DuplicateStoreIndicesError: (eager) a masked store names an element twice.
    """
    if isinstance(tensor, StackTensor):
        stack_store(tensor, _sequence(index), value, extra_mask)
        return
    if is_loaded(tensor):
        raise exc.DeviceTensorSubscriptAssignmentNotAllowed(name="a loaded tensor")
    selection = select(tensor, _sequence(index), is_padded=False)
    if extra_mask is None:
        selection.write(value)
        return
    lanes = fit_mask(extra_mask, selection.shape)
    _check_duplicates(selection, lanes)
    selection.write(value, lanes)


@_decorators.api(is_device_only=True, tiles_as_sizes=True)
def subscript(tensor: torch.Tensor, index: Sequence[object]) -> torch.Tensor:
    """Return ``tensor[index]`` for a device value: new dims and whole dims only.

    Args:
        tensor: a value computed or loaded in the loop.
        index: ``None`` (a new dim of size 1) and ``:``; missing elements are ``:``.

    Raises:
        exc.InvalidIndexingType: any other element.
    """
    for element in _sequence(index):
        if element is not None and element != slice(None):
            raise exc.InvalidIndexingType(index=repr(element))
    with native():
        return tensor[tuple(index)].clone()  # pyright: ignore[reportArgumentType] plain


def _sequence(index: object) -> Sequence[object]:
    if not isinstance(index, (list, tuple)):
        raise exc.InvalidIndexingType(index=f"{index!r}, not in a list,")
    return index


def _check_duplicates(selection: Selection, lanes: torch.Tensor) -> None:
    if not selection.has_tensor_index():
        return
    elements = selection.linear(lanes & selection.valid())
    if elements.unique().numel() < elements.numel():
        raise exc.DuplicateStoreIndicesError(
            "a masked hl.store writes an element twice, so its value is undefined; "
            "use hl.atomic_add or hl.atomic_xchg"
        )
