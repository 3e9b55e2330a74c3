"""Finds ``triton.jit`` functions and writes them, with what they use, as statements."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from typing import TYPE_CHECKING, Any

from .. import exc
from .inline_source import checked_text, parse_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._compiler.graph_tracer import GraphTracer

_NAME = "hl.triton_kernel"
_PLAIN = (bool, int, float, str)


def is_jit(value: object) -> bool:
    """Whether a value is a ``triton.jit`` function (in interpreted mode, too)."""
    kinds = {cls.__name__ for cls in type(value).__mro__}
    return bool(kinds & {"JITFunction", "InterpretedFunction"})


def find_function(tracer: GraphTracer, given: object) -> Any:
    """Return a jit function, or the source text of one.

    Raises:
        exc.InvalidAPIUsage: neither a function nor the name or source of one.
    """
    if is_jit(given):
        return given
    if isinstance(given, str) and given.strip().isidentifier():
        found = tracer.namespace.get(given.strip())
        if not is_jit(found):
            raise exc.InvalidAPIUsage(
                f"{_NAME}: no triton.jit function is called {given.strip()!r} here",
                hint="it must be a global of the module that has the kernel",
            )
        return found
    if not isinstance(given, str):
        hint = "decorate it with @triton.jit" if callable(given) else ""
        raise exc.InvalidAPIUsage(
            f"{_NAME} takes a triton.jit function, its name or its source, not "
            f"{getattr(given, '__name__', given)!r}",
            **({"hint": hint} if hint else {}),
        )
    text = checked_text(_NAME, given)
    _function_in(text)
    return text


def _function_in(text: str) -> ast.FunctionDef:
    functions = [n for n in parse_text(_NAME, text) if isinstance(n, ast.FunctionDef)]
    if len(functions) != 1:
        raise exc.InvalidAPIUsage(
            f"{_NAME}: the source defines {len(functions)} functions, not one",
            hint="pass further functions by the globals of the module",
        )
    return functions[0]


def define(given: Any, namespace: Mapping[str, Any], known: dict[str, ast.stmt]) -> str:
    """Add the definition of a function and of all it uses; return its name.

    ``known`` are the module's definitions by name; ``namespace`` the globals that a
    source text refers to.
    """
    if isinstance(given, str):
        function = _function_in(given)
    else:
        namespace = given.fn.__globals__
        source = textwrap.dedent(inspect.getsource(given.fn))
        function = _function_in(source)
        namespace = {**namespace, **inspect.getclosurevars(given.fn).nonlocals}
    function.decorator_list = [ast.parse("triton.jit", mode="eval").body]
    function.name = _free_name(function, known)
    if function.name not in known:
        used = {n: namespace[n] for n in _globals_of(function) if n in namespace}
        for name, value in sorted(used.items()):
            _define_global(name, value, known)
        known[function.name] = _Builtins(used).visit(function)
    return function.name


def _free_name(function: ast.FunctionDef, known: dict[str, ast.stmt]) -> str:
    """Return the function's name, another one if a different function has it."""
    base, count = function.name, 0
    text = ast.unparse(function)
    while function.name in known and ast.unparse(known[function.name]) != text:
        count += 1
        function.name = f"{base}_{count}"
        text = ast.unparse(function)
    return function.name


def _globals_of(function: ast.FunctionDef) -> set[str]:
    names = [n for n in ast.walk(function) if isinstance(n, ast.Name)]
    stored = {n.id for n in names if isinstance(n.ctx, ast.Store)}
    own = stored | {a.arg for a in ast.walk(function.args) if isinstance(a, ast.arg)}
    return {n.id for n in names} - own - {function.name}


def _define_global(name: str, value: Any, known: dict[str, ast.stmt]) -> None:
    if name in known:
        return
    if is_jit(value):
        defined = define(value, {}, known)
        if defined != name:
            known[name] = ast.parse(f"{name} = {defined}").body[0]
        return
    text = _global_text(name, value)
    if text is not None:
        known[name] = ast.parse(text).body[0]


def _global_text(name: str, value: Any) -> str | None:
    """Return the statement that gives a global its value in the emitted module."""
    if isinstance(value, types.ModuleType):
        is_own = value.__name__ == "triton.language" and name == "tl"
        return None if is_own else f"import {value.__name__} as {name}"
    if type(value).__name__ == "constexpr":
        return f"{name} = tl.constexpr({value.value!r})"
    if isinstance(value, _PLAIN):
        return f"{name} = tl.constexpr({value!r})"
    return None


class _Builtins(ast.NodeTransformer):
    """Spells functions of ``triton.language`` in full, whatever a module calls them."""

    def __init__(self, used: dict[str, Any]) -> None:
        import triton.language as tl

        own = {n: getattr(v, "__name__", "") for n, v in used.items()}
        self.names = {n: own[n] for n, v in used.items() if _is_part(tl, own[n], v)}

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in self.names:
            return node
        return ast.parse(f"tl.{self.names[node.id]}", mode="eval").body


def _is_part(module: types.ModuleType, name: str, value: object) -> bool:
    return bool(name) and getattr(module, name, None) is value
