"""Arguments and results as trees: containers and closures with tensors in them."""

from __future__ import annotations

import dataclasses
import types
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def map_tensors(change: Callable[[torch.Tensor], Any], value: Any) -> Any:
    """Return ``value`` with every tensor in it replaced by ``change(tensor)``.

    Looks into sequences, dicts, dataclasses and what functions close over. A tensor
    that occurs twice is replaced by one object.
    """
    memo: dict[int, Any] = {}

    def walk(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            if id(value) not in memo:
                memo[id(value)] = change(value)
            return memo[id(value)]
        if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
            return type(value)(map(walk, value))
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*map(walk, value))
        if isinstance(value, dict):
            return {key: walk(item) for key, item in value.items()}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value)]
            return type(value)(**{name: walk(getattr(value, name)) for name in names})
        if isinstance(value, types.FunctionType) and value.__closure__:
            return _with_cells(
                value, [walk(c.cell_contents) for c in value.__closure__]
            )
        return value

    return walk(value)


def _with_cells(fn: types.FunctionType, contents: Sequence[Any]) -> types.FunctionType:
    cells = tuple(types.CellType(content) for content in contents)
    return types.FunctionType(
        fn.__code__, fn.__globals__, fn.__name__, fn.__defaults__, cells
    )
