"""Replays the lowerings of a graph under one Config."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from torch import fx

from .. import exc
from .ast_extension import as_expr, expr, is_atom
from .block_limits import check_numel
from .codegen_state import CodegenState
from .device_ir import INVARIANT, READ_ONLY, _host_tensor
from .epilogue_subtile import emit_pieces, epilogues
from .whole_tiles import shortcut

if TYPE_CHECKING:
    from .device_function import DeviceFunction
    from .device_ir import GraphInfo


def interpret_graph(
    fn: DeviceFunction,
    info: GraphInfo,
    inputs: list[Any],
    known: dict[fx.Node, Any] | None = None,
) -> list[ast.expr]:
    """Emit a graph's nodes in order; return the expressions of its outputs.

    Of what is ``known`` the expression is there already.
    """
    values: dict[fx.Node, Any] = dict(known or {})
    arguments = iter(inputs)
    pieces = epilogues(fn, info)
    later = {node for found in pieces.values() for node in found.nodes}
    for node in info.graph.nodes:
        if node.op == "placeholder":
            values[node] = as_expr(next(arguments))
        elif node in pieces:
            emit_pieces(fn, pieces[node], values, _emit_node)
        elif node.op == "call_function" and node not in {*later, *values}:
            same = shortcut(fn, node)
            if isinstance(same, fx.Node):
                values[node] = values[same]
                continue
            values[node] = _emit_node(fn, node, values)
    return [values[node] for node in info.outputs]


def emit_invariants(fn: DeviceFunction, info: GraphInfo) -> dict[fx.Node, Any]:
    """Emit, before a loop, the loads of its body that are the same in each turn."""
    known: dict[fx.Node, Any] = {}
    for node in info.graph.nodes:
        if INVARIANT in node.meta:
            for needed in (*node.all_input_nodes, node):
                if needed not in known:
                    known[needed] = _emit_node(fn, needed, known)
    return known


def _emit_node(fn: DeviceFunction, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
    lowering = node.meta["lowering"]
    state = CodegenState(fn.env, fn.config, fn, node, values)
    fn.emit_origin(node.meta.get("location"))
    try:
        check_numel(fn, node)
        result = lowering.codegen(state)
    except exc.Base as error:
        error.with_location(node.meta.get("location"))
        raise
    except Exception as error:
        wrapped = exc.InductorLoweringError(error, f"in {node.format_node()}")
        raise wrapped.with_location(node.meta.get("location")) from error
    if not isinstance(result, ast.expr):
        return result
    if node.target is _host_tensor or is_atom(result):
        return result
    if not node.users:
        if not lowering.is_pure:
            fn.emit(ast.Expr(value=result, lineno=0, col_offset=0))
        return expr("None")
    keep = fn.share if READ_ONLY in node.meta else fn.lift
    return keep(result, node.meta.get("name", "v"))
