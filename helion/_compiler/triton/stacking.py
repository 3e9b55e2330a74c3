"""Stacking tensors along a new dim, by pairwise joins."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import torch

from ..ast_extension import expr, text_of
from ..backend import AtenRule
from ..codegen_text import padded_extent
from .dtypes import cast_text

if TYPE_CHECKING:
    from ..codegen_state import CodegenState


def stack(state: CodegenState) -> ast.expr:
    """Stack along a last dim, which is padded to a power of two, and move it."""
    parts = _alike(state)
    shape = list(state.value.shape)
    dim = state.arg(1, default=0) % len(shape)
    place, rank = state.launch.rank(shape[:dim]), state.launch.rank(shape)
    info = state.env.block_of(shape[dim])
    if info is None:
        return expr("tl.reshape({v}, {s})", v=parts[0], s=state.shape_expr(shape))
    count = padded_extent(len(parts), info.min_size)
    parts = parts + parts[-1:] * (count - len(parts))
    part_shape = shape[:dim] + shape[dim + 1 :]
    value = _joined(state, parts, part_shape)
    order = [*range(place), rank - 1, *range(place, rank - 1)]
    if order == sorted(order):
        return value
    return expr(f"tl.permute({{v}}, {order})", v=value)


def _alike(state: CodegenState) -> list[ast.expr]:
    """Return the parts in the dtype of the result: Triton joins no others."""
    dtype, parts = state.value.dtype, []
    for part, fake in zip(state.arg(0), state.fake_arg(0), strict=True):
        if fake.dtype != dtype:
            text = text_of(state.lift(part, "part"))
            part = expr(cast_text(text, fake.dtype, dtype))
        parts.append(part)
    return parts


def _joined(state: CodegenState, parts: list[ast.expr], shape: list[int]) -> ast.expr:
    """Join the even parts with the odd ones, each joined before."""
    if len(parts) == 1:
        return parts[0]
    even, odd = (_joined(state, parts[i::2], shape) for i in (0, 1))
    pair = state.lift(expr("tl.join({a}, {b})", a=even, b=odd), "joined")
    if len(parts) == 2:
        return pair
    sizes = state.shape_expr(shape)
    assert isinstance(sizes, ast.List)
    size = ast.List(elts=[*sizes.elts, expr(str(len(parts)))], ctx=ast.Load())
    return state.lift(expr("tl.reshape({v}, {s})", v=pair, s=size), "joined")


STACKING: dict[Any, AtenRule] = {
    torch.ops.aten.stack.default: AtenRule(stack, None, "simple"),
}
