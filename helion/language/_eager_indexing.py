"""Eager subscripts: which elements an index names, and reading and writing them."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .tile import Tile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Torch's own subscripts, even while EagerMode is active.
native = torch._C.DisableTorchFunction  # no public way switches off modes as well


@dataclass(frozen=True)
class DimIndex:
    """The positions that one index element selects along one tensor dim.

    ``positions`` are int64 and not yet checked against ``size``; ``span`` says the same
    as a native index where the positions are a plain range or an int.
    """

    dim: int
    size: int
    positions: torch.Tensor
    span: slice | int | None = None

    def valid(self) -> torch.Tensor:
        """Return which positions lie inside the tensor."""
        return (self.positions >= 0) & (self.positions < self.size)


@dataclass(frozen=True)
class Selection:
    """The elements that a subscript names, as one position tensor per tensor dim."""

    tensor: torch.Tensor
    shape: tuple[int, ...]
    dims: tuple[DimIndex, ...]  # positions broadcast to ``shape``
    native_index: tuple[Any, ...] | None  # the same as a basic torch index, if one is

    def valid(self) -> torch.Tensor:
        """Return which lanes lie inside the tensor, in the shape of the selection."""
        lanes = torch.ones(self.shape, dtype=torch.bool, device=self.tensor.device)
        for index in self.dims:
            lanes = lanes & index.valid()
        return lanes

    def read(self) -> torch.Tensor:
        """Return a copy of the elements; positions outside are moved to the edge."""
        with native():
            if self.tensor.dtype == torch.float4_e2m1fn_x2:
                # Torch moves the bytes of this dtype, but hardly the dtype itself.
                as_bytes = replace(self, tensor=self.tensor.view(torch.uint8))
                return as_bytes.read().view(self.tensor.dtype)
            if self.native_index is not None:
                return self.tensor[self.native_index].clone()
            if 0 in self.shape or self.tensor.numel() == 0:
                return self.tensor.new_zeros(self.shape)
            positions = [i.positions.clamp(0, i.size - 1) for i in self.dims]
            return self.tensor[tuple(positions)].reshape(self.shape)

    def write(self, value: object, mask: torch.Tensor | None = None) -> None:
        """Store ``value`` cast to the tensor's dtype; lanes outside are skipped."""
        if isinstance(value, torch.Tensor) and mask is None:
            self = self._trimmed(value)
        fitted = fit_value(self.tensor, self.shape, value)
        with native():
            if self.native_index is not None and mask is None:
                self.tensor[self.native_index] = fitted
                return
            lanes = self.valid()
            if mask is not None:
                lanes = lanes & mask
            values = torch.as_tensor(
                fitted, dtype=self.tensor.dtype, device=self.tensor.device
            ).expand(self.shape)
            self.tensor[self.lane_positions(lanes)] = values[lanes]

    def _trimmed(self, value: torch.Tensor) -> Selection:
        """Leave out the positions past the end of the tensor that no element is for.

        A block size is longer than what is left for the last tile.
        """
        if value.ndim != len(self.shape) or self.native_index is not None:
            return self
        with native():
            for dim, (have, want) in enumerate(zip(value.shape, self.shape)):
                extra = slice(have, want)
                lanes = self.valid().movedim(dim, 0)
                if 0 < have < want and not lanes[extra].any():
                    return self._cut(dim, have)._trimmed(value)
        return self

    def _cut(self, dim: int, length: int) -> Selection:
        shape = list(self.shape)
        shape[dim] = length
        dims = tuple(
            i
            if i.positions.ndim != len(shape) or i.positions.shape[dim] == 1
            else replace(i, positions=i.positions.narrow(dim, 0, length))
            for i in self.dims
        )
        return replace(self, shape=tuple(shape), dims=dims)

    def lane_positions(self, lanes: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the positions of the chosen ``lanes``, one vector per tensor dim."""
        with native():
            return tuple(i.positions.expand(self.shape)[lanes] for i in self.dims)

    def linear(self, lanes: torch.Tensor) -> torch.Tensor:
        """Return the row-major element numbers of the chosen ``lanes``."""
        with native():
            total = torch.zeros(
                int(lanes.sum()), dtype=torch.int64, device=self.tensor.device
            )
            for index, positions in zip(self.dims, self.lane_positions(lanes)):
                total = total * index.size + positions
            return total

    def has_tensor_index(self) -> bool:
        """Return whether lanes may name the same element twice."""
        return any(i.span is None for i in self.dims)


SELECTORS: dict[type, Callable[[torch.Tensor, list[object]], Selection]] = {}
"""Who resolves the subscripts of tensors that are no plain memory, by type."""


def select(tensor: torch.Tensor, index: object, *, is_padded: bool = True) -> Selection:
    """Resolve ``tensor[index]`` by the rules of the language.

    Every 1-D index (tile, slice, tensor) gives the result a dim of its own; index
    tensors of two or more dims broadcast together; ints and 0-d tensors drop the dim.

    Args:
        tensor: the indexed tensor.
        index: one element or a tuple or list of them.
        is_padded: missing trailing dims count as ``:`` and ``...`` is allowed.

    Raises:
        exc.RankMismatch: too many elements, or too few where none are added.
        exc.InvalidIndexingType: an element that cannot be an index.
    """
    elements = _complete(tensor, _elements(index), is_padded)
    selector = SELECTORS.get(type(tensor))
    if selector is not None:
        return selector(tensor, elements)
    if tensor.ndim == 0:
        # One more dim, shared with the tensor, spares a special case everywhere else.
        tensor, elements = tensor.unsqueeze(0), [*elements, 0]
    dims: list[DimIndex | None] = []
    dim = 0
    for element in elements:
        if element is None:
            dims.append(None)
        else:
            dims.append(_dim_index(tensor, dim, element))
            dim += 1
    return _place(tensor, dims)


def fit_value(tensor: torch.Tensor, shape: tuple[int, ...], value: object) -> Any:
    """Return ``value`` ready to be stored into a selection of the given shape.

    Raises:
        exc.NonTensorSubscriptAssign: it is neither a tensor nor a number.
        exc.RankMismatch: its rank differs, leading dims of size 1 aside.
        exc.ShapeMismatch: a dim of it does not broadcast.
    """
    if isinstance(value, (bool, int, float, complex)):
        return value
    if not isinstance(value, torch.Tensor):
        raise exc.NonTensorSubscriptAssign(
            value_type=type(value).__name__, target_type="a tensor"
        )
    while value.ndim > len(shape) and value.shape[0] == 1:
        value = value.squeeze(0)
    if value.ndim not in (0, len(shape)):
        raise exc.RankMismatch(
            f"a value of shape {tuple(value.shape)} is stored into {len(shape)} dims"
        )
    if any(have not in (1, want) for have, want in zip(value.shape, shape)):
        raise exc.ShapeMismatch(left=tuple(value.shape), right=shape)
    return value.to(tensor.dtype)


def fit_mask(mask: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Return ``mask`` as bools of the given shape.

    Raises:
        exc.ShapeMismatch: it does not broadcast to ``shape``.
    """
    try:
        return mask.to(torch.bool).expand(shape)
    except RuntimeError:
        raise exc.ShapeMismatch(left=tuple(mask.shape), right=shape) from None


def is_plain(index: object) -> bool:
    """Return whether torch itself gives ``index`` the meaning of the language."""
    elements = index if isinstance(index, tuple) else (index,)
    return all(_is_plain_element(element) for element in elements)


def _is_plain_element(element: object) -> bool:
    if isinstance(element, slice):
        bounds = (element.start, element.stop, element.step)
        is_positive = element.step is None or _is_int(element.step) and element.step > 0
        return is_positive and all(bound is None or _is_int(bound) for bound in bounds)
    return element is None or element is Ellipsis or _is_int(element)


def _is_int(value: object) -> bool:
    return isinstance(value, (int, torch.SymInt)) and not isinstance(value, bool)


def _elements(index: object) -> list[object]:
    """Split a subscript into elements; a list or tuple of one tile is that tile."""
    if not isinstance(index, (tuple, list)):
        return [index]
    return [_unpack_tile(element) for element in index]


def _unpack_tile(element: object) -> object:
    if not isinstance(element, (tuple, list)):
        return element
    if element and all(isinstance(item, Tile) for item in element):
        if len(element) == 1:
            return element[0]
        raise exc.OverpackedTile(container=element)
    raise exc.InvalidIndexingType(index=element)


def _complete(
    tensor: torch.Tensor, elements: list[object], is_padded: bool
) -> list[object]:
    """Write ``...`` and missing trailing dims as ``:`` and check the count."""
    ellipses = sum(element is Ellipsis for element in elements)
    if ellipses and not is_padded:
        raise exc.InvalidIndexingType(index="...")
    if ellipses > 1:
        raise exc.TypeInferenceError("an index has more than one ...")
    used = sum(element is not None and element is not Ellipsis for element in elements)
    missing = tensor.ndim - used
    if missing < 0 or (missing and not is_padded):
        raise exc.RankMismatch(
            tensor=f"a tensor of shape {tuple(tensor.shape)}",
            expected=tensor.ndim,
            got=used,
        )
    fill: list[object] = [slice(None)] * missing
    if not ellipses:
        return elements + fill
    at = next(i for i, element in enumerate(elements) if element is Ellipsis)
    return elements[:at] + fill + elements[at + 1 :]


def _dim_index(tensor: torch.Tensor, dim: int, element: Any) -> DimIndex:
    size = tensor.shape[dim]
    if isinstance(element, Tile):
        span = slice(element.begin, element.end)
        return _range_index(tensor, dim, span, is_inside=element.end <= size)
    if isinstance(element, slice):
        return _range_index(tensor, dim, _checked_slice(element, size), is_inside=True)
    if isinstance(element, torch.Tensor):
        return _tensor_index(tensor, dim, element)
    if isinstance(element, (bool, float, complex, str)):
        raise exc.InvalidIndexingType(index=repr(element))
    try:
        position = operator.index(element)
    except TypeError:
        raise exc.InvalidIndexingType(index=repr(element)) from None
    if -size <= position < 0:
        position += size
    where = torch.tensor(position, dtype=torch.int64, device=tensor.device)
    span = position if 0 <= position < size else None
    return DimIndex(dim, size, where, span)


def _range_index(
    tensor: torch.Tensor, dim: int, span: slice, is_inside: bool
) -> DimIndex:
    positions = torch.arange(
        span.start,
        max(span.stop, span.start),
        span.step or 1,
        dtype=torch.int64,
        device=tensor.device,
    )
    return DimIndex(dim, tensor.shape[dim], positions, span if is_inside else None)


def _checked_slice(element: slice, size: int) -> slice:
    for bound in (element.start, element.stop, element.step):
        if isinstance(bound, torch.Tensor):
            raise exc.TensorSliceBound(value=bound)
        if bound is not None and not hasattr(bound, "__index__"):
            raise exc.InvalidIndexingType(index=element)
    if element.step is not None and operator.index(element.step) <= 0:
        raise exc.InvalidSliceStep(step=element.step)
    return slice(*element.indices(size))


def _tensor_index(tensor: torch.Tensor, dim: int, element: torch.Tensor) -> DimIndex:
    if element.dtype == torch.bool:
        raise exc.DataDependentOutputShapeNotSupported(op="indexing by a bool tensor")
    if element.is_floating_point() or element.is_complex():
        raise exc.InvalidIndexingType(index=f"a tensor of dtype {element.dtype}")
    positions = element.to(device=tensor.device, dtype=torch.int64)
    return DimIndex(dim, tensor.shape[dim], positions)


def _place(tensor: torch.Tensor, dims: Sequence[DimIndex | None]) -> Selection:
    """Give each index its dims of the result and line the positions up with them."""
    group = [i.positions.shape for i in dims if i is not None and i.positions.ndim > 1]
    try:
        group_shape = tuple(torch.broadcast_shapes(*group)) if group else ()
    except RuntimeError:
        raise exc.ShapeMismatch(
            left=tuple(group[0]), right=[tuple(shape) for shape in group[1:]]
        ) from None
    shape: list[int] = []
    starts: list[int] = []  # where in the result the dims of each index begin
    group_start = -1
    for index in dims:
        starts.append(len(shape))
        if index is None:
            shape.append(1)
        elif index.positions.ndim == 1:
            shape.append(index.positions.shape[0])
        elif index.positions.ndim > 1:
            if group_start < 0:
                group_start = len(shape)
                shape.extend(group_shape)
            starts[-1] = group_start + len(group_shape) - index.positions.ndim
    placed = tuple(
        replace(i, positions=_aligned(i.positions, start, len(shape)))
        for i, start in zip(dims, starts)
        if i is not None
    )
    spans = tuple(None if i is None else i.span for i in dims)
    is_native = all(i is None or i.span is not None for i in dims)
    return Selection(tensor, tuple(shape), placed, spans if is_native else None)


def _aligned(positions: torch.Tensor, start: int, rank: int) -> torch.Tensor:
    """View ``positions`` with its dims at ``start`` of ``rank`` dims."""
    before = [1] * start
    after = [1] * (rank - start - positions.ndim)
    return positions.reshape(before + list(positions.shape) + after)
