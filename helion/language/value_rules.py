"""How creation, tile facts, views and constants are traced and emitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .._compiler import symbols
from .._compiler.ast_extension import expr, facts
from .._compiler.error_text import describe
from .._compiler.provenance import part_of
from .._compiler.specialized_value import SpecializedValue
from .._compiler.variable_origin import BlockSizeOrigin, TunableOrigin
from . import _decorators
from .constexpr import ConstExpr, check_context, specialize
from .creation_ops import arange, checked_shape, full, zeros
from .jagged_ops import jagged_tile
from .loops import barrier, grid, static_range, tile
from .tile import (
    Tile,
    tile_begin,
    tile_block_size,
    tile_count,
    tile_end,
    tile_id,
    tile_index,
)
from .tunable_ops import register_block_size, register_tunable
from .view_ops import join, split

if TYPE_CHECKING:
    import ast

    from .._compiler.codegen_state import CodegenState
    from .._compiler.graph_tracer import GraphTracer
    from .._compiler.specialized_symbols import SpecializedSymbols


# -- creation ------------------------------------------------------------------------


@_decorators.type_propagation(zeros)
def zeros_trace(
    tracer: GraphTracer,
    shape: Any,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> torch.Tensor:
    return full_trace(tracer, checked_shape(shape, "zeros"), 0, dtype, device)


@_decorators.type_propagation(full)
def full_trace(
    tracer: GraphTracer,
    shape: Any,
    value: Any,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> torch.Tensor:
    given = checked_shape(shape, "full")
    _check_fill(tracer, value, device)
    sizes = [extent(tracer, size) for size in given]
    result = tracer.new_value(sizes, dtype)
    return tracer.emit(torch.ops.aten.full.default, (sizes, value), result)


def _check_fill(tracer: GraphTracer, value: Any, device: Any) -> None:
    tracer.env.check_device(device)
    is_scalar = isinstance(value, torch.Tensor) and value.dim() == 0
    if not is_scalar and not isinstance(value, (bool, int, float, *symbols.SymValue)):
        raise exc.InvalidAPIUsage(
            f"hl.full: the value is {describe(value)}, but must be a number or a 0-d "
            "tensor"
        )


def extent(tracer: GraphTracer, size: Any) -> int:
    """Return the device extent of a size."""
    block = getattr(size, "block_id", None)
    if block is not None:
        return tracer.env.block_sizes[block].extent
    known = symbols.static_int(size)
    if not isinstance(size, (int, torch.SymInt)) or (known is not None and known < 0):
        raise exc.InvalidAPIUsage(
            f"a size is {describe(size)}, but must be an int >= 0 or a tile"
        )
    return tracer.env.extent_of(size)


_ARANGE = (int, torch.SymInt, Tile)


@_decorators.type_propagation(arange)
def arange_trace(tracer: GraphTracer, *args: Any, **options: Any) -> torch.Tensor:
    tracer.env.check_device(options.get("device"))
    dtype = options.get("dtype") or tracer.env.index_dtype
    if not 1 <= len(args) <= 3 or options.keys() - {"dtype", "device"}:
        raise exc.InvalidAPIUsage("hl.arange takes an end, or begin, end and step")
    if any(isinstance(a, bool) or not isinstance(a, _ARANGE) for a in args):
        kinds = ", ".join(describe(a) for a in args)
        raise exc.InvalidAPIUsage(f"hl.arange takes ints, not {kinds}")
    start, stop, step = 0, args[0], 1
    if len(args) >= 2:
        start, stop = args[0], args[1]
    if len(args) == 3:
        step = args[2]
    known = symbols.static_int(step)
    if known is None or known < 1:
        raise exc.InvalidAPIUsage(
            f"hl.arange: the step is {describe(step)}, but must be a positive constant"
        )
    length = stop if symbols.static_int(start) == 0 else stop - start
    if step != 1:
        length = (length + step - 1) // step
    size = extent(tracer, length)
    result = tracer.new_value([size], dtype)
    return tracer.emit(arange, (start, step), result)


@_decorators.codegen(arange)
def arange_codegen(state: CodegenState) -> ast.expr:
    start, step = state.node.args[0], state.node.args[1]
    result, dtype = state.positions(), state.value.dtype
    is_loop_index = "loop_index" in state.node.meta
    if not is_loop_index or dtype != state.env.index_dtype:
        result = expr("{i}.to({d})", i=result, d=state.dtype_expr())
    if step != 1:
        result = expr("{r} * {step}", r=result, step=state.expr_arg(1))
    if start != 0:
        result = expr("{r} + {start}", r=result, start=state.expr_arg(0))
    return result


# -- tile facts ----------------------------------------------------------------------


@_decorators.codegen(tile_index)
def tile_index_codegen(state: CodegenState) -> ast.expr:
    return expr(state.launch.axes[state.node.args[0]].index)


def _fact(op: Any, name: str) -> None:
    @_decorators.type_propagation(op)
    def trace(tracer: GraphTracer, value: Any) -> Any:
        if getattr(value, "block_id", None) is None:
            raise exc.IncorrectTileUsage(f"hl.{op.name} takes a tile")
        return getattr(value, name)


for _op, _name in (
    (tile_index, "index"),
    (tile_begin, "begin"),
    (tile_end, "end"),
    (tile_id, "id"),
    (tile_count, "count"),
    (tile_block_size, "block_size"),
):
    _fact(_op, _name)


# -- loops ---------------------------------------------------------------------------


def _only_in_for(op: Any) -> None:
    @_decorators.type_propagation(op)
    def trace(tracer: GraphTracer, *args: Any, **kwargs: Any) -> Any:
        raise exc.LoopFunctionNotInFor(name=f"hl.{op.name}")


for _op in (tile, grid, jagged_tile):
    _only_in_for(_op)


@_decorators.type_propagation(static_range)
def static_range_trace(
    tracer: GraphTracer, begin: Any, end: Any = None, /, step: Any = 1
) -> range:
    bounds = [0, begin] if end is None else [begin, end]
    values = [symbols.static_int(b) for b in (*bounds, step)]
    if values[2] == 0:
        raise exc.TypeInferenceError("hl.static_range: the step is 0")
    known = [v for v in values if v is not None]
    if len(known) < len(values):
        raise exc.TypeInferenceError(
            "hl.static_range needs bounds that are known when compiling",
            hint="use hl.specialize or an hl.constexpr argument, or hl.grid",
        )
    return range(*known)


@_decorators.type_propagation(barrier)
def barrier_trace(tracer: GraphTracer) -> None:
    """Launches run in order, so the loops around it are ordered already."""
    if tracer.on_device or not tracer.ir.root_ids:
        raise exc.BarrierOnlyAllowedAtTopLevel()


# -- views ---------------------------------------------------------------------------


@_decorators.fake(split)
def split_fake(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if tensor.size(-1) != 2:
        raise exc.UnsupportedSplitConfiguration(
            "hl.split", "the last dim must have size 2"
        )
    half = list(tensor.size())[:-1]
    return tensor.new_empty(half), tensor.new_empty(half)


@_decorators.codegen(split)
def split_codegen(state: CodegenState) -> list[ast.expr]:
    pair = state.lift(expr("tl.split({v})", v=state.expr_arg(0)), "pair")
    return [expr("{p}[0]", p=pair), expr("{p}[1]", p=pair)]


@_decorators.fake(join)
def join_fake(tensor0: torch.Tensor, tensor1: torch.Tensor) -> torch.Tensor:
    if tensor0.dtype != tensor1.dtype:
        raise exc.TypeInferenceError(
            f"hl.join of {tensor0.dtype} and {tensor1.dtype}; convert one with .to()"
        )
    shape = torch.broadcast_shapes(tensor0.size(), tensor1.size())
    return tensor0.new_empty([*shape, 2])


@_decorators.codegen(join)
def join_codegen(state: CodegenState) -> ast.expr:
    return expr("tl.join({a}, {b})", a=state.expr_arg(0), b=state.expr_arg(1))


# -- constants and tunables ----------------------------------------------------------


@_decorators.type_propagation(specialize)
def specialize_trace(
    tracer: GraphTracer, value: Any, *, context: str | None = None
) -> Any:
    if tracer.on_device:
        raise exc.SpecializeOnDevice()
    check_context(context)
    known = tracer.env.specialized
    places = known.table.argument_places(tracer.call_node, value)
    return _specialized(known, value, places, context)


def _specialized(
    known: SpecializedSymbols, value: Any, places: Any, context: str | None
) -> Any:
    def part(item: Any, key: Any) -> Any:
        return _specialized(known, item, part_of(places, key), context)

    if isinstance(value, ConstExpr):
        return value.value
    if isinstance(value, dict):
        return {key: part(item, key) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [part(item, index) for index, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, SpecializedValue):
        given = value.context if context is None else context
        return known.tag(int(value), value.symbol, given)
    if isinstance(value, torch.SymInt):
        return known.specialize_symint(value, context)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return known.specialize_int(value, places, context)
    raise exc.SpecializeArgType(type=type(value).__name__)


@_decorators.type_propagation(register_block_size)
def register_block_size_trace(
    tracer: GraphTracer, min_or_max: Any, max_or_none: Any = None, /
) -> torch.SymInt:
    _check_on_host(tracer, "hl.register_block_size")
    low, high = (1, min_or_max) if max_or_none is None else (min_or_max, max_or_none)
    for bound in (low, high):
        if isinstance(bound, bool) or not isinstance(bound, (int, torch.SymInt)):
            raise exc.IncorrectTileUsage.from_text(
                f"hl.register_block_size takes ints, not {describe(bound)}",
                "it is hl.register_block_size(max) or hl.register_block_size(min, max)",
            )
    known = symbols.static_int(low)
    if known is None or known < 1 or known & (known - 1):
        raise exc.InvalidConfig(
            f"the minimum of hl.register_block_size must be a power of two, not {low}"
        )
    if symbols.size_hint(high) < known:
        raise exc.InvalidConfig(
            f"hl.register_block_size: the maximum {symbols.size_hint(high)} is less "
            f"than the minimum {known}"
        )
    info = tracer.env.allocate_block_size(high)
    info.min_size = known
    info.max_size = symbols.size_hint(high)
    node = tracer.call_node
    if node is not None:
        facts(node).replacement = BlockSizeOrigin(info.block_id)
    return info.var


@_decorators.type_propagation(register_tunable)
def register_tunable_trace(tracer: GraphTracer, name: Any, fragment: Any) -> Any:
    _check_on_host(tracer, "hl.register_tunable")
    if not isinstance(name, str) or not hasattr(fragment, "default"):
        raise exc.RegisterTunableArgTypes(type(name).__name__, type(fragment).__name__)
    for value in vars(fragment).values():
        if isinstance(value, symbols.SymValue):
            raise exc.ConfigSpecFragmentWithSymInt(value=describe(value))
    tracer.env.config_spec.add_tunable(name, fragment)
    origin = TunableOrigin(name)
    node = tracer.call_node
    if node is not None:
        facts(node).replacement = origin
    return tracer.env.new_scalar(type(fragment.default()), origin)


def _check_on_host(tracer: GraphTracer, name: str) -> None:
    if tracer.on_device:
        raise exc.NotAllowedOnDevice(construct=f"{name}()")
