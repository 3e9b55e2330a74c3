"""Folds along an axis: one tile at a time, across the turns of a loop, over splits."""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..ast_extension import assign, expr, statements, text_of
from ..backend import AtenRule
from ..codegen_text import expand
from ..device_ir import _max_and_sum_exp, _sum_and_squares
from ..node_args import first_value
from ..node_masking import IDENTITIES
from .dtypes import number_text, triton_dtype

if TYPE_CHECKING:
    from torch import fx

    from ..codegen_state import CodegenState
    from ..reduction_strategy_base import Chunk

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
# The dtypes of which hardware has the larger of two, or NaN.
_WITH_NAN = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class ValueFold:
    """One accumulator: sum, product, maximum or minimum; NaN propagates as in torch."""

    kind: str

    def parts(self, state: CodegenState, chunk: Chunk | None) -> list[ast.expr]:
        value, fake, dim = _operand(state)
        extent = fake.shape[_dim(state)]
        if state.launch.is_single(extent):
            return [value]
        if extent == 1:
            shape = list(fake.shape)
            del shape[_dim(state)]
            if state.launch.rank(shape):
                sizes = state.shape_expr(shape)
                return [expr("tl.reshape({v}, {s})", v=value, s=sizes)]
        return [_fold(self.kind, value, dim, fake.dtype)]

    def initial(self, state: CodegenState) -> list[ast.expr]:
        return [_identity(state)]

    def combine(
        self,
        state: CodegenState,
        names: list[str],
        parts: list[ast.expr],
        chunk: Chunk,
    ) -> list[ast.stmt]:
        (name,), (part,) = names, parts
        return [assign(name, expr(_COMBINES[self.kind], a=name, b=part))]

    def merge(
        self, state: CodegenState, stacks: list[ast.expr], counts: ast.expr
    ) -> list[ast.expr]:
        return [_fold(self.kind, stacks[0], 0, state.fake_arg(0).dtype)]

    def finish(self, state: CodegenState, parts: list[ast.expr]) -> ast.expr:
        source, target = state.fake_arg(0).dtype, state.value.dtype
        if source == target:
            return parts[0]
        return expr(f"{{v}}.to({triton_dtype(target)})", v=parts[0])

    def dtypes(self, state: CodegenState) -> list[torch.dtype]:
        return [state.fake_arg(0).dtype]


@dataclass(frozen=True)
class IndexFold:
    """Two accumulators: the extremum and where it is first."""

    kind: str

    def parts(self, state: CodegenState, chunk: Chunk | None) -> list[ast.expr]:
        value, fake, dim = _operand(state)
        if state.launch.is_single(fake.shape[_dim(state)]):
            return [value, expr("tl.full([], 0, tl.int32)")]
        index = self._index(state, fake, dim)
        return self._fold(state, value, index, dim)

    def _fold(
        self, state: CodegenState, value: ast.expr, index: ast.expr, dim: int
    ) -> list[ast.expr]:
        pair = expr(
            f"triton_helpers.{self.kind}_with_index({{v}}, {{i}}, {dim})",
            v=value,
            i=index,
        )
        name = state.lift(pair, "best")
        return [
            state.lift(expr("{p}[0]", p=name), "best_value"),
            state.lift(expr("{p}[1]", p=name), "best_index"),
        ]

    def _index(self, state: CodegenState, fake: torch.Tensor, dim: int) -> ast.expr:
        positions = state.launch.local_index(fake.shape[_dim(state)])
        index = expand(positions, dim, state.launch.rank(fake.shape))
        shape = state.shape_expr(fake.shape)
        return state.lift(expr("tl.broadcast_to({i}, {s})", i=index, s=shape), "index")

    def initial(self, state: CodegenState) -> list[ast.expr]:
        shape = state.shape_expr(state.value.shape)
        index = triton_dtype(state.env.index_dtype)
        last = expr(f"tl.full({{s}}, {_WIDE_INDEX}, {index})", s=shape)
        return [_identity(state), last]

    def combine(
        self,
        state: CodegenState,
        names: list[str],
        parts: list[ast.expr],
        chunk: Chunk,
    ) -> list[ast.stmt]:
        value, index = names
        return statements(
            f"{value}, {index} = triton_helpers.{self.kind}imum_with_index("
            f"{value}, {index}, {text_of(parts[0])}, {text_of(parts[1])})"
        )

    def merge(
        self, state: CodegenState, stacks: list[ast.expr], counts: ast.expr
    ) -> list[ast.expr]:
        return self._fold(state, stacks[0], stacks[1], 0)

    def finish(self, state: CodegenState, parts: list[ast.expr]) -> ast.expr:
        index = expr("{i}.to(tl.int64)", i=parts[1])
        shape = state.value.shape
        if state.launch.rank(shape) and isinstance(parts[1], ast.Call):
            index = expr(
                "tl.broadcast_to({i}, {s})", i=index, s=state.shape_expr(shape)
            )
        return index

    def dtypes(self, state: CodegenState) -> list[torch.dtype]:
        return [state.fake_arg(0).dtype, state.env.index_dtype]


@dataclass(frozen=True)
class MaxSumExpFold:
    """The maximum, and the sum of exponentials of the distances from it.

    Where the maximum is infinite, distances are from 0. Infinite and empty sums then
    come out right, without inf - inf.
    """

    kind = "online"

    def parts(self, state: CodegenState, chunk: Chunk | None) -> list[ast.expr]:
        value, fake, dim = _operand(state)
        peak = state.lift(_fold("max", value, dim, fake.dtype), "peak")
        finite = self._finite(state, peak)
        wide = _expand(state, finite, fake, dim)
        power = self._term(state, expr("{v} - {m}", v=value, m=wide))
        return [peak, state.lift(expr(_FOLDS["sum"], v=power, dim=dim), "part")]

    def _finite(self, state: CodegenState, peak: ast.expr) -> ast.expr:
        text = "tl.where(tl.abs({m}) == float('inf'), 0.0, {m})"
        return state.launch.share(expr(text, m=peak), "finite")

    def _exp(self, state: CodegenState, power: ast.expr) -> ast.expr:
        is_base_2 = state.node.args[2]
        return expr("tl.exp2({p})" if is_base_2 else "tl.exp({p})", p=power)

    def _term(self, state: CodegenState, power: ast.expr) -> ast.expr:
        """Return an exponential that is added to 1, that of the maximum.

        ``tl.exp`` is this product and three instructions more, for results so small
        that they are no normal numbers.
        """
        if state.node.args[2] or state.fake_arg(0).dtype != torch.float32:
            return self._exp(state, power)
        return expr(f"tl.exp2(({{p}}) * {math.log2(math.e)})", p=power)

    def initial(self, state: CodegenState) -> list[ast.expr]:
        return [_identity(state), _identity(state, 0)]

    def combine(
        self,
        state: CodegenState,
        names: list[str],
        parts: list[ast.expr],
        chunk: Chunk,
    ) -> list[ast.stmt]:
        peak, total = names
        higher = state.lift(expr(_COMBINES["max"], a=peak, b=parts[0]), "higher")
        finite = self._finite(state, higher)
        old = self._exp(state, expr("{p} - {m}", p=peak, m=finite))
        new = self._exp(state, expr("{p} - {m}", p=parts[0], m=finite))
        scaled = expr("{t} * {o} + {s} * {n}", t=total, o=old, s=parts[1], n=new)
        return [assign(total, scaled), assign(peak, higher)]

    def merge(
        self, state: CodegenState, stacks: list[ast.expr], counts: ast.expr
    ) -> list[ast.expr]:
        dtype = state.fake_arg(0).dtype
        peak = state.lift(_fold("max", stacks[0], 0, dtype), "peak")
        finite = _above_splits(state, self._finite(state, peak))
        weight = self._exp(state, expr("{p} - {m}", p=stacks[0], m=finite))
        return [peak, expr("tl.sum({s} * {w}, 0)", s=stacks[1], w=weight)]

    def finish(self, state: CodegenState, parts: list[ast.expr]) -> list[ast.expr]:
        return [*parts, self._finite(state, parts[0])]

    def dtypes(self, state: CodegenState) -> list[torch.dtype]:
        return [state.fake_arg(0).dtype] * 2


@dataclass(frozen=True)
class SquaresFold:
    """The sum, and the sum of squared distances from the mean.

    Chunks are combined as in Chan, Golub and LeVeque (1983): nothing is subtracted
    that is large beside the result.
    """

    kind = "moments"

    def parts(self, state: CodegenState, chunk: Chunk | None) -> list[ast.expr]:
        assert chunk is not None, "a whole axis is folded twice instead"
        value, fake, dim = _operand(state)
        total = state.lift(expr(_FOLDS["sum"], v=value, dim=dim), "part")
        count = self._number(state, chunk.count, "count")
        mean = state.launch.share(expr("{t} / {n}", t=total, n=count), "mean")
        wide = _expand(state, mean, fake, dim)
        gap = state.lift(expr("{v} - {m}", v=value, m=wide), "gap")
        square = expr("{g} * {g}", g=gap)
        block = state.env.block_of(fake.shape[_dim(state)])
        assert block is not None
        mask = state.launch.mask_expr(list(fake.shape), [block.block_id])
        if mask is not None:
            square = expr("tl.where({m}, {s}, 0.0)", m=mask, s=square)
        return [total, state.lift(expr(_FOLDS["sum"], v=square, dim=dim), "squares")]

    def _number(self, state: CodegenState, count: ast.expr, hint: str) -> ast.expr:
        dtype = triton_dtype(state.fake_arg(0).dtype)
        return state.launch.share(expr(f"tl.cast({{n}}, {dtype})", n=count), hint)

    def initial(self, state: CodegenState) -> list[ast.expr]:
        return [_identity(state, 0), _identity(state, 0)]

    def combine(
        self,
        state: CodegenState,
        names: list[str],
        parts: list[ast.expr],
        chunk: Chunk,
    ) -> list[ast.stmt]:
        total, squares = names
        before = self._number(state, chunk.before, "before")
        count = self._number(state, chunk.count, "count")
        mean = state.launch.share(expr("{s} / {n}", s=parts[0], n=count), "mean")
        text = "{m} - {t} / tl.maximum({b}, 1.0)"
        gap = state.lift(expr(text, m=mean, t=total, b=before), "step")
        weight = state.launch.share(
            expr("{b} * {n} / ({b} + {n})", b=before, n=count), "weight"
        )
        sum_of = expr(
            "{q} + {p} + {g} * {g} * {w}", q=squares, p=parts[1], g=gap, w=weight
        )
        return [
            assign(squares, sum_of),
            assign(total, expr("{t} + {s}", t=total, s=parts[0])),
        ]

    def merge(
        self, state: CodegenState, stacks: list[ast.expr], counts: ast.expr
    ) -> list[ast.expr]:
        number = self._number(state, counts, "counts")
        total = state.lift(expr(_FOLDS["sum"], v=stacks[0], dim=0), "total")
        size = state.lift(expr("tl.sum({n}, 0)", n=number), "size")
        mean = _above_splits(state, expr("{t} / {n}", t=total, n=size))
        mean = state.lift(mean, "mean")
        # A split beyond the end of the axis has no mean, and no weight.
        gap = expr("{t} / tl.maximum({n}, 1.0) - {m}", t=stacks[0], n=number, m=mean)
        gap = state.lift(gap, "gap")
        squares = expr("tl.sum({q} + {n} * {g} * {g}, 0)", q=stacks[1], n=number, g=gap)
        return [total, squares]

    def finish(self, state: CodegenState, parts: list[ast.expr]) -> list[ast.expr]:
        return parts

    def dtypes(self, state: CodegenState) -> list[torch.dtype]:
        return [state.fake_arg(0).dtype] * 2


# -- what folds have in common ---------------------------------------------------------


def _fold(kind: str, value: ast.expr, dim: int, dtype: torch.dtype) -> ast.expr:
    """Return the fold of a tile along a dim of the emitted value."""
    if kind in ("max", "min") and dtype in _WITH_NAN:
        text = f"device_folds.fold_{kind}({{v}}, {{dim}})"
        if dtype == torch.bfloat16:
            text = text.replace("{v}", "{v}.to(tl.float32)") + ".to(tl.bfloat16)"
        return expr(text, v=value, dim=dim)
    return expr(_FOLDS[kind], v=value, dim=dim)


def _dim(state: CodegenState) -> int:
    dims: Any = state.node.args[1]
    dim = dims[0] if isinstance(dims, (list, tuple)) else dims
    return dim % state.fake_arg(0).dim()


def _operand(state: CodegenState) -> tuple[ast.expr, torch.Tensor, int]:
    """Return the folded value, what it stands for, and the dim in the emitted value."""
    fake = state.fake_arg(0)
    dim = len(state.launch.merged_dims(list(fake.shape[: _dim(state)])))
    return state.expr_arg(0), fake, dim


def _identity(state: CodegenState, value: Any = None) -> ast.expr:
    """Return an accumulator full of what changes nothing."""
    dtype = state.fake_arg(0).dtype
    if value is None:
        value = IDENTITIES[state.node.target](dtype)
    text = f"tl.full({{s}}, {number_text(value, dtype)}, {triton_dtype(dtype)})"
    return expr(text, s=state.shape_expr(first_value(state.node).shape))


def _above_splits(state: CodegenState, value: ast.expr) -> ast.expr:
    """Return a value of all splits with a dim for them, of size 1, before its own."""
    if not state.launch.rank(first_value(state.node).shape):
        return value
    return expr("tl.expand_dims({v}, 0)", v=value)


def _expand(
    state: CodegenState, value: ast.expr, fake: torch.Tensor, dim: int
) -> ast.expr:
    """Return a folded value with the folded dim of size 1 again."""
    if state.launch.rank(fake.shape) == 1:
        return value
    return expr(f"tl.expand_dims({{v}}, {dim})", v=value)


FOLDS: dict[Any, ValueFold | IndexFold | MaxSumExpFold | SquaresFold] = {
    aten.sum.dim_IntList: ValueFold("sum"),
    aten.prod.dim_int: ValueFold("prod"),
    aten.amax.default: ValueFold("max"),
    aten.amin.default: ValueFold("min"),
    aten.argmax.default: IndexFold("max"),
    aten.argmin.default: IndexFold("min"),
    _max_and_sum_exp: MaxSumExpFold(),
    _sum_and_squares: SquaresFold(),
}


def fold_of(node: fx.Node) -> Any:
    """Return how a node folds an axis, None if it is no fold of a single axis."""
    return FOLDS.get(node.target)


def _codegen(state: CodegenState) -> Any:
    strategy = state.launch.reduction_strategy(state.fake_arg(0).shape[_dim(state)])
    return strategy.codegen_reduction(state, FOLDS[state.node.target])


REDUCTIONS: dict[Any, AtenRule] = {
    target: AtenRule(_codegen, None, "reduction") for target in FOLDS
}
