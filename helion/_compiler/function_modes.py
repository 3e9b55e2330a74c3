"""What torch's Python API means while a kernel is traced.

A TorchFunctionMode is on for the whole trace, so that plain helper functions called
by a kernel see the same rules as the kernel's own text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from .. import exc
from ..language.creation_ops import arange
from ..language.memory_ops import store
from . import symbols
from .derived_dims import divide_for_reshape, specialize_dims
from .error_text import describe
from .jagged_rows import check_host_call
from .specialized_value import is_specialized
from .traced_tile import as_size

if TYPE_CHECKING:
    from .graph_tracer import GraphTracer

Handler = Callable[..., Any]
DEVICE_HANDLERS: dict[Any, Handler] = {}
HOST_HANDLERS: dict[Any, Handler] = {}


class KernelFunctionMode(TorchFunctionMode):
    """Gives torch functions their meaning in host and device code of a kernel."""

    def __init__(self, tracer: GraphTracer) -> None:
        super().__init__()
        self.tracer = tracer

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        handlers = DEVICE_HANDLERS if self.tracer.on_device else HOST_HANDLERS
        if self.tracer.env.jagged and not self.tracer.on_device:
            check_host_call(self.tracer.env, func, [*args, *(kwargs or {}).values()])
        handler = handlers.get(func)
        if handler is not None:
            return handler(self.tracer, *args, **(kwargs or {}))
        result = func(*args, **(kwargs or {}))
        if result is NotImplemented:
            # torch.sym_max and its kin know SymInts and ints, but no kind of int.
            plain = [int(a) if is_specialized(a) else a for a in args]
            result = func(*plain, **(kwargs or {}))
        return result


def handles(table: dict[Any, Handler], *functions: Any) -> Callable[[Handler], Handler]:
    """Register a handler for torch functions; it gets the tracer first."""

    def register(handler: Handler) -> Handler:
        for function in functions:
            table[function] = handler
        return handler

    return register


# -- indexing ------------------------------------------------------------------------


@handles(HOST_HANDLERS, torch.Tensor.__getitem__)
def host_getitem(tracer: GraphTracer, value: torch.Tensor, index: Any) -> torch.Tensor:
    """Basic and advanced indexing without a device guard, as fakes may lack one."""
    items = list(index) if isinstance(index, tuple) else [index]
    missing = value.dim() - sum(i is not None and i is not ... for i in items)
    if ... in [i for i in items if not isinstance(i, torch.Tensor)]:
        at = next(k for k, i in enumerate(items) if i is ...)
        items[at : at + 1] = [slice(None)] * missing
    dim = 0
    tensors: list[Any] = []
    for item in items:
        if item is None:
            value = value.unsqueeze(dim)
            tensors.append(None)
            dim += 1
        elif isinstance(item, slice):
            if item != slice(None):
                bounds = item.start, item.stop, item.step
                value = torch.ops.aten.slice.Tensor(value, dim, *_bounds(bounds))
            tensors.append(None)
            dim += 1
        elif isinstance(item, torch.Tensor):
            tensors.append(item)
            dim += 1
        else:
            value = value.select(dim, item)
    if any(t is not None for t in tensors):
        return torch.ops.aten.index.Tensor(value, tensors)
    return value


def _bounds(bounds: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    start, stop, step = bounds
    return start, stop, 1 if step is None else step


def pad_index(value: torch.Tensor, items: list[Any]) -> list[Any]:
    """Expand ``...`` and add ``:`` for missing trailing dims."""
    given = sum(i is not None and i is not ... for i in items)
    if given > value.dim():
        raise exc.RankMismatch(
            f"{given} indices for a tensor with {value.dim()} dimensions"
        )
    fill = [slice(None)] * (value.dim() - given)
    spots = [k for k, i in enumerate(items) if i is ...]
    if len(spots) > 1:
        raise exc.TypeInferenceError("more than one '...' in a subscript")
    if spots:
        return items[: spots[0]] + fill + items[spots[0] + 1 :]
    return items + fill


@handles(DEVICE_HANDLERS, torch.Tensor.__setitem__)
def device_setitem(
    tracer: GraphTracer, target: torch.Tensor, index: Any, value: Any
) -> None:
    """A store to a host tensor."""
    if tracer.env.host_origin(target) is None:
        raise exc.DeviceTensorSubscriptAssignmentNotAllowed(name="the left side")
    items = list(index) if isinstance(index, (tuple, list)) else [index]
    store(target, pad_index(target, items), value)


@handles(HOST_HANDLERS, torch.Tensor.__setitem__)
def host_setitem(
    tracer: GraphTracer, target: torch.Tensor, index: Any, value: Any
) -> None:
    """Changing elements on the host changes no type."""


# -- sizes ---------------------------------------------------------------------------


def visible_shape(tracer: GraphTracer, value: torch.Tensor) -> tuple[Any, ...]:
    """Return the shape as user code sees it."""
    if tracer.env.host_origin(value) is not None:
        return tuple(value.size())
    return tuple(tracer.env.size_of(s) for s in value.size())


# The getter of a descriptor, which is how a function mode sees `.shape`.
_get_shape = vars(torch._C.TensorBase)["shape"].__get__


@handles(DEVICE_HANDLERS, _get_shape)
def device_shape(tracer: GraphTracer, value: torch.Tensor) -> Any:
    return visible_shape(tracer, value)


@handles(DEVICE_HANDLERS, torch.Tensor.size)
def device_size(tracer: GraphTracer, value: torch.Tensor, dim: Any = None) -> Any:
    shape = visible_shape(tracer, value)
    if dim is not None and not -len(shape) <= dim < len(shape):
        raise exc.TypeInferenceError(
            f"dim {dim} is out of range for a tensor with {len(shape)} dimensions"
        )
    return shape if dim is None else shape[dim]


@handles(DEVICE_HANDLERS, torch.Tensor.numel, torch.numel)
def device_numel(tracer: GraphTracer, value: torch.Tensor) -> Any:
    total: Any = 1
    for size in visible_shape(tracer, value):
        total = total * size
    return total


def _flat_sizes(sizes: Any) -> list[Any]:
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list, torch.Size)):
        return list(sizes[0])
    return list(sizes)


_RESHAPES = (torch.reshape, torch.Tensor.reshape, torch.Tensor.view)


def _shaped(function: Any) -> Handler:
    """Call a torch function whose trailing arguments are sizes."""

    def handler(tracer: GraphTracer, *args: Any, **kwargs: Any) -> Any:
        if "size" in kwargs:
            args = (*args, kwargs.pop("size"))
        is_method = bool(args) and isinstance(args[0], torch.Tensor)
        first, sizes = (args[:1], args[1:]) if is_method else ((), args)
        extents = [_keep_minus_one(tracer, s) for s in _flat_sizes(sizes)]
        if not is_method:
            tracer.env.check_device(kwargs.get("device"))
            kwargs.setdefault("device", tracer.env.device)
        try:
            return function(*first, extents, **kwargs)
        except RuntimeError:
            # A size may be that of the value, but not be known to be.
            for value in first:
                divide_for_reshape(tracer.env, value, extents)
            sizes = [extent for extent in extents if extent > 0]
            sizes = [*(s for value in first for s in value.size()), *sizes]
            tracer.env.unify(sizes)
            if function in _RESHAPES:
                specialize_dims(tracer.env, sizes)
            raise

    return handler


def _keep_minus_one(tracer: GraphTracer, size: Any) -> int:
    return -1 if size == -1 else as_size(tracer.env, size)


for _function in (
    torch.zeros,
    torch.ones,
    torch.empty,
    torch.Tensor.reshape,
    torch.Tensor.view,
    torch.Tensor.expand,
    torch.Tensor.broadcast_to,
    torch.reshape,
    torch.broadcast_to,
):
    DEVICE_HANDLERS[_function] = _shaped(_function)


def _like_new(factory: Any) -> Handler:
    """Make a tensor from sizes and the dtype of another, be it of the host."""

    def handler(
        tracer: GraphTracer, value: torch.Tensor, *sizes: Any, **kwargs: Any
    ) -> Any:
        kwargs.setdefault("dtype", value.dtype)
        return DEVICE_HANDLERS[factory](tracer, *sizes, **kwargs)

    return handler


DEVICE_HANDLERS[torch.Tensor.new_zeros] = _like_new(torch.zeros)
DEVICE_HANDLERS[torch.Tensor.new_ones] = _like_new(torch.ones)
DEVICE_HANDLERS[torch.Tensor.new_empty] = _like_new(torch.empty)

_view = DEVICE_HANDLERS[torch.Tensor.view]


@handles(DEVICE_HANDLERS, torch.Tensor.view)
def device_view(tracer: GraphTracer, value: torch.Tensor, *args: Any) -> Any:
    if len(args) == 1 and isinstance(args[0], torch.dtype):
        return value.view(args[0])
    return _view(tracer, value, *args)


@handles(DEVICE_HANDLERS, torch.full)
def device_full(tracer: GraphTracer, size: Any, fill_value: Any, **kwargs: Any) -> Any:
    extents = [as_size(tracer.env, s) for s in _flat_sizes([size])]
    tracer.env.check_device(kwargs.get("device"))
    kwargs.setdefault("device", tracer.env.device)
    return torch.full(extents, fill_value, **kwargs)


@handles(DEVICE_HANDLERS, torch.Tensor.new_full)
def device_new_full(
    tracer: GraphTracer, value: torch.Tensor, size: Any, fill_value: Any, **kwargs: Any
) -> Any:
    kwargs.setdefault("dtype", value.dtype)
    return device_full(tracer, size, fill_value, **kwargs)


@handles(DEVICE_HANDLERS, torch.arange)
def device_arange(tracer: GraphTracer, *args: Any, **kwargs: Any) -> Any:
    step = symbols.static_int(args[2]) if len(args) > 2 else 1
    is_plain = kwargs.keys() <= {"dtype", "device"} and (step or 0) > 0
    if is_plain and all(isinstance(a, (int, torch.SymInt)) for a in args):
        # As hl.arange it has the right length for any size of dynamic shapes.
        return arange(*args, **{**kwargs, "dtype": kwargs.get("dtype") or torch.int64})
    extents = [as_size(tracer.env, a) for a in args]
    kwargs.setdefault("device", tracer.env.device)
    return torch.arange(*extents, **kwargs)


@handles(DEVICE_HANDLERS, torch.Tensor.__invert__)
def device_invert(tracer: GraphTracer, value: torch.Tensor) -> torch.Tensor:
    """``~value``, without the device guard of the operator, as fakes may lack one."""
    return torch.bitwise_not(value)


def scalar_to_tensor(tracer: GraphTracer, value: Any) -> torch.Tensor:
    """Return a 0-d device tensor of a Python or symbolic scalar."""
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, symbols.SymValue):
        kinds = {torch.SymInt: torch.int64, torch.SymFloat: torch.float32}
        dtype = kinds.get(type(value), torch.bool)
        result = torch.empty([], dtype=dtype, device=tracer.env.device)
        return tracer.emit(torch.ops.aten.full.default, ([], value), result)
    if not isinstance(value, (bool, int, float)):
        raise exc.TypeInferenceError(f"{describe(value)} is not a number or 0-d tensor")
    return torch.full([], value, device=tracer.env.device)
