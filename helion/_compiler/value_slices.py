"""Subscripts in device code: loads, and views and slices of device values.

A slice of a value is read from memory once more, or gathered in registers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from .. import exc
from ..language.memory_ops import load
from . import symbols
from .aten_decompositions import decomposes
from .device_ir import CONTROL_FLOW
from .error_text import describe
from .function_modes import DEVICE_HANDLERS, handles, pad_index
from .op_registry import Op, active_tracer

if TYPE_CHECKING:
    from .graph_tracer import GraphTracer

aten = torch.ops.aten


@dataclass(frozen=True)
class Span:
    """``length`` positions of one dim, ``step`` apart from ``start`` on."""

    dim: int
    start: Any
    length: Any
    step: int


@handles(DEVICE_HANDLERS, torch.Tensor.__getitem__)
def device_getitem(tracer: GraphTracer, value: torch.Tensor, index: Any) -> Any:
    """A load from a host tensor, a view of a device value."""
    items = list(index) if isinstance(index, (tuple, list)) else [index]
    if tracer.env.host_origin(value) is not None:
        return load(value, pad_index(value, items))
    return view_subscript(tracer, value, items)


def view_subscript(
    tracer: GraphTracer, value: torch.Tensor, items: list[Any]
) -> torch.Tensor:
    """Apply ``None``, slices, numbers, positions and ``...`` to a device value."""
    given = sum(i is not None and i is not ... for i in items)
    if given > value.dim():
        raise exc.RankMismatch(
            f"{given} indices for a value with {value.dim()} dimensions"
        )
    if sum(i is ... for i in items) > 1:
        raise exc.TypeInferenceError("more than one '...' in a subscript")
    dim = 0
    for item in items:
        if item is None:
            value = value.unsqueeze(dim)
            dim += 1
        elif item is ...:
            dim += value.dim() - dim - _after_ellipsis(items)
        elif isinstance(item, slice):
            if item != slice(None):
                value = slice_dim(tracer, value, dim, item)
            dim += 1
        elif _is_index(item):
            value = device_select(tracer, value, dim, item)
        elif isinstance(item, torch.Tensor) and item.dtype in _POSITIONS:
            value = _look_up(tracer, value, dim, item)
            dim += item.dim()
        else:
            raise _refused_index(tracer, item)
    return value


def _look_up(
    tracer: GraphTracer, value: torch.Tensor, dim: int, index: torch.Tensor
) -> torch.Tensor:
    """Apply an index tensor to a whole dim, whose place its own dims take."""
    tracer.node_of(index)  # a host tensor has to be loaded first
    at, _ = _whole_dim(tracer, value, dim, "an index")
    sizes = list(value.size())
    flat = index.reshape([index.numel()])
    found = aten.index_select.default(value, at, flat)
    if index.dim() == 1:
        return found
    return found.reshape([*sizes[:at], *index.size(), *sizes[at + 1 :]])


_POSITIONS = (torch.int32, torch.int64, torch.int16, torch.int8, torch.uint8)


def _is_index(item: Any) -> bool:
    return isinstance(item, (int, torch.SymInt)) and not isinstance(item, bool)


def _after_ellipsis(items: list[Any]) -> int:
    """Return how many dims the elements after an ellipsis index."""
    after = items[next(k for k, i in enumerate(items) if i is ...) + 1 :]
    return sum(item is not None for item in after)


def _refused_index(tracer: GraphTracer, item: Any) -> exc.Base:
    if isinstance(item, torch.Tensor) and item.dtype == torch.bool:
        return exc.DataDependentOutputShapeNotSupported(op="a bool index")
    return exc.BackendUnsupported(
        backend=tracer.env.backend.name,
        detail=f"index {describe(item)} of a device value",
        hint="only None, slices, numbers and '...' can be used; load the part you "
        "need from the host tensor instead",
    )


@handles(DEVICE_HANDLERS, torch.narrow, torch.Tensor.narrow)
def device_narrow(
    tracer: GraphTracer, value: torch.Tensor, dim: int, start: Any, length: Any
) -> torch.Tensor:
    """``length`` positions of a whole dim."""
    dim, size = _whole_dim(tracer, value, dim)
    _check_bounds(tracer, start, length)
    start = start + size if start < 0 else start
    if start < 0 or length < 0 or start + length > size:
        raise exc.TypeInferenceError(
            f"narrow from {start} over {length} does not fit a dim of size {size}"
        )
    return take(tracer, value, Span(dim, start, length, 1))


@handles(DEVICE_HANDLERS, torch.select, torch.Tensor.select)
def device_select(
    tracer: GraphTracer, value: torch.Tensor, dim: int, index: Any
) -> torch.Tensor:
    """One position of a whole dim, which goes away."""
    dim, size = _whole_dim(tracer, value, dim, describe(index))
    _check_bounds(tracer, index)
    if not -size <= index < size:
        raise exc.TypeInferenceError(
            f"index {index} is out of range for a dim of size {size}"
        )
    index = index + size if index < 0 else index
    return take(tracer, value, Span(dim, index, 1, 1)).squeeze(dim)


def slice_dim(
    tracer: GraphTracer, value: torch.Tensor, dim: int, item: slice
) -> torch.Tensor:
    """``value[:, start:stop:step]``, the bounds clipped as Python does."""
    dim, size = _whole_dim(tracer, value, dim)
    step = 1 if item.step is None else symbols.static_int(item.step)
    if step is None or step <= 0:
        raise exc.InvalidSliceStep(step=item.step)
    given = (item.start, 0), (item.stop, size)
    bounds = [default if bound is None else bound for bound, default in given]
    _check_bounds(tracer, *bounds)
    start, stop = (_clipped(bound, size) for bound in bounds)
    # Rounded up; on symbols ``-(-a // b)`` is no size.
    length = 0 if stop <= start else (stop - start + step - 1) // step
    return take(tracer, value, Span(dim, start, length, step))


@decomposes(aten.slice.Tensor)
def slice_tensor(
    value: torch.Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> torch.Tensor:
    """A slice that some function of torch takes of its argument."""
    tracer: Any = active_tracer()
    _check_known(tracer, value, dim)
    part = slice_dim(tracer, value, dim, slice(start, end, step))
    # Torch wants another tensor from a view, even of everything.
    return aten.alias.default(value) if part is value else part


@decomposes(aten.select.int)
def select_int(value: torch.Tensor, dim: int, index: int) -> torch.Tensor:
    """One position that some function of torch takes of its argument."""
    tracer: Any = active_tracer()
    _check_known(tracer, value, dim)
    return device_select(tracer, value, dim, index)


def _check_known(tracer: GraphTracer, value: torch.Tensor, dim: int) -> None:
    """Torch computes its own bounds from extents, which must be the sizes then."""
    _, size = _whole_dim(tracer, value, dim)
    if symbols.static_int(size) is None:
        raise exc.BackendUnsupported(
            backend=tracer.env.backend.name,
            detail="a function that slices a dim whose size is known at run time only",
            hint="use hl.specialize(size), or slice the value yourself",
        )


def _whole_dim(
    tracer: GraphTracer, value: torch.Tensor, dim: int, what: str = "a slice"
) -> tuple[int, Any]:
    """Return a dim that is not a tile, counted from 0, and its size."""
    rank = value.dim()
    if not -rank <= dim < rank:
        raise exc.TypeInferenceError(
            f"dim {dim} is out of range for a value with {rank} dimensions"
        )
    extent = value.size(dim % rank)
    info = tracer.env.block_of(extent)
    if extent != 1 and (info is None or not info.is_reduction):
        raise exc.BackendUnsupported(
            backend=tracer.env.backend.name,
            detail=f"{what} of a device value along a tile",
            hint="slice a whole dim (`:`), or load the part you need from the host "
            "tensor",
        )
    return dim % rank, tracer.env.size_of(extent)


def _check_bounds(tracer: GraphTracer, *bounds: Any) -> None:
    """Bounds must be numbers, or sizes that the host knows."""
    for bound in bounds:
        if symbols.static_int(bound) is not None:
            continue
        names = symbols.sym_expr(bound).free_symbols if _is_symbol(bound) else ()
        blocks = [tracer.env.symbol_origins.get(name) for name in names]
        if not names or any(hasattr(origin, "block_id") for origin in blocks):
            raise exc.BackendUnsupported(
                backend=tracer.env.backend.name,
                detail=f"{describe(bound)} as a bound in a slice of a device value",
                hint="use constants and sizes; load the part you need from the host "
                "tensor instead",
            )


def _is_symbol(value: Any) -> bool:
    return isinstance(value, torch.SymInt)


def _clipped(bound: Any, size: Any) -> Any:
    """Return a bound counted from the beginning and moved into ``[0, size]``."""
    bound = bound + size if bound < 0 else bound
    if bound < 0:
        return 0
    return size if bound > size else bound


def take(tracer: GraphTracer, value: torch.Tensor, span: Span) -> torch.Tensor:
    """Return the positions of a span, in a dim of their number."""
    env, sizes = tracer.env, list(value.shape)
    whole = symbols.sym_expr(env.size_of(sizes[span.dim]))
    if span.step == 1 and symbols.sym_expr(span.length) == whole:
        return value
    sizes[span.dim] = 1 if bool(span.length == 1) else env.extent_of(span.length)
    result = tracer.new_value(sizes, value.dtype)
    node = tracer.node_of(value)
    elements = _loaded_part(tracer, node, span, sizes[span.dim])
    if elements is not None:
        return tracer.emit(load, (node.args[0], elements, *node.args[2:]), result)
    args = value, span.dim, span.start, None, span.step
    return tracer.emit(aten.slice.Tensor, args, result)


def _loaded_part(
    tracer: GraphTracer, node: fx.Node, span: Span, extent: int
) -> list[Any] | None:
    """Return the index that loads the span alone, None if that may read other data."""
    if node.target is not load or node.args[2] is not None:
        return None
    if any(_may_write(later) for later in _nodes_after(node)):
        return None
    elements: Any = list(node.args[1])  # pyright: ignore[reportArgumentType] a list
    if any(element[0] == "tensor" for element in elements):
        return None
    kept = [i for i, element in enumerate(elements) if element[0] != "scalar"]
    kind, *rest = elements[kept[span.dim]]
    open_end = tuple(rest[3:])
    if kind == "full":
        start, step = span.start, span.step
    elif kind == "slice":
        start, step = rest[0] + span.start * rest[1], rest[1] * span.step
    else:
        return None
    elements[kept[span.dim]] = ("slice", start, step, extent, *open_end)
    return elements


def _nodes_after(node: fx.Node) -> list[fx.Node]:
    nodes = list(node.graph.nodes)
    return nodes[nodes.index(node) + 1 :]


def _may_write(node: fx.Node) -> bool:
    """Whether memory may be other after a node than before."""
    target = node.target
    return target in CONTROL_FLOW or isinstance(target, Op) and target.flags.impure
