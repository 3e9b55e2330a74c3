"""Folds along an axis: one tile at a time, and across the turns of a loop."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import torch

from ..ast_extension import assign, expr, statements, text_of
from ..backend import AtenRule
from ..reduction_strategy_base import ReductionOp
from .aten_rules import local_index
from .dtypes import literal, triton_dtype

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..codegen_state import CodegenState

aten = torch.ops.aten
_FOLDS = {
    "sum": "tl.sum({v}, {dim})",
    "prod": "triton_helpers.prod({v}, {dim})",
    "max": "triton_helpers.max2({v}, {dim})",
    "min": "triton_helpers.min2({v}, {dim})",
}
_COMBINES = {
    "sum": "{a} + {b}",
    "prod": "{a} * {b}",
    "max": "triton_helpers.maximum({a}, {b})",
    "min": "triton_helpers.minimum({a}, {b})",
}
_WIDE_INDEX = 2**31 - 1


class TritonReduction:
    """How folds are spelled in Triton; helpers propagate NaN as torch does."""

    def fold(self, state: CodegenState, op: ReductionOp) -> ast.expr:
        """Return the fold of a value that holds the whole axis."""
        parts = self.fold_parts(state, op)
        return self.finish(state, op, [state.lift(p, "fold") for p in parts])

    def fold_parts(self, state: CodegenState, op: ReductionOp) -> list[ast.expr]:
        """Return the fold of one tile: the value and, for arg folds, the index."""
        value = state.expr_arg(0)
        fake = state.fake_arg(0)
        dim = self._dim(state, op, fake)
        if state.launch.is_single(fake.shape[op.dim]):
            return [value, expr("tl.full([], 0, tl.int32)")][: 1 + op.has_index]
        if fake.shape[op.dim] == 1 and not op.has_index:
            shape = list(fake.shape)
            del shape[op.dim]
            if state.launch.rank(shape):
                return [
                    expr("tl.reshape({v}, {s})", v=value, s=state.shape_expr(shape))
                ]
        if not op.has_index:
            return [expr(_FOLDS[op.kind], v=value, dim=dim)]
        index = self._index(state, op, fake, dim)
        pair = expr(
            f"triton_helpers.{op.kind}_with_index({{v}}, {{i}}, {dim})",
            v=value,
            i=index,
        )
        name = state.lift(pair, "best")
        return [
            state.lift(expr("{p}[0]", p=name), "best_value"),
            state.lift(expr("{p}[1]", p=name), "best_index"),
        ]

    def _dim(self, state: CodegenState, op: ReductionOp, fake: torch.Tensor) -> int:
        return len(state.launch.merged_dims(list(fake.shape[: op.dim])))

    def _index(
        self, state: CodegenState, op: ReductionOp, fake: torch.Tensor, dim: int
    ) -> ast.expr:
        axis = state.launch.axis_of(fake.shape[op.dim])
        text = "tl.arange(0, 1)" if axis is None else local_index(axis)
        rank = state.launch.rank(fake.shape)
        items = ", ".join(":" if i == dim else "None" for i in range(rank))
        index = expr(text if rank == 1 else f"{text}[{items}]")
        shape = state.shape_expr(fake.shape)
        return state.lift(expr("tl.broadcast_to({i}, {s})", i=index, s=shape), "index")

    def initial(self, state: CodegenState, op: ReductionOp) -> list[ast.expr]:
        """Return what the accumulators hold before the loop."""
        shape = state.shape_expr(state.value.shape)
        dtype = state.fake_arg(0).dtype
        number = literal(op.identity, dtype).removeprefix("tl.full([],")
        number = number.rpartition(",")[0].strip()
        start = expr(f"tl.full({{s}}, {number}, {triton_dtype(dtype)})", s=shape)
        if not op.has_index:
            return [start]
        index = triton_dtype(state.env.index_dtype)
        return [start, expr(f"tl.full({{s}}, {_WIDE_INDEX}, {index})", s=shape)]

    def combine(
        self,
        state: CodegenState,
        op: ReductionOp,
        accumulators: list[ast.expr],
        parts: list[ast.expr],
    ) -> list[ast.stmt]:
        """Return the statements that fold one chunk's parts into the accumulators."""
        if not op.has_index:
            (acc,), (part,) = accumulators, parts
            name = text_of(acc)
            return [assign(name, expr(_COMBINES[op.kind], a=acc, b=part))]
        value, index = (text_of(a) for a in accumulators)
        return statements(
            f"{value}, {index} = triton_helpers.{op.kind}imum_with_index("
            f"{value}, {index}, {text_of(parts[0])}, {text_of(parts[1])})"
        )

    def finish(
        self, state: CodegenState, op: ReductionOp, parts: list[ast.expr]
    ) -> ast.expr:
        """Return the result in the node's dtype."""
        if op.has_index:
            index = expr("{i}.to(tl.int64)", i=parts[1])
            shape = state.value.shape
            if state.launch.rank(shape) and isinstance(parts[1], ast.Call):
                index = expr(
                    "tl.broadcast_to({i}, {s})", i=index, s=state.shape_expr(shape)
                )
            return index
        source, target = state.fake_arg(0).dtype, state.value.dtype
        if source == target:
            return parts[0]
        return expr(f"{{v}}.to({triton_dtype(target)})", v=parts[0])


def lowest(dtype: torch.dtype) -> Any:
    """Return the identity of max."""
    if dtype == torch.bool:
        return False
    return float("-inf") if dtype.is_floating_point else torch.iinfo(dtype).min


def highest(dtype: torch.dtype) -> Any:
    """Return the identity of min."""
    if dtype == torch.bool:
        return True
    return float("inf") if dtype.is_floating_point else torch.iinfo(dtype).max


_IDENTITY: dict[str, Callable[[torch.dtype], Any]] = {
    "sum": lambda dtype: 0,
    "prod": lambda dtype: 1,
    "max": lowest,
    "min": highest,
}


def _reduction(kind: str, has_index: bool = False) -> AtenRule:
    def codegen(state: CodegenState) -> ast.expr:
        dims: Any = state.node.args[1]
        dim = dims[0] if isinstance(dims, (list, tuple)) else dims
        fake = state.fake_arg(0)
        identity = _IDENTITY[kind](fake.dtype)
        op = ReductionOp(kind, identity, dim % fake.dim(), has_index)
        return state.launch.reduction_strategy(fake.shape[op.dim]).codegen_reduction(
            state, op
        )

    return AtenRule(codegen, None, "reduction")


REDUCTIONS: dict[Any, AtenRule] = {
    aten.sum.dim_IntList: _reduction("sum"),
    aten.prod.dim_int: _reduction("prod"),
    aten.amax.default: _reduction("max"),
    aten.amin.default: _reduction("min"),
    aten.argmax.default: _reduction("max", has_index=True),
    aten.argmin.default: _reduction("min", has_index=True),
}
