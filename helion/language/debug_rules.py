"""How prints and breakpoints in device code are traced and emitted."""

from __future__ import annotations

import ast
import os
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .._compiler import symbols
from .._compiler.ast_extension import expr
from .._compiler.error_text import describe
from . import _decorators
from .debug_ops import breakpoint as hl_breakpoint
from .debug_ops import device_print

if TYPE_CHECKING:
    from .._compiler.codegen_state import CodegenState
    from .._compiler.graph_tracer import GraphTracer

_NUMBERS = (bool, int, float, *symbols.SymValue)


@_decorators.type_propagation(device_print)
def device_print_trace(tracer: GraphTracer, prefix: Any, *values: Any) -> None:
    if not isinstance(prefix, str):
        raise exc.TypeInferenceError(
            f"hl.device_print begins with a string literal, not {describe(prefix)}",
            hint='write print("name", value): the text must be known when compiling',
        )
    shown = [_shown(tracer, value) for value in values]
    text, rest = _merged_text(prefix, shown)
    tracer.emit(device_print, (text, *rest), None)


def _shown(tracer: GraphTracer, value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        origin = tracer.env.host_origin(value)
        if origin is not None:
            name = origin.host_str()
            raise exc.HostTensorDirectUsage(name=name, op="hl.device_print")
        return value
    if isinstance(value, (str, *_NUMBERS)):
        return value
    raise exc.TypeInferenceError(
        f"hl.device_print shows tensors, numbers and strings, not {describe(value)}",
        hint="print its elements one by one, or tile.index, tile.begin, ... of a tile",
    )


def _merged_text(prefix: str, values: list[Any]) -> tuple[str, list[Any]]:
    """Let constants that follow the prefix become part of it; Triton prints values."""
    while values and _constant(values[0]) is not None:
        prefix = f"{prefix} {_constant(values[0])}"
        values = values[1:]
    rest = [v for v in values if not isinstance(v, str)]
    return prefix, rest


def _constant(value: Any) -> str | None:
    if isinstance(value, torch.SymInt):
        known = symbols.static_int(value)
        return None if known is None else str(known)
    is_plain = isinstance(value, (str, bool, int, float))
    return str(value) if is_plain else None


@_decorators.codegen(device_print)
def device_print_codegen(state: CodegenState) -> ast.expr:
    names = [f"a{i}" for i in range(1, len(state.node.args))]
    holes = {n: state.expr_arg(i + 1) for i, n in enumerate(names)}
    items = "".join(f", {{{n}}}" for n in names)
    # Text, not a template: it may hold braces.
    text = str(state.node.args[0]).encode("ascii", "backslashreplace").decode()
    # It becomes part of a format of C.
    prefix = ast.Constant(value=text.replace("%", "%%"))
    return expr(f"tl.device_print({{prefix}}{items})", prefix=prefix, **holes)


@_decorators.type_propagation(hl_breakpoint)
def breakpoint_trace(tracer: GraphTracer) -> None:
    if os.environ.get("TRITON_INTERPRET") != "1":
        raise exc.BreakpointInDeviceLoopRequiresInterpret()
    tracer.emit(hl_breakpoint, (), None)


@_decorators.codegen(hl_breakpoint)
def breakpoint_codegen(state: CodegenState) -> ast.expr:
    return expr("breakpoint()")
