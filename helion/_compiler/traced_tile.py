"""The loop variable of a tile loop while its body is being traced."""

# To authors the facts of a tile are ints; while tracing they are symbols of ints.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, SupportsIndex

import torch

from .. import exc
from ..language.tile import Tile, tile_index
from .op_registry import active_tracer
from .variable_origin import (
    BlockOrigin,
    TileBeginOrigin,
    TileCountOrigin,
    TileEndOrigin,
    TileIdOrigin,
)

if TYPE_CHECKING:
    from .compile_environment import BlockSizeInfo, CompileEnvironment


class TracedTile(Tile):
    """A tile whose facts are symbols of the compile environment."""

    # What error messages call it.
    user_words = "a tile"

    def __init__(self, env: CompileEnvironment, info: BlockSizeInfo) -> None:
        self.env = env
        self.info = info

    @property
    def block_id(self) -> int:
        """The axis of the tile."""
        return self.info.block_id

    def _scalar(self, origin: type[BlockOrigin]) -> torch.SymInt:
        return self.env.block_scalar(self.block_id, origin)

    @property
    def begin(self) -> torch.SymInt:
        return self._scalar(TileBeginOrigin)

    @property
    def end(self) -> torch.SymInt:
        return self._scalar(TileEndOrigin)

    @property
    def id(self) -> torch.SymInt:
        return self._scalar(TileIdOrigin)

    @property
    def count(self) -> torch.SymInt:
        return self._scalar(TileCountOrigin)

    @property
    def block_size(self) -> torch.SymInt:
        return self.info.var

    @property
    def index(self) -> torch.Tensor:
        tracer: Any = active_tracer()
        value = tracer.new_value([self.info.extent], self.env.index_dtype)
        return tracer.emit(tile_index, (self.block_id,), value)

    def __add__(self, offset: SupportsIndex) -> torch.Tensor:
        if not isinstance(offset, (int, torch.SymInt)):
            raise exc.IncorrectTileUsage(f"tile + {type(offset).__name__}")
        moved = self.index + offset
        assert isinstance(moved, torch.Tensor)
        return moved

    def __repr__(self) -> str:
        return f"Tile(block_id={self.block_id})"


def as_size(env: CompileEnvironment, value: object) -> int:
    """Return the device extent of a tile, int or SymInt used as a size."""
    if isinstance(value, TracedTile):
        return value.info.extent
    return env.extent_of(value)
