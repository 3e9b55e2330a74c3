"""Tile: the loop variable of hl.tile, an index, a size and a few facts."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import SupportsIndex

import torch

from .._math import cdiv
from . import _decorators

INT32_MAX = 2**31 - 1

AXES = "_helion_axes"  # on eager values: the tile of each dim that is one


class Tile:
    """The indices that one iteration of ``hl.tile`` covers.

    It indexes tensors (``x[tile]``), stands for a size (``hl.zeros([tile])``) and has
    the facts below. The only arithmetic is ``tile + int``, an index tensor moved by
    that distance; use ``tile.index`` for any other.
    """

    @property
    def begin(self) -> int:
        """The first index of the tile."""
        raise NotImplementedError

    @property
    def end(self) -> int:
        """One past the last index, never past the end of the loop."""
        raise NotImplementedError

    @property
    def block_size(self) -> int:
        """The configured extent, also where the last tile is shorter."""
        raise NotImplementedError

    @property
    def id(self) -> int:
        """``begin // block_size``."""
        raise NotImplementedError

    @property
    def count(self) -> int:
        """The number of tiles of the whole loop."""
        raise NotImplementedError

    @property
    def index(self) -> torch.Tensor:
        """The indices as a 1-D integer tensor."""
        raise NotImplementedError

    def __add__(self, offset: SupportsIndex) -> torch.Tensor:
        """Return the indices moved by ``offset``, to be used in a subscript."""
        raise NotImplementedError


@dataclass(frozen=True)
class LoopRange:
    """The range of one loop dimension and how it is cut into tiles."""

    begin: int
    end: int
    block_size: int
    device: torch.device | None

    @property
    def numel(self) -> int:
        """The number of indices in the range."""
        return max(self.end - self.begin, 0)

    @property
    def count(self) -> int:
        """The number of tiles in the range."""
        return cdiv(self.numel, self.block_size)


class EagerTile(Tile):
    """A tile of real numbers; as a size it is its actual length."""

    def __init__(self, loop: LoopRange, begin: int) -> None:
        self.loop = loop
        self._begin = begin

    @property
    def begin(self) -> int:
        return self._begin

    @property
    def end(self) -> int:
        return min(self._begin + self.loop.block_size, self.loop.end)

    @property
    def block_size(self) -> int:
        return self.loop.block_size

    @property
    def id(self) -> int:
        return self._begin // self.loop.block_size

    @property
    def count(self) -> int:
        return self.loop.count

    @property
    def index(self) -> torch.Tensor:
        dtype = torch.int32 if self.loop.end <= INT32_MAX else torch.int64
        index = torch.arange(self.begin, self.end, dtype=dtype, device=self.loop.device)
        setattr(index, AXES, (self,))
        return index

    def __add__(self, offset: SupportsIndex) -> torch.Tensor:
        return self.index + operator.index(offset)

    def __index__(self) -> int:
        # Torch takes any object with __index__ as a size.
        return self.end - self.begin

    def __repr__(self) -> str:
        return f"Tile({self.begin}:{self.end})"


@_decorators.api(is_device_only=True)
def tile_index(tile: Tile) -> torch.Tensor:
    """Return the indices of ``tile`` as a 1-D integer tensor (int32 if they fit).

    Compiled, it always has ``tile.block_size`` elements and those past the end are
    masked; eager, it has the actual length.
    """
    return tile.index


@_decorators.api(is_device_only=True)
def tile_begin(tile: Tile) -> int:
    """Return the first index of ``tile``."""
    return tile.begin


@_decorators.api(is_device_only=True)
def tile_end(tile: Tile) -> int:
    """Return one past the last index of ``tile``, at most the end of the loop."""
    return tile.end


@_decorators.api(is_device_only=True)
def tile_block_size(tile: Tile) -> int:
    """Return the configured extent of ``tile``, also where it is shorter."""
    return tile.block_size


@_decorators.api(is_device_only=True)
def tile_id(tile: Tile) -> int:
    """Return ``tile.begin // tile.block_size``."""
    return tile.id


@_decorators.api(is_device_only=True)
def tile_count(tile: Tile) -> int:
    """Return the number of tiles of the whole loop."""
    return tile.count
