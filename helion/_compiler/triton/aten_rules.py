"""ATen operators as Triton: views, creation, products and pointwise rules."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

import torch
from torch import fx
from torch.fx.node import map_arg

from ...language.tile import tile_index
from ..ast_extension import expr, text_of
from ..backend import AtenRule
from ..indexing_strategy import align
from .dtypes import cast_text, literal, triton_dtype
from .pointwise_ops import POINTWISE
from .pointwise_rule import Operand
from .products import product
from .reshapes import reshaped

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable

    from ..codegen_state import CodegenState

aten = torch.ops.aten
SIMPLE: dict[Any, AtenRule] = {}


def rule(
    *overloads: Any, masked_value: Callable[..., Any] | None = None
) -> Callable[[Any], Any]:
    """Register a codegen rule for operator overloads."""

    def register(codegen: Callable[[CodegenState], Any]) -> Any:
        for overload in overloads:
            SIMPLE[overload] = AtenRule(codegen, masked_value, "simple")
        return codegen

    return register


def _operand_passes(node: fx.Node, known: Callable[[Any], Any]) -> Any:
    return known(node.args[0])


# -- pointwise -----------------------------------------------------------------------


@functools.cache
def pointwise_rule(target: Any) -> AtenRule | None:
    """Return the rule of an operator in our pointwise table."""
    table_rule = POINTWISE.get(target)
    if table_rule is None:
        return None

    def codegen(state: CodegenState) -> ast.expr:
        operands = [_operand(state, i) for i in range(len(state.node.args))]
        kwargs = {k: _kwarg(state, v) for k, v in state.node.kwargs.items()}
        text = table_rule.render(operands, kwargs, state.value.dtype)
        return spread(state, expr(_escape(text)))

    def masked(node: fx.Node, known: Callable[[Any], Any]) -> Any:
        return table_rule.masked_value(
            [known(a) for a in node.args], node.meta["val"].dtype, None
        )

    return AtenRule(codegen, masked, "pointwise")


def _escape(text: str) -> str:
    assert "{" not in text, text
    return text


def _operand(state: CodegenState, index: int) -> Any:
    return operand_of(state, state.node.args[index])


def operand_of(state: CodegenState, arg: Any) -> Any:
    """Return an argument of a pointwise op as an Operand (None stays None)."""
    if isinstance(arg, fx.Node):
        value = arg.meta["val"]
        node_expr = state.values[arg]
        if isinstance(value, torch.Tensor):
            shape, target = list(value.shape), list(state.value.shape)
            aligned = align(node_expr, shape, target, state.launch)
            is_scalar = value.dim() == 0 and state.value.dim() > 0
            return Operand(text_of(aligned), value.dtype, is_scalar)
        kinds = {torch.SymInt: torch.int64, torch.SymFloat: torch.float32}
        dtype = kinds.get(type(value), torch.bool)
        return Operand(_typed_scalar(state, node_expr, dtype), dtype, True)
    if isinstance(arg, (bool, int, float)):
        return Operand(literal(arg), value=arg)
    return None


def _typed_scalar(state: CodegenState, value: ast.expr, dtype: torch.dtype) -> str:
    """Make sure that a run-time scalar has the dtype it is said to have."""
    cast = expr(f"tl.cast({{v}}, {triton_dtype(dtype)})", v=value)
    return text_of(state.lift(cast, "scalar"))


def _kwarg(state: CodegenState, arg: Any) -> Any:
    return operand_of(state, arg) if isinstance(arg, fx.Node) else arg


def spread(state: CodegenState, value: ast.expr) -> ast.expr:
    """Broadcast a value to the node's shape where no operand has that shape."""
    shape = list(state.value.shape)
    if not state.launch.rank(shape):
        return value
    operands = [n.meta["val"] for n in state.node.all_input_nodes]
    tensors = [v for v in operands if isinstance(v, torch.Tensor)]
    if not shape or any(list(v.shape) == shape for v in tensors):
        return value
    if tensors and list(torch.broadcast_shapes(*[v.shape for v in tensors])) == shape:
        return value
    return expr("tl.broadcast_to({v}, {s})", v=value, s=state.shape_expr(shape))


# -- Inductor's bodies ---------------------------------------------------------------


def _tensor_inputs(node: fx.Node) -> list[fx.Node]:
    """Return the tensor operands in order, one that occurs twice two times."""
    found: list[fx.Node] = []
    map_arg((node.args, node.kwargs), found.append)
    return [n for n in found if isinstance(n.meta["val"], torch.Tensor)]


def fallback_rule(node: fx.Node) -> AtenRule | None:
    """Return a rule made from Inductor's lowering of an operator, if it has one."""
    from ..inductor_adapter import TensorInput, lower_pointwise

    places = itertools.count()

    def placeholder(arg: fx.Node) -> Any:
        value = arg.meta["val"]
        if not isinstance(value, torch.Tensor):
            return value
        return TensorInput(next(places), value.dtype, list(value.shape))

    args: Any = map_arg(node.args, placeholder)
    kwargs: Any = map_arg(node.kwargs, placeholder)
    body = lower_pointwise(node.target, args, kwargs)
    if body is None:
        return None

    def codegen(state: CodegenState) -> Any:
        several = isinstance(state.value, (tuple, list))
        target = list((state.value[0] if several else state.value).shape)
        texts = [
            text_of(
                align(state.values[n], list(n.meta["val"].shape), target, state.launch)
            )
            for n in _tensor_inputs(state.node)  # of a copy, in a rolled graph
        ]

        def emit(text: str) -> str:
            return text_of(state.lift(expr(text), "tmp"))

        results = [expr(body.render(texts, emit, i)) for i in range(len(body.outputs))]
        return results if several else results[0]

    return AtenRule(codegen, None, "pointwise")


# -- views ---------------------------------------------------------------------------


@rule(
    aten.alias.default,
    aten.detach.default,
    aten.lift_fresh_copy.default,
    aten.lift_fresh.default,
    masked_value=_operand_passes,
)
def alias(state: CodegenState) -> ast.expr:
    return state.expr_arg(0)


@rule(
    aten.view.default,
    aten._unsafe_view.default,
    aten.reshape.default,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
)
def view(state: CodegenState) -> ast.expr:
    shape = list(state.value.shape)
    source = list(state.fake_arg(0).shape)
    launch = state.launch
    if launch.merged_dims(shape) == launch.merged_dims(source):
        return state.expr_arg(0)
    if not launch.rank(shape):
        # A tile of one element becomes a scalar by folding it.
        flat = expr("tl.reshape({v}, [1])", v=state.expr_arg(0))
        return expr("device_folds.only({v})", v=flat)
    if not launch.rank(source):
        return expr(
            "tl.broadcast_to({v}, {s})", v=state.expr_arg(0), s=state.shape_expr(shape)
        )
    return reshaped(state, state.expr_arg(0), source, shape)


@rule(aten.unsqueeze.default, masked_value=_operand_passes)
def unsqueeze(state: CodegenState) -> ast.expr:
    rank = state.value.dim()
    shape = list(state.value.shape)
    if not state.launch.rank(state.fake_arg(0).shape):
        source = state.node.args[0]
        if isinstance(source, fx.Node) and source.target is tile_index:
            # Where loops have their index, Triton's interpreter has an int.
            dtype = state.dtype_expr()
            return expr("tl.full([1], {v}, {d})", v=state.expr_arg(0), d=dtype)
        return expr("tl.broadcast_to({v}, [1])", v=state.expr_arg(0))
    dim = state.int_arg(1) % rank
    place = state.launch.rank(shape[:dim])
    kept = state.launch.rank(shape)
    items = ["None" if i == place else ":" for i in range(kept)]
    return expr(f"{{v}}[{', '.join(items)}]", v=state.expr_arg(0))


@rule(
    aten.permute.default,
    aten.transpose.int,
    aten.t.default,
    masked_value=_operand_passes,
)
def permute(state: CodegenState) -> ast.expr:
    rank = state.value.dim()
    order = list(range(rank))
    if state.node.target is aten.permute.default:
        order = [d % rank for d in state.arg(1)]
    elif rank == 2 and state.node.target is aten.t.default:
        order = [1, 0]
    elif rank and state.node.target is aten.transpose.int:
        a, b = (state.int_arg(i) % rank for i in (1, 2))
        order[a], order[b] = order[b], order[a]
    source = list(state.fake_arg(0).shape)
    kept = [d for d in range(rank) if not state.launch.is_single(source[d])]
    order = [kept.index(d) for d in order if d in kept]
    if order == sorted(order):
        return state.expr_arg(0)
    return expr(f"tl.permute({{v}}, {order})", v=state.expr_arg(0))


@rule(aten.expand.default)
def expand(state: CodegenState) -> ast.expr:
    shape, source = list(state.value.shape), list(state.fake_arg(0).shape)
    value = state.expr_arg(0)
    if shape == source:
        return value
    if not state.launch.rank(shape):
        return align(value, source, shape, state.launch)
    value = align(value, source, shape, state.launch)
    return expr("tl.broadcast_to({v}, {s})", v=value, s=state.shape_expr(shape))


# -- creation ------------------------------------------------------------------------


def _fill_value(node: fx.Node, known: Callable[[Any], Any]) -> Any:
    value = node.args[1] if len(node.args) > 1 else 0
    return known(value) if isinstance(value, fx.Node) else value


@rule(aten.full.default, aten.full_like.default, masked_value=_fill_value)
def full(state: CodegenState) -> ast.expr:
    return filled(state, state.node.args[1])


def filled(state: CodegenState, value: Any) -> ast.expr:
    """Return a value of the node's shape and dtype with one number everywhere."""
    shape, dtype = list(state.value.shape), state.value.dtype
    if isinstance(value, fx.Node):
        source = value.meta["val"]
        scalar = state.values[value]
        if isinstance(source, torch.Tensor):
            scalar = expr(cast_text(text_of(scalar), source.dtype, dtype))
        elif isinstance(source, torch.SymBool):
            scalar = expr(f"tl.cast({{v}}, {triton_dtype(dtype)})", v=scalar)
        else:
            scalar = expr(f"tl.cast({{v}}, {triton_dtype(dtype)})", v=scalar)
        if not state.launch.rank(shape):
            return scalar
        return expr("tl.broadcast_to({v}, {s})", v=scalar, s=state.shape_expr(shape))
    number = literal(value, dtype)
    if not state.launch.rank(shape):
        return expr(number)
    if not number.startswith("tl.full([],"):
        return expr(f"tl.broadcast_to({number}, {{s}})", s=state.shape_expr(shape))
    inner = number.removeprefix("tl.full([],").rpartition(",")[0]
    return expr(
        f"tl.full({{s}}, {inner.strip()}, {triton_dtype(dtype)})",
        s=state.shape_expr(shape),
    )


def _constant(value: int) -> Any:
    @rule(
        *{
            0: (
                aten.zeros.default,
                aten.zeros_like.default,
                aten.new_zeros.default,
                aten.empty.memory_format,
                aten.empty_like.default,
                aten.new_empty.default,
            ),
            1: (aten.ones.default, aten.ones_like.default, aten.new_ones.default),
        }[value],
        masked_value=lambda node, known: value,
    )
    def constant(state: CodegenState) -> ast.expr:
        return filled(state, value)

    return constant


zeros, ones = _constant(0), _constant(1)


@rule(
    aten.scalar_tensor.default,
    torch.ops.prims.scalar_tensor.default,
    masked_value=lambda node, known: known(node.args[0]),
)
def scalar_tensor(state: CodegenState) -> ast.expr:
    return filled(state, state.node.args[0])


@rule(
    aten.new_full.default,
    masked_value=lambda node, known: known(node.args[2]),
)
def new_full(state: CodegenState) -> ast.expr:
    return filled(state, state.node.args[2])


@rule(aten.arange.default, aten.arange.start, aten.arange.start_step)
def arange(state: CodegenState) -> ast.expr:
    args = [a for a in state.node.args if isinstance(a, (int, float))]
    start, step = 0, 1
    if len(args) >= 2:
        start = args[0]
    if len(args) == 3:
        step = args[2]
    index = state.positions()
    dtype = triton_dtype(state.value.dtype)
    return expr(f"({{i}}.to({dtype}) * {step} + {start})", i=index)


# -- products ------------------------------------------------------------------------


@rule(aten.mm.default, aten.bmm.default)
def mm(state: CodegenState) -> ast.expr:
    return product(state, 0, 1, None, state.value.dtype)


@rule(aten.addmm.default, aten.baddbmm.default)
def addmm(state: CodegenState) -> ast.expr:
    return product(state, 1, 2, 0, state.value.dtype)
