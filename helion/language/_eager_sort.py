"""Eager sorts: stable, as on device, where torch leaves the order of equals open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


def _sort(
    x: torch.Tensor,
    dim: int = -1,
    descending: bool = False,
    stable: bool | None = None,
    **kwargs: Any,
) -> Any:
    return torch.sort(x, dim=dim, descending=descending, stable=True, **kwargs)


def _argsort(
    x: torch.Tensor,
    dim: int = -1,
    descending: bool = False,
    stable: bool = False,
) -> torch.Tensor:
    return _sort(x, dim, descending).indices


def _msort(x: torch.Tensor) -> torch.Tensor:
    return _sort(x, 0).values


def _topk(
    x: torch.Tensor,
    k: int,
    dim: int = -1,
    largest: bool = True,
    sorted: bool = True,
) -> Any:
    size = x.shape[dim] if x.ndim else 1
    if not 0 <= k <= size:
        raise RuntimeError(f"topk: k is {k}, but the dim has {size} elements")
    values, indices = _sort(x, dim, largest)
    if x.ndim:
        values, indices = values.narrow(dim, 0, k), indices.narrow(dim, 0, k)
    return torch.return_types.topk((values.contiguous(), indices.contiguous()))


def _kthvalue(x: torch.Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    pair = _at_place(x, torch.tensor(k - 1, device=x.device), dim, keepdim)
    return torch.return_types.kthvalue(pair)


def _median(*args: Any, **kwargs: Any) -> Any:
    return _middle(torch.median, torch.return_types.median, False, *args, **kwargs)


def _nanmedian(*args: Any, **kwargs: Any) -> Any:
    kind = torch.return_types.nanmedian
    return _middle(torch.nanmedian, kind, True, *args, **kwargs)


def _middle(
    native: Callable[..., Any],
    kind: Callable[..., Any],
    skips_nan: bool,
    x: torch.Tensor,
    dim: int | None = None,
    keepdim: bool = False,
) -> Any:
    if dim is None:
        return native(x)
    count = x.shape[dim] if x.ndim else 1
    nans = x.isnan().sum(dim, keepdim=True)
    place = torch.where(nans > 0, count - nans, (count - 1) // 2)
    if skips_nan:
        place = ((count - nans - 1) // 2).clamp(min=0)
    return kind(_at_place(x, place, dim, keepdim))


def _at_place(
    x: torch.Tensor, place: torch.Tensor, dim: int, keepdim: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the elements at places of the stable order along a dim."""
    if not x.ndim:
        return x.clone(), torch.zeros_like(x, dtype=torch.int64)
    values, indices = _sort(x, dim)
    shape = list(x.shape)
    shape[dim] = 1
    place = place.expand(shape)
    found = values.gather(dim, place), indices.gather(dim, place)
    if keepdim:
        return found
    return found[0].squeeze(dim), found[1].squeeze(dim)


SORT_HANDLERS: dict[Callable[..., Any], Callable[..., Any]] = {
    function: handler
    for name, handler in {
        "sort": _sort,
        "argsort": _argsort,
        "msort": _msort,
        "topk": _topk,
        "kthvalue": _kthvalue,
        "median": _median,
        "nanmedian": _nanmedian,
    }.items()
    for function in (getattr(torch, name), getattr(torch.Tensor, name))
}
