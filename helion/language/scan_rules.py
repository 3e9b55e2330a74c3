"""How scans are traced and emitted.

A scan from the front never meets padding before the last real element; a scan from
the back starts in it, so padded lanes are neutral there.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import torch

from .._compiler.ast_extension import expr, literal
from . import _decorators
from .reduce_ops import CombineFn, TensorOrTuple, wrap_dim
from .reduce_rules import (
    apply,
    combine_graph,
    device_tensors,
    known_fold,
    padding_mask,
    triton_dim,
)
from .scan_ops import associative_scan, cumprod, cumsum

if TYPE_CHECKING:
    from .._compiler.codegen_state import CodegenState
    from .._compiler.graph_tracer import GraphTracer

_KNOWN: dict[str | None, Any] = {"sum": cumsum, "prod": cumprod}
_NARROW = (torch.bool, torch.int8, torch.int16, torch.uint8)


@_decorators.type_propagation(associative_scan)
def associative_scan_trace(
    tracer: GraphTracer,
    combine_fn: CombineFn,
    input_tensor: TensorOrTuple,
    dim: int,
    reverse: bool = False,
) -> TensorOrTuple:
    tensors = device_tensors(tracer, input_tensor)
    axis = wrap_dim(dim, tensors[0].dim())
    is_tuple = isinstance(input_tensor, tuple)
    if tensors[0].dim() == 0 or tensors[0].shape[axis] == 1:
        return input_tensor
    graph = combine_graph(tracer, combine_fn, tensors, is_tuple)
    known = known_fold(tracer.ir.graphs[graph].graph, tensors[0].dtype)
    if known in _KNOWN and not is_tuple:
        return _KNOWN[known](tensors[0], axis, reverse)
    if reverse:
        tracer.jagged.check_backward(tensors[0], axis)
    values = tuple(tracer.like(t) for t in tensors)
    args = (graph, list(tensors), axis, bool(reverse))
    return tracer.emit(associative_scan, args, values if is_tuple else values[0])


@_decorators.codegen(associative_scan)
def associative_scan_codegen(state: CodegenState) -> ast.expr | list[ast.expr]:
    graph, dim, reverse = state.int_arg(0), state.int_arg(2), state.arg(3)
    values: list[ast.expr] = state.arg(1)
    count = len(values)
    shape = list(state.fake_arg(1)[0].shape)
    if state.launch.is_single(shape[dim]):
        return values if isinstance(state.value, (list, tuple)) else values[0]
    mask = padding_mask(state, shape, [dim])
    helpers = state.launch.helpers
    if mask is not None and (reverse or _is_derived(state, shape[dim])):
        helper = helpers.skipping(graph)
        flag = expr(
            "tl.broadcast_to({m}, {s}).to(tl.int32)", m=mask, s=state.shape_expr(shape)
        )
        values = [*values, state.lift(flag, "is_real")]
    else:
        helper = helpers.name_of(graph)
    axis = literal(triton_dim(state, shape, dim))
    template = f"tl.associative_scan({{v}}, {{axis}}, {helper}, reverse={reverse})"
    results = apply(state, values, lambda v: expr(template, v=v, axis=axis))
    return results[:count] if isinstance(state.value, (list, tuple)) else results[0]


def _is_derived(state: CodegenState, extent: int) -> bool:
    """Whether padding may come before elements: dims of tiles were merged."""
    return state.env.block_of(extent) is None


def _cumulation(op: Any, identity: int) -> None:
    @_decorators.type_propagation(op)
    def trace(
        tracer: GraphTracer, input_tensor: torch.Tensor, dim: int, reverse: bool = False
    ) -> torch.Tensor:
        (tensor,) = device_tensors(tracer, (input_tensor,))
        axis = wrap_dim(dim, tensor.dim())
        if tensor.dim() == 0 or tensor.shape[axis] == 1:
            return tensor
        if reverse:
            tensor = tracer.jagged.masked(tensor, {tensor.shape[axis]}, identity)
        args = (tensor, axis, bool(reverse))
        return tracer.emit(op, args, tracer.like(tensor))

    @_decorators.codegen(op)
    def codegen(state: CodegenState) -> ast.expr:
        dim, reverse = state.int_arg(1), state.arg(2)
        shape = list(state.value.shape)
        dtype = state.value.dtype
        if state.launch.is_single(shape[dim]):
            return state.expr_arg(0)
        wide = _wide(dtype)
        value = expr(state.env.backend.cast_text(state.text_arg(0), dtype, wide))
        mask = padding_mask(state, shape, [dim])
        if mask is not None and (reverse or _is_derived(state, shape[dim])):
            value = expr(f"tl.where({{m}}, {{v}}, {identity})", m=mask, v=value)
        axis = triton_dim(state, shape, dim)
        text = f"tl.{op.name}({{v}}, {axis}, reverse={reverse})"
        result = state.lift(expr(text, v=value), op.name)
        if isinstance(result, ast.Name):
            return expr(state.env.backend.cast_text(result.id, wide, dtype))
        return result


_cumulation(cumsum, 0)
_cumulation(cumprod, 1)


def _wide(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to scan in: halves are rounded once, as torch does."""
    if dtype in _NARROW:
        return torch.int32
    narrow_float = dtype.is_floating_point and dtype.itemsize < 4
    return torch.float32 if narrow_float else dtype
