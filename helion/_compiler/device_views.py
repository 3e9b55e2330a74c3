"""Views of device values that move elements: gathers, rolls, splits, repeats.

A whole dim has a known length, so its elements can be looked up by position; parts of
a tile cannot, as only the program knows how long it is.
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from ..language.creation_ops import arange
from ..language.view_ops import split
from . import symbols
from .aten_decompositions import decomposes
from .derived_dims import specialize_dims
from .function_modes import DEVICE_HANDLERS, handles
from .op_registry import active_tracer
from .value_slices import Span, device_select, take

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .graph_tracer import GraphTracer

aten = torch.ops.aten


def _tracer() -> GraphTracer:
    tracer: Any = active_tracer()
    return tracer


def wrap(value: torch.Tensor, dim: int) -> int:
    """Return a dim counted from 0."""
    rank = max(value.dim(), 1)
    if not -rank <= dim < rank:
        raise exc.TypeInferenceError(
            f"dim {dim} is out of range for a value with {value.dim()} dimensions"
        )
    return dim % rank


def whole_length(value: torch.Tensor, dim: int) -> int | None:
    """Return the length of a whole dim as a number, None for a dim made of tiles."""
    env = _tracer().env
    extent = value.size(dim) if value.dim() else 1  # a value without dims has dim 0
    if extent == 1:
        return 1
    info = env.block_of(extent)
    if info is None or not info.is_reduction:
        return None
    known = symbols.static_int(info.numel)
    if known is None:
        specialize_dims(env, [extent])
    return known


def positions(length: int) -> torch.Tensor:
    """Return 0, 1, 2... as a device value."""
    return arange(length, dtype=torch.int32)


def pick(value: torch.Tensor, dim: int, index: torch.Tensor) -> torch.Tensor:
    """Return the elements of one dim that a 1-D index names."""
    shape = [1] * value.dim()
    shape[dim] = index.size(0)
    wide = list(value.size())
    wide[dim] = index.size(0)
    index = aten.view.default(index, shape)
    return aten.gather.default(value, dim, aten.expand.default(index, wide))


def _remapped(value: torch.Tensor, dim: int, op: str, what: str) -> int:
    length = whole_length(value, dim)
    if length is None:
        raise exc.UnsupportedIndexRemapping(
            op=op, index=what, hint="move a whole dim (`:`), or load with other indices"
        )
    return length


# -- other orders ----------------------------------------------------------------------


@decomposes(aten.flip.default)
def flip(value: torch.Tensor, dims: Sequence[int]) -> torch.Tensor:
    """Reverse whole dims."""
    for dim in {wrap(value, d) for d in dims}:
        length = _remapped(value, dim, "torch.flip", "a reversed tile")
        if length > 1:
            value = pick(value, dim, length - 1 - positions(length))
    return value


@decomposes(aten.roll.default)
def roll(
    value: torch.Tensor, shifts: Sequence[int], dims: Sequence[int] = ()
) -> torch.Tensor:
    """Move the elements of whole dims round."""
    shifts = [shifts] if isinstance(shifts, int) else list(shifts)
    dims = [dims] if isinstance(dims, int) else list(dims)
    if not dims:
        shape = list(value.size())
        for dim in range(value.dim()):
            _remapped(value, dim, "torch.roll", "a tile moved round")
        flat = aten.view.default(value, [math.prod(shape)])
        return aten.view.default(roll(flat, shifts, [0]), shape)
    if len(shifts) != len(dims):
        raise exc.TypeInferenceError(
            f"torch.roll: {len(shifts)} shifts for {len(dims)} dims"
        )
    for shift, dim in zip(shifts, dims, strict=True):
        dim = wrap(value, dim)
        length = _remapped(value, dim, "torch.roll", "a tile moved round")
        back = -shift % length if length else 0
        if back:
            value = pick(value, dim, (positions(length) + back) % length)
    return value


@decomposes(aten.diagonal.default)
def diagonal(
    value: torch.Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> torch.Tensor:
    """Return the elements whose places in two whole dims differ by ``offset``."""
    first, second = wrap(value, dim1), wrap(value, dim2)
    what = "the diagonal of a tile"
    rows = _remapped(value, first, "torch.diagonal", what)
    columns = _remapped(value, second, "torch.diagonal", what)
    rest = [d for d in range(value.dim()) if d not in (first, second)]
    value = aten.permute.default(value, [*rest, first, second])
    flat = aten.view.default(value, [*value.size()[:-2], rows * columns])
    begin = offset if offset >= 0 else -offset * columns
    length = min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns)
    length = max(length, 0)
    return pick(flat, len(rest), positions(length) * (columns + 1) + begin)


# -- looking up ------------------------------------------------------------------------


@decomposes(aten.index_select.default)
def index_select(value: torch.Tensor, dim: int, index: torch.Tensor) -> torch.Tensor:
    """Return the elements of one dim that a device value of positions names."""
    _check_positions(index)
    if index.dim() > 1:
        raise exc.TypeInferenceError("index_select takes positions of one dimension")
    return pick(value, wrap(value, dim), aten.view.default(index, [index.numel()]))


def _check_positions(index: torch.Tensor) -> None:
    if index.dtype not in (torch.int32, torch.int64, torch.int16, torch.uint8):
        raise exc.TorchOpTracingError(
            f"positions must be int32/int64, but are {index.dtype}"
        )


@decomposes(aten.gather.default)
def gather(
    value: torch.Tensor, dim: int, index: torch.Tensor, *, sparse_grad: bool = False
) -> Any:
    """Make the other dims of the value as long as those of the index."""
    at = wrap(value, dim)
    _check_positions(index)
    if value.dim() != index.dim():
        raise exc.RankMismatch(
            f"torch.gather of a value with {value.dim()} dimensions by positions with "
            f"{index.dim()}"
        )
    if value.dim() == 0:
        return value
    tracer = _tracer()
    part = value
    for other in range(value.dim()):
        wanted = index.size(other)
        if other != at and wanted != value.size(other):
            if whole_length(value, other) is None or whole_length(index, other) is None:
                tracer.env.unify([wanted, value.size(other)])
                raise exc.ShapeMismatch(list(value.shape), list(index.shape))
            if wanted > value.size(other):
                raise exc.ShapeMismatch(list(value.shape), list(index.shape))
            part = take(tracer, part, Span(other, 0, wanted, 1))
    if part is value and at == dim:
        return NotImplemented
    return aten.gather.default(part, at, index)


@handles(DEVICE_HANDLERS, torch.take_along_dim, torch.Tensor.take_along_dim)
def take_along_dim(
    tracer: GraphTracer, value: torch.Tensor, indices: torch.Tensor, dim: Any = None
) -> torch.Tensor:
    """Gather with the other dims broadcast; without a dim, from the flat value."""
    if dim is None:
        flat = value.reshape([value.numel()])
        return aten.gather.default(flat, 0, indices.reshape([indices.numel()]))
    at = wrap(value, dim)
    if value.dim() != indices.dim():
        raise exc.RankMismatch(
            f"torch.take_along_dim of a value with {value.dim()} dimensions by "
            f"positions with {indices.dim()}"
        )
    shapes = [list(value.size()), list(indices.size())]
    for shape in shapes:
        shape[at] = 1
    common = list(torch.broadcast_shapes(*shapes))
    wide = [[*common[:at], t.size(at), *common[at + 1 :]] for t in (value, indices)]
    return aten.gather.default(value.expand(wide[0]), at, indices.expand(wide[1]))


# -- several of one --------------------------------------------------------------------


@decomposes(aten.repeat.default)
def repeat(value: torch.Tensor, repeats: Sequence[int]) -> torch.Tensor:
    """Put copies side by side: a new dim of copies, merged with the old one."""
    missing = len(repeats) - value.dim()
    if missing < 0:
        raise exc.TypeInferenceError(
            f"repeat: {len(repeats)} counts for {value.dim()} dimensions"
        )
    for _ in range(missing):
        value = aten.unsqueeze.default(value, 0)
    for dim, count in enumerate(repeats):
        value = _copies(value, dim, count, dim)
    return value


def _copies(value: torch.Tensor, dim: int, count: int, place: int) -> torch.Tensor:
    """Merge a dim with one of copies that stands at ``place``."""
    if count == 1:
        return value
    whole_length(value, dim)  # the size of the result is that of no argument
    shape = list(value.size())
    shape[dim] *= count
    wide = aten.unsqueeze.default(value, place)
    sizes = list(wide.size())
    sizes[place] = count
    return aten.reshape.default(aten.expand.default(wide, sizes), shape)


@handles(DEVICE_HANDLERS, torch.repeat_interleave, torch.Tensor.repeat_interleave)
def repeat_interleave(
    tracer: GraphTracer, value: torch.Tensor, repeats: Any, dim: Any = None, **_: Any
) -> torch.Tensor:
    """Put copies of each element side by side."""
    count = symbols.static_int(repeats)
    if count is None:
        raise exc.DataDependentOutputShapeNotSupported(op="repeat_interleave")
    if dim is None:
        value, dim = value.reshape([value.numel()]), 0
    at = wrap(value, dim)
    return _copies(value, at, count, at + 1)


# -- parts -----------------------------------------------------------------------------


def _parts(value: torch.Tensor, dim: int, ends: Sequence[int]) -> tuple[Any, ...]:
    starts = [0, *ends[:-1]]
    return tuple(
        take(_tracer(), value, Span(dim, start, max(end - start, 0), 1))
        for start, end in zip(starts, ends, strict=True)
    )


def _splittable(value: torch.Tensor, dim: int, op: str) -> tuple[int, int]:
    at = wrap(value, dim)
    length = whole_length(value, at) if value.dim() else None
    if length is None:
        raise exc.UnsupportedSplitOperation(op=f"{op} of a tile")
    return at, length


@handles(DEVICE_HANDLERS, torch.split, torch.Tensor.split)
def device_split(
    tracer: GraphTracer, value: torch.Tensor, split_size_or_sections: Any, dim: int = 0
) -> Any:
    """Parts of a whole dim, of one size or of given sizes."""
    at, length = _splittable(value, dim, "torch.split")
    sizes = split_size_or_sections
    if isinstance(sizes, (list, tuple)):
        known = [symbols.static_int(size) for size in sizes]
        if None in known or sum(k for k in known if k is not None) != length:
            raise exc.TypeInferenceError(
                f"torch.split: the sizes {list(sizes)} do not add up to {length}"
            )
        return _parts(value, at, list(accumulate(k for k in known if k is not None)))
    size = symbols.static_int(sizes)
    if size is None or size < 1:
        raise exc.TypeInferenceError("torch.split: the size must be a positive number")
    return _parts(value, at, [*range(size, length, size), length])


@handles(DEVICE_HANDLERS, torch.tensor_split, torch.Tensor.tensor_split)
def device_tensor_split(
    tracer: GraphTracer,
    value: torch.Tensor,
    indices_or_sections: Any,
    dim: int = 0,
) -> Any:
    """Parts of a whole dim: so many, or cut at given places."""
    at, length = _splittable(value, dim, "torch.tensor_split")
    if isinstance(indices_or_sections, (list, tuple)):
        cuts = [
            slice(0, symbols.static_int(i)).indices(length)[1]
            for i in indices_or_sections
        ]
        starts, ends = [0, *cuts], [*cuts, length]
        return tuple(
            take(tracer, value, Span(at, s, max(e - s, 0), 1))
            for s, e in zip(starts, ends, strict=True)
        )
    count = symbols.static_int(indices_or_sections)
    if count is None or count < 1:
        raise exc.TypeInferenceError("torch.tensor_split takes a positive number")
    small, more = divmod(length, count)
    sizes = [small + (i < more) for i in range(count)]
    return _parts(value, at, list(accumulate(sizes)))


def _split_along(name: str, dim: int) -> None:
    @handles(DEVICE_HANDLERS, getattr(torch, name), getattr(torch.Tensor, name))
    def handler(tracer: GraphTracer, value: torch.Tensor, parts: Any) -> Any:
        at = 0 if name == "hsplit" and value.dim() == 1 else dim
        return device_tensor_split(tracer, value, parts, at)


for _name, _dim in (("hsplit", 1), ("vsplit", 0), ("dsplit", 2)):
    _split_along(_name, _dim)


@handles(DEVICE_HANDLERS, torch.unbind, torch.Tensor.unbind)
def device_unbind(tracer: GraphTracer, value: torch.Tensor, dim: int = 0) -> Any:
    """The positions of a whole dim, one by one."""
    at = wrap(value, dim)
    length = whole_length(value, at) if value.dim() else None
    if length is None:
        raise exc.UnsupportedSplitConfiguration(
            op="torch.unbind", requirement="the dim must be whole, not a tile"
        )
    if length == 2:
        return split(value.movedim(at, -1))
    return tuple(device_select(tracer, value, at, i) for i in range(length))


@handles(DEVICE_HANDLERS, torch.chunk, torch.Tensor.chunk)
def device_chunk(
    tracer: GraphTracer, value: torch.Tensor, chunks: int, dim: int = 0
) -> Any:
    """Equal parts of a whole dim; the last one may be shorter."""
    at = wrap(value, dim)
    length = whole_length(value, at) if value.dim() else None
    if length is None or chunks < 1:
        raise exc.UnsupportedSplitConfiguration(
            op="torch.chunk", requirement="the dim must be whole, not a tile"
        )
    if not length:
        return _parts(value, at, [0] * chunks)
    if chunks == 2 and length >= 2 and length & (length - 1) == 0:
        # Both halves lie in every thread's registers: no gather.
        sizes = list(value.size())
        pair = value.reshape([*sizes[:at], 2, length // 2, *sizes[at + 1 :]])
        return split(pair.movedim(at, -1))
    size = max(-(-length // chunks), 1)
    return _parts(value, at, [*range(size, length, size), length])


# -- side by side ----------------------------------------------------------------------


@decomposes(aten.cat.default)
def cat(tensors: Sequence[torch.Tensor], dim: int = 0) -> torch.Tensor:
    """Join values along a dim: of one shape by stacking, others by position."""
    parts = [t for t in tensors if list(t.shape) != [0]] or list(tensors[:1])
    dtype = parts[0].dtype
    for part in parts[1:]:
        dtype = torch.promote_types(dtype, part.dtype)
    parts = [part.to(dtype) for part in parts]
    at = wrap(parts[0], dim)
    _check_cat(parts, at)
    shape = list(parts[0].shape)
    lengths = [whole_length(part, at) for part in parts]
    if all(list(t.shape) == shape for t in parts):
        stacked = aten.stack.default(parts, at)
        shape[at] *= len(parts)
        return aten.reshape.default(stacked, shape)
    known = [length for length in lengths if length is not None]
    if len(known) < len(lengths):
        env = _tracer().env
        raise exc.BackendUnsupported(
            backend=env.backend.name,
            detail="torch.cat of a tile with something of another size",
            hint="store each part to its own slice of the output",
        )
    return _joined(parts, at, known)


def _check_cat(parts: Sequence[torch.Tensor], dim: int) -> None:
    first = list(parts[0].shape)
    for part in parts[1:]:
        shape = list(part.shape)
        same = len(shape) == len(first)
        if not same or shape[:dim] + shape[dim + 1 :] != first[:dim] + first[dim + 1 :]:
            _tracer().env.unify([*shape, *first])
            raise exc.ShapeMismatch(first, shape)


def _joined(
    parts: Sequence[torch.Tensor], dim: int, lengths: Sequence[int]
) -> torch.Tensor:
    """Look each position up in the part that it is in."""
    place = positions(sum(lengths))
    shape = [1] * parts[0].dim()
    shape[dim] = place.size(0)
    result: torch.Tensor | None = None
    start = 0
    for part, length in zip(parts, lengths, strict=True):
        if not length:
            continue
        here = pick(part, dim, place - start if start else place)
        if result is not None:
            is_here = aten.view.default(place >= start, shape)
            here = torch.where(is_here, here, result)
        result = here
        start += length
    return parts[0] if result is None else result
