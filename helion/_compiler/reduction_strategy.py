"""The reduction strategy that walks an axis in chunks."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .ast_extension import assign, expr, for_loop, literal, text_of
from .device_function import Axis
from .reduction_strategy_base import ReductionOp, ReductionStrategy
from .tile_strategy import DeviceLoopState

if TYPE_CHECKING:
    from .codegen_state import CodegenState
    from .compile_environment import BlockSizeInfo
    from .device_function import DeviceFunction


@dataclass
class LoopedReductionStrategy(ReductionStrategy):
    """The value holds one chunk: fold it, then combine with the accumulator.

    The accumulator has the shape of the result.
    """

    loop: DeviceLoopState

    def codegen_reduction(self, state: CodegenState, op: ReductionOp) -> Any:
        rules, fn = state.env.backend.reduction, state.launch
        parts = rules.fold_parts(state, op)
        names = []
        for part, initial in zip(parts, rules.initial(state, op), strict=True):
            name = fn.new_var(f"{op.kind}_acc")
            self.loop.outer_prefix.append(assign(name, initial))
            names.append((name, part))
        accumulators = [expr(name) for name, _ in names]
        for statement in rules.combine(state, op, accumulators, parts):
            fn.emit(statement)
        result = rules.finish(state, op, accumulators)
        if not isinstance(result, ast.Name):
            name = fn.new_var(state.node.meta.get("name", state.node.name))
            self.loop.outer_suffix.append(assign(name, result))
            result = expr(name)
        return result


def emit_reduction_loop(
    fn: DeviceFunction, info: BlockSizeInfo, chunk: int, interpret: Any
) -> list[ast.expr]:
    """Emit a loop over chunks of an axis; ``interpret(strategy)`` emits its body."""
    block = info.block_id
    size = fn.constexpr_arg(f"_REDUCTION_BLOCK_{block}", str(chunk))
    offset = fn.new_var(f"roffset_{block}")
    index = fn.new_var(f"rindex_{block}")
    dtype = fn.env.backend.dtype_text(fn.env.index_dtype)
    end = fn.size_expr(info.numel)
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
        results = interpret(LoopedReductionStrategy(loop))
    if outer_axis is None:
        del fn.axes[block]
    else:
        fn.axes[block] = outer_axis
    fn.emit(*loop.outer_prefix)
    iterable = expr(f"tl.range(0, {{end}}, {size})", end=end)
    fn.emit(for_loop(offset, iterable, loop.inner_statements))
    fn.emit(*loop.outer_suffix)
    assert all(text_of(r) for r in results)
    return results
