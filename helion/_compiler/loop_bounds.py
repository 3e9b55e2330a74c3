"""Reads the arguments of a loop function into begin, end and step per axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from .. import exc
from . import symbols
from .error_text import describe
from .traced_tile import TracedTile


@dataclass
class LoopBounds:
    """The axes of ``hl.tile`` / ``hl.grid``: ``sizes`` are block sizes or steps."""

    kind: str
    begins: list[Any]
    ends: list[Any]
    sizes: list[Any]
    is_list: bool

    @classmethod
    def parse(cls, kind: str, args: list[Any], kwargs: dict[str, Any]) -> LoopBounds:
        """Check the arguments of a loop function call."""
        size_name = "block_size" if kind == "tile" else "step"
        is_chunked = kind == "reduction"
        unknown = set(kwargs) - (set() if is_chunked else {size_name})
        if unknown or not 1 <= len(args) <= (2 if is_chunked else 3):
            last = "nothing else" if is_chunked else f"{size_name}="
            raise exc.IncorrectTileUsage.from_text(
                f"hl.{kind} takes an end, or begin and end, and {last}"
            )
        size = args[2] if len(args) == 3 else kwargs.get(size_name)
        begin, end = (0, args[0]) if len(args) == 1 or args[1] is None else args[:2]
        is_list = isinstance(end, (list, tuple))
        if not is_list:
            result = cls(kind, [begin], [end], [size], False)
        else:
            result = cls(kind, *_per_axis(kind, begin, end, size), True)
        if not result.ends:
            raise exc.IncorrectTileUsage.from_text(
                f"hl.{kind}: the list of ends is empty", _BOUNDS
            )
        for axis, low in enumerate(result.begins):
            _check_size(kind, result.sizes[axis])
            _check_range(kind, low, result.ends[axis])
        return result

    def numel(self, axis: int) -> int | torch.SymInt | None:
        """Return the length of an axis, None if only the device knows it."""
        begin, end = self.begins[axis], self.ends[axis]
        if isinstance(begin, torch.Tensor) or isinstance(end, torch.Tensor):
            return None
        return end if symbols.static_int(begin) == 0 else end - begin


def _per_axis(kind: str, begin: Any, end: Any, size: Any) -> tuple[Any, Any, Any]:
    ends = list(end)
    begins = [0] * len(ends) if symbols.static_int(begin) == 0 else begin
    sizes = [None] * len(ends) if size is None else size
    for given in (begins, sizes):
        if not isinstance(given, (list, tuple)) or len(given) != len(ends):
            raise exc.IncorrectTileUsage.from_text(
                f"hl.{kind}: begin, end and block size must be lists of one length",
                f"the loop has {len(ends)} axes; give one entry for each",
            )
    return list(begins), ends, list(sizes)


_BOUNDS = "bounds are ints or 0-d integer tensors; a list has one for each axis"
_SIZES = "leave it out for a default, or give a positive int"


def _check_size(kind: str, size: Any) -> None:
    """Check a block size or step."""
    if size is None:
        return
    name = "block_size" if kind == "tile" else "step"
    if isinstance(size, bool) or not isinstance(size, (int, torch.SymInt)):
        raise exc.IncorrectTileUsage.from_text(
            f"hl.{kind}: {name} must be an int, not {describe(size)}", _SIZES
        )
    known = symbols.static_int(size)
    if known is None:
        return
    if known < 1:
        raise exc.IncorrectTileUsage.from_text(
            f"hl.{kind}: {name} is {known}, but must be positive", _SIZES
        )
    if kind == "tile" and known & (known - 1):
        raise exc.InvalidConfig(
            f"hl.tile: block_size is {known}, but must be a power of two",
            hint=f"use {1 << known.bit_length()}: a last, partial tile is masked",
        )


def _check_range(kind: str, begin: Any, end: Any) -> None:
    for bound in (begin, end):
        if isinstance(bound, TracedTile):
            raise exc.TileOfTile()
        if isinstance(bound, torch.Tensor) and bound.dim() > 0:
            raise exc.IncorrectTileUsage.from_text(
                f"hl.{kind}: a bound is a tensor with {bound.dim()} dimensions", _BOUNDS
            )
        is_number = isinstance(bound, (int, torch.SymInt, torch.Tensor))
        if not is_number or isinstance(bound, bool):
            raise exc.IncorrectTileUsage.from_text(
                f"hl.{kind}: a bound is {describe(bound)}", _BOUNDS
            )
        if isinstance(bound, torch.Tensor) and (
            bound.dtype.is_floating_point or bound.dtype == torch.bool
        ):
            raise exc.IncorrectTileUsage.from_text(
                f"hl.{kind}: a bound is {describe(bound)}", _BOUNDS
            )
    low, high = symbols.static_int(begin), symbols.static_int(end)
    if low is not None and high is not None and low > high:
        raise exc.InvalidTileRange(begin=low, end=high)
