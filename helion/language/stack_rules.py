"""How loads and stores of stack tensors are traced and emitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import exc
from .._compiler.ast_extension import expr
from . import _decorators
from .memory_rules import check_mask, stored_value, value_for
from .stack_ops import (
    StackTensor,
    check_pointers,
    stack_load,
    stack_store,
    stacktensor_like,
)
from .subscript_rules import read_subscript

if TYPE_CHECKING:
    import ast

    import torch

    from .._compiler.codegen_state import CodegenState
    from .._compiler.graph_tracer import GraphTracer


@_decorators.type_propagation(stacktensor_like)
def stacktensor_trace(
    tracer: GraphTracer, tensor_like: torch.Tensor, dev_ptrs: torch.Tensor
) -> StackTensor:
    if not tracer.on_device:
        raise exc.StackTensorcOnHost()
    if tracer.env.host_origin(tensor_like) is None:
        raise exc.StackTensorExampleOnDevice()
    if tracer.env.host_origin(dev_ptrs) is not None:
        raise exc.StackTensorDevPtrOnHost()
    check_pointers(dev_ptrs)
    return StackTensor(tensor_like, dev_ptrs)


def _selection(
    tracer: GraphTracer, stack: StackTensor, index: Any, is_masked: bool
) -> tuple[list[tuple[Any, ...]], list[int]]:
    """Return the elements and the shape of an access to all buffers.

    The dims of the addresses come first, as dims that move nothing in a buffer.
    """
    like = stack.tensor_like
    elements, shape = read_subscript(tracer, like, index, is_masked)
    outer = list(stack.dev_ptrs.size())
    return [("new",)] * len(outer) + elements, outer + shape


@_decorators.type_propagation(stack_load)
def stack_load_trace(
    tracer: GraphTracer,
    stack: StackTensor,
    index: Any,
    extra_mask: torch.Tensor | None = None,
) -> torch.Tensor:
    elements, shape = _selection(tracer, stack, index, extra_mask is not None)
    check_mask(tracer, extra_mask, shape)
    host = tracer.host_node(stack.tensor_like)
    value = tracer.new_value(shape, stack.dtype)
    return tracer.emit(stack_load, (host, elements, stack.dev_ptrs, extra_mask), value)


@_decorators.type_propagation(stack_store)
def stack_store_trace(
    tracer: GraphTracer,
    stack: StackTensor,
    index: Any,
    value: Any,
    extra_mask: torch.Tensor | None = None,
) -> None:
    elements, shape = _selection(tracer, stack, index, extra_mask is not None)
    value = stored_value(tracer, value, shape)
    check_mask(tracer, extra_mask, shape)
    host = tracer.host_node(stack.tensor_like)
    args = (host, elements, stack.dev_ptrs, extra_mask, value, shape)
    tracer.emit(stack_store, args, None)


def _access(state: CodegenState, shape: list[int]) -> Any:
    """Return the access, whose base is an address for each buffer."""
    launch = state.launch
    access = launch.access(state, shape)
    dtype = state.dtype_expr(access.tensor.dtype)
    base = expr("{p}.to(tl.pointer_type({d}))", p=state.expr_arg(2), d=dtype)
    own = launch.rank(state.fake_arg(2).shape)
    if own and launch.rank(shape) > own:
        base = state.lift(base, "base")
        items = [":"] * own + ["None"] * (launch.rank(shape) - own)
        base = expr(f"{{b}}[{', '.join(items)}]", b=base)
    access.base = base
    if state.arg(3) is not None:
        access.extra_mask = state.expr_arg(3)
        access.extra_shape = list(state.fake_arg(3).shape)
    return access


@_decorators.codegen(stack_load)
def stack_load_codegen(state: CodegenState) -> ast.expr:
    access = _access(state, list(state.value.shape))
    state.launch.order_after_store(access)
    pointer, mask = state.launch.pointer_and_mask(access)
    if mask is None:
        return expr("tl.load({p})", p=pointer)
    return expr("tl.load({p}, {m}, other=0)", p=pointer, m=mask)


@_decorators.codegen(stack_store)
def stack_store_codegen(state: CodegenState) -> ast.expr:
    shape = list(state.arg(5))
    access = _access(state, shape)
    value = value_for(state, 4, access.tensor.dtype, shape)
    state.launch.note_store(access)
    pointer, mask = state.launch.pointer_and_mask(access)
    if mask is None:
        return expr("tl.store({p}, {v})", p=pointer, v=value)
    return expr("tl.store({p}, {v}, {m})", p=pointer, v=value, m=mask)


@_decorators.masked_value(stack_load)
def stack_load_masked_value(node: Any) -> object:
    return 0
