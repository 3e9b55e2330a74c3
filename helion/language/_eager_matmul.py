"""Eager matrix products: wide accumulation and mixed dtypes, on any device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .product_dtypes import addmm_dtype

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
    if dtype == torch.int32 and left.is_cuda:
        # Torch has no integer products there; those of bytes are exact in float64.
        return torch.matmul(left.double(), right.double()).to(dtype)
    return torch.matmul(left.to(dtype), right.to(dtype))


def _is_native(*operands: torch.Tensor) -> bool:
    """Return whether torch multiplies these operands as the language means it."""
    first = operands[0].dtype
    is_exact = first in _WIDE or not first.is_floating_point
    return is_exact and all(operand.dtype == first for operand in operands)


def _factor_dtype(*dtypes: torch.dtype) -> torch.dtype:
    """Return a dtype that holds products of all; integers of any width stay exact."""
    wide = compute_dtype(*dtypes)
    return torch.int64 if wide == torch.int32 else wide


def _widened(function: Callable[..., torch.Tensor]) -> Callable[..., Any]:
    """Return ``function(a, b)`` accumulating wide; the result has a's dtype."""

    def handler(left: Any, right: Any, **kwargs: Any) -> Any:
        if kwargs or not _are_tensors(left, right) or _is_native(left, right):
            return function(left, right, **kwargs)
        wide = _factor_dtype(left.dtype, right.dtype)
        return function(left.to(wide), right.to(wide)).to(left.dtype)

    return handler


def _widened_add(function: Callable[..., torch.Tensor]) -> Callable[..., Any]:
    """Return ``function(acc, a, b)`` accumulating wide; see ``addmm_dtype``."""

    def handler(acc: Any, left: Any, right: Any, **kwargs: Any) -> Any:
        is_scaling = kwargs.keys() <= {"alpha", "beta"}
        if not is_scaling or not _are_tensors(acc, left, right):
            return function(acc, left, right, **kwargs)
        if _is_native(acc, left, right):
            return function(acc, left, right, **kwargs)
        dtypes = (acc.dtype, left.dtype, right.dtype)
        wide = _factor_dtype(*dtypes)
        operands = (acc.to(wide), left.to(wide), right.to(wide))
        return function(*operands, **kwargs).to(addmm_dtype(*dtypes))

    return handler


def _linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """``input @ weight.T + bias``, rounded once to the dtype of ``input``."""
    given = [input, weight] if bias is None else [input, weight, bias]
    if not _are_tensors(*given) or _is_native(*given):
        return torch.nn.functional.linear(input, weight, bias)
    wide = _factor_dtype(*(operand.dtype for operand in given))
    operands = [operand.to(wide) for operand in given]
    return torch.nn.functional.linear(*operands).to(input.dtype)


def _are_tensors(*operands: object) -> bool:
    return all(isinstance(operand, torch.Tensor) for operand in operands)


def _table(
    widen: Callable[[Callable[..., torch.Tensor]], Callable[..., Any]], *names: str
) -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return handlers of torch functions and of the methods of the same names."""
    handlers: dict[Callable[..., Any], Callable[..., Any]] = {}
    for name in names:
        handler = widen(getattr(torch, name))
        handlers[getattr(torch, name)] = handlers[getattr(torch.Tensor, name)] = handler
    return handlers


MATMUL_HANDLERS: dict[Callable[..., Any], Callable[..., Any]] = {
    **_table(_widened, "mm", "bmm", "matmul", "mv", "dot", "vdot", "inner"),
    **_table(_widened_add, "addmm", "baddbmm", "addmv", "addr", "addbmm"),
    torch.linalg.matmul: _widened(torch.matmul),
    torch.Tensor.__matmul__: _widened(torch.matmul),
    torch.nn.functional.linear: _linear,
}
