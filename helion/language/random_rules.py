"""How random numbers are traced and emitted.

Triton's generator is the Philox of the reference, so one call of it gives the same
numbers; what is left to do here is the counter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .._compiler import symbols
from .._compiler.ast_extension import expr
from . import _decorators
from .creation_ops import Shape, shape_list
from .memory_ops import load
from .random_ops import (
    Seed,
    Words,
    check_bounds,
    positions,
    rand,
    rand4x,
    randint,
    random_words,
)
from .value_rules import extent

if TYPE_CHECKING:
    import ast

    from .._compiler.codegen_state import CodegenState
    from .._compiler.graph_tracer import GraphTracer

_MAX_WORD = 1 << 31  # of the absolute value of a signed word


# -- tracing -------------------------------------------------------------------------


@_decorators.type_propagation(rand)
def rand_trace(
    tracer: GraphTracer,
    shape: Shape,
    seed: Seed,
    device: torch.device | None = None,
    offsets: torch.Tensor | None = None,
) -> torch.Tensor:
    tracer.env.check_device(device)
    if offsets is None:
        sizes = [extent(tracer, size) for size in shape_list(shape)]
    else:
        sizes = list(_counters(offsets).shape)
    value = tracer.new_value(sizes, torch.float32)
    return tracer.emit(rand, (_seed(seed, tracer), offsets), value)


@_decorators.type_propagation(rand4x)
def rand4x_trace(
    tracer: GraphTracer,
    seed: Seed,
    offsets: torch.Tensor,
    device: torch.device | None = None,
) -> Words:
    tracer.env.check_device(device)
    shape = list(_counters(offsets).shape)
    values = tuple(tracer.new_value(shape, torch.float32) for _ in range(4))
    return tracer.emit(rand4x, (_seed(seed, tracer), offsets), values)


@_decorators.type_propagation(randint)
def randint_trace(
    tracer: GraphTracer,
    shape: Shape,
    low: int,
    high: int,
    seed: Seed,
    device: torch.device | None = None,
) -> torch.Tensor:
    tracer.env.check_device(device)
    least, bound = symbols.static_int(low), symbols.static_int(high)
    try:
        check_bounds(low if least is None else least, high if bound is None else bound)
    except ValueError as error:
        raise exc.TypeInferenceError(str(error)) from None
    sizes = [extent(tracer, size) for size in shape_list(shape)]
    value = tracer.new_value(sizes, torch.int32)
    return tracer.emit(randint, (_seed(seed, tracer), low, high), value)


@_decorators.type_propagation(positions)
def positions_trace(tracer: GraphTracer, shape: Shape) -> torch.Tensor:
    sizes = [extent(tracer, size) for size in shape_list(shape)]
    return tracer.emit(positions, (), tracer.new_value(sizes, torch.int64))


@_decorators.type_propagation(random_words)
def random_words_trace(
    tracer: GraphTracer, seed: Seed, offsets: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    shape = list(_counters(offsets).shape)
    values = tuple(tracer.new_value(shape, torch.int64) for _ in range(2))
    return tracer.emit(random_words, (_seed(seed, tracer), offsets), values)


def _seed(seed: Any, tracer: GraphTracer) -> Any:
    """Return a seed as an int, a symbolic int or a 0-d device tensor."""
    if isinstance(seed, (int, torch.SymInt)):
        return seed
    if not isinstance(seed, torch.Tensor):
        raise exc.TypeInferenceError(f"a seed is an int, not {type(seed).__name__}")
    if seed.dim() or seed.dtype.is_floating_point:
        raise exc.TypeInferenceError("a seed tensor is 0-d and of an integer dtype")
    return seed if tracer.env.host_origin(seed) is None else load(seed, [])


def _counters(offsets: Any) -> torch.Tensor:
    if not isinstance(offsets, torch.Tensor) or offsets.dtype.is_floating_point:
        raise exc.TypeInferenceError("the offsets are a device tensor of integers")
    return offsets


# -- code ----------------------------------------------------------------------------


@_decorators.codegen(rand)
def rand_codegen(state: CodegenState) -> ast.expr:
    has_offsets = state.node.args[1] is not None
    offsets = _offsets(state, 1) if has_offsets else _positions(state)
    return expr("tl.rand({s}, {o})", s=_seed_expr(state), o=offsets)


@_decorators.codegen(rand4x)
def rand4x_codegen(state: CodegenState) -> list[ast.expr]:
    call = expr("tl.rand4x({s}, {o})", s=_seed_expr(state), o=_offsets(state, 1))
    words = state.lift(call, "words")
    return [expr(f"{{w}}[{i}]", w=words) for i in range(4)]


@_decorators.codegen(randint)
def randint_codegen(state: CodegenState) -> ast.expr:
    low, high = state.node.args[1:]
    call = expr("tl.randint({s}, {o})", s=_seed_expr(state), o=_positions(state))
    word = state.lift(expr("{c}.to(tl.int32, bitcast=True)", c=call), "word")
    # The absolute value of the least number is right only without a sign.
    value = expr("tl.abs({w}).to(tl.uint32, bitcast=True)", w=word)
    if isinstance(low, int) and isinstance(high, int):
        span = high - low
        if span <= _MAX_WORD:
            value = expr(f"{{v}} % tl.full([], {span}, tl.uint32)", v=value)
    else:
        ends = {"h": state.expr_arg(2), "l": state.expr_arg(1)}
        span_expr = expr("tl.cast({h} - {l}, tl.uint32)", **ends)
        value = expr("{v} % {s}", v=value, s=span_expr)
    value = state.lift(value, "distance")
    if isinstance(low, int):
        return expr(f"{{v}}.to(tl.int32) + tl.full([], {low}, tl.int32)", v=value)
    first = expr("tl.cast({l}, tl.int32)", l=state.expr_arg(1))
    return expr("{v}.to(tl.int32) + {l}", v=value, l=first)


@_decorators.codegen(positions)
def positions_codegen(state: CodegenState) -> ast.expr:
    return _positions(state)


@_decorators.codegen(random_words)
def random_words_codegen(state: CodegenState) -> list[ast.expr]:
    holes = {"s": _seed_expr(state), "o": _offsets(state, 1)}
    words = state.lift(expr("tl.randint4x({s}, {o})", **holes), "words")
    return [expr(f"{{w}}[{i}].to(tl.int64)", w=words) for i in range(2)]


def _seed_expr(state: CodegenState) -> ast.expr:
    seed = state.node.args[0]
    if isinstance(seed, int):
        return expr(state.env.backend.literal(seed, torch.int64))
    return expr("tl.cast({s}, tl.int64)", s=state.expr_arg(0))


def _offsets(state: CodegenState, index: int) -> ast.expr:
    # With fewer bits Triton would take a negative counter for a small one.
    return expr("{o}.to(tl.int64)", o=state.expr_arg(index))


def _positions(state: CodegenState) -> ast.expr:
    """Return the row-major position of each element in the whole range."""
    launch, shape = state.launch, list(state.value.shape)
    rank = launch.rank(shape)
    total: ast.expr | None = None
    for dim, size in enumerate(shape):
        vector, length = _along(state, size)
        vector = expr("{v}.to(tl.int64)", v=vector)
        if rank > 1 and not launch.is_single(size):
            place = launch.rank(shape[:dim])
            items = [":" if place == other else "None" for other in range(rank)]
            vector = expr(f"{{v}}[{', '.join(items)}]", v=vector)
        if total is None:
            total = vector
        else:
            total = expr("({t}) * {n} + {i}", t=total, n=length, i=vector)
    if total is None:
        return expr("tl.full([], 0, tl.int64)")
    return state.lift(total, "counter")


def _along(state: CodegenState, size: int) -> tuple[ast.expr, ast.expr]:
    """Return the positions along one dim and the extent of the whole range."""
    launch = state.launch
    info = state.env.block_of(size)
    if info is None:
        length = launch.dim_text([size])
        return expr(f"tl.arange(0, {length})"), expr(length)
    axis = launch.axis(info)
    if info.numel is not None:
        return expr(axis.index), launch.size_expr(info.numel)
    return expr(axis.index), expr("({e} - {b})", e=axis.end, b=axis.begin)
