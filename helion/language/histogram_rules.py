"""How counting is traced and emitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .._compiler.ast_extension import as_expr, expr
from . import _decorators
from .histogram_ops import count_in_range, count_values
from .sort_rules import (
    _lanes,  # pyright: ignore[reportPrivateUsage] one rule for lengths of rows
    _real,  # pyright: ignore[reportPrivateUsage] one rule for padded lanes
)

if TYPE_CHECKING:
    import ast

    from .._compiler.codegen_state import CodegenState
    from .._compiler.graph_tracer import GraphTracer


# -- tracing -------------------------------------------------------------------------


@_decorators.type_propagation(count_in_range)
def count_in_range_trace(
    tracer: GraphTracer, input_tensor: torch.Tensor, bins: int, low: Any, high: Any
) -> torch.Tensor:
    lanes = _lanes(tracer, input_tensor, input_tensor.dim())
    args = (input_tensor, bins, lanes, low, high)
    return tracer.emit(count_in_range, args, _counts(tracer, bins))


@_decorators.type_propagation(count_values)
def count_values_trace(
    tracer: GraphTracer, input_tensor: torch.Tensor, size: int
) -> torch.Tensor:
    lanes = _lanes(tracer, input_tensor, input_tensor.dim())
    args = (input_tensor, size, lanes)
    return tracer.emit(count_values, args, _counts(tracer, size))


def _counts(tracer: GraphTracer, size: int) -> torch.Tensor:
    tracer.env.note_constant(size)
    return tracer.new_value([size], torch.int32)


# -- code ----------------------------------------------------------------------------


@_decorators.codegen(count_in_range)
def count_in_range_codegen(state: CodegenState) -> ast.expr:
    dtype = state.dtype_expr(state.fake_arg(0).dtype)
    bounds = {
        name: expr("tl.full([], {v}, {d})", v=state.expr_arg(index), d=dtype)
        for name, index in (("low", 3), ("high", 4))
    }
    return _call(state, "in_range({v}, {m}, {s}, {n}, {low}, {high})", bounds)


@_decorators.codegen(count_values)
def count_values_codegen(state: CodegenState) -> ast.expr:
    return _call(state, "of_values({v}, {m}, {s}, {n})", {})


def _call(state: CodegenState, text: str, holes: dict[str, ast.expr]) -> ast.expr:
    """Call a function of ``device_histograms`` with all elements in one dim."""
    shape = list(state.fake_arg(0).shape)
    value, real = state.expr_arg(0), _real(state, len(shape))
    if not state.launch.rank(shape):
        dtype = state.dtype_expr(state.fake_arg(0).dtype)
        value = expr("tl.full([1], {v}, {d})", v=value, d=dtype)
        assert real is None, "a single element is never padded"
    elif real is not None:
        sizes = state.shape_expr(shape)
        real = expr("tl.broadcast_to({m}, {s})", m=real, s=sizes)
    padded = state.shape_expr(list(state.value.shape))
    assert hasattr(padded, "elts")
    size = padded.elts[0]  # pyright: ignore[reportAttributeAccessIssue] checked above
    known = {"v": value, "m": as_expr(real), "s": size, "n": state.expr_arg(1)}
    return expr(f"device_histograms.{text}", **known, **holes)


@_decorators.masked_value(count_in_range)
@_decorators.masked_value(count_values)
def counts_masked_value(node: Any) -> object:
    """What is behind the last counter has counted nothing."""
    return 0
