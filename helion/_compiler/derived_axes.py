"""Sizes and masks of derived dims in emitted code, and where their elements are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sympy

from .. import exc
from . import symbols
from .ast_extension import expr, text_of
from .codegen_text import conjunction, padded_extent
from .derived_dims import DerivedDim, derived_dim

if TYPE_CHECKING:
    import ast
    from collections.abc import Sequence

    from .device_function import DeviceFunction

Count = int | str
"""A number of elements: known when emitting, or the code of it."""


def times(left: Count, right: Count) -> Count:
    """Return a product, multiplied out where it is known."""
    if isinstance(left, int) and isinstance(right, int):
        return left * right
    if 1 in (left, right):
        return right if left == 1 else left
    return f"({left} * {right})"


def product(counts: Sequence[Count]) -> Count:
    """Return the product of all counts."""
    total: Count = 1
    for count in counts:
        total = times(total, count)
    return total


def size_count(launch: DeviceFunction, extent: int) -> Count:
    """Return how many elements a device dim has, padding left out (tiles are full)."""
    info = launch.env.block_of(extent)
    if info is not None and info.is_reduction:
        known = symbols.static_int(info.numel)
        return text_of(launch.size_expr(info.numel)) if known is None else known
    if info is not None:
        known = symbols.static_int(launch.block_values[info.block_id])
        return launch.block_size_var(info.block_id) if known is None else known
    made = derived_dim(launch.env, extent)
    if made is None:
        return extent
    total = product([size_count(launch, source) for source in made.sources])
    if isinstance(total, int):
        return total // made.inner
    return total if made.inner == 1 else f"({total} // {made.inner})"


def lane_count(launch: DeviceFunction, extent: int) -> Count:
    """Return how long a device dim is in Triton, padding included."""
    info = launch.env.block_of(extent)
    size = size_count(launch, extent)
    if info is not None and info.is_reduction:
        return launch.axis(info).size_var if isinstance(size, str) else _whole(info)
    if isinstance(size, int):
        return padded_extent(size)
    made = derived_dim(launch.env, extent)
    if made is None:
        return size
    total = product([lane_count(launch, source) for source in made.sources])
    return total if made.inner == 1 else f"({total} // {made.inner})"


def _whole(info: Any) -> int:
    return padded_extent(int(info.numel), info.min_size)


def derived_axis_parts(
    launch: DeviceFunction, dim: DerivedDim
) -> tuple[str, str, str | None]:
    """Return the size, the index and the mask (None: all real) of a derived dim."""
    size = _size_text(launch, dim)
    index = expr(f"tl.arange(0, {size})")
    terms = _real_positions(launch, dim, text_of(index))
    mask = conjunction(terms)
    if mask is None:
        return size, text_of(index), None
    if dim.extent in launch.env.derived_dims.ambiguous:
        raise exc.BackendUnsupported(
            backend=launch.env.backend.name,
            detail="reshapes that make one size of different parts under this config: "
            "a tile or dim is padded",
            hint="use block sizes that divide the dimension",
        )
    name = launch.share(mask, f"mask_{'_'.join(_names(launch, dim))}")
    return size, text_of(index), text_of(name)


def _names(launch: DeviceFunction, dim: DerivedDim) -> list[str]:
    infos = [launch.env.block_of(source) for source in dim.sources]
    kinds = [str(info.block_id) for info in infos if info is not None]
    return [*kinds, f"by_{dim.inner}"] if dim.inner > 1 else kinds


def _size_text(launch: DeviceFunction, dim: DerivedDim) -> str:
    size, lanes = size_count(launch, dim.extent), lane_count(launch, dim.extent)
    if size == lanes:
        derived = launch.env.derived_size(dim.extent)
        assert isinstance(derived, sympy.Expr)
        return launch.device_text(derived)
    return str(lanes)


def _real_positions(launch: DeviceFunction, dim: DerivedDim, index: str) -> list[Any]:
    position = index if dim.inner == 1 else f"{index} * {dim.inner}"
    lanes = times(lane_count(launch, dim.extent), dim.inner)
    total = product([size_count(launch, source) for source in dim.sources])
    return in_bounds(launch, dim.sources, position, is_padded=lanes != total)


def in_bounds(
    launch: DeviceFunction, dims: Sequence[int], position: str, is_padded: bool
) -> list[ast.expr]:
    """Return the conditions that element ``position`` of a run of dims is real.

    ``is_padded``: there are more positions than elements of full tiles.
    """
    terms: list[ast.expr] = []
    for place, extent in enumerate(dims):
        at = Coordinate(launch, dims, place).text(position)
        size = size_count(launch, extent)
        made = derived_dim(launch.env, extent)
        if made is not None:
            inner = f"({at}) * {made.inner}"
            terms += in_bounds(launch, made.sources, inner, is_padded and not place)
            continue
        axis = launch.axis_of(extent)
        is_tile = axis is not None and not axis.is_whole
        if axis is not None and is_tile and axis.mask is not None:
            end = axis.end
            assert end is not None
            terms.append(expr(f"({at} + {axis.offset} < {{end}})", end=end))
        elif place == 0 and is_padded:
            terms.append(expr(f"({at} < {size})"))
    return terms


@dataclass(frozen=True)
class Coordinate:
    """One of the dims that a row-major position over several dims runs through."""

    launch: DeviceFunction
    dims: Sequence[int]
    place: int

    def text(self, position: str) -> str:
        """Return the code of the position along this dim."""
        sizes = [size_count(self.launch, extent) for extent in self.dims]
        return coordinate(sizes, self.place, position)


def coordinate(sizes: Sequence[Count], place: int, position: str) -> str:
    """Return the position along dim ``place`` of a row-major ``position``."""
    stride = product(sizes[place + 1 :])
    text = position if stride == 1 else f"({position}) // {stride}"
    return text if place == 0 else f"({text}) % {sizes[place]}"


def linear(coordinates: Sequence[str], sizes: Sequence[Count]) -> str:
    """Return the row-major position of coordinates."""
    terms = []
    for place, text in enumerate(coordinates):
        stride = product(sizes[place + 1 :])
        terms.append(f"({text})" if stride == 1 else f"({text}) * {stride}")
    return " + ".join(terms)


def is_dense(launch: DeviceFunction, extent: int) -> bool:
    """Whether a device dim has no padding but that of a tile that is not full."""
    return size_count(launch, extent) == lane_count(launch, extent)


def total_lanes(launch: DeviceFunction, dims: Sequence[int]) -> Count:
    """Return the number of lanes of several dims."""
    return product([lane_count(launch, extent) for extent in dims])
