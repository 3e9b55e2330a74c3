"""Running extrema and log-sums of ATen, as scans with combine functions of our own."""

from __future__ import annotations

from typing import Any

import torch

from ..language import scan_ops
from .aten_decompositions import (
    _dims,  # pyright: ignore[reportPrivateUsage] one rule for dims
    compute_dtype,
    decomposes,
)

aten = torch.ops.aten
Pair = tuple[torch.Tensor, torch.Tensor]


def _later_largest(
    a: torch.Tensor, i: torch.Tensor, b: torch.Tensor, j: torch.Tensor
) -> Pair:
    """Return the larger of two values with its place; NaN wins, then the later one."""
    is_later = (b != b) | ((a == a) & (b >= a))
    return torch.where(is_later, b, a), torch.where(is_later, j, i)


def _later_smallest(
    a: torch.Tensor, i: torch.Tensor, b: torch.Tensor, j: torch.Tensor
) -> Pair:
    """Return the smaller of two values with its place; NaN wins, then the later one."""
    is_later = (b != b) | ((a == a) & (b <= a))
    return torch.where(is_later, b, a), torch.where(is_later, j, i)


def _log_sum(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return ``log(exp(a) + exp(b))``; equal infinities give themselves."""
    peak, low = torch.maximum(a, b), torch.minimum(a, b)
    gap = torch.where(low == peak, 0.0, low - peak)
    return peak + torch.log1p(torch.exp(gap))


def _running(combine: Any, x: torch.Tensor, dim: int) -> Pair:
    dims = _dims(x, dim)
    if not dims:
        return x, torch.zeros_like(x, dtype=torch.int64)
    shape = [1] * x.dim()
    shape[dims[0]] = x.shape[dims[0]]
    lanes = aten.arange.default(x.shape[dims[0]], device=x.device)
    places = lanes.to(torch.int32).reshape(shape).expand(x.shape)
    is_bool = x.dtype == torch.bool
    pair = (x.to(torch.int8) if is_bool else x, places)
    values, indices = scan_ops.associative_scan(combine, pair, dims[0])
    return values.to(x.dtype), indices.to(torch.int64)


@decomposes(aten.cummax.default)
def cummax(x: torch.Tensor, dim: int) -> Pair:
    return _running(_later_largest, x, dim)


@decomposes(aten.cummin.default)
def cummin(x: torch.Tensor, dim: int) -> Pair:
    return _running(_later_smallest, x, dim)


@decomposes(aten.logcumsumexp.default)
def logcumsumexp(x: torch.Tensor, dim: int) -> torch.Tensor:
    dims = _dims(x, dim)
    if not dims:
        return x
    value = x.to(compute_dtype(x.dtype))
    result = scan_ops.associative_scan(_log_sum, value, dims[0])
    assert isinstance(result, torch.Tensor), "one tensor gives one"
    return result.to(x.dtype)
