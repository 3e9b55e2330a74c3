"""Small pieces of emitted text that several strategies share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .ast_extension import expr

if TYPE_CHECKING:
    import ast


def padded_extent(size: int, minimum: int = 1) -> int:
    """Return the power of two that holds ``size`` elements."""
    return max(1 << max(size - 1, 0).bit_length(), minimum)


def expand(value: ast.expr, position: int, rank: int) -> ast.expr:
    """Give a 1-D value its place among ``rank`` dims."""
    if rank <= 1:
        return value
    items = ", ".join(":" if i == position else "None" for i in range(rank))
    return expr(f"{{v}}[{items}]", v=value)


def conjunction(terms: list[ast.expr]) -> ast.expr | None:
    """Return the terms joined by ``&``, None if there are none."""
    result: ast.expr | None = None
    for term in terms:
        result = term if result is None else expr("{a} & {b}", a=result, b=term)
    return result
