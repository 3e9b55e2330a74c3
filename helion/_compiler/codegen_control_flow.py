"""Emits loops, branches and the nodes that bring host values into a graph."""

from __future__ import annotations

import ast
import operator
from typing import TYPE_CHECKING, Any

import torch

from .ast_extension import as_expr, assign, expr, if_else, literal, text_of
from .codegen_loop_parts import loop_parts
from .device_ir import (
    ForLoopGraphInfo,
    ReductionLoopGraphInfo,
    _for_loop,
    _get_symnode,
    _host_tensor,
    _if,
    _mask_to,
    _reduction_loop,
    _while_loop,
)
from .find_swaps import swapped_outputs
from .graph_interpreter import emit_invariants
from .indexing_strategy import align
from .node_args import raw_arg
from .reduction_strategy import LoopedReductionStrategy, emit_reduction_loop
from .tile_dispatch import tile_strategy
from .tile_strategy import DeviceLoopState, LoopDim
from .whole_tiles import shortcut

if TYPE_CHECKING:
    from collections.abc import Callable

    from .codegen_state import CodegenState
    from .reduction_strategy_base import Chunk

RULES: dict[Any, Callable[[CodegenState], Any]] = {}
getitem = operator.getitem
mask_to = _mask_to


def emits(target: Any) -> Callable[[Any], Any]:
    """Register the codegen rule of an internal node."""

    def register(rule: Callable[[CodegenState], Any]) -> Any:
        RULES[target] = rule
        return rule

    return register


@emits(_host_tensor)
def host_tensor_codegen(state: CodegenState) -> Any:
    # Accesses read the node itself; the pointer becomes a parameter only then.
    return literal(None)


@emits(_get_symnode)
def symnode_codegen(state: CodegenState) -> ast.expr:
    return state.launch.size_expr(state.value)


@emits(getitem)
def getitem_codegen(state: CodegenState) -> Any:
    return state.arg(0)[state.node.args[1]]


@emits(_mask_to)
def mask_to_codegen(state: CodegenState) -> Any:
    value, other, blocks = state.arg(0), state.arg(1), state.arg(2)
    shape = list(state.value.shape)
    if len(state.node.args) > 3:
        own = list(state.fake_arg(3).shape)
        mask = align(state.expr_arg(3), own, shape, state.launch)
    else:
        mask = state.launch.mask_expr(shape, list(blocks))
    if mask is None:
        return value
    identity = state.env.backend.literal(other, state.value.dtype)
    return expr(f"tl.where({{m}}, {{v}}, {identity})", m=mask, v=value)


def _loop_vars(state: CodegenState, nodes: list[Any], inits: list[Any]) -> list[str]:
    """Define the variables that a loop updates, with their initial values."""
    names = []
    for node, init in zip(nodes, inits, strict=True):
        name = state.launch.new_var(node.meta.get("name", node.name))
        state.launch.emit(assign(name, as_expr(init)))
        state.launch.variables.add(name)
        names.append(name)
    return names


def _update(state: CodegenState, names: list[str], values: list[ast.expr]) -> None:
    """Assign the next turn's values, all read before any is written."""
    targets = set(names)
    safe = []
    for position, value in enumerate(values):
        text = text_of(value)
        later = {n for n in names[:position] if n != names[position]}
        if text in targets and text in later:
            old = state.launch.new_var(f"{text}_old")
            state.launch.emit(assign(old, value))
            value = expr(old)
        safe.append(value)
    for name, value in zip(names, safe, strict=True):
        if text_of(value) != name:
            state.launch.emit(assign(name, value))


@emits(_for_loop)
def for_loop_codegen(state: CodegenState) -> list[ast.expr]:
    info = state.launch.graphs[state.int_arg(0)]
    parts = loop_parts(state.launch, info, loop_dims(state))
    inputs, carried = state.arg(2), state.arg(3)
    return emit_for_loop(state, parts, [inputs[i] for i in carried])


def loop_dims(state: CodegenState) -> list[LoopDim]:
    """Return the axes of the loop that a node runs."""
    info = state.launch.graphs[state.int_arg(0)]
    assert isinstance(info, ForLoopGraphInfo)
    steps = info.steps or [None] * len(info.block_ids)
    bounds = _symbolic(state, state.arg(1))
    return [
        LoopDim(block, begin, end, step)
        for block, (begin, end), step in zip(info.block_ids, bounds, steps, strict=True)
    ]


def emit_for_loop(
    state: CodegenState, parts: list[list[LoopDim]], starts: list[Any]
) -> list[ast.expr]:
    """Emit the parts of a loop one after the other; return the carried values.

    ``starts`` are what these are on entry.
    """
    launch, info = state.launch, state.launch.graphs[state.int_arg(0)]
    values, carried = list(state.arg(2)), state.arg(3)
    swapped = swapped_outputs(launch, info)
    launch.swapped |= {info.outputs[i] for i in swapped}
    starts = [_turned(v) if i in swapped else v for i, v in enumerate(starts)]
    names = _loop_vars(state, [info.placeholders[i] for i in carried], starts)
    for index, name in zip(carried, names, strict=True):
        values[index] = expr(name)

    known = emit_invariants(launch, info)

    def body() -> None:
        _update(state, names, launch.interpret(info, values, known))

    for part in parts:
        tile_strategy(launch, part).codegen_device_loop(body)
    results = [expr(name) for name in names]
    return [_turned(v) if i in swapped else v for i, v in enumerate(results)]


def _turned(value: Any) -> ast.expr:
    return expr("tl.trans({v})", v=as_expr(value))


def _symbolic(state: CodegenState, bounds: Any) -> list[tuple[Any, Any]]:
    """Return bounds as ints, SymInts where the node holds one, or expressions."""
    result = []
    for pair, given in zip(bounds, raw_arg(state.node, 1), strict=True):
        items = []
        for value, node in zip(pair, given, strict=True):
            is_symbol = isinstance(node, torch.fx.Node) and isinstance(
                node.meta["val"], torch.SymInt
            )
            items.append(node.meta["val"] if is_symbol else value)
        result.append(tuple(items))
    return result


@emits(_reduction_loop)
def reduction_loop_codegen(state: CodegenState) -> list[ast.expr]:
    launch = state.launch
    info = launch.graphs[state.node.args[0]]
    assert isinstance(info, ReductionLoopGraphInfo)
    inputs = state.arg(1)
    block = launch.env.block_sizes[info.block_id]

    def interpret(loop: DeviceLoopState, chunk: Chunk) -> list[Any]:
        strategy = LoopedReductionStrategy(loop, chunk)
        with launch.reducing(info.block_id, strategy):
            return launch.interpret(info, inputs)

    return emit_reduction_loop(launch, block, interpret)


@emits(_if)
def if_codegen(state: CodegenState) -> list[ast.expr]:
    launch = state.launch
    taken = shortcut(launch, state.node)
    if taken is not None:
        return launch.interpret(launch.graphs[taken], state.arg(3))
    test = state.expr_arg(0)
    sides = []
    results: list[str] = []
    for graph_index, inputs_index in ((1, 3), (2, 4)):
        info = launch.graphs[state.node.args[graph_index]]
        stored = set(launch.stored)
        with launch.into([]) as body:
            values = launch.interpret(info, state.arg(inputs_index))
            if not results:
                results = [launch.new_var(_output_name(n)) for n in info.outputs]
            for name, value in zip(results, values, strict=True):
                launch.emit(assign(name, value))
        launch.stored |= stored
        sides.append(body)
    launch.emit(if_else(test, sides[0], sides[1]))
    return [expr(name) for name in results]


def _output_name(node: Any) -> str:
    return str(node.meta.get("name", node.name))


@emits(_while_loop)
def while_codegen(state: CodegenState) -> list[ast.expr]:
    launch = state.launch
    condition, body_info = (launch.graphs[state.node.args[i]] for i in (0, 1))
    carried, seen, inputs = (state.arg(i) for i in (2, 3, 4))
    nodes = body_info.placeholders[: len(carried)]
    names = _loop_vars(state, nodes, carried)
    values = [expr(name) for name in names]
    test = launch.new_var("loop_condition")

    def check() -> None:
        (result,) = launch.interpret(condition, [*values, *seen])
        launch.emit(assign(test, result))

    check()
    with launch.into([]) as body:
        _update(state, names, launch.interpret(body_info, [*values, *inputs]))
        check()
    launch.emit(
        ast.While(test=expr(test), body=body, orelse=[], lineno=0, col_offset=0)
    )
    return values
