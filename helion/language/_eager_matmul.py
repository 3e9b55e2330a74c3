"""Eager matrix products: wide accumulation and mixed dtypes, on any device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

_WIDE = (torch.float32, torch.float64)


def compute_dtype(*dtypes: torch.dtype) -> torch.dtype:
    """Return the dtype in which operands of these dtypes are multiplied and summed."""
    if torch.float64 in dtypes:
        return torch.float64
    if all(not dtype.is_floating_point for dtype in dtypes):
        return torch.int32
    return torch.float32


def product(
    left: torch.Tensor, right: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """Return ``left @ right`` computed and returned in ``dtype``."""
    return torch.matmul(left.to(dtype), right.to(dtype))


def _is_native(*operands: torch.Tensor) -> bool:
    """Return whether torch multiplies these operands as the language means it."""
    first = operands[0].dtype
    is_exact = first in _WIDE or not first.is_floating_point
    return is_exact and all(operand.dtype == first for operand in operands)


def _widened(function: Callable[..., torch.Tensor]) -> Callable[..., Any]:
    """Return ``function(a, b)`` accumulating wide; the result has a's dtype."""

    def handler(left: Any, right: Any, **kwargs: Any) -> Any:
        if kwargs or not _are_tensors(left, right) or _is_native(left, right):
            return function(left, right, **kwargs)
        wide = compute_dtype(left.dtype, right.dtype)
        return function(left.to(wide), right.to(wide)).to(left.dtype)

    return handler


def _widened_add(function: Callable[..., torch.Tensor]) -> Callable[..., Any]:
    """Return ``function(acc, a, b)`` accumulating wide; the result has acc's dtype."""

    def handler(acc: Any, left: Any, right: Any, **kwargs: Any) -> Any:
        is_scaling = kwargs.keys() <= {"alpha", "beta"}
        if not is_scaling or not _are_tensors(acc, left, right):
            return function(acc, left, right, **kwargs)
        if _is_native(acc, left, right):
            return function(acc, left, right, **kwargs)
        wide = compute_dtype(acc.dtype, left.dtype, right.dtype)
        operands = (acc.to(wide), left.to(wide), right.to(wide))
        return function(*operands, **kwargs).to(acc.dtype)

    return handler


def _are_tensors(*operands: object) -> bool:
    return all(isinstance(operand, torch.Tensor) for operand in operands)


MATMUL_HANDLERS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.mm: _widened(torch.mm),
    torch.Tensor.mm: _widened(torch.mm),
    torch.bmm: _widened(torch.bmm),
    torch.Tensor.bmm: _widened(torch.bmm),
    torch.matmul: _widened(torch.matmul),
    torch.Tensor.matmul: _widened(torch.matmul),
    torch.addmm: _widened_add(torch.addmm),
    torch.Tensor.addmm: _widened_add(torch.addmm),
    torch.baddbmm: _widened_add(torch.baddbmm),
    torch.Tensor.baddbmm: _widened_add(torch.baddbmm),
}
