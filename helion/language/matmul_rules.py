"""How matrix products of the language are traced and emitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .._compiler import symbols
from .._compiler.ast_extension import expr, text_of
from . import _decorators
from .matmul_ops import check_dot, dot, dot_dtype, dot_shape
from .scaled_dot_ops import (
    GROUP,
    check_acc,
    check_acc_shape,
    check_dtypes,
    dot_scaled,
    scaled_dtype,
    unequal_sums,
)

if TYPE_CHECKING:
    import ast

    from .._compiler.codegen_state import CodegenState
    from .._compiler.graph_tracer import GraphTracer


@_decorators.type_propagation(dot)
def dot_trace(
    tracer: GraphTracer,
    mat1: torch.Tensor,
    mat2: torch.Tensor,
    acc: torch.Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> torch.Tensor:
    check_dot(mat1, mat2, acc)
    dtype = dot_dtype(mat1, mat2, acc, out_dtype)
    value = tracer.new_value(dot_shape(mat1, mat2), dtype)
    return tracer.emit(dot, (mat1, mat2, acc, out_dtype), value)


@_decorators.codegen(dot)
def dot_codegen(state: CodegenState) -> ast.expr:
    acc = None if state.node.args[2] is None else 2
    return state.env.backend.product(state, 0, 1, acc, state.value.dtype)


# -- block-scaled products -----------------------------------------------------------


@_decorators.type_propagation(dot_scaled)
def dot_scaled_trace(tracer: GraphTracer, *args: Any, **options: Any) -> torch.Tensor:
    bound: dict[str, Any] = dot_scaled.bind(args, options)
    sides = [
        [bound[f"mat{i}{part}"] for part in ("", "_scale", "_format")] for i in (1, 2)
    ]
    formats = [check_dtypes(*side) for side in sides]
    (mat1, scale1, name1), (mat2, scale2, name2) = sides
    acc, out_dtype = bound["acc"], bound["out_dtype"]
    check_acc(acc, out_dtype)
    lengths = [mat1.shape[1] * formats[0].pack, mat2.shape[0] * formats[1].pack]
    _check_equal(tracer, lengths, unequal_sums)
    _check_scale(tracer, scale1, mat1.shape[0], lengths[0])
    _check_scale(tracer, scale2, mat2.shape[1], lengths[1])
    shape = [mat1.shape[0], mat2.shape[1]]
    if acc is not None:
        check_acc_shape(acc, shape)
    value = tracer.new_value(shape, scaled_dtype(acc, out_dtype))
    # Factors and scales stand where the passes look for those of products.
    nodes = (mat1, mat2, scale1, scale2, name1, name2, acc)
    return tracer.emit(dot_scaled, nodes, value)


def _check_scale(
    tracer: GraphTracer, scale: torch.Tensor | None, rows: int, length: int
) -> None:
    if scale is None:
        return

    def fault(have: object, want: object) -> exc.Base:
        return exc.InvalidAPIUsage(
            f"hl.dot_scaled: a scale has a dim of {have}, but needs {want}",
            hint=f"scales are [M, K / {GROUP}] and [N, K / {GROUP}]",
        )

    _check_equal(tracer, [scale.shape[0], rows], fault)
    _check_equal(tracer, [scale.shape[1], -(-length // GROUP)], fault)


def _check_equal(tracer: GraphTracer, extents: list[int], fault: Any) -> None:
    """Raise what ``fault`` makes of two device sizes that cannot be equal."""
    env = tracer.env
    if extents[0] != extents[1] and not any(_is_open(env, e) for e in extents):
        raise fault(*(env.size_of(e) for e in extents))


def _is_open(env: Any, extent: int) -> bool:
    """Whether only a call tells the size of a device dim."""
    info = env.block_of(extent) if extent > 1 else None
    return (
        info is not None
        and info.is_reduction
        and symbols.static_int(info.numel) is None
    )


@_decorators.codegen(dot_scaled)
def dot_scaled_codegen(state: CodegenState) -> ast.expr:
    launch, shape = state.launch, list(state.value.shape)
    if launch.rank(shape) < 2 or 1 in (*shape, *state.fake_arg(0).shape):
        raise exc.BackendUnsupported(
            backend=state.env.backend.name,
            detail="hl.dot_scaled of a matrix with a dim of one element",
            hint="use tiles of at least 16 rows and columns",
        )
    texts, holes = [], {}
    for name, index in (("a", 0), ("s", 2), ("b", 1), ("t", 3)):
        holes[name] = state.expr_arg(index)
        texts.append(f"{{{name}}}")
        if name in "st":
            texts.append(repr(state.node.args[4 if name == "s" else 5]))
    init = state.node.args[6]
    if init is not None:
        init_dtype = state.fake_arg(6).dtype
        holes["acc"] = expr(_cast(state, state.text_arg(6), init_dtype, torch.float32))
        texts.append("acc={acc}")
    result = expr(f"tl.dot_scaled({', '.join(texts)})", **holes)
    if state.value.dtype == torch.float32:
        return result
    total = state.lift(result, "product")
    return expr(_cast(state, text_of(total), torch.float32, state.value.dtype))


def _cast(state: CodegenState, text: str, source: Any, target: Any) -> str:
    return state.env.backend.cast_text(text, source, target)
