"""How loads and conversions of packed narrow floats are traced and emitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .._compiler.ast_extension import expr
from . import _decorators
from .low_bit_ops import (
    BFLOAT16_STORAGE,
    BYTE_DTYPES,
    FLOAT4_STORAGE,
    check_float4,
    check_offsets,
    check_storage,
    float4_e2m1fn_x2_to_float32,
    load_bfloat16_x16_to_float16,
    load_float4_e2m1fn_x16_to_float16,
)
from .memory_rules import check_mask

if TYPE_CHECKING:
    import ast

    from .._compiler.codegen_state import CodegenState
    from .._compiler.graph_tracer import GraphTracer

COUNT = 16  # numbers of a group


@_decorators.type_propagation(float4_e2m1fn_x2_to_float32)
def unpack_trace(tracer: GraphTracer, value: torch.Tensor) -> Any:
    origin = tracer.env.host_origin(value)
    if origin is not None:
        raise exc.HostTensorDirectUsage(
            name=origin.host_str(), op="hl.float4_e2m1fn_x2_to_float32"
        )
    check_float4(value)
    shape = list(value.size())
    results = tuple(tracer.new_value(shape, torch.float32) for _ in range(2))
    return tracer.emit(float4_e2m1fn_x2_to_float32, (value,), results)


@_decorators.codegen(float4_e2m1fn_x2_to_float32)
def unpack_codegen(state: CodegenState) -> list[ast.expr]:
    value = state.expr_arg(0)
    return [
        expr(f"low_bits.e2m1_{part}({{v}}).to(tl.float32)", v=value)
        for part in ("low", "high")
    ]


def _group_rules(op: Any, dtypes: tuple[torch.dtype, ...], size: int) -> None:
    @_decorators.type_propagation(op)
    def trace(
        tracer: GraphTracer,
        storage: torch.Tensor,
        group_offsets: torch.Tensor,
        extra_mask: torch.Tensor | None = None,
    ) -> Any:
        if tracer.env.host_origin(storage) is None:
            raise exc.InvalidAPIUsage(f"hl.{op.name} reads a host tensor")
        check_storage(op.name, storage, dtypes)
        check_offsets(op.name, group_offsets)
        shape = list(group_offsets.size())
        check_mask(tracer, extra_mask, shape)
        args = (tracer.host_node(storage), group_offsets, extra_mask)
        results = tuple(tracer.new_value(shape, torch.float16) for _ in range(COUNT))
        return tracer.emit(op, args, results)

    @_decorators.codegen(op)
    def codegen(state: CodegenState) -> list[ast.expr]:
        parts = _split(state, _load_groups(state, size), size)
        if size == COUNT:
            narrow = "{v}.to(tl.float32).to(tl.float16)"
            return [expr(narrow, v=part) for part in parts]
        return [
            expr(f"low_bits.e2m1_{half}({{v}})", v=part)
            for part in parts
            for half in ("low", "high")
        ]


def _load_groups(state: CodegenState, size: int) -> ast.expr:
    """Return the elements of each group along a new last dim."""
    launch, host = state.launch, state.node.args[0]
    assert isinstance(host, torch.fx.Node)
    storage = host.meta["val"]
    origin = launch.env.host_origin(storage)
    is_bytes = storage.dtype in BYTE_DTYPES
    base = launch.tensor_arg(str(host.args[0]), origin, is_bytes)
    shape = list(state.fake_arg(1).shape)
    wide = "tl.int64" if launch.is_wide else "tl.int32"
    group = expr(f"tl.cast({{g}}, {wide})", g=state.expr_arg(1))
    rank = launch.rank(shape)
    last = f"tl.arange(0, {size}){_place(rank, is_last=True)}"
    offsets = expr(f"({{g}} * {size}){_place(rank)} + {last}", g=group)
    mask = _mask(state, shape)
    if mask is None:
        return expr(f"tl.load({base} + {{o}})", o=offsets)
    if not rank:
        mask = expr(f"tl.broadcast_to({{m}}, [{size}])", m=mask)
    else:
        mask = expr(f"({{m}}){_place(rank)}", m=mask)
    return expr(f"tl.load({base} + {{o}}, {{m}}, other=0)", o=offsets, m=mask)


def _place(rank: int, is_last: bool = False) -> str:
    """Return the subscript that adds a last dim (or all dims before it)."""
    if not rank:
        return ""
    kept, new = ("None", ":") if is_last else (":", "None")
    return f"[{', '.join([kept] * rank + [new])}]"


def _mask(state: CodegenState, shape: list[int]) -> ast.expr | None:
    launch = state.launch
    mask = launch.mask_expr(shape)
    if state.node.args[2] is None:
        return mask
    extra_shape = list(state.fake_arg(2).shape)
    extra = launch.align(state.expr_arg(2), extra_shape, shape)
    if launch.rank(shape):
        extra = expr("tl.broadcast_to({e}, {s})", e=extra, s=state.shape_expr(shape))
    return extra if mask is None else expr("{m} & {e}", m=mask, e=extra)


def _split(state: CodegenState, value: ast.expr, size: int) -> list[ast.expr]:
    """Take a last dim apart, by halves of even and odd places."""
    value = state.lift(value, "packed")
    if size > 2:
        lead = _lead_text(state, 1)
        value = expr(f"tl.reshape({{v}}, [{lead}{size // 2}, 2])", v=value)
    pair = state.lift(expr("tl.split({v})", v=value), "pair")
    sides = [expr(f"{{p}}[{i}]", p=pair) for i in range(2)]
    if size == 2:
        return sides
    even, odd = (_split(state, side, size // 2) for side in sides)
    return [part for both in zip(even, odd, strict=True) for part in both]


def _lead_text(state: CodegenState, index: int) -> str:
    """Return the Triton extents of an argument, each followed by a comma."""
    groups = state.launch.merged_dims(list(state.fake_arg(index).shape))
    return "".join(f"{state.launch.dim_text(group)}, " for group in groups)


_group_rules(load_float4_e2m1fn_x16_to_float16, FLOAT4_STORAGE, 8)
_group_rules(load_bfloat16_x16_to_float16, BFLOAT16_STORAGE, 16)
