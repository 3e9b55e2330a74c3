"""Calls with nested tensors: each becomes a stand-in with a dense shape, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from helion import exc
from helion.language.jagged_tensor import (
    JaggedLayout,
    JaggedMode,
    JaggedTensor,
    from_nested,
    layout_of,
    to_nested,
)
from helion.runtime.tensor_trees import map_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def has_nested(args: Sequence[Any]) -> bool:
    """Return whether an argument is a nested tensor of the jagged layout."""
    return any(_is_nested(arg) for arg in args)


def _is_nested(value: object) -> bool:
    is_tensor = isinstance(value, torch.Tensor)
    return is_tensor and value.is_nested and value.layout is torch.jagged


def stand_ins(args: Sequence[Any]) -> tuple[Any, ...]:
    """Return the arguments with stand-ins for nested tensors.

    Equal tensors get one stand-in, and tensors with the same offsets the same rows.

    Raises:
        exc.AutodiffNotSupported: a nested tensor takes part in autograd.
    """
    layouts: dict[tuple[int, int], JaggedLayout] = {}
    made: dict[int, JaggedTensor] = {}

    def stand_in(value: Any) -> Any:
        if not _is_nested(value):
            return value
        if value.requires_grad and torch.is_grad_enabled():
            raise exc.AutodiffNotSupported(
                reason="a nested tensor that requires grad is an argument",
                hint="call the kernel under torch.no_grad(), or inside a "
                "torch.autograd.Function",
            )
        if id(value) not in made:
            rows = id(value._offsets), id(value._lengths)
            layout = layouts.setdefault(rows, layout_of(value))
            made[id(value)] = from_nested(value, layout)
        return made[id(value)]

    return tuple(stand_in(arg) for arg in args)


def call_nested(run: Callable[..., Any], args: Sequence[Any]) -> Any:
    """Call ``run`` with stand-ins; return its result with nested tensors in it."""
    given = stand_ins(args)
    pairs = [(g, a) for g, a in zip(given, args) if isinstance(g, JaggedTensor)]
    known = {id(stand): nested for stand, nested in pairs}
    layouts = [stand.parts.layout for stand, _ in pairs]
    with JaggedMode(layouts):
        result = run(*given)

    def back(value: torch.Tensor) -> torch.Tensor:
        if id(value) in known:
            return known[id(value)]
        return to_nested(value) if isinstance(value, JaggedTensor) else value

    return map_tensors(back, result)


def nested_runner(run: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``run`` for arguments among which are nested tensors."""
    return lambda *args: call_nested(run, args)
