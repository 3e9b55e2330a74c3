"""Reductions of torch, and kernels that apply any of them to parts of a tensor.

Outputs are arguments, so that a reduction may give any dtype and any number of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

import helion
import helion.language as hl

Reduction = Callable[[torch.Tensor], tuple[torch.Tensor, ...]]

# ---- reductions ----

NORMS = (0, 1, 2, 3, 0.5, -1, math.inf, -math.inf)


def _vector_norm(order: float) -> Callable[..., torch.Tensor]:
    return lambda x, dim, keep: torch.linalg.vector_norm(x, order, dim, keep)


def _variance(function: Callable[..., Any], **choice: Any) -> Callable[..., Any]:
    return lambda x, dim, keep: function(x, dim, keepdim=keep, **choice)


REDUCTIONS: dict[str, Callable[[torch.Tensor, Any, bool], Any]] = {
    "sum": lambda x, dim, keep: x.sum(dim, keep),
    "sum_float32": lambda x, dim, keep: x.sum(dim, keep, dtype=torch.float32),
    "sum_float64": lambda x, dim, keep: x.sum(dim, keep, dtype=torch.float64),
    "sum_int32": lambda x, dim, keep: x.sum(dim, keep, dtype=torch.int32),
    "mean": lambda x, dim, keep: torch.mean(x, dim, keep),
    "mean_float64": lambda x, dim, keep: x.mean(dim, keep, dtype=torch.float64),
    "prod": lambda x, dim, keep: x.prod(dim, keep),
    "prod_float64": lambda x, dim, keep: x.prod(dim, keep, dtype=torch.float64),
    "amax": lambda x, dim, keep: x.amax(dim, keep),
    "amin": lambda x, dim, keep: torch.amin(x, dim, keep),
    "aminmax": lambda x, dim, keep: torch.aminmax(x, dim=dim, keepdim=keep),
    "max": lambda x, dim, keep: x.max(dim, keep),
    "min": lambda x, dim, keep: torch.min(x, dim, keep),
    "argmax": lambda x, dim, keep: x.argmax(dim, keep),
    "argmin": lambda x, dim, keep: torch.argmin(x, dim, keep),
    "any": lambda x, dim, keep: torch.any(x, dim, keep),
    "all": lambda x, dim, keep: x.all(dim, keep),
    "count_nonzero": lambda x, dim, keep: torch.count_nonzero(x, dim),
    "nansum": lambda x, dim, keep: torch.nansum(x, dim, keep),
    "nanmean": lambda x, dim, keep: torch.nanmean(x, dim, keep),
    "var": _variance(torch.var),
    "var_0": _variance(torch.var, correction=0),
    "var_2": _variance(torch.var, correction=2),
    "var_biased": _variance(torch.var, unbiased=False),
    "std": _variance(torch.std),
    "std_0": _variance(torch.std, correction=0),
    "var_mean": _variance(torch.var_mean),
    "var_mean_0": _variance(torch.var_mean, correction=0),
    "std_mean": _variance(torch.std_mean),
    "logsumexp": lambda x, dim, keep: torch.logsumexp(x, dim, keep),
    "softmax": lambda x, dim, keep: torch.softmax(x, dim),
    "log_softmax": lambda x, dim, keep: torch.log_softmax(x, dim),
    "normalize": lambda x, dim, keep: torch.nn.functional.normalize(x, dim=dim),
    "norm": lambda x, dim, keep: x.norm(dim=dim, keepdim=keep),
    "norm_1": lambda x, dim, keep: torch.norm(x, 1, dim, keep),
    "norm_fro": lambda x, dim, keep: torch.norm(x, "fro", dim, keep),
    **{f"vector_norm_{order}": _vector_norm(order) for order in NORMS},
}

ONE_DIM = frozenset(
    """max min argmax argmin aminmax prod prod_float64 softmax log_softmax
    normalize""".split()
)
"""Reductions that torch does over one dim only."""

MAPS = frozenset({"softmax", "log_softmax", "normalize"})
"""What keeps the shape, so that it is no reduction but made of one."""

REFUSED_WHEN_EMPTY = frozenset(
    """amax amin aminmax max min argmax argmin vector_norm_inf vector_norm_-inf
    vector_norm_-1""".split()
)
"""Reductions of nothing that have no result."""

METHODS = "sum mean prod max min argmax argmin any all var std norm".split()
WITHOUT = "without"
"""As a dim: call the method of the name, without arguments."""


def along(name: str, dim: Any, keep: bool = False) -> Reduction:
    """Return a reduction by its name, with a tuple as result."""

    def reduce(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if dim == WITHOUT:
            return _as_tuple(getattr(x, name)())
        return _as_tuple(REDUCTIONS[name](x, dim, keep))

    return reduce


def hl_sum(dim: int | None, keep: bool = False) -> Reduction:
    """Return a sum by ``hl.reduce``."""

    def reduce(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return _as_tuple(hl.reduce(torch.add, x, dim=dim, keep_dims=keep))

    return reduce


def _as_tuple(found: Any) -> tuple[torch.Tensor, ...]:
    return (found,) if isinstance(found, torch.Tensor) else tuple(found)


# ---- kernels ----


@helion.kernel
def of_tiles(
    x: torch.Tensor, reduction: Reduction, outs: Sequence[torch.Tensor]
) -> Sequence[torch.Tensor]:
    """Reduce ``x[tile, ...]`` over dims other than the first."""
    for tile in hl.tile(x.size(0)):
        for out, value in zip(outs, reduction(x[tile, ...])):
            out[tile, ...] = value
    return outs


@helion.kernel
def of_columns(
    x: torch.Tensor, reduction: Reduction, outs: Sequence[torch.Tensor]
) -> Sequence[torch.Tensor]:
    """Reduce ``x[..., tile]`` over dims other than the last."""
    for tile in hl.tile(x.size(-1)):
        for out, value in zip(outs, reduction(x[..., tile])):
            out[..., tile] = value
    return outs


@helion.kernel
def of_items(
    x: torch.Tensor, reduction: Reduction, outs: Sequence[torch.Tensor]
) -> Sequence[torch.Tensor]:
    """Reduce each ``x[i]``, which has one dim less."""
    for item in hl.grid(x.size(0)):
        for out, value in zip(outs, reduction(x[item, ...])):
            out[item, ...] = value
    return outs


def per_item(reduction: Reduction) -> Reduction:
    """Return what ``of_items`` computes with a reduction."""

    def reduce(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rows = [reduction(item) for item in x]
        return tuple(torch.stack(parts) for parts in zip(*rows, strict=True))

    return reduce


def poisoned_like(values: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return outputs full of what no test expects."""
    return [
        torch.full_like(
            value,
            math.nan
            if value.is_floating_point()
            else value.dtype == torch.bool or torch.iinfo(value.dtype).max - 1,
        )
        for value in values
    ]


@helion.kernel
def two_pass_variance(
    x: torch.Tensor, out: torch.Tensor, correction: int
) -> torch.Tensor:
    """Walk each row twice: for its mean, and for the squares about it."""
    for row in hl.tile(x.size(0)):
        total = hl.zeros([row])
        for column in hl.tile(x.size(1)):
            total += x[row, column].sum(1)
        mean = total / x.size(1)
        squares = hl.zeros([row])
        for column in hl.tile(x.size(1)):
            squares += ((x[row, column] - mean[:, None]) ** 2).sum(1)
        out[row] = squares / (x.size(1) - correction)
    return out
