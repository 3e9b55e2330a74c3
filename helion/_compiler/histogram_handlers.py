"""``torch.histc`` and ``torch.bincount`` of device values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from ..language.histogram_ops import count_in_range, count_values
from . import symbols
from .error_text import describe
from .function_modes import DEVICE_HANDLERS, handles, scalar_to_tensor

if TYPE_CHECKING:
    from .graph_tracer import GraphTracer

aten = torch.ops.aten

MAX_BINS = 4096
"""Each thread holds 1/32 of the counters of its warp, in code without loops."""


@handles(DEVICE_HANDLERS, torch.histc, torch.Tensor.histc)
def device_histc(
    tracer: GraphTracer,
    value: torch.Tensor,
    bins: Any = 100,
    min: Any = 0,
    max: Any = 0,
) -> torch.Tensor:
    """Count in float32, or in float64 for values of it."""
    _check_device_value(tracer, "histc", value)
    if not value.dtype.is_floating_point:
        raise exc.TorchOpTracingError(
            f"histc of {value.dtype} is not defined; convert to a float dtype first, "
            "or use torch.bincount"
        )
    count = _size("histc", "bins", bins)
    wide = torch.float64 if value.dtype == torch.float64 else torch.float32
    if 0 in value.shape:
        return torch.zeros([count], dtype=value.dtype, device=value.device)
    found = value.to(wide)
    low, high = _range(tracer, found, min, max)
    if count == 1:
        is_inside = (found >= low) & (found <= high)
        return is_inside.sum().to(value.dtype).reshape([1])
    return count_in_range(found, count, low, high).to(value.dtype)


def _range(tracer: GraphTracer, value: torch.Tensor, low: Any, high: Any) -> Any:
    """Return the ends of the range; equal numbers ask for that of the data."""
    for end in (low, high):
        if isinstance(end, (int, float)) and not math.isfinite(end):
            raise exc.TorchOpTracingError(
                f"histc: the range [{low}, {high}] has no end"
            )
    if isinstance(low, (int, float)) and isinstance(high, (int, float)):
        if low > high:
            raise exc.TorchOpTracingError(
                f"histc: max is {high}, but min is {low}; max must be larger than min"
            )
        if low == high:
            dims = list(range(value.dim()))
            return _spread(*(f(value, dims) for f in (aten.amin, aten.amax)))
        return float(low), float(high)
    return scalar_to_tensor(tracer, low), scalar_to_tensor(tracer, high)


def _spread(low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a range that is not empty, where all values are the same."""
    is_empty = low == high
    return torch.where(is_empty, low - 1, low), torch.where(is_empty, high + 1, high)


@handles(DEVICE_HANDLERS, torch.bincount, torch.Tensor.bincount)
def device_bincount(
    tracer: GraphTracer, value: torch.Tensor, weights: Any = None, minlength: Any = 0
) -> torch.Tensor:
    """There are ``minlength`` counters; what has none is not counted."""
    _check_device_value(tracer, "bincount", value)
    if weights is not None:
        raise exc.TorchOpTracingError(
            "bincount with weights in a device loop; use hl.atomic_add"
        )
    if value.dtype.is_floating_point or value.dtype == torch.bool:
        raise exc.TorchOpTracingError(
            f"bincount of {value.dtype} is not defined; convert to an integer dtype"
        )
    if isinstance(minlength, int) and not minlength:
        raise exc.DataDependentOutputShapeNotSupported(
            op="bincount", hint="give minlength: there are as many counters on device"
        )
    count = _size("bincount", "minlength", minlength)
    if 0 in value.shape:
        return torch.zeros([count], dtype=torch.int64, device=value.device)
    if count == 1:
        return (value == 0).sum().reshape([1])
    return count_values(value, count).to(torch.int64)


def _check_device_value(tracer: GraphTracer, name: str, value: torch.Tensor) -> None:
    if tracer.env.host_origin(value) is not None:
        raise exc.TorchOpTracingError(
            f"{name} of a host tensor; count a tile of it: x[tile].{name}(...)"
        )


def _size(name: str, argument: str, given: Any) -> int:
    """Return how many counters are asked for."""
    count = symbols.static_int(given)
    if count is None:
        raise exc.TypeInferenceError(
            f"{name}: {argument} is {describe(given)}, but must be known when "
            "compiling",
            hint="use hl.specialize, or annotate the argument with hl.constexpr",
        )
    if not 1 <= count <= MAX_BINS:
        raise exc.TorchOpTracingError(
            f"{name}: {argument} is {count}, but must be 1 to {MAX_BINS}; for more, "
            "use hl.atomic_add at computed places"
        )
    return count
