"""Loops over rows of unequal length: hl.jagged_tile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from . import _decorators
from ._eager import device_of_loop, loop_depth, take_block_sizes, user_frame
from ._eager_lanes import lane_dims
from .loops import block_size_of, walk
from .tile import LoopRange, Tile

if TYPE_CHECKING:
    from collections.abc import Iterator


@_decorators.api(is_device_only=True)
def jagged_tile(parent: torch.Tensor) -> Iterator[Any]:
    """Iterate over tiles of ``[0, max(parent))``, each lane up to its own length.

    Where the tile is used together with the tiles that ``parent`` goes over, only the
    elements with ``index < length`` exist: others are neither read nor written, and
    change no sum, maximum, softmax or product. Without those tiles it may index a load.

    Eager mode walks the tiles that ``parent`` goes over one row at a time, so that each
    row has its true length.

    Args:
        parent: integer lengths, loaded or computed in the loops around; each of its
            dims is that of a tile.

    Raises:
        exc.InvalidJaggedTileUsage: the loop is the outermost one, ``parent`` is a
            number or a host tensor, a dim of it is not that of a tile, a store has the
            jagged tile without the tiles of ``parent``, or a mean is taken along it.
        exc.TileOfTile: ``parent`` is a tile.

    Example::

        for rows in hl.tile(lengths.size(0)):
            start, length = starts[rows], lengths[rows]
            total = hl.zeros([rows])
            for cols in hl.jagged_tile(length):
                total += values[start[:, None] + cols.index[None, :]].sum(1)
            out[rows] = total
    """
    if isinstance(parent, Tile):
        raise exc.TileOfTile()
    _check(parent)
    lengths = parent.reshape(-1).tolist()
    if len(set(lengths)) > 1:
        raise exc.InvalidJaggedTileUsage(
            reason="hl.jagged_tile runs eagerly on one row at a time, but its parent "
            f"has {len(lengths)} lanes",
            hint="put it in the function that has the hl.tile loop over the rows",
        )
    (size,) = take_block_sizes(1)
    if lane_dims(user_frame(), 1):
        size = 1  # this tile has lengths over it as well
    end = max(lengths[0], 0) if lengths else 0
    device = device_of_loop()
    loop = LoopRange(0, end, block_size_of(size, 0, end), device)
    return walk([loop], is_list=False, device=device)


def _check(parent: torch.Tensor) -> None:
    """Raise what ``jagged_tile`` documents for a parent that cannot be one."""
    if loop_depth() == 0:
        reason = "hl.jagged_tile cannot be the outermost loop"
    elif not isinstance(parent, torch.Tensor):
        reason = f"the parent of hl.jagged_tile is a {type(parent).__name__}"
    elif parent.is_floating_point() or parent.dtype == torch.bool:
        reason = f"the parent of hl.jagged_tile has the dtype {parent.dtype}"
    elif parent.ndim == 0:
        reason = "the parent of hl.jagged_tile is one number"
    else:
        return
    raise exc.InvalidJaggedTileUsage(
        reason=reason, hint="pass lengths loaded by a tile, as n = lengths[tile]"
    )
