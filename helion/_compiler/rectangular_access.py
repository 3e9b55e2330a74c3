"""Accesses that take a rectangular block out of a tensor: where it starts, how far."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from ..language.low_bit_ops import BYTE_DTYPES
from ..language.tile import tile_index
from . import symbols
from .ast_extension import expr, literal, text_of

if TYPE_CHECKING:
    from .device_function import Axis
    from .indexing_strategy import Access

aten = torch.ops.aten


class NotRectangular(Exception):
    """Says why an access is no block, or none that a mode can take."""


@dataclass(frozen=True)
class RectangleDim:
    """One tensor dim of a block.

    ``extent`` is what the block spans, as text, and ``known`` the same as a number
    (None: only a call tells). ``place`` is its dim in Triton, None where Triton sees a
    scalar. ``is_exact``: the lanes that do not exist are those outside of the tensor.
    ``may_leave``: some lanes may lie outside. ``step`` is a number of elements that
    divides the offset.
    """

    offset: ast.expr
    extent: str
    known: int | None
    place: int | None
    is_exact: bool
    may_leave: bool
    step: int


@dataclass(frozen=True)
class Rectangle:
    """The block of an access, dim by dim of its tensor."""

    dims: tuple[RectangleDim, ...]
    rank: int

    @property
    def is_exact(self) -> bool:
        """Whether the lanes that do not exist are those outside of the tensor."""
        return all(dim.is_exact for dim in self.dims)

    @property
    def kept(self) -> list[int]:
        """The tensor dims that Triton sees."""
        return [i for i, dim in enumerate(self.dims) if dim.place is not None]


def rectangle_of(access: Access) -> Rectangle:
    """Return the block of an access.

    Raises:
        NotRectangular: it is none.
    """
    launch = access.state.launch
    if access.base is not None:
        raise NotRectangular("its address comes from a table of pointers")
    if access.tensor.dtype in BYTE_DTYPES:
        raise NotRectangular(f"elements of {access.tensor.dtype} are packed")
    if launch.is_wide:
        raise NotRectangular("the kernel needs 64-bit offsets")
    dims: list[RectangleDim] = []
    places = _places(access)
    nodes = access.state.node.args[1]
    assert isinstance(nodes, (list, tuple))
    out = 0
    for element, fake, given in zip(access.index, access.fakes, nodes, strict=True):
        if element[0] == "new":
            out += 1
            continue
        place = None if element[0] == "scalar" else places[out]
        reader = _DimReader(access, len(dims), out, place)
        dims.append(reader.read(element, fake, given))
        out += element[0] != "scalar"
    return Rectangle(tuple(dims), launch.rank(access.shape))


def _places(access: Access) -> list[int | None]:
    """Return the Triton dim of each dim of the selection, None if it has none."""
    launch, places, count = access.state.launch, [], 0
    for extent in access.shape:
        is_seen = not launch.is_single(extent)
        places.append(count if is_seen else None)
        count += is_seen
    return places


@dataclass(frozen=True)
class _DimReader:
    """Reads one element of a subscript: tensor dim ``dim``, selection dim ``out``."""

    access: Access
    dim: int
    out: int
    place: int | None

    def read(self, element: tuple[Any, ...], fake: Any, given: Any) -> RectangleDim:
        kind = element[0]
        if kind == "scalar":
            return self._at(self._int32(element[1], fake[1]))
        if kind == "full":
            return self._full()
        if kind == "tile":
            return self._tile(None)
        if kind == "tensor":
            return self._tile(self._shift(element, fake, given))
        raise NotRectangular(f"dim {self.dim} is indexed by part of a slice")

    def _at(self, offset: ast.expr) -> RectangleDim:
        return RectangleDim(offset, "1", 1, self.place, True, False, 1)

    def _axis(self) -> Axis:
        axis = self.access.state.launch.axis_of(self.access.shape[self.out])
        if axis is None:
            raise NotRectangular(f"dim {self.dim} is no tile")
        if axis.flat:
            raise NotRectangular("its loop is flattened")
        return axis

    def _full(self) -> RectangleDim:
        if self.access.shape[self.out] == 1:
            return self._at(literal(0))
        axis = self._axis()
        offset = expr(axis.offset) if axis.offset else literal(0)
        known = _number(self.access, axis)
        step = (known or 1) if axis.offset else 0
        leaves = axis.mask is not None
        return RectangleDim(
            offset, axis.size_var, known, self.place, True, leaves, step
        )

    def _tile(self, shift: ast.expr | None) -> RectangleDim:
        launch, tensor = self.access.state.launch, self.access.tensor
        size = tensor.size(self.dim)
        axis = self._axis()
        offset: ast.expr = expr(axis.offset or "0")
        if symbols.static_int(size) == 1 and self.place is not None:
            raise NotRectangular(f"a tile is broadcast over dim {self.dim}, of size 1")
        end = None if axis.end is None else text_of(axis.end)
        is_exact = axis.mask is None
        if shift is None and end is not None:
            is_exact = is_exact or end == text_of(launch.size_expr(size))
        leaves = axis.mask is not None or shift is not None
        known = 1 if self.place is None else _number(self.access, axis)
        step = _step(axis, known)
        if shift is not None:
            step = _common(step, _value(shift))
            offset = expr("{o} + {s}", o=offset, s=shift)
        extent = "1" if self.place is None else axis.size_var
        return RectangleDim(offset, extent, known, self.place, is_exact, leaves, step)

    def _shift(self, element: tuple[Any, ...], fake: Any, given: Any) -> ast.expr:
        """Return what is added to the index of a tile."""
        parts = sum_of(given[1])
        if fake[1].dim() != 1 or parts is None:
            raise NotRectangular(f"dim {self.dim} is indexed by a tensor")
        state, (_, shift) = self.access.state, parts
        if isinstance(shift, fx.Node):
            return self._int32(state.values[shift], shift.meta["val"])
        return literal(shift)

    def _int32(self, value: Any, fake: Any) -> ast.expr:
        """Return a scalar of the type that Triton takes offsets in."""
        result = self.access.state.launch.size_expr(value)
        offsets = {axis.offset for axis in self.access.state.launch.axes.values()}
        if isinstance(result, ast.Constant) or text_of(result) in offsets:
            return result
        if isinstance(fake, torch.Tensor) and fake.dtype == torch.int32:
            return result
        return expr("tl.cast({v}, tl.int32)", v=result)


def sum_of(node: Any) -> tuple[fx.Node, Any] | None:
    """Return the parts of ``tile.index + scalar``, None for anything else."""
    if not isinstance(node, fx.Node) or node.target is not aten.add.Tensor:
        return None
    if node.kwargs.get("alpha", 1) != 1:
        return None
    left, right = node.args[:2]
    if isinstance(right, fx.Node) and right.target is tile_index:
        left, right = right, left
    if not isinstance(left, fx.Node) or left.target is not tile_index:
        return None
    if isinstance(right, bool):
        return None
    is_scalar = isinstance(right, int)
    if isinstance(right, fx.Node):
        value = right.meta["val"]
        is_scalar = isinstance(value, torch.SymInt) or (
            isinstance(value, torch.Tensor)
            and value.dim() == 0
            and not value.dtype.is_floating_point
        )
    return (left, right) if is_scalar else None


def _number(access: Access, axis: Axis) -> int | None:
    """Return the extent of an axis as a number, None if only a call tells."""
    arg = access.state.launch.constexprs.get(axis.size_var)
    return int(arg.host) if arg is not None and arg.host.isdigit() else None


def _step(axis: Axis, known: int | None) -> int:
    """Return what surely divides the offset of a tile."""
    if known is None or axis.begin is None:
        return 1
    return _common(known, _value(axis.begin))


def _value(number: ast.expr) -> int:
    """Return a literal, or 1 for what may be any number."""
    value = number.value if isinstance(number, ast.Constant) else 1
    return value if isinstance(value, int) else 1


def _common(size: int, number: int) -> int:
    """Return the largest power of two that divides both; ``size`` is one."""
    return size if number == 0 else min(size, number & -number)
