"""Loops over index ranges: hl.tile, hl.grid, hl.static_range, and hl.barrier."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from . import _decorators
from ._eager import (
    device_of_loop,
    loop_depth,
    running_loop,
    take_block_sizes,
    user_frame,
    walking,
)
from ._eager_jagged import has_rows, walk_rows
from ._eager_lanes import lane_dims
from .tile import EagerTile, LoopRange, Tile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Bound = int | torch.SymInt | torch.Tensor
Bounds = Bound | Sequence[Bound]
BlockSize = int | torch.SymInt | None


@_decorators.api()
def tile(
    begin_or_end: Bounds,
    end_or_none: Bounds | None = None,
    /,
    block_size: BlockSize | Sequence[BlockSize] = None,
) -> Iterator[Any]:
    """Iterate over tiles of an index range, in parallel where it is outermost.

    ``for t in hl.tile(n)`` yields one Tile; ``for i, j in hl.tile([m, n])`` yields a
    tuple of one Tile per dim, also for ``hl.tile([n])``. Inner loops run in order. The
    last tile may be shorter; a range of no indices has no iterations.

    Args:
        begin_or_end: where the range begins if ``end_or_none`` is given, else its end
            (and it begins at 0): an int, a 0-d integer tensor, or a sequence of them.
        end_or_none: the end of the range, in the same form.
        block_size: an int, or one for each dim; None leaves it to the config.

    Raises:
        exc.TileOfTile: a bound is a Tile.
        exc.IncorrectTileUsage: the sequences differ in length.
        exc.InvalidTileRange: the range of an outermost loop ends before it begins.

    Example::

        for i, j in hl.tile([m, n], block_size=[None, 32]):
            out[i, j] = x[i, j] + 1
    """
    begins, ends, is_list = _ranges("hl.tile", begin_or_end, end_or_none)
    fixed = _per_dim("hl.tile", block_size, len(ends))
    chosen = iter(take_block_sizes(fixed.count(None)))
    sizes = [next(chosen) if size is None else size for size in fixed]
    device = device_of_loop()
    raw = _raw_ends(begin_or_end, end_or_none)
    if has_rows(raw):
        ranges = list(zip(begins, raw, sizes))
        return walk_rows(ranges, is_list, device, _tile_of(device))
    lanes = lane_dims(user_frame(), len(ends))
    sizes = [1 if dim in lanes else size for dim, size in enumerate(sizes)]
    loops = [
        LoopRange(begin, end, block_size_of(size, begin, end), device)
        for begin, end, size in zip(begins, ends, sizes)
    ]
    return walk(loops, is_list, device)


@_decorators.api()
def grid(
    begin_or_end: Bounds,
    end_or_none: Bounds | None = None,
    /,
    step: int | Sequence[int | None] | None = None,
) -> Iterator[Any]:
    """Iterate over the indices of a range one by one; outermost, in parallel.

    The loop variable is a scalar, so ``x[g, tile]`` has one dim. A sequence of bounds
    gives tuples of scalars. ``range`` in a device loop means the same.

    Args:
        begin_or_end: as in :func:`tile`.
        end_or_none: as in :func:`tile`.
        step: the distance of the indices, 1 if None; one for each dim of a sequence.

    Raises:
        exc.IncorrectTileUsage: the sequences differ in length.
    """
    begins, ends, is_list = _ranges("hl.grid", begin_or_end, end_or_none)
    steps = _per_dim("hl.grid", step, len(ends))
    raw = _raw_ends(begin_or_end, end_or_none)
    if has_rows(raw):
        ranges = [(b, e, s or 1) for b, e, s in zip(begins, raw, steps)]
        return walk_rows(ranges, is_list, device_of_loop(), lambda b, e, s, at: at)
    dims = [
        range(begin, end, 1 if step is None else operator.index(step))
        for begin, end, step in zip(begins, ends, steps)
    ]
    return _iterate(dims, is_list, device_of_loop())


@_decorators.api(is_device_only=True)
def reduction(
    begin_or_end: Bounds, end_or_none: Bounds | None = None, /
) -> Iterator[Any]:
    """Iterate over the chunks of an axis that is reduced, in order, in a tile loop.

    It is :func:`tile` with another knob: the config's ``reduction_loops`` decides
    whether one tile holds the whole axis (None) or how long a chunk is.

    Args:
        begin_or_end: as in :func:`tile`.
        end_or_none: as in :func:`tile`.

    Example::

        for i in hl.tile(m):
            total = hl.zeros([i], dtype=torch.float32)
            for j in hl.reduction(n):
                total += x[i, j].sum(1)
            out[i] = total
    """
    begins, ends, is_list = _ranges("hl.reduction", begin_or_end, end_or_none)
    device = device_of_loop()
    loops = [
        LoopRange(begin, end, block_size_of(None, begin, end), device)
        for begin, end in zip(begins, ends)
    ]
    return walk(loops, is_list, device)


@_decorators.api(is_device_only=True)
def static_range(
    begin_or_end: int, end_or_none: int | None = None, /, step: int = 1
) -> Iterator[int]:
    """Iterate over a range whose bounds are known at compile time, fully unrolled.

    The loop variable is a Python int, so it may index lists and tuples.

    Args:
        begin_or_end: where the range begins if ``end_or_none`` is given, else its end.
        end_or_none: the end of the range.
        step: the distance of the indices.
    """
    if end_or_none is None:
        return iter(range(0, begin_or_end, step))
    return iter(range(begin_or_end, end_or_none, step))


@_decorators.api(is_host_only=True, impure=True)
def barrier() -> None:
    """Wait for the whole grid between two top-level loops.

    The second loop then sees what the first one stored. Eager loops run one after the
    other, so nothing is left to do.
    """


def walk(
    loops: Sequence[LoopRange], is_list: bool, device: torch.device | None
) -> Iterator[Any]:
    """Yield the tiles of one or several ranges, with eager mode on."""
    dims = [
        [EagerTile(loop, at) for at in range(loop.begin, loop.end, loop.block_size)]
        for loop in loops
    ]
    return _iterate(dims, is_list, device)


def _iterate(
    dims: Sequence[Sequence[Any]], is_list: bool, device: torch.device | None
) -> Iterator[Any]:
    """Yield the product of ``dims``, the first outermost, with eager mode on."""
    with running_loop(device), walking() as turn:
        for point in itertools.product(*dims):
            turn[:] = point
            yield point if is_list else point[0]


def _ranges(
    name: str, begin_or_end: object, end_or_none: object | None
) -> tuple[list[int], list[int], bool]:
    """Return begins and ends per dim, and whether they were given as a sequence."""
    if end_or_none is None:
        first, last = None, begin_or_end
    else:
        first, last = begin_or_end, end_or_none
    is_list = isinstance(last, (list, tuple))
    if first is not None and isinstance(first, (list, tuple)) != is_list:
        raise exc.IncorrectTileUsage(name=name)
    ends = _bounds(last)
    begins = [0] * len(ends) if first is None else _bounds(first)
    if len(begins) != len(ends):
        raise exc.IncorrectTileUsage(name=name)
    for begin, end in zip(begins, ends):
        # Inside a loop the bounds may come from data, where this means "no indices".
        if begin > end and loop_depth() == 0:
            raise exc.InvalidTileRange(begin=begin, end=end)
    return begins, ends, is_list


def _bounds(value: Any) -> list[int]:
    values = value if isinstance(value, (list, tuple)) else (value,)
    if any(isinstance(item, Tile) for item in values):
        raise exc.TileOfTile()
    return [operator.index(item) for item in values]


def _raw_ends(begin_or_end: Any, end_or_none: Any) -> list[Any]:
    """Return the ends as they were given: sizes of nested tensors know their rows."""
    last = begin_or_end if end_or_none is None else end_or_none
    return list(last) if isinstance(last, (list, tuple)) else [last]


def _tile_of(device: torch.device | None) -> Callable[[int, int, int, int], EagerTile]:
    return lambda begin, end, step, at: EagerTile(
        LoopRange(begin, end, step, device), at
    )


def _per_dim(name: str, value: object, count: int) -> list[Any]:
    """Return ``value`` for each of ``count`` dims; a single one counts for all."""
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        raise exc.IncorrectTileUsage(name=name)
    return list(value)


def block_size_of(size: Any, begin: int, end: int) -> int:
    """Return the extent of tiles; without a choice one tile covers the range."""
    if size is None:
        return max(end - begin, 1)
    return operator.index(size)
