"""Functions of torch's Python API that ask for values, or for memory, on their way."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .aten_lookups import searchsorted, searchsorted_number
from .device_views import whole_length, wrap
from .function_modes import DEVICE_HANDLERS, handles, scalar_to_tensor
from .value_slices import device_select

if TYPE_CHECKING:
    from .graph_tracer import GraphTracer

functional = torch.nn.functional
_arange = DEVICE_HANDLERS[torch.arange]


@handles(DEVICE_HANDLERS, torch.arange)
def device_arange(tracer: GraphTracer, *args: Any, **kwargs: Any) -> Any:
    """A range of floats is one of integers, scaled."""
    bounds = _range_bounds(args, kwargs)
    if bounds is None:
        return _arange(tracer, *args, **kwargs)
    start, end, step = bounds
    if step == 0 or (end - start) / step < 0:
        raise exc.TorchOpTracingError("torch.arange: the step does not lead to the end")
    count = math.ceil((end - start) / step)
    dtype = kwargs.get("dtype") or torch.get_default_dtype()
    index = _arange(tracer, count, device=kwargs.get("device"))
    wide = torch.float32 if dtype.itemsize <= 4 else torch.float64
    return (index.to(wide) * step + start).to(dtype)


def _range_bounds(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[float, float, float] | None:
    """Return start, end and step of a range of numbers, one of them a float."""
    if kwargs.keys() - {"dtype", "device"} or not 1 <= len(args) <= 3:
        return None
    if not all(isinstance(a, (int, float)) for a in args):
        return None
    if not any(isinstance(a, float) for a in args):
        return None
    start = args[0] if len(args) > 1 else 0
    return start, args[min(len(args) - 1, 1)], args[2] if len(args) > 2 else 1


@handles(DEVICE_HANDLERS, torch.tensor, torch.as_tensor, torch.asarray)
def device_tensor(
    tracer: GraphTracer, data: Any, *args: Any, dtype: Any = None, **kwargs: Any
) -> torch.Tensor:
    """A number as a value without dims."""
    given = args[0] if args and isinstance(args[0], torch.dtype) else dtype
    if isinstance(data, (list, tuple)):
        raise exc.TypeInferenceError(
            "a list of numbers has no device form",
            hint="make the tensor before the loop, or build it from torch.arange "
            "and torch.where",
        )
    tracer.env.check_device(kwargs.get("device"))
    value = scalar_to_tensor(tracer, data)
    return value if given is None else value.to(given)


@handles(DEVICE_HANDLERS, torch.Tensor.copy_)
def device_copy(
    tracer: GraphTracer, value: torch.Tensor, source: Any, *options: Any
) -> torch.Tensor:
    """``copy_``, without the device guard of the operator, as fakes may lack one."""
    copied = torch.ops.aten.copy_.default
    return tracer.__torch_dispatch__(copied, (), (value, source))


@handles(DEVICE_HANDLERS, torch.bucketize)
def device_bucketize(
    tracer: GraphTracer, value: Any, boundaries: torch.Tensor, **options: Any
) -> torch.Tensor:
    """Likewise without a device guard."""
    if isinstance(value, torch.Tensor):
        return searchsorted(boundaries, value, **options)
    return searchsorted_number(boundaries, value, **options)


@handles(DEVICE_HANDLERS, torch.searchsorted)
def device_searchsorted(
    tracer: GraphTracer, boundaries: torch.Tensor, value: Any, **options: Any
) -> torch.Tensor:
    """Likewise without a device guard."""
    return device_bucketize(tracer, value, boundaries, **options)


_ROUND = {
    "lower": math.floor,
    "higher": math.ceil,
    "nearest": round,
    "linear": float,
    "midpoint": float,
}


@handles(DEVICE_HANDLERS, torch.quantile, torch.Tensor.quantile)
def device_quantile(
    tracer: GraphTracer,
    value: torch.Tensor,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> torch.Tensor:
    """Sort, and look between two places that are known when compiling."""
    if not isinstance(q, (int, float)) or interpolation not in _ROUND:
        raise exc.TorchOpTracingError(
            "torch.quantile takes one number q between 0 and 1 in a device loop"
        )
    flat = value.reshape([value.numel()]) if dim is None else value
    at = wrap(flat, -1 if dim is None else dim)
    length = whole_length(flat, at)
    if not length or not 0 <= q <= 1:
        raise exc.TorchOpTracingError("torch.quantile of no values, of a tile, or no q")
    ordered = torch.sort(flat, at).values
    place = _ROUND[interpolation](q * (length - 1))
    below, above = math.floor(place), math.ceil(place)
    weight = 0.5 if interpolation == "midpoint" and below < above else place - below
    first, second, last = (
        device_select(tracer, ordered, at, p) for p in (below, above, length - 1)
    )
    result = torch.lerp(first, second, weight)
    # A NaN sorts last, and makes every quantile NaN.
    result = torch.where(last.isnan(), math.nan, result)
    if not keepdim:
        return result
    return result.reshape([1] * value.dim()) if dim is None else result.unsqueeze(at)


@handles(DEVICE_HANDLERS, torch.nanquantile, torch.Tensor.nanquantile)
def device_nanquantile(
    tracer: GraphTracer,
    value: torch.Tensor,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
) -> torch.Tensor:
    """Sort, and look between the places that the number of values decides."""
    if not isinstance(q, (int, float)) or not 0 <= q <= 1:
        raise exc.TorchOpTracingError(
            "torch.nanquantile takes one number q between 0 and 1 in a device loop"
        )
    flat = value.reshape([value.numel()]) if dim is None else value
    at = wrap(flat, -1 if dim is None else dim)
    ordered = torch.sort(flat, at).values
    count = torch.logical_not(flat.isnan()).sum(at, keepdim=True)
    place = ((count - 1) * q).clamp(min=0)
    below, above = place.floor(), place.ceil()
    first = torch.gather(ordered, at, below.to(torch.int64))
    second = torch.gather(ordered, at, above.to(torch.int64))
    result = torch.lerp(first, second, (place - below).to(first.dtype))
    if keepdim:
        return result.reshape([1] * value.dim()) if dim is None else result
    return result.squeeze(at)


@handles(DEVICE_HANDLERS, functional.rrelu, torch.rrelu)
def device_rrelu(
    tracer: GraphTracer,
    value: torch.Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
) -> torch.Tensor:
    """Without training the slope is the mean of both."""
    if training:
        raise exc.BackendUnsupported(
            backend=tracer.env.backend.name,
            detail="rrelu with random slopes in a device loop",
            hint="write torch.where(x >= 0, x, x * slope) with a slope of hl.rand",
        )
    slope = (lower + upper) / 2
    if inplace:
        return functional.leaky_relu_(value, slope)
    return functional.leaky_relu(value, slope)


@handles(DEVICE_HANDLERS, functional.gaussian_nll_loss)
def device_gaussian_nll_loss(
    tracer: GraphTracer,
    value: torch.Tensor,
    target: torch.Tensor,
    var: torch.Tensor | float,
    *given: Any,
    **options: Any,
) -> torch.Tensor:
    """The formula without torch's look at the signs of the variances."""
    options = {**dict(zip(("full", "eps", "reduction"), given)), **options}
    full, eps = options.get("full", False), options.get("eps", 1e-6)
    reduction = options.get("reduction", "mean")
    if not isinstance(var, torch.Tensor):
        var = torch.full_like(value, var)
    if var.dim() == value.dim() - 1:
        var = var.unsqueeze(-1)
    safe = var.clamp(min=eps)
    loss = 0.5 * (safe.log() + (value - target) ** 2 / safe)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()
