"""New tiles: hl.zeros, hl.full and hl.arange."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, SupportsIndex

import torch

from .. import exc
from . import _decorators
from ._eager import kernel_device
from .tile import Tile

Size = SupportsIndex  # an int, a symbolic int or a tile
Shape = Size | Sequence[Size]
TileShape = Tile | Sequence[Size]


def shape_list(shape: Shape) -> list[Any]:
    """Return ``shape`` as a list; one size alone is a shape of rank 1."""
    return list(shape) if isinstance(shape, (list, tuple)) else [shape]


def checked_shape(shape: object, op: str) -> list[Any]:
    """Return the sizes of a new tile.

    Raises:
        exc.ShapeNotAList: ``shape`` is neither a list or tuple nor a tile.
    """
    if isinstance(shape, (list, tuple)):
        return list(shape)
    if isinstance(shape, Tile):
        return [shape]
    kind = "int" if isinstance(shape, torch.SymInt) else type(shape).__name__
    raise exc.ShapeNotAList(op=op, type=kind)


@_decorators.api(is_device_only=True, tiles_as_sizes=True)
def zeros(
    shape: TileShape,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> torch.Tensor:
    """Return a tensor of zeros, often the start of an accumulator.

    Args:
        shape: a list of ints and tiles, or one tile; ``[]`` for a 0-d tensor.
        dtype: the dtype of the result.
        device: the kernel's device, also if None.

    Raises:
        exc.ShapeNotAList: ``shape`` is a bare int, say; it is a TypeError too.

    Example::

        acc = hl.zeros([tile_m, tile_n], dtype=torch.float32)
    """
    sizes = checked_shape(shape, "zeros")
    return torch.zeros(sizes, dtype=dtype, device=device or kernel_device())


@_decorators.api(is_device_only=True, tiles_as_sizes=True)
def full(
    shape: TileShape,
    value: float | torch.Tensor,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> torch.Tensor:
    """Return a tensor with ``value`` everywhere.

    Args:
        shape: a list of ints and tiles, or one tile; ``[]`` for a 0-d tensor.
        value: a number or a 0-d tensor.
        dtype: the dtype of the result, float32 whatever the type of ``value``.
        device: the kernel's device, also if None.

    Raises:
        exc.ShapeNotAList: ``shape`` is a bare int, say; it is a TypeError too.
    """
    sizes = [operator.index(size) for size in checked_shape(shape, "full")]
    if isinstance(value, torch.Tensor):
        return value.to(device=device, dtype=dtype).reshape(()).expand(sizes).clone()
    return torch.full(sizes, value, dtype=dtype, device=device or kernel_device())


@_decorators.api(is_device_only=True, tiles_as_sizes=True)
def arange(
    *args: Size,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    **kwargs: Any,
) -> torch.Tensor:
    """Return ``begin, begin + step, ...`` below ``end`` as a 1-D tensor.

    Args:
        args: ``end``, or ``begin, end``, or ``begin, end, step``; ints or tiles, and
            the length must be known at compile time.
        dtype: the dtype of the result; if None the index dtype, int32.
        device: the kernel's device, also if None.
        kwargs: further arguments of ``torch.arange``.
    """
    bounds = [operator.index(bound) for bound in args]
    return torch.arange(
        *bounds,
        dtype=dtype or torch.int32,
        device=device or kernel_device(),
        **kwargs,
    )
