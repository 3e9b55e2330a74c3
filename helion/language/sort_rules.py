"""How sorts are traced and emitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .._compiler import symbols
from .._compiler.ast_extension import as_expr, expr
from . import _decorators
from .reduce_rules import padding_mask
from .sort_ops import Pair, first_sorted, kth_of_all, sort_last

if TYPE_CHECKING:
    import ast

    from .._compiler.codegen_state import CodegenState
    from .._compiler.graph_tracer import GraphTracer


# -- tracing -------------------------------------------------------------------------


@_decorators.type_propagation(sort_last)
def sort_last_trace(
    tracer: GraphTracer, input_tensor: torch.Tensor, descending: bool = False
) -> Pair:
    values, indices = tracer.like(input_tensor), _indices(tracer, input_tensor)
    args = (input_tensor, bool(descending), _lanes(tracer, input_tensor, 1))
    return tracer.emit(sort_last, args, (values, indices))


@_decorators.type_propagation(first_sorted)
def first_sorted_trace(
    tracer: GraphTracer, input_tensor: torch.Tensor, count: int, descending: bool
) -> Pair:
    _hold(tracer, input_tensor.shape[-1], count)
    tracer.env.note_constant(count)
    shape = [*input_tensor.shape[:-1], count]
    values = tracer.new_value(shape, input_tensor.dtype)
    indices = tracer.new_value(shape, torch.int64)
    lanes = _lanes(tracer, input_tensor, 1)
    args = (input_tensor, bool(descending), lanes, count)
    return tracer.emit(first_sorted, args, (values, indices))


@_decorators.type_propagation(kth_of_all)
def kth_of_all_trace(
    tracer: GraphTracer, input_tensor: torch.Tensor, place: torch.Tensor
) -> torch.Tensor:
    value = tracer.new_value([], input_tensor.dtype)
    lanes = _lanes(tracer, input_tensor, input_tensor.dim())
    return tracer.emit(kth_of_all, (input_tensor, place, lanes), value)


def _lanes(tracer: GraphTracer, value: torch.Tensor, count: int) -> Any:
    """Return which elements of rows of unequal length exist, None if all do."""
    along = set(value.shape[value.dim() - count :])
    lanes = tracer.jagged.lanes(list(value.shape), along)
    if lanes is None or list(lanes.shape) == list(value.shape):
        return lanes
    return torch.ops.aten.expand.default(lanes, list(value.shape))


def _indices(tracer: GraphTracer, value: torch.Tensor) -> torch.Tensor:
    return tracer.new_value(list(value.shape), torch.int64)


def _hold(tracer: GraphTracer, extent: int, count: int) -> None:
    """Let tiles of an axis be so long that ``count`` elements can be taken."""
    info = tracer.env.block_of(extent)
    if info is None or info.is_reduction:
        return
    needed = 1 << max(count - 1, 0).bit_length()
    fixed = symbols.static_int(info.fixed)
    if fixed is not None and fixed < count:
        raise exc.TypeInferenceError(
            f"{count} elements are taken from tiles of {fixed}",
            hint="use a larger block size, or take elements of a whole dim",
        )
    info.min_size = max(info.min_size, needed)


# -- code ----------------------------------------------------------------------------


@_decorators.codegen(sort_last)
def sort_last_codegen(state: CodegenState) -> list[ast.expr]:
    shape = list(state.fake_arg(0).shape)
    if state.launch.is_single(shape[-1]):
        return [state.expr_arg(0), _zeros(state)]
    return _call(state, "sort")


@_decorators.codegen(first_sorted)
def first_sorted_codegen(state: CodegenState) -> list[ast.expr]:
    shape = list(state.fake_arg(0).shape)
    result: list[int] = list(state.value[0].shape)
    if state.launch.is_single(shape[-1]):
        sizes = state.shape_expr(result)
        form = "tl.reshape" if state.launch.rank(shape) else "tl.broadcast_to"
        return [
            expr(f"{form}({{v}}, {{s}})", v=state.expr_arg(0), s=sizes),
            expr("tl.full({s}, 0, tl.int64)", s=sizes),
        ]
    sizes = state.shape_expr(result)
    assert hasattr(sizes, "elts")
    count = sizes.elts[-1]  # pyright: ignore[reportAttributeAccessIssue] checked above
    return _call(state, "first", count)


@_decorators.codegen(kth_of_all)
def kth_of_all_codegen(state: CodegenState) -> ast.expr:
    shape = list(state.fake_arg(0).shape)
    if not state.launch.rank(shape):
        return state.expr_arg(0)
    value = expr("tl.ravel({v})", v=state.expr_arg(0))
    real = _real(state, len(shape))
    if real is not None:
        sizes = state.shape_expr(shape)
        real = expr("tl.ravel(tl.broadcast_to({m}, {s}))", m=real, s=sizes)
    holes = {"v": value, "m": as_expr(real), "p": state.expr_arg(1)}
    return expr("device_sorts.kth({v}, {m}, {p})", **holes)


def _real(state: CodegenState, count: int) -> ast.expr | None:
    """Return the mask of what exists along the last dims, None if all does."""
    shape = list(state.fake_arg(0).shape)
    mask = padding_mask(state, shape, list(range(len(shape) - count, len(shape))))
    lanes = state.arg(2)
    if lanes is None or mask is None:
        return mask if lanes is None else lanes
    return expr("{m} & {l}", m=mask, l=lanes)


def _zeros(state: CodegenState) -> ast.expr:
    shape = list(state.value[1].shape)
    if not state.launch.rank(shape):
        return expr("tl.full([], 0, tl.int64)")
    return expr("tl.full({s}, 0, tl.int64)", s=state.shape_expr(shape))


def _call(
    state: CodegenState, function: str, count: ast.expr | None = None
) -> list[ast.expr]:
    """Call a function of ``device_sorts``; return its two results."""
    holes = {"v": state.expr_arg(0), "m": as_expr(_real(state, 1))}
    if count is not None:
        holes["n"] = count
    more = "" if count is None else ", {n}"
    text = f"device_sorts.{function}({{v}}, {{m}}, {state.node.args[1]}{more})"
    pair = state.lift(expr(text, **holes), "sorted")
    return [expr("{p}[0]", p=pair), expr("{p}[1]", p=pair)]
