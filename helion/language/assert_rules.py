"""How checks in device code are traced and emitted."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from .._compiler.ast_extension import expr
from . import _decorators
from .debug_ops import device_assert

if TYPE_CHECKING:
    import torch

    from .._compiler.codegen_state import CodegenState
    from .._compiler.graph_tracer import GraphTracer


@_decorators.type_propagation(device_assert)
def device_assert_trace(
    tracer: GraphTracer, condition: torch.Tensor, message: str = ""
) -> None:
    if tracer.env.settings.debug:
        tracer.emit(device_assert, (condition, message), None)


@_decorators.codegen(device_assert)
def device_assert_codegen(state: CodegenState) -> ast.expr:
    message = ast.Constant(str(state.node.args[1]))
    return expr("tl.device_assert({c}, {m})", c=state.expr_arg(0), m=message)
