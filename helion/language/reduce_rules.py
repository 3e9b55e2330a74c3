"""How hl.reduce is traced and emitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .._compiler.ast_extension import expr, literal
from .._compiler.derived_dims import axis_info
from . import _decorators
from .reduce_ops import (
    CombineFn,
    Fill,
    TensorOrTuple,
    Tensors,
    as_tuple,
    combine_rule,
    fill_values,
    plain_function,
    reduce,
    wrap_dim,
)

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable, Sequence

    from .._compiler.codegen_state import CodegenState
    from .._compiler.graph_tracer import GraphTracer

aten = torch.ops.aten

_NARROW = (torch.int8, torch.int16, torch.uint8)
_NATIVE = (
    *_NARROW,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
)
_KNOWN: dict[Any, str] = {
    aten.add.Tensor: "sum",
    aten.mul.Tensor: "prod",
    aten.maximum.default: "amax",
    aten.minimum.default: "amin",
}
"""Combine graphs of one operator that torch has a reduction for."""


def known_fold(graph: torch.fx.Graph, dtype: torch.dtype) -> str | None:
    """Return the torch reduction that a combine graph amounts to, if any.

    Unlike a call of a function, it has an identity that we know and can be walked in
    chunks.
    """
    inputs = [n for n in graph.nodes if n.op == "placeholder"]
    calls = [n for n in graph.nodes if n.op == "call_function"]
    (results,) = graph.output_node().args
    if dtype not in _NATIVE or len(inputs) != 2 or results != calls:
        return None
    (call,) = calls
    is_plain = list(call.args) in (inputs, inputs[::-1]) and not call.kwargs
    return _KNOWN.get(call.target) if is_plain else None


@_decorators.type_propagation(reduce)
def reduce_trace(
    tracer: GraphTracer,
    combine_fn: CombineFn,
    input_tensor: TensorOrTuple,
    dim: int | None = None,
    other: Fill | Sequence[Fill] = 0,
    keep_dims: bool = False,
) -> TensorOrTuple:
    tensors = device_tensors(tracer, input_tensor)
    fills = fill_values(other, len(tensors))
    rank = tensors[0].dim()
    dims = list(range(rank)) if dim is None else [wrap_dim(dim, rank)]
    is_tuple = isinstance(input_tensor, tuple)
    if rank == 0:
        return input_tensor
    graph = combine_graph(tracer, combine_fn, tensors, is_tuple)
    dtypes = tuple(t.dtype for t in tensors)
    kind = known_fold(tracer.ir.graphs[graph].graph, dtypes[0])
    if kind is not None and not is_tuple and 0 not in tensors[0].shape:
        return _torch_reduction(kind, tensors[0], dims, keep_dims)
    tensors = tracer.jagged.filled(tensors, dims, fills)
    shape = [s for d, s in enumerate(tensors[0].shape) if d not in dims]
    values = tuple(tracer.new_value(shape, dtype) for dtype in dtypes)
    args = (graph, list(tensors), None if dim is None else dims[0], fills)
    result = tracer.emit(reduce, args, values if is_tuple else values[0])
    if not keep_dims:
        return result
    kept = tuple(_kept_dims(value, dims, rank) for value in values)
    return kept if is_tuple else kept[0]


def _torch_reduction(
    kind: str, tensor: torch.Tensor, dims: list[int], keep_dims: bool
) -> torch.Tensor:
    """Reduce in a dtype that holds the result, then keep the dtype of the input."""
    if kind in ("amax", "amin"):
        return getattr(aten, kind).default(tensor, dims, keep_dims)
    wide = torch.int32 if tensor.dtype in _NARROW else tensor.dtype
    value = tensor.to(wide)
    if kind == "sum":
        value = aten.sum.dim_IntList(value, dims, keep_dims, dtype=wide)
    else:
        for d in reversed(dims):
            value = aten.prod.dim_int(value, d, keep_dims, dtype=wide)
    return value.to(tensor.dtype)


def _kept_dims(value: torch.Tensor, dims: list[int], rank: int) -> torch.Tensor:
    if value.dim() == 0:
        return aten.view.default(value, [1] * rank)
    return aten.unsqueeze.default(value, dims[0])


def combine_graph(
    tracer: GraphTracer, combine_fn: CombineFn, tensors: Tensors, is_tuple: bool
) -> int:
    """Return the id of the graph that combines scalars of the tensors' dtypes."""
    combine = combine_rule(combine_fn, is_tuple)
    dtypes = tuple(t.dtype for t in tensors)
    return tracer.combine_graph(plain_function(combine_fn), combine, dtypes)


def device_tensors(tracer: GraphTracer, value: TensorOrTuple) -> Tensors:
    """Return the operands of a reduction or scan; ShapeMismatch if they differ."""
    tensors = value if isinstance(value, tuple) else (value,)
    if all(isinstance(t, torch.Tensor) for t in tensors):
        shapes = [[tracer.env.size_of(s) for s in t.shape] for t in tensors]
        for tensor, shape in zip(tensors, shapes):
            if tensor.shape != tensors[0].shape:
                raise exc.ShapeMismatch(left=str(shapes[0]), right=str(shape))
    return as_tuple(value)


@_decorators.codegen(reduce)
def reduce_codegen(state: CodegenState) -> ast.expr | list[ast.expr]:
    graph, dim = state.int_arg(0), state.arg(2)
    fills: Any = state.node.args[3]
    fakes: list[torch.Tensor] = state.fake_arg(1)
    values: list[ast.expr] = state.arg(1)
    shape = list(fakes[0].shape)
    dims = list(range(len(shape))) if dim is None else [dim]
    mask = padding_mask(state, shape, dims)
    if mask is not None:
        masked = zip(values, fills, fakes, strict=True)
        values = [_where(state, mask, v, fill, t.dtype) for v, fill, t in masked]
    rest = [s for d, s in enumerate(shape) if d not in dims]
    launch = state.launch
    if launch.rank(rest) == launch.rank(shape):
        results = values
    elif dim is not None and shape[dim] == 1 and launch.rank(rest):
        size = state.shape_expr(rest)
        results = [expr("tl.reshape({v}, {s})", v=v, s=size) for v in values]
    else:
        axis = literal(None if dim is None else triton_dim(state, shape, dim))
        template = f"tl.reduce({{v}}, {{axis}}, {launch.helpers.name_of(graph)})"
        results = apply(state, values, lambda v: expr(template, v=v, axis=axis))
    return results if isinstance(state.value, (list, tuple)) else results[0]


def _where(
    state: CodegenState, mask: ast.expr, value: ast.expr, fill: Any, dtype: torch.dtype
) -> ast.expr:
    if isinstance(fill, torch.fx.Node):
        other = expr(
            "tl.cast({f}, {d})", f=state.resolve(fill), d=state.dtype_expr(dtype)
        )
    else:
        other = expr(state.env.backend.literal(fill, dtype))
    return state.lift(
        expr("tl.where({m}, {v}, {o})", m=mask, v=value, o=other), "filled"
    )


def apply(
    state: CodegenState,
    values: list[ast.expr],
    call: Callable[[ast.expr], ast.expr],
) -> list[ast.expr]:
    """Call a Triton function of one or several tensors; return its results."""
    if len(values) == 1:
        return [call(values[0])]
    whole = state.lift(call(literal(tuple(values))), "parts")
    return [expr(f"{{p}}[{i}]", p=whole) for i in range(len(values))]


def triton_dim(state: CodegenState, shape: list[int], dim: int) -> int:
    """Return where a dim is in the emitted value."""
    return state.launch.rank(shape[:dim])


def padding_mask(
    state: CodegenState, shape: list[int], dims: list[int]
) -> ast.expr | None:
    """Return the mask of the real elements along dims, None if all are real."""
    infos = [axis_info(state.env, shape[dim]) for dim in dims]
    blocks = [info.block_id for info in infos if info is not None]
    return state.launch.mask_expr(shape, blocks) if blocks else None
