"""Slices of values in registers, as gathers along one dim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ..ast_extension import expr
from ..backend import AtenRule
from ..codegen_text import expand

if TYPE_CHECKING:
    import ast

    from ..codegen_state import CodegenState


def gather_slice(state: CodegenState) -> ast.expr:
    """Gather positions ``start``, ``start + step``... of a dim.

    Padded lanes of the result read the first position: any element will do there,
    as long as it is one.
    """
    shape = list(state.value.shape)
    dim = state.int_arg(1)
    start, step = state.expr_arg(2), state.int_arg(4)
    index, axis = state.launch.local_index(shape[dim]), state.launch.axis_of(shape[dim])
    if axis is not None and axis.mask is not None:
        index = expr("tl.where({m}, {i}, 0)", m=expr(axis.mask), i=index)
    index = expr(f"{{i}} * {step} + {{s}}", i=index, s=start)
    place, rank = state.launch.rank(shape[:dim]), state.launch.rank(shape)
    index = expr(
        "tl.broadcast_to({i}, {s})",
        i=expand(index, place, rank),
        s=state.shape_expr(shape),
    )
    value = state.expr_arg(0)
    if state.value.dtype == torch.bool:
        # Triton gathers no bits.
        gathered = expr(
            f"tl.gather({{v}}.to(tl.int8), {{i}}, {place})", v=value, i=index
        )
        return expr("({g} != 0)", g=gathered)
    return expr(f"tl.gather({{v}}, {{i}}, {place})", v=value, i=index)


SLICES: dict[Any, AtenRule] = {
    torch.ops.aten.slice.Tensor: AtenRule(gather_slice, None, "simple"),
}
