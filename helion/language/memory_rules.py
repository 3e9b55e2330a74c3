"""How loads and stores are traced and emitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .._compiler.ast_extension import expr, text_of
from .._compiler.error_text import describe
from . import _decorators
from .low_bit_ops import BYTE_DTYPES
from .memory_ops import load, store, subscript
from .stack_ops import StackTensor, stack_load, stack_store
from .subscript_rules import read_subscript

if TYPE_CHECKING:
    import ast

    from .._compiler.codegen_state import CodegenState
    from .._compiler.graph_tracer import GraphTracer

EVICTION_POLICIES = (None, "", "evict_first", "evict_last")


@_decorators.type_propagation(load)
def load_trace(
    tracer: GraphTracer,
    tensor: torch.Tensor | StackTensor,
    index: Any,
    extra_mask: torch.Tensor | None = None,
    eviction_policy: str | None = None,
) -> torch.Tensor:
    if isinstance(tensor, StackTensor):
        return stack_load(tensor, index, extra_mask)
    access = tracer.nested.access(tensor, index)
    if access is not None:
        return tracer.nested.load(access, extra_mask, eviction_policy)
    host = host_node_of(tracer, tensor, "hl.load")
    elements, shape = read_subscript(tracer, tensor, index, extra_mask is not None)
    check_mask(tracer, extra_mask, shape)
    if eviction_policy not in EVICTION_POLICIES:
        raise exc.InvalidAPIUsage(
            f"hl.load: eviction_policy is {eviction_policy!r}, but must be one of "
            f"{EVICTION_POLICIES}"
        )
    extra_mask = tracer.jagged.with_lanes(extra_mask, shape)
    value = tracer.new_value(shape, tensor.dtype)
    tracer.emit(load, (host, elements, extra_mask, eviction_policy), value)
    tracer.jagged.note_load(value)
    return value


def host_node_of(tracer: GraphTracer, tensor: Any, name: str) -> Any:
    """Return the node of the host tensor that ``name`` was given."""
    if not isinstance(tensor, torch.Tensor):
        raise exc.InvalidAPIUsage(f"{name} takes a tensor, not {describe(tensor)}")
    if tracer.env.host_origin(tensor) is None:
        raise exc.InvalidAPIUsage(f"{name} takes a host tensor, not a device value")
    if tensor.dtype not in BYTE_DTYPES:
        tracer.env.backend.dtype_text(tensor.dtype)  # refuses what the target lacks
    return tracer.host_node(tensor)


def check_mask(tracer: GraphTracer, mask: Any, shape: list[int]) -> None:
    """Check an ``extra_mask`` for a selection of the given extents."""
    if mask is None:
        return
    if not isinstance(mask, torch.Tensor) or mask.dtype != torch.bool:
        raise exc.InvalidAPIUsage(
            f"extra_mask is {describe(mask)}, but must be a bool tensor",
            hint="a comparison makes one: extra_mask=value > 0",
        )
    _check_broadcast(tracer, mask, shape)


def _check_broadcast(
    tracer: GraphTracer, value: torch.Tensor, shape: list[int], rank_rule: bool = False
) -> None:
    """Check that a value fits a selection; leading dims of size 1 may be extra."""
    own = list(value.size())
    while len(own) > len(shape) and own and own[0] == 1:
        own = own[1:]
    fits = len(own) <= len(shape) and all(
        a in (1, b) for a, b in zip(reversed(own), reversed(shape), strict=False)
    )
    if rank_rule and own and len(own) != len(shape):
        raise exc.RankMismatch(
            f"a value with {len(own)} dimensions is stored to a selection with "
            f"{len(shape)}"
        )
    if not fits:
        tracer.env.unify(own + shape)
        raise exc.ShapeMismatch(left=own, right=shape)


@_decorators.codegen(load)
def load_codegen(state: CodegenState) -> ast.expr:
    access = state.launch.access(state, list(state.value.shape))
    if state.arg(2) is not None:
        access.extra_mask = state.expr_arg(2)
        access.extra_shape = list(state.fake_arg(2).shape)
    state.launch.order_after_store(access)
    value = state.launch.indexing(access).load(access, state.launch.load_options(state))
    return value


@_decorators.masked_value(load)
def load_masked_value(node: Any) -> object:
    return 0


@_decorators.type_propagation(store)
def store_trace(
    tracer: GraphTracer,
    tensor: torch.Tensor | StackTensor,
    index: Any,
    value: Any,
    extra_mask: torch.Tensor | None = None,
) -> None:
    if isinstance(tensor, StackTensor):
        stack_store(tensor, index, value, extra_mask)
        return
    access = tracer.nested.access(tensor, index)
    if access is not None:
        tracer.nested.store(access, value, extra_mask)
        return
    host = host_node_of(tracer, tensor, "hl.store")
    elements, shape = read_subscript(tracer, tensor, index, extra_mask is not None)
    value = stored_value(tracer, value, shape)
    check_mask(tracer, extra_mask, shape)
    tracer.jagged.check_store(tensor, shape)
    extra_mask = tracer.jagged.with_lanes(extra_mask, shape)
    tracer.emit(store, (host, elements, value, extra_mask, shape), None)


def stored_value(tracer: GraphTracer, value: Any, shape: list[int]) -> Any:
    """Return a value that fits a selection; host tensors are loaded whole."""
    if isinstance(value, torch.Tensor):
        if tracer.env.host_origin(value) is not None:
            value = load(value, [slice(None)] * value.dim())
        _check_broadcast(tracer, value, shape, rank_rule=True)
        return value
    kinds = (bool, int, float, torch.SymInt, torch.SymFloat, torch.SymBool)
    if not isinstance(value, kinds):
        raise exc.RequiresTensorInAssignment(value=describe(value))
    return value


@_decorators.codegen(store)
def store_codegen(state: CodegenState) -> ast.expr:
    shape = list(state.arg(4))
    access = state.launch.access(state, shape)
    if state.arg(3) is not None:
        access.extra_mask = state.expr_arg(3)
        access.extra_shape = list(state.fake_arg(3).shape)
    value = value_for(state, 2, access.tensor.dtype, shape)
    state.launch.note_store(access)
    access.store_options = state.launch.store_options(state)
    return state.launch.indexing(access).store(access, value)


def value_for(
    state: CodegenState, index: int, dtype: torch.dtype, shape: list[int]
) -> ast.expr:
    """Return an argument in the dtype and rank of the selection."""
    given = state.node.args[index]
    if isinstance(given, (bool, int, float)):
        return expr(state.env.backend.literal(given, dtype))
    fake = state.fake_arg(index)
    value = state.expr_arg(index)
    if not isinstance(fake, torch.Tensor):
        return expr(f"tl.cast({{v}}, {text_of(state.dtype_expr(dtype))})", v=value)
    if fake.dtype != dtype:
        value = expr(state.env.backend.cast_text(text_of(value), fake.dtype, dtype))
    return state.launch.align(value, list(fake.shape), shape)


@_decorators.type_propagation(subscript)
def subscript_trace(
    tracer: GraphTracer, tensor: torch.Tensor, index: Any
) -> torch.Tensor:
    if tracer.env.host_origin(tensor) is not None:
        raise exc.InvalidAPIUsage("hl.subscript takes a device value; use hl.load")
    if not isinstance(index, (list, tuple)):
        raise exc.InvalidIndexingType(index=f"{index!r}, not in a list,")
    for dim, item in enumerate(index):
        if item is None:
            tensor = tensor.unsqueeze(dim)
        elif item != slice(None):
            raise exc.InvalidIndexingType(index=repr(item))
    return tensor
