"""Replays the lowerings of a graph under one Config."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from .. import exc
from .ast_extension import as_expr, expr, is_atom
from .block_limits import check_numel
from .codegen_state import CodegenState
from .device_ir import _host_tensor

if TYPE_CHECKING:
    from torch import fx

    from .device_function import DeviceFunction
    from .device_ir import GraphInfo


def interpret_graph(
    fn: DeviceFunction, info: GraphInfo, inputs: list[Any]
) -> list[ast.expr]:
    """Emit a graph's nodes in order; return the expressions of its outputs."""
    values: dict[fx.Node, Any] = {}
    arguments = iter(inputs)
    for node in info.graph.nodes:
        if node.op == "placeholder":
            values[node] = as_expr(next(arguments))
        elif node.op == "call_function":
            values[node] = _emit_node(fn, node, values)
    return [values[node] for node in info.outputs]


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
    return fn.lift(result, node.meta.get("name", "v"))
