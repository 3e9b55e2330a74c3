"""Emits the combine functions of reductions and scans as functions of the module."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .ast_extension import expr, statements
from .dead_code import eliminate_dead_code
from .device_function import DeviceFunction
from .device_ir import HelperFunctionGraphInfo

if TYPE_CHECKING:
    from ..runtime.config import Config
    from .compile_environment import CompileEnvironment
    from .device_ir import DeviceIR


@dataclass
class CombineFunctions:
    """The helper functions of one module; each is emitted when it is asked for."""

    env: CompileEnvironment
    config: Config
    kernel: str
    ir: DeviceIR
    emitted: dict[str, ast.stmt] = field(default_factory=dict)

    def definitions(self) -> list[ast.stmt]:
        """Return the functions that launches call, callees first."""
        return list(self.emitted.values())

    def name_of(self, graph_id: int) -> str:
        """Return the function that computes a combine graph."""
        helpers = [g for g in self.ir.graphs if isinstance(g, HelperFunctionGraphInfo)]
        ids = [g.graph_id for g in helpers]
        name = f"_helion_{self.kernel}_combine_{ids.index(graph_id)}"
        if name not in self.emitted:
            self.emitted[name] = self._function(name, helpers[ids.index(graph_id)])
        return name

    def skipping(self, graph_id: int) -> str:
        """Return a combine function that leaves out elements flagged as absent.

        It takes and returns a flag after the values of each side.
        """
        plain = self.name_of(graph_id)
        name = f"{plain}_skipping"
        info = self.ir.graphs[graph_id]
        if name not in self.emitted and isinstance(info, HelperFunctionGraphInfo):
            self.emitted[name] = _skipping_function(name, plain, len(info.dtypes))
        return name

    def _function(self, name: str, info: HelperFunctionGraphInfo) -> ast.stmt:
        fn = DeviceFunction(self.env, self.config, name, {}, {})
        params = [str(node.target) for node in info.placeholders]
        fn.used_names.update(params)
        outputs = fn.interpret(info, [expr(p) for p in params])
        values: Any = outputs[0] if len(outputs) == 1 else tuple(outputs)
        fn.emit(ast.Return(value=expr("{v}", v=values)))
        assert not fn.args and not fn.preamble, f"{name} reads more than its arguments"
        return _definition(name, params, eliminate_dead_code(fn.body))


def _definition(name: str, params: list[str], body: list[ast.stmt]) -> ast.stmt:
    (function,) = statements(f"@triton.jit\ndef {name}({', '.join(params)}):\n    pass")
    assert isinstance(function, ast.FunctionDef)
    function.body = body
    return function


def _skipping_function(name: str, plain: str, count: int) -> ast.stmt:
    left = [f"left_{i}" for i in range(count)]
    right = [f"right_{i}" for i in range(count)]
    body = [f"both = {plain}({', '.join([*left, *right])})"]
    parts = ["both"] if count == 1 else [f"both[{i}]" for i in range(count)]
    results = []
    for part, a, b in zip(parts, left, right):
        one = f"tl.where(has_left != 0, {a}, {b})"
        results.append(f"tl.where((has_left & has_right) != 0, {part}, {one})")
    body.append(f"return ({', '.join(results)}, has_left | has_right)")
    params = [*left, "has_left", *right, "has_right"]
    return _definition(name, params, statements("\n".join(body)))
