"""Eager ``a += b`` where torch has no place for the result: the name is rebound."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

_OPERATORS: dict[Any, Callable[[Any, Any], Any]] = {
    torch.Tensor.add_: operator.add,
    torch.Tensor.sub_: operator.sub,
    torch.Tensor.mul_: operator.mul,
    torch.Tensor.div_: operator.truediv,
    torch.Tensor.floor_divide_: operator.floordiv,
    torch.Tensor.remainder_: operator.mod,
    torch.Tensor.__iand__: operator.and_,
    torch.Tensor.__ior__: operator.or_,
    torch.Tensor.__ixor__: operator.xor,
    torch.Tensor.__ilshift__: operator.lshift,
    torch.Tensor.__irshift__: operator.rshift,
}


def _rebinding(
    in_place: Callable[..., Any], operation: Callable[[Any, Any], Any]
) -> Callable[..., Any]:
    """Return the operator; ``out[tile] += value`` casts only when it stores."""

    def handler(left: Any, *right: Any, **options: Any) -> Any:
        try:
            return in_place(left, *right, **options)
        except RuntimeError:
            # Torch says so before it changes anything.
            is_loaded = getattr(left, "_helion_session", None) is not None
            if not is_loaded or options or len(right) != 1:
                raise
        return operation(left, right[0])

    return handler


IN_PLACE_HANDLERS: dict[Any, Callable[..., Any]] = {
    in_place: _rebinding(in_place, operation)
    for in_place, operation in _OPERATORS.items()
}
