"""The reduction strategy that walks an axis in chunks."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .ast_extension import assign, expr, literal, text_of
from .device_function import Axis
from .loop_options import emit_loop, tl_range
from .node_args import first_value
from .reduction_strategy_base import Chunk, Fold, ReductionStrategy
from .tile_strategy import DeviceLoopState

if TYPE_CHECKING:
    from collections.abc import Callable

    from .codegen_state import CodegenState
    from .compile_environment import BlockSizeInfo
    from .device_function import DeviceFunction


@dataclass(frozen=True)
class Span:
    """The part of an axis that a loop walks."""

    begin: ast.expr
    end: ast.expr


@dataclass
class LoopedReductionStrategy(ReductionStrategy):
    """The value holds one chunk: fold it, then combine with the accumulator.

    The accumulator has the shape of the result.
    """

    loop: DeviceLoopState
    chunk: Chunk

    def codegen_reduction(self, state: CodegenState, fold: Fold) -> Any:
        names = self.accumulate(state, fold)
        fn = state.launch
        with fn.into(self.loop.outer_suffix):
            result = fold.finish(state, [expr(name) for name in names])
            if isinstance(result, ast.expr) and not isinstance(result, ast.Name):
                name = fn.new_var(state.node.meta.get("name", state.node.name))
                fn.emit(assign(name, result))
                result = expr(name)
        return result

    def accumulate(self, state: CodegenState, fold: Fold) -> list[str]:
        """Emit the fold of the chunk; return the names of the accumulators."""
        fn = state.launch
        parts = fold.parts(state, self.chunk)
        self.loop.folds_blocks |= fn.rank(first_value(state.node).shape) > 0
        names = []
        for initial in fold.initial(state):
            names.append(fn.new_var(f"{fold.kind}_acc"))
            self.loop.outer_prefix.append(assign(names[-1], initial))
        fn.emit(*fold.combine(state, names, parts, self.chunk))
        return names


def emit_reduction_loop(
    fn: DeviceFunction,
    info: BlockSizeInfo,
    interpret: Callable[[DeviceLoopState, Chunk], list[Any]],
    span: Span | None = None,
) -> list[Any]:
    """Emit a loop over chunks of an axis; ``interpret`` emits its body.

    ``span`` None: the whole axis.
    """
    block = info.block_id
    chunk = fn.reduction_chunk(block)
    size = fn.constexpr_arg(f"_REDUCTION_BLOCK_{block}", str(chunk))
    offset = fn.new_var(f"roffset_{block}")
    index = fn.new_var(f"rindex_{block}")
    dtype = fn.env.backend.dtype_text(fn.env.index_dtype)
    end = fn.size_expr(info.numel)
    span = span or Span(literal(0), end)
    loop = DeviceLoopState()
    outer_axis = fn.axes.get(block)
    with fn.into(loop.inner_statements):
        fn.emit(assign(index, expr(f"({offset} + tl.arange(0, {size})).to({dtype})")))
        mask = None
        if not (isinstance(info.numel, int) and info.numel % chunk == 0):
            mask = fn.new_var(f"mask_{block}")
            fn.emit(assign(mask, expr(f"{index} < {{end}}", end=end)))
        fn.axes[block] = Axis(
            block, size, index, offset, mask, literal(0), end, is_whole=True
        )
        results = interpret(loop, _chunk(span, offset, size, end, mask))
    if outer_axis is None:
        del fn.axes[block]
    else:
        fn.axes[block] = outer_axis
    fn.emit(*loop.outer_prefix)
    # Triton's compiler asserts on unrolled folds of blocks (not on those of rows).
    without = ["range_unroll_factors"] if loop.folds_blocks else []
    options = fn.range_options(block, without)
    iterable = tl_range(span.begin, span.end, size, options)
    emit_loop(fn, offset, iterable, loop.inner_statements)
    fn.emit(*loop.outer_suffix)
    return results


def _chunk(
    span: Span, offset: str, size: str, end: ast.expr, mask: str | None
) -> Chunk:
    before = expr(offset)
    if text_of(span.begin) != "0":
        before = expr(f"{offset} - {{begin}}", begin=span.begin)
    count = expr(size)
    if mask is not None:
        count = expr(f"tl.minimum({{end}} - {offset}, {size})", end=end)
    return Chunk(before, count)
