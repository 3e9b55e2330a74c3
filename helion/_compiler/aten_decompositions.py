"""Our decompositions of ATen operators into what kernels are made of.

Reductions of half precision are computed in float32 and rounded once, as torch does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from ..language import scan_ops
from ..language.product_dtypes import addmm_dtype
from .error_text import shape_text
from .op_registry import active_tracer

if TYPE_CHECKING:
    from collections.abc import Callable

aten = torch.ops.aten
OWN_DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {}


def decomposes(*overloads: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a decomposition for operator overloads."""

    def register(fn: Callable[..., Any]) -> Callable[..., Any]:
        for overload in overloads:
            OWN_DECOMPOSITIONS[overload] = fn
        return fn

    return register


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    half = (torch.float16, torch.bfloat16)
    return torch.float32 if dtype in half else dtype


def _dims(x: torch.Tensor, dim: Any) -> list[int]:
    if dim is None or (isinstance(dim, (list, tuple)) and not dim):
        return list(range(x.dim()))
    given = list(dim) if isinstance(dim, (list, tuple)) else [dim]
    # As in torch, a value without dims has dim 0 and -1.
    rank = max(x.dim(), 1)
    for d in given:
        if not -rank <= d < rank:
            shape = shape_text(_environment(), x)
            raise exc.ReductionDimInvalidForShape(dim=d, shape=shape)
    dims = sorted(d % rank for d in given)
    if len(set(dims)) < len(dims):
        raise exc.TorchOpTracingError(f"a dim stands more than once in dim={given}")
    return dims if x.dim() else []


def _environment() -> Any:
    """Return the environment of the tracer that called a decomposition."""
    tracer: Any = active_tracer()
    return tracer.env


def _check_float(name: str, dtype: torch.dtype) -> None:
    if not dtype.is_floating_point:
        raise exc.TorchOpTracingError(
            f"{name} of {dtype} is not defined; convert to a float dtype first"
        )


def _is_empty(x: torch.Tensor, dims: list[int]) -> bool:
    return any(x.shape[d] == 0 for d in dims)


def _count(x: torch.Tensor, dims: list[int]) -> Any:
    """Return how many real elements a reduction covers."""
    env = _environment()
    total: Any = 1
    for d in dims:
        total = total * env.true_length(x.shape[d])
    return total


def _divisor(x: torch.Tensor, dims: list[int], keepdim: bool) -> Any:
    """Return the count as a number, or one per row where rows have own lengths."""
    tracer: Any = active_tracer()
    counted = tracer.jagged.count(x, dims)
    if counted is None:
        return _count(x, dims)
    for d in [] if keepdim else reversed(dims):
        counted = counted.squeeze(d)
    return counted


def _each_dim(
    reduce_one: Callable[[torch.Tensor, int], torch.Tensor],
    x: torch.Tensor,
    dims: list[int],
    keepdim: bool,
) -> torch.Tensor:
    for d in reversed(dims):
        x = reduce_one(x, d)
    if keepdim:
        for d in dims:
            x = x.unsqueeze(d)
    return x


@decomposes(aten.sum.default)
def sum_default(x: torch.Tensor, *, dtype: Any = None) -> torch.Tensor:
    return aten.sum.dim_IntList(x, None, False, dtype=dtype)


@decomposes(aten.sum.dim_IntList)
def sum_dims(
    x: torch.Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> torch.Tensor:
    dims = _dims(x, dim)
    integral = not (x.dtype.is_floating_point or x.dtype.is_complex)
    result = dtype or (torch.int64 if integral else x.dtype)
    compute = compute_dtype(result)
    is_plain = len(dims) == 1 and dim not in (None, [], ()) and not keepdim
    if is_plain and x.dtype == compute == result:
        return NotImplemented
    value = x.to(compute)
    value = _each_dim(lambda v, d: aten.sum.dim_IntList(v, [d]), value, dims, keepdim)
    return value.to(result)


@decomposes(aten.mean.default)
def mean_default(x: torch.Tensor, *, dtype: Any = None) -> torch.Tensor:
    return aten.mean.dim(x, None, False, dtype=dtype)


@decomposes(aten.mean.dim)
def mean_dims(
    x: torch.Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> torch.Tensor:
    result = dtype or x.dtype
    _check_float("mean", result)
    compute = compute_dtype(result)
    dims = _dims(x, dim)
    total = aten.sum.dim_IntList(x.to(compute), dims, keepdim)
    return (total / _divisor(x, dims, keepdim)).to(result)


@decomposes(aten.var.correction)
def var(
    x: torch.Tensor, dim: Any = None, *, correction: Any = None, keepdim: bool = False
) -> torch.Tensor:
    return var_mean(x, dim, correction=correction, keepdim=keepdim)[0]


@decomposes(aten.std.correction)
def std(
    x: torch.Tensor, dim: Any = None, *, correction: Any = None, keepdim: bool = False
) -> torch.Tensor:
    _check_float("std", x.dtype)
    compute = x.to(compute_dtype(x.dtype))
    return var(compute, dim, correction=correction, keepdim=keepdim).sqrt().to(x.dtype)


@decomposes(aten.var_mean.correction)
def var_mean(
    x: torch.Tensor, dim: Any = None, *, correction: Any = None, keepdim: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two passes: the mean, then squared deviations from it."""
    _check_float("var", x.dtype)
    dims = _dims(x, dim)
    value = x.to(compute_dtype(x.dtype))
    mean = aten.sum.dim_IntList(value, dims, True) / _divisor(x, dims, True)
    centered = value - mean
    squares = aten.sum.dim_IntList(centered * centered, dims, keepdim)
    freedom = _divisor(x, dims, keepdim) - (1 if correction is None else correction)
    if isinstance(freedom, (int, float)) and freedom <= 0:
        freedom = 0.0
    if not keepdim:
        for d in reversed(dims):
            mean = mean.squeeze(d)
    return (squares / freedom).to(x.dtype), mean.to(x.dtype)


def _exponents(name: str, x: torch.Tensor) -> torch.Tensor:
    _check_float(name, x.dtype)
    return x.to(compute_dtype(x.dtype))


@decomposes(aten._softmax.default, aten._safe_softmax.default)
def softmax(x: torch.Tensor, dim: int, half_to_float: Any = False) -> torch.Tensor:
    value = _exponents("softmax", x)
    if _is_empty(x, _dims(x, dim)):
        return value if half_to_float is True else x
    shifted = value - aten.amax.default(value, [dim], True)
    numerator = shifted.exp()
    total = aten.sum.dim_IntList(numerator, [dim], True)
    # The total is between 1 and the length, so nothing overflows; one division a row.
    result = numerator * total.reciprocal()
    return result if half_to_float is True else result.to(x.dtype)


@decomposes(aten._log_softmax.default)
def log_softmax(x: torch.Tensor, dim: int, half_to_float: bool) -> torch.Tensor:
    value = _exponents("log_softmax", x)
    if _is_empty(x, _dims(x, dim)):
        return value if half_to_float else x
    shifted = value - aten.amax.default(value, [dim], True)
    total = aten.sum.dim_IntList(shifted.exp(), [dim], True)
    result = shifted - total.log()
    return result if half_to_float else result.to(x.dtype)


@decomposes(aten.logsumexp.default)
def logsumexp(x: torch.Tensor, dim: Any, keepdim: bool = False) -> torch.Tensor:
    dims = _dims(x, dim)
    # As in torch, integers give the default dtype.
    result_dtype = x.dtype if x.dtype.is_floating_point else torch.float32
    value = x.to(compute_dtype(result_dtype))
    if _is_empty(x, dims):
        return aten.sum.dim_IntList(value, dims, keepdim).log().to(result_dtype)
    peak = aten.amax.default(value, dims, True)
    # An infinite peak would give inf - inf below.
    peak = torch.where(peak.abs() == float("inf"), 0.0, peak)
    total = aten.sum.dim_IntList((value - peak).exp(), dims, True)
    result = (total.log() + peak).to(result_dtype)
    if not keepdim:
        for d in reversed(dims):
            result = result.squeeze(d)
    return result


@decomposes(aten.amax.default)
def amax(x: torch.Tensor, dim: Any = (), keepdim: bool = False) -> torch.Tensor:
    return _extremum(aten.amax.default, x, dim, keepdim)


@decomposes(aten.amin.default)
def amin(x: torch.Tensor, dim: Any = (), keepdim: bool = False) -> torch.Tensor:
    return _extremum(aten.amin.default, x, dim, keepdim)


def _extremum(op: Any, x: torch.Tensor, dim: Any, keepdim: bool) -> torch.Tensor:
    dims = _dims(x, dim)
    if len(dims) == 1 and not keepdim and dim not in (None, [], ()):
        return NotImplemented
    return _each_dim(lambda v, d: op(v, [d]), x, dims, keepdim)


@decomposes(aten.max.default)
def max_all(x: torch.Tensor) -> torch.Tensor:
    return aten.amax.default(x, [])


@decomposes(aten.min.default)
def min_all(x: torch.Tensor) -> torch.Tensor:
    return aten.amin.default(x, [])


@decomposes(aten.max.dim)
def max_dim(
    x: torch.Tensor, dim: int, keepdim: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    return aten.amax.default(x, [dim], keepdim), aten.argmax.default(x, dim, keepdim)


@decomposes(aten.min.dim)
def min_dim(
    x: torch.Tensor, dim: int, keepdim: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    return aten.amin.default(x, [dim], keepdim), aten.argmin.default(x, dim, keepdim)


@decomposes(aten.argmax.default)
def argmax(x: torch.Tensor, dim: Any = None, keepdim: bool = False) -> torch.Tensor:
    return _arg_extremum(aten.argmax.default, x, dim, keepdim)


@decomposes(aten.argmin.default)
def argmin(x: torch.Tensor, dim: Any = None, keepdim: bool = False) -> torch.Tensor:
    return _arg_extremum(aten.argmin.default, x, dim, keepdim)


def _arg_extremum(op: Any, x: torch.Tensor, dim: Any, keepdim: bool) -> torch.Tensor:
    if dim is None:
        return _arg_extremum_of_all(op, x, keepdim)
    dims = _dims(x, dim)
    if dims == [dim] and not keepdim:
        return NotImplemented
    if not dims:
        return torch.zeros_like(x, dtype=torch.int64)
    return _each_dim(lambda v, d: op(v, d, False), x, dims, keepdim)


def _arg_extremum_of_all(op: Any, x: torch.Tensor, keepdim: bool) -> torch.Tensor:
    """Reduce the last dim first: its winner is the first of equals in its row."""
    rank = x.dim()
    if rank == 0:
        return op(x, 0, keepdim)
    extremum = aten.amax.default if op is aten.argmax.default else aten.amin.default
    last = rank - 1
    index = op(x, last, False)
    stride: Any = _count(x, [last])
    while x.dim() > 1:
        size = _count(x, [last - 1])
        x, last = extremum(x, [last]), last - 1
        winner = op(x, last, False)
        places = aten.arange.default(x.shape[last], device=x.device)
        chosen = aten.eq.Tensor(places, winner.unsqueeze(last))
        index = aten.sum.dim_IntList(torch.where(chosen, index, 0), [last])
        index = index + winner * stride
        stride = stride * size
    return index.reshape([1] * rank) if keepdim else index


@decomposes(aten.prod.default)
def prod_all(x: torch.Tensor, *, dtype: Any = None) -> torch.Tensor:
    integral = not x.dtype.is_floating_point
    result = dtype or (torch.int64 if integral else x.dtype)
    value = x.to(compute_dtype(result))
    return _product(value, _dims(x, None), False).to(result)


@decomposes(aten.prod.dim_int)
def prod_dim(
    x: torch.Tensor, dim: int, keepdim: bool = False, *, dtype: Any = None
) -> torch.Tensor:
    integral = not x.dtype.is_floating_point
    result = dtype or (torch.int64 if integral else x.dtype)
    compute = compute_dtype(result)
    dims = _dims(x, dim)
    if x.dtype == compute == result and dims == [dim] and not keepdim:
        return NotImplemented
    return _product(x.to(compute), dims, keepdim).to(result)


@decomposes(aten.cumsum.default)
def cumsum(x: torch.Tensor, dim: int, *, dtype: Any = None) -> torch.Tensor:
    return scan_ops.cumsum(x.to(dtype or _sum_dtype(x.dtype)), dim)


@decomposes(aten.cumprod.default)
def cumprod(x: torch.Tensor, dim: int, *, dtype: Any = None) -> torch.Tensor:
    return scan_ops.cumprod(x.to(dtype or _sum_dtype(x.dtype)), dim)


def _sum_dtype(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype.is_floating_point else torch.int64


@decomposes(aten.any.default, aten.any.dim, aten.any.dims)
def any_(x: torch.Tensor, dim: Any = None, keepdim: bool = False) -> torch.Tensor:
    return _truth(aten.amax.default, x, dim, keepdim)


@decomposes(aten.all.default, aten.all.dim, aten.all.dims)
def all_(x: torch.Tensor, dim: Any = None, keepdim: bool = False) -> torch.Tensor:
    return _truth(aten.amin.default, x, dim, keepdim)


def _truth(fold: Any, x: torch.Tensor, dim: Any, keepdim: bool) -> torch.Tensor:
    dims = _dims(x, dim)
    value = (x if x.dtype == torch.bool else x != 0).to(torch.int32)
    if _is_empty(x, dims):
        # Extrema of nothing are refused; the sum is 0 and the product 1.
        is_any = fold is aten.amax.default
        fold = aten.sum.dim_IntList if is_any else _product
    result = fold(value, dims, keepdim) != 0
    return result.to(torch.uint8) if x.dtype == torch.uint8 else result


def _product(x: torch.Tensor, dims: list[int], keepdim: bool) -> torch.Tensor:
    return _each_dim(lambda v, d: aten.prod.dim_int(v, d), x, dims, keepdim)


def _mm_shape(a: torch.Tensor, b: torch.Tensor) -> list[int]:
    rank = a.dim()
    if b.dim() != rank or a.shape[-1] != b.shape[-2] or a.shape[:-2] != b.shape[:-2]:
        raise RuntimeError(
            f"The size of {list(a.shape)} must match the size of {list(b.shape)}"
        )
    return [*a.shape[:-1], b.shape[-1]]


def _infer_mm(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a.new_empty(_mm_shape(a, b))


def _infer_addmm(
    acc: torch.Tensor, a: torch.Tensor, b: torch.Tensor, **factors: Any
) -> torch.Tensor:
    # Other factors than 1 were taken apart by ``scaled_addmm``.
    assert all(factor == 1 for factor in factors.values()), factors
    dtype = addmm_dtype(acc.dtype, a.dtype, b.dtype)
    shape = _mm_shape(a, b)
    if list(torch.broadcast_shapes(acc.shape, shape)) != shape:
        raise RuntimeError(
            f"The size of {list(acc.shape)} must match the size of {shape}"
        )
    return a.new_empty(shape, dtype=dtype)


# Products of mixed dtypes are fine in a kernel; not every torch release infers them.
INFERENCE: dict[Any, Callable[..., Any]] = {
    aten.mm.default: _infer_mm,
    aten.bmm.default: _infer_mm,
    aten.addmm.default: _infer_addmm,
    aten.baddbmm.default: _infer_addmm,
}


_IN_PLACE: dict[str, Callable[..., torch.Tensor]] = {
    "copy_": lambda x, y, *_: y,
    "fill_": lambda x, y: torch.full_like(x, y),
    "zero_": torch.zeros_like,
}


def in_place_source(func: Any) -> Callable[..., torch.Tensor]:
    """Return the functional form of an in-place operator."""
    name = func._schema.name.removeprefix("aten::")
    if name in _IN_PLACE:
        return _IN_PLACE[name]
    # Operators of Python are called __iand__, others and_.
    plain = f"__{name[3:]}" if name.startswith("__i") else name.removesuffix("_")
    packet = getattr(aten, plain, None) if plain != name else None
    overloads = [getattr(packet, o) for o in packet.overloads()] if packet else []
    wanted = _argument_types(func)
    same = [op for op in overloads if _argument_types(op) == wanted]
    for op in sorted(same, key=lambda op: op._overloadname != func._overloadname):
        return op
    raise exc.BackendUnsupported(f"{func} changes a tensor in place")


def _argument_types(op: Any) -> list[str]:
    return [f"{a.name}: {a.type}" for a in op._schema.arguments]
