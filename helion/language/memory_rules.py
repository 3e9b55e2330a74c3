"""How loads, stores and atomics are traced and emitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .._compiler.ast_extension import expr, text_of
from .._compiler.error_text import describe
from . import _decorators
from .atomic_ops import (
    MEMORY_ORDERS,
    atomic_add,
    atomic_and,
    atomic_cas,
    atomic_max,
    atomic_min,
    atomic_or,
    atomic_xchg,
    atomic_xor,
)
from .memory_ops import load, store, subscript
from .subscript_rules import read_subscript

if TYPE_CHECKING:
    import ast

    from .._compiler.codegen_state import CodegenState
    from .._compiler.graph_tracer import GraphTracer

EVICTION_POLICIES = (None, "", "evict_first", "evict_last")
_BINARY_ATOMICS = (
    atomic_add,
    atomic_and,
    atomic_or,
    atomic_xor,
    atomic_max,
    atomic_min,
    atomic_xchg,
)


@_decorators.type_propagation(load)
def load_trace(
    tracer: GraphTracer,
    tensor: torch.Tensor,
    index: Any,
    extra_mask: torch.Tensor | None = None,
    eviction_policy: str | None = None,
) -> torch.Tensor:
    host = _host_node(tracer, tensor, "hl.load")
    elements, shape = read_subscript(tracer, tensor, index, extra_mask is not None)
    _check_mask(tracer, extra_mask, shape)
    if eviction_policy not in EVICTION_POLICIES:
        raise exc.InvalidAPIUsage(
            f"hl.load: eviction_policy is {eviction_policy!r}, but must be one of "
            f"{EVICTION_POLICIES}"
        )
    value = tracer.new_value(shape, tensor.dtype)
    return tracer.emit(load, (host, elements, extra_mask, eviction_policy), value)


def _host_node(tracer: GraphTracer, tensor: Any, name: str) -> Any:
    if not isinstance(tensor, torch.Tensor):
        raise exc.InvalidAPIUsage(f"{name} takes a tensor, not {describe(tensor)}")
    if tracer.env.host_origin(tensor) is None:
        raise exc.InvalidAPIUsage(f"{name} takes a host tensor, not a device value")
    tracer.env.backend.dtype_text(tensor.dtype)  # refuses what the target lacks
    return tracer.host_node(tensor)


def _check_mask(tracer: GraphTracer, mask: Any, shape: list[int]) -> None:
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
    value = state.launch.indexing(state).load(access, state.launch.load_options(state))
    return value


@_decorators.masked_value(load)
def load_masked_value(node: Any) -> object:
    return 0


@_decorators.type_propagation(store)
def store_trace(
    tracer: GraphTracer,
    tensor: torch.Tensor,
    index: Any,
    value: Any,
    extra_mask: torch.Tensor | None = None,
) -> None:
    host = _host_node(tracer, tensor, "hl.store")
    elements, shape = read_subscript(tracer, tensor, index, extra_mask is not None)
    value = _stored_value(tracer, value, shape)
    _check_mask(tracer, extra_mask, shape)
    tracer.emit(store, (host, elements, value, extra_mask, shape), None)


def _stored_value(tracer: GraphTracer, value: Any, shape: list[int]) -> Any:
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
    value = _value_for(state, 2, access.tensor.dtype, shape)
    state.launch.note_store(access)
    return state.launch.indexing(state).store(access, value)


def _value_for(
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


# -- atomics -------------------------------------------------------------------------


def _atomic_rules(op: Any, triton_name: str) -> None:
    @_decorators.type_propagation(op)
    def trace(
        tracer: GraphTracer, target: Any, index: Any, *values: Any, **options: Any
    ) -> torch.Tensor:
        bound = op.bind((target, index, *values), options)
        if tracer.env.host_origin(target) is None:
            raise exc.AtomicOnDeviceTensor(name=f"hl.{op.name}")
        if bound["sem"] not in MEMORY_ORDERS:
            raise exc.InvalidAPIUsage(
                f"hl.{op.name}: sem is {bound['sem']!r}, but must be one of "
                f"{MEMORY_ORDERS}"
            )
        elements, shape = read_subscript(tracer, target, index)
        given = [v for k, v in bound.items() if k in ("expected", "value")]
        stored = [_stored_value(tracer, v, shape) for v in given]
        result = tracer.new_value(shape, target.dtype)
        args = (tracer.host_node(target), elements, bound["sem"], *stored)
        return tracer.emit(op, args, result)

    @_decorators.codegen(op)
    def codegen(state: CodegenState) -> ast.expr:
        shape = list(state.value.shape)
        access = state.launch.access(state, shape)
        dtype = access.tensor.dtype
        pointer, mask = state.launch.pointer_and_mask(access)
        values = [
            _value_for(state, i, dtype, shape) for i in range(3, len(state.node.args))
        ]
        values = [_as_block(state, v, shape) for v in values]
        state.launch.note_store(access)
        sem = state.node.args[2]
        texts = ", ".join(f"{{v{i}}}" for i in range(len(values)))
        holes = {f"v{i}": v for i, v in enumerate(values)}
        is_masked = mask is not None and op is not atomic_cas
        mask_text = ", mask={m}" if is_masked else ""
        holes |= {"m": mask} if is_masked else {}
        if op is atomic_cas and mask is not None:
            # tl.atomic_cas has no mask: padded lanes swap a value for itself.
            return _masked_cas(state, access, (pointer, mask), values)
        return expr(
            f"tl.{triton_name}({{p}}, {texts}{mask_text}, sem={sem!r})",
            p=pointer,
            **holes,
        )


def _as_block(state: CodegenState, value: ast.expr, shape: list[int]) -> ast.expr:
    if not shape:
        return value
    return expr("tl.broadcast_to({v}, {s})", v=value, s=state.shape_expr(shape))


def _masked_cas(
    state: CodegenState, access: Any, place: tuple[ast.expr, ast.expr], values: Any
) -> ast.expr:
    raise exc.BackendUnsupported(
        backend=state.env.backend.name,
        detail="hl.atomic_cas on a tile that has padding; use a block size of 1 or one "
        "that divides the dimension",
    )


for _op in _BINARY_ATOMICS:
    _atomic_rules(_op, _op.name)
_atomic_rules(atomic_cas, "atomic_cas")
