"""Which dims of eager values are those of running tiles.

A compiled kernel knows the axis of every dim. Here a load notes its tiles on the value,
results that broadcast from noted values inherit the note, and any other dim is taken
for the running tile of its length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .tile import AXES, EagerTile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Axes = tuple[EagerTile | None, ...]

# Results of these may have the shape of an operand, but not its dims.
_MOVES_DIMS = frozenset(
    [
        "__get__",
        "transpose",
        "t",
        "permute",
        "swapaxes",
        "swapdims",
        "movedim",
        "moveaxis",
        "adjoint",
        "rot90",
        "matmul",
        "__matmul__",
        "__rmatmul__",
        "mm",
        "bmm",
        "addmm",
        "baddbmm",
        "einsum",
        "reshape",
        "view",
    ]
)


def note_load(value: torch.Tensor, tensor: torch.Tensor, index: object) -> torch.Tensor:
    """Note on ``tensor[index]`` which of its dims are tiles; return it."""
    axes = _selected(tensor, index)
    if axes is not None and len(axes) == value.ndim:
        setattr(value, AXES, axes)
    return value


def _selected(tensor: torch.Tensor, index: object) -> Axes | None:
    items = list(index) if isinstance(index, (list, tuple)) else [index]
    given = sum(item is not None and item is not ... for item in items)
    rest = [slice(None)] * (tensor.ndim - given)
    at = next((i for i, item in enumerate(items) if item is ...), len(items))
    items[at : at + 1] = rest
    axes: list[EagerTile | None] = []
    for item in items:
        if isinstance(item, EagerTile):
            axes.append(item)
        elif item is None or isinstance(item, slice):
            axes.append(None)
        elif isinstance(item, torch.Tensor) and item.ndim == 1:
            axes.append(getattr(item, AXES, (None,))[0])
        elif isinstance(item, (list, tuple)) or getattr(item, "ndim", 0):
            return None
    return tuple(axes)


def note_result(function: Callable[..., Any], args: Sequence[Any], result: Any) -> Any:
    """Give the result of a torch function the notes of its operands; return it."""
    tensors = [arg for arg in args if isinstance(arg, torch.Tensor)]
    if not any(hasattr(tensor, AXES) for tensor in tensors):
        return result
    if not isinstance(result, torch.Tensor) or hasattr(result, AXES):
        return result
    if getattr(function, "__name__", "") in _MOVES_DIMS:
        return result
    axes: list[EagerTile | None] = [None] * result.ndim
    for tensor in tensors:
        known = getattr(tensor, AXES, (None,) * tensor.ndim)
        is_noted = hasattr(tensor, AXES) or not tensor.ndim
        if not is_noted or tensor.ndim > result.ndim:
            return result
        for dim in range(-tensor.ndim, 0):
            if tensor.shape[dim] == result.shape[dim]:
                axes[dim] = axes[dim] or known[dim]
            elif tensor.shape[dim] != 1:
                return result
    setattr(result, AXES, tuple(axes))
    return result


def tiled_shape(value: torch.Tensor, running: Sequence[EagerTile]) -> list[Any]:
    """Return the shape of a value, with tiles for the dims that are theirs."""
    known: Axes | None = getattr(value, AXES, None)
    if known is not None:
        pairs = zip(value.shape, known, strict=True)
        return [size if tile is None else tile for size, tile in pairs]
    return matched(value.shape, running)


def matched(sizes: Sequence[int], running: Sequence[EagerTile]) -> list[Any]:
    """Return sizes, with the running tile of the same length for each, if any."""
    left, shape = list(running), []
    for size in sizes:
        tile = next((tile for tile in left if tile.end - tile.begin == size), None)
        if tile is not None:
            left.remove(tile)
        shape.append(size if tile is None else tile)
    return shape
