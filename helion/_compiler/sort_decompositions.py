"""Sorts, order statistics and running extrema of ATen in terms of language ops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from ..language import sort_ops
from . import symbols
from .aten_decompositions import (
    _count,  # pyright: ignore[reportPrivateUsage] one rule for true lengths
    _dims,  # pyright: ignore[reportPrivateUsage] one rule for dims
    decomposes,
)
from .error_text import describe
from .op_registry import active_tracer

if TYPE_CHECKING:
    from collections.abc import Callable

aten = torch.ops.aten
Pair = tuple[torch.Tensor, torch.Tensor]


def _last(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Return a value with ``dim`` as the last one."""
    return x if dim == x.dim() - 1 else x.movedim(dim, -1)


def _back(pair: Pair, dim: int) -> Pair:
    values, indices = pair
    if dim == values.dim() - 1:
        return pair
    return values.movedim(-1, dim), indices.movedim(-1, dim)


def _along(x: torch.Tensor, dim: int, order: Callable[[torch.Tensor], Pair]) -> Pair:
    """Apply a sort of the last dim to another one; bools are sorted as numbers."""
    dims = _dims(x, dim)
    if not dims:
        return x, torch.zeros_like(x, dtype=torch.int64)
    is_bool = x.dtype == torch.bool
    value = _last(x.to(torch.int8) if is_bool else x, dims[0])
    values, indices = _back(order(value), dims[0])
    return values.to(torch.bool) if is_bool else values, indices


@decomposes(aten.sort.default)
def sort(x: torch.Tensor, dim: int = -1, descending: bool = False) -> Pair:
    return sort_stable(x, stable=True, dim=dim, descending=descending)


@decomposes(aten.sort.stable)
def sort_stable(
    x: torch.Tensor, *, stable: Any = None, dim: int = -1, descending: bool = False
) -> Pair:
    def order(value: torch.Tensor) -> Pair:
        if value.shape[-1] in (0, 1):
            return value, torch.zeros_like(value, dtype=torch.int64)
        return sort_ops.sort_last(value, descending)

    return _along(x, dim, order)


@decomposes(aten.topk.default)
def topk(
    x: torch.Tensor,
    k: Any,
    dim: int = -1,
    largest: bool = True,
    sorted: bool = True,
) -> Pair:
    """The result is sorted even where it need not be."""
    count = symbols.static_int(k)
    if count is None:
        raise exc.TypeInferenceError(
            f"topk: k is {describe(k)}, but must be known when compiling",
            hint="use hl.specialize, or annotate the argument with hl.constexpr",
        )
    _check_place("topk", x, dim, count, 0)

    def order(value: torch.Tensor) -> Pair:
        if count == 0 or value.shape[-1] == 1:
            part = value if count else value.new_empty([*value.shape[:-1], 0])
            return part, torch.zeros_like(part, dtype=torch.int64)
        return sort_ops.first_sorted(value, count, largest)

    return _along(x, dim, order)


def _check_place(name: str, x: torch.Tensor, dim: int, k: int, least: int) -> None:
    """Refuse a ``k`` that no element of a dim has."""
    dims = _dims(x, dim)
    tracer: Any = active_tracer()
    size = tracer.env.size_of(x.shape[dims[0]]) if dims else 1
    known = symbols.static_int(size)
    if k < least or (known is not None and k > known):
        raise exc.TorchOpTracingError(
            f"{name}: k is {k}, but the dim has {size if known is None else known} "
            "elements"
        )


# -- order statistics ------------------------------------------------------------------


@decomposes(aten.kthvalue.default)
def kthvalue(x: torch.Tensor, k: Any, dim: int = -1, keepdim: bool = False) -> Pair:
    known = symbols.static_int(k)
    if known is not None:
        _check_place("kthvalue", x, dim, known, 1)
    return _at_place(x, dim, keepdim, lambda value: k - 1)


@decomposes(aten.median.dim)
def median_dim(x: torch.Tensor, dim: int, keepdim: bool = False) -> Pair:
    """The lower of two middles; the first NaN if there is one."""
    return _at_place(x, dim, keepdim, lambda value: _middle(value, [value.dim() - 1]))


@decomposes(aten.nanmedian.dim)
def nanmedian_dim(x: torch.Tensor, dim: int, keepdim: bool = False) -> Pair:
    def place(value: torch.Tensor) -> Any:
        return _middle(value, [value.dim() - 1], skips_nan=True)

    return _at_place(x, dim, keepdim, place)


def _middle(x: torch.Tensor, dims: list[int], skips_nan: bool = False) -> Any:
    """Return where in the order of its elements the median stands."""
    count = _count(x, dims)
    if not x.dtype.is_floating_point:
        return (count - 1) // 2
    nans = aten.sum.dim_IntList(x.isnan().to(torch.int32), dims, False)
    if skips_nan:
        return ((count - nans - 1) // 2).clamp(min=0)
    return torch.where(nans > 0, count - nans, (count - 1) // 2)


def _at_place(
    x: torch.Tensor, dim: int, keepdim: bool, place: Callable[[torch.Tensor], Any]
) -> Pair:
    """Return the element at a place of the order along a dim, and where it was."""

    def order(value: torch.Tensor) -> Pair:
        last = value.dim() - 1
        where = place(value)
        if isinstance(where, torch.Tensor):
            where = where.unsqueeze(-1)
        values, indices = sort_stable(value)
        lanes = aten.arange.default(value.shape[-1], device=value.device)
        # Extrema keep the sign of zero, which sums do not.
        info = torch.finfo if value.dtype.is_floating_point else torch.iinfo
        lowest = -float("inf") if info is torch.finfo else info(value.dtype).min
        chosen = torch.where(lanes == where, values, lowest)
        index = torch.where(lanes == where, indices, 0)
        found = aten.amax.default(chosen.to(value.dtype), [last], True)
        return found, aten.sum.dim_IntList(index, [last], True)

    values, indices = _along(x, dim, order)
    if keepdim or not x.dim():
        return values, indices
    return values.squeeze(dim), indices.squeeze(dim)


@decomposes(aten.median.default)
def median(x: torch.Tensor) -> torch.Tensor:
    return _median_of_all(x, skips_nan=False)


@decomposes(aten.nanmedian.default)
def nanmedian(x: torch.Tensor) -> torch.Tensor:
    return _median_of_all(x, skips_nan=True)


def _median_of_all(x: torch.Tensor, skips_nan: bool) -> torch.Tensor:
    if x.dim() == 0:
        return x
    if 0 in x.shape and x.dtype.is_floating_point:
        return torch.full([], float("nan"), dtype=x.dtype, device=x.device)
    place = _middle(x, list(range(x.dim())), skips_nan)
    if not isinstance(place, torch.Tensor):
        place = torch.full([], 0, dtype=torch.int64, device=x.device) + place
    return sort_ops.kth_of_all(x, place)
