"""Puts the text of helpers that launch kernels in place of their calls.

A launch stands in the text of the host function. So a helper with a tile loop of its
own, called by host code, is copied there, with its names made new.
"""

from __future__ import annotations

import ast
import inspect
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import exc
from .ast_extension import expr, facts
from .evaluator import is_op
from .host_function import assigned_names
from .inline_calls import function_text
from .plain_functions import plain_function
from .predicate_jumps import made_at
from .rewrite_accumulators import new_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from .host_function import HostFunction
    from .source_location import FunctionSource

MAX_DEPTH = 20
_COMPOUND = (ast.For, ast.While, ast.If, ast.With, ast.Try)
_MISSING = object()


def inline_launches(host: HostFunction, args: dict[str, Any]) -> None:
    """Replace the calls of helpers with tile loops in a host function's text."""
    local = {n.name: n for n in ast.walk(host.tree) if isinstance(n, ast.FunctionDef)}
    local.pop(host.tree.name, None)
    _Inliner(host, args, local).expand(host.tree.body, [])


@dataclass
class _Helper:
    """A function that launches; ``function`` is None if it sees the host's names."""

    node: ast.FunctionDef
    source: FunctionSource
    function: Any = None


class _Inliner:
    def __init__(
        self,
        host: HostFunction,
        args: dict[str, Any],
        local: dict[str, ast.FunctionDef],
    ) -> None:
        self.host = host
        self.args = args
        self.local = local

    # -- finding -------------------------------------------------------------------

    def expand(self, body: list[ast.stmt], callers: list[Any]) -> None:
        """Replace calls in statements of host code, in place."""
        result: list[ast.stmt] = []
        for node in body:
            if isinstance(node, _COMPOUND):
                self._expand_parts(node, callers)
                result.append(node)
            elif isinstance(node, ast.FunctionDef):
                result.append(node)
            else:
                result += self._expanded(node, callers)
        body[:] = result

    def _expand_parts(self, node: ast.stmt, callers: list[Any]) -> None:
        if isinstance(node, ast.For) and self._is_launch(node, self._host_value):
            return
        for part in ("body", "orelse", "finalbody"):
            self.expand(getattr(node, part, []), callers)
        for handler in getattr(node, "handlers", []):
            self.expand(handler.body, callers)

    def _expanded(self, node: ast.stmt, callers: list[Any]) -> list[ast.stmt]:
        for call in [n for n in ast.walk(node) if isinstance(n, ast.Call)]:
            helper = self._helper(call.func)
            if helper is None or not self._launches(helper, []):
                continue
            if getattr(node, "value", None) is not call:
                error = exc.StatementNotSupported(
                    construct=f"{helper.node.name}(), which has a tile loop, inside "
                    "an expression",
                    hint="assign its result to a variable first",
                )
                raise error.with_location(self.host.location(call))
            if len(callers) > MAX_DEPTH:
                error = exc.StatementNotSupported(
                    construct=f"{helper.node.name}(), which launches itself"
                )
                raise error.with_location(self.host.location(call))
            return self._inlined(node, call, helper, [*callers, helper.node])
        return [node]

    def _helper(self, func: ast.expr) -> _Helper | None:
        """Return the function of a call if its text is known."""
        if isinstance(func, ast.Name) and func.id in self.local:
            return _Helper(self.local[func.id], self.host.source)
        value = _value_of(func, self._host_value)
        return _helper_of(value)

    def _host_value(self, name: str) -> Any:
        if name in self.args:
            return self.args[name]
        if name in self.host.closure:
            return self.host.closure[name]
        if name in self.host.local_names:
            return _MISSING
        return self.host.namespace.get(name, _MISSING)

    def _value(self, helper: _Helper) -> Callable[[str], Any]:
        """Return what looks up the free names of a helper."""
        function = helper.function
        if function is None:
            return self._host_value
        known = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
        return lambda name: known.get(name, _MISSING)

    def _is_launch(self, node: ast.For, value: Callable[[str], Any]) -> bool:
        if not isinstance(node.iter, ast.Call):
            return False
        return is_op(_value_of(node.iter.func, value), "tile", "grid")

    def _launches(self, helper: _Helper, seen: list[Any]) -> bool:
        """Whether a function has a tile loop, or calls one that has."""
        if any(helper.node is node for node in seen):
            return False
        value = self._value(helper)
        for node in ast.walk(helper.node):
            if isinstance(node, ast.For) and self._is_launch(node, value):
                return True
            if not isinstance(node, ast.Call):
                continue
            inner = _helper_of(_value_of(node.func, value))
            if inner is not None and self._launches(inner, [*seen, helper.node]):
                return True
        return False

    # -- copying -------------------------------------------------------------------

    def _inlined(
        self, node: ast.stmt, call: ast.Call, helper: _Helper, callers: list[Any]
    ) -> list[ast.stmt]:
        """Return a helper's statements, and the statement with its result."""
        name = helper.node.name
        flags = [new_name(self.host, f"{kind}_{name}") for kind in _FLAGS]
        body = plain_function(helper.node, *flags)
        rebound = assigned_names(body) - {*flags}
        names, before = self._parameters(node, call, helper, rebound)
        own = names.keys() | {*flags}
        renamer = _Renamer(names, self._free_names(helper, body, own, call.func))
        body = [renamer.visit(statement) for statement in body]
        for part in [n for statement in body for n in ast.walk(statement)]:
            facts(part).location = helper.source.location(part)
            if hasattr(part, "lineno"):
                ast.copy_location(part, node)
        result = ast.copy_location(ast.Name(id=flags[0], ctx=ast.Load()), call)
        is_used = not isinstance(node, ast.Expr)
        setattr(node, "value", result if is_used else _none_at(call))  # noqa: B010
        self.expand(body, callers)
        return [*before, *body, node]

    def _parameters(
        self, node: ast.stmt, call: ast.Call, helper: _Helper, rebound: set[str]
    ) -> tuple[dict[str, str], list[ast.stmt]]:
        """Return new names of a helper's locals, and what sets its parameters."""
        names: dict[str, str] = {}
        before: list[ast.stmt] = []
        for param, value in self._bound(call, helper).items():
            if isinstance(value, ast.Name) and param not in rebound:
                names[param] = value.id
                continue
            names[param] = new_name(self.host, f"{param}_{helper.node.name}")
            target = ast.Name(id=names[param], ctx=ast.Store())
            before.append(made_at(ast.Assign(targets=[target], value=value), node))
        for local in sorted(rebound - names.keys()):
            names[local] = new_name(self.host, f"{local}_{helper.node.name}")
        return names, before

    def _bound(self, call: ast.Call, helper: _Helper) -> dict[str, ast.expr]:
        """Return parameter name -> argument of a call."""
        args, name = helper.node.args, helper.node.name
        starred = any(isinstance(a, ast.Starred) for a in call.args)
        if starred or any(k.arg is None for k in call.keywords):
            raise self._refused(call, f"* in a call of {name}(), which has a tile loop")
        if args.vararg is not None or args.kwarg is not None:
            raise self._refused(call, f"*args of {name}(), which has a tile loop")
        params = [a.arg for a in args.posonlyargs + args.args + args.kwonlyargs]
        bound: dict[str, ast.expr] = dict(zip(params, call.args, strict=False))
        bound.update({str(k.arg): k.value for k in call.keywords})
        for param, default in self._defaults(helper).items():
            bound.setdefault(param, default)
        if bound.keys() != set(params) or len(call.args) > len(params):
            raise exc.TypeInferenceError(
                f"{name}() takes the arguments {', '.join(params)}"
            ).with_location(self.host.location(call))
        return {param: bound[param] for param in params}

    def _defaults(self, helper: _Helper) -> dict[str, ast.expr]:
        args, function = helper.node.args, helper.function
        names = [a.arg for a in args.posonlyargs + args.args]
        found = dict(zip(names[len(names) - len(args.defaults) :], args.defaults))
        pairs = zip(args.kwonlyargs, args.kw_defaults, strict=True)
        found.update({a.arg: d for a, d in pairs if d is not None})
        if function is None:
            return found
        given = list(function.__defaults__ or ())
        values: dict[str, Any] = dict(zip(names[len(names) - len(given) :], given))
        values.update(function.__kwdefaults__ or {})
        return {n: self._kept(f"{n}_{helper.node.name}", v) for n, v in values.items()}

    def _kept(self, stem: str, value: Any) -> ast.expr:
        """Return host code of a value that the host function does not name."""
        if isinstance(value, (int, float, str, type(None))):
            return ast.Constant(value)
        return ast.Name(id=self._closed(stem, value), ctx=ast.Load())

    def _closed(self, stem: str, value: Any) -> str:
        name = new_name(self.host, stem)
        self.host.local_names.discard(name)
        self.host.closure[name] = value
        return name

    def _free_names(
        self, helper: _Helper, body: list[ast.stmt], own: set[str], func: ast.expr
    ) -> dict[str, str]:
        """Return host code for what a helper reads of its own module or closure."""
        value = self._value(helper)
        read = {
            n.id
            for statement in body
            for n in ast.walk(statement)
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
        }
        result: dict[str, str] = {}
        function = helper.function
        if function is None:
            return result
        for name in sorted(read - own):
            found = value(name)
            if found is _MISSING or self._host_value(name) is found:
                continue
            if not isinstance(func, ast.Name) or func.id not in self.args:
                result[name] = self._closed(name, found)
            elif name in function.__code__.co_freevars:
                index = function.__code__.co_freevars.index(name)
                result[name] = f"{func.id}.__closure__[{index}].cell_contents"
            else:
                result[name] = f"{func.id}.__globals__[{name!r}]"
        return result

    def _refused(self, node: ast.expr, construct: str) -> exc.Base:
        error = exc.StatementNotSupported(construct=construct)
        return error.with_location(self.host.location(node))


_FLAGS = ("result", "returned", "skipped")


class _Renamer(ast.NodeTransformer):
    """Renames the locals and the free names of a function."""

    def __init__(self, names: dict[str, str], free: dict[str, str]) -> None:
        self.names = {**free, **names}

    def visit_Name(self, node: ast.Name) -> ast.expr:
        text = self.names.get(node.id, node.id)
        if text.isidentifier():
            node.id = text
            return node
        return ast.copy_location(expr(text), node)

    def _scoped(self, node: Any) -> Any:
        own = {a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)}
        if isinstance(node, ast.FunctionDef):
            own |= assigned_names(node.body)
            node.name = self.names.get(node.name, node.name)
        outer = self.names
        self.names = {n: new for n, new in outer.items() if n not in own}
        try:
            return self.generic_visit(node)
        finally:
            self.names = outer

    visit_Lambda = visit_FunctionDef = _scoped


def _helper_of(value: Any) -> _Helper | None:
    if not isinstance(value, types.FunctionType):
        return None
    if str(value.__module__ or "").split(".")[0] in ("torch", "helion", "triton"):
        return None
    node, source = function_text(value)
    return _Helper(node, source, value) if isinstance(node, ast.FunctionDef) else None


def _value_of(node: ast.expr, value: Callable[[str], Any]) -> Any:
    """Return what a dotted name stands for, ``_MISSING`` if that is not known."""
    if isinstance(node, ast.Name):
        return value(node.id)
    if isinstance(node, ast.Attribute):
        return getattr(_value_of(node.value, value), node.attr, _MISSING)
    return _MISSING


def _none_at(place: ast.expr) -> ast.expr:
    return ast.copy_location(ast.Constant(None), place)
