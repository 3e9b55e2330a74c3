"""Emits the two halves of a split device loop: some of its turns, and joining these."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from .ast_extension import expr, text_of
from .codegen_control_flow import emit_for_loop, emits, loop_dims
from .codegen_split import Join
from .device_ir import _merged_loop, _partial_loop
from .node_args import first_value, raw_arg
from .tile_strategy import bound_expr

if TYPE_CHECKING:
    import ast

    from torch import fx

    from .codegen_split import Partials
    from .codegen_state import CodegenState
    from .device_function import DeviceFunction
    from .tile_strategy import LoopDim


@emits(_partial_loop)
def partial_loop_codegen(state: CodegenState) -> ast.expr:
    fn = state.launch
    partials: Partials = fn.partials
    (dim,) = loop_dims(state)
    dim.first, dim.stop = _walk(fn, dim, partials)
    names = emit_for_loop(state, [[dim]], _starts(state))
    for node in fn.graphs[state.int_arg(0)].outputs:
        value = first_value(node)
        partials.add_buffer(fn, value.dtype, list(value.shape))
    partials.emit_stores(fn, [text_of(name) for name in names])
    return expr("None")


def _walk(
    fn: DeviceFunction, dim: LoopDim, partials: Partials
) -> tuple[ast.expr, ast.expr]:
    """Return where the turns of this program begin and end."""
    begin, step, turns = turns_of(fn, dim)
    places = []
    for turn, hint in zip(partials.share(fn, turns), ("begin", "stop"), strict=True):
        place = expr(f"{{t}} * {step}", t=turn)
        if text_of(begin) != "0":
            place = expr("{b} + {p}", b=begin, p=place)
        places.append(fn.lift(place, hint))
    return places[0], places[1]


def turns_of(fn: DeviceFunction, dim: LoopDim) -> tuple[ast.expr, str, ast.expr]:
    """Return where a loop begins, its step, and how many turns it has."""
    begin, end = bound_expr(fn, dim.begin), bound_expr(fn, dim.end)
    step = fn.block_size_var(dim.block_id)
    if dim.step is not None:
        step = text_of(fn.size_expr(dim.step))
    is_zero = text_of(begin) == "0"
    length = end if is_zero else expr("{e} - {b}", e=end, b=begin)
    turns = fn.share(expr(f"tl.cdiv({{n}}, {step})", n=length), "turns")
    return begin, step, turns


def _starts(state: CodegenState) -> list[ast.expr]:
    """Return what each carried value starts with: the first turn counts once."""
    inputs, nodes = state.arg(2), raw_arg(state.node, 2)
    partials: Partials = state.launch.partials
    starts = []
    for place, kind in zip(state.arg(3), state.arg(4), strict=True):
        start = inputs[place]
        # The largest of some values stays what it is if one of them comes twice.
        if kind == "sum" and not _is_zero(nodes[place]):
            is_first = partials.is_first(state.launch)
            start = expr("tl.where({f}, {v}, 0)", f=is_first, v=start)
        starts.append(start)
    return starts


def _is_zero(node: fx.Node) -> bool:
    if node.target is not torch.ops.aten.full.default:
        return False
    value = raw_arg(node, 1)
    return value == 0 and math.copysign(1, value) > 0


@emits(_merged_loop)
def merged_loop_codegen(state: CodegenState) -> list[ast.expr]:
    fn = state.launch
    cast_text = state.env.backend.cast_text
    joins = []
    info = fn.graphs[state.int_arg(0)]
    for node, kind in zip(info.outputs, state.arg(1), strict=True):
        name = fn.new_var(node.meta.get("name", node.name))
        joins.append(Join(name, kind, first_value(node).dtype, cast_text))
    fn.partials.emit_join(fn, joins)
    return [expr(join.name) for join in joins]
