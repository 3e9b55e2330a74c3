"""Walks the functions that device code calls, as if their text stood there.

The names of a caller stay in the device scope under hidden names while a function is
walked, because the loops of the function carry what it changes in place.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import types
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import exc
from .device_walker import DeviceWalker
from .host_function import HostFunction, assigned_names
from .name_lookup import DeviceOnly
from .plain_functions import Function, must_be_walked, plain_function
from .predicate_jumps import HIDDEN_MARK, RESULT
from .source_location import FunctionSource
from .type_info import Unknown
from .variable_origin import ExprOrigin, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .compile_environment import CompileEnvironment
    from .graph_tracer import GraphTracer

MAX_DEPTH = 40
_OWN = ("torch", "helion", "triton", "math", "builtins")


@dataclass
class Frame:
    """A function being walked, or that was; ``names`` are those it left."""

    depth: int
    function: Any
    host: HostFunction | None = None
    host_scope: dict[str, Any] = field(default_factory=dict)
    origin: Origin | None = None
    names: dict[str, Any] | None = None


class DeviceFunction:
    """A function that device code defines; ``frame`` is where it does so."""

    def __init__(self, node: Function, walker: InlineWalker, defaults: Any) -> None:
        self.node = node
        self.walker = walker
        self.frame: Frame | None = walker.frames[-1] if walker.frames else None
        self.host = walker.host
        self.host_scope = walker.host_scope
        self.__name__ = getattr(node, "name", "<lambda>")
        self.__signature__ = _signature(node, *defaults)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.walker.walk_call(self, args, kwargs)


class InlineWalker(DeviceWalker):
    """Calls of functions whose loops and branches are device code."""

    def __init__(
        self, env: CompileEnvironment, host: HostFunction, tracer: GraphTracer
    ) -> None:
        super().__init__(env, host, tracer)
        self.frames: list[Frame] = []
        # Statements of a function at each place that calls it, and the call.
        self._bodies: dict[Any, tuple[Any, list[ast.stmt]]] = {}
        # How host code spells functions, and the text of those that it defines.
        self._function_origins: dict[int, tuple[Any, Origin]] = {}
        self.host_nodes: dict[types.CodeType, Function] = {}

    # -- calls ---------------------------------------------------------------------

    def call(self, function: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        if not self.on_device:
            return super().call(function, args, kwargs)
        while isinstance(function, functools.partial):
            args, kwargs = [*function.args, *args], {**function.keywords, **kwargs}
            function = function.func
        if isinstance(function, DeviceFunction):
            return self.walk_call(function, args, kwargs)
        method = getattr(function, "__func__", None)
        if method is not None and self._walked_node(method) is not None:
            args, function = [function.__self__, *args], method
        if self._walked_node(function) is None:
            return super().call(function, args, kwargs)
        if not any(isinstance(a, Unknown) for a in (*args, *kwargs.values())):
            self._checked_args(function, args, kwargs)
            return self.walk_call(function, args, kwargs)
        return super().call(function, args, kwargs)

    def _walked_node(self, function: Any) -> Function | None:
        """Return the text of a function that Python itself could not run."""
        if not isinstance(function, types.FunctionType):
            return None
        if str(function.__module__ or "").split(".")[0] in _OWN:
            return None
        known = self.host_nodes.get(function.__code__)
        node = known or function_text(function)[0]
        return node if node is not None and must_be_walked(node) else None

    def walk_call(self, function: Any, args: Any, kwargs: Any) -> Any:
        """Walk a call of a function; return its result."""
        frame = self._frame_of(function)
        name = function.__name__
        try:
            bound = inspect.signature(function).bind(*args, **kwargs)
        except TypeError as error:
            raise exc.TypeInferenceError(f"{name}(): {error}") from None
        bound.apply_defaults()
        if len(self.frames) >= MAX_DEPTH:
            raise exc.TypeInferenceError(f"{name} calls itself without end")
        body = self._body_of(function)
        with self._entered(frame, dict(bound.arguments)), _at_the_call(name):
            super().statements(body)
            assert self.device_scope is not None
            result = self.device_scope[RESULT]
            if isinstance(result, DeviceOnly):
                raise self._no_result(result)
            return result

    def _no_result(self, result: DeviceOnly) -> exc.Base:
        error = getattr(result, "error", None)
        return error or exc.StatementNotSupported(
            construct="'return' out of a loop that runs on device",
            hint="assign to a variable that has a value before the loop, break, and "
            "return it at the end",
        )

    def _body_of(self, function: Any) -> list[ast.stmt]:
        """Return the statements of a function, other nodes for each place."""
        is_ours = isinstance(function, DeviceFunction)
        node = function.node if is_ours else self._walked_node(function)
        assert node is not None
        place = self.tracer.call_node
        key = (id(place), id(node))
        if key not in self._bodies:
            self._bodies[key] = (place, node), plain_function(node)
        return self._bodies[key][1]

    def _frame_of(self, function: Any) -> Frame:
        frame = Frame(len(self.frames), function)
        if isinstance(function, DeviceFunction):
            frame.host, frame.host_scope = function.host, function.host_scope
            return frame
        node = self.host_nodes.get(function.__code__)
        source = self.host.source
        if node is None:
            node, source = function_text(function)
        else:
            frame.host_scope = (
                self.frames[0].host_scope if self.frames else (self.host_scope)
            )
        cells = zip(function.__code__.co_freevars, function.__closure__ or ())
        closure = {name: _content(cell) for name, cell in cells}
        tree = _as_def(node)
        host = HostFunction(
            function,
            function.__globals__,
            source,
            tree,
            {k: v for k, v in closure.items() if v is not _EMPTY},
            assigned_names(tree.body),
        )
        frame.host = host
        frame.origin = self._function_origins.get(id(function), (None, None))[1]
        return frame

    @contextlib.contextmanager
    def _entered(self, frame: Frame, arguments: dict[str, Any]) -> Iterator[None]:
        """Let names be those of a function for a while."""
        mark = f"{HIDDEN_MARK}{frame.depth}"
        assert self.device_scope is not None and frame.host is not None
        hidden = {
            (n if HIDDEN_MARK in n else n + mark): v
            for n, v in self.device_scope.items()
        }
        outer = self.host, self.host_scope
        self.frames.append(frame)
        self.host, self.host_scope = frame.host, frame.host_scope
        self.device_scope = {**hidden, **arguments}
        try:
            yield
        finally:
            self.frames.pop()
            self.host, self.host_scope = outer
            scope = self.device_scope or {}
            frame.names = {n: v for n, v in scope.items() if HIDDEN_MARK not in n}
            self.device_scope = {
                n.removesuffix(mark): v for n, v in scope.items() if HIDDEN_MARK in n
            }

    # -- names ---------------------------------------------------------------------

    def lookup(self, name: str) -> Any:
        frame = self.frames[-1] if self.frames else None
        scope = self.device_scope or {}
        while frame is not None and name not in scope:
            if not isinstance(frame.function, DeviceFunction):
                break
            place = frame.function.frame
            depth = 0 if place is None else place.depth + 1
            hidden = f"{name}{HIDDEN_MARK}{depth}"
            if hidden in scope:
                return scope[hidden]
            if place is not None and place not in self.frames:
                left = place.names or {}
                if name in left:
                    return left[name]
            frame = place
        return super().lookup(name)

    def _check_rebind(self, name: str) -> None:
        if not self.frames:
            super()._check_rebind(name)

    def _fake_function(self, origin: Origin, value: Any) -> Any:
        made = super()._fake_function(origin, value)
        self._function_origins[id(made)] = made, origin
        return made

    def _global_origin(self, name: str) -> ExprOrigin:
        frame = self.frames[-1] if self.frames else None
        if frame is None or frame.origin is None or frame.host is None:
            return super()._global_origin(name)
        text = frame.origin.host_str()
        if name in frame.host.closure:
            index = frame.function.__code__.co_freevars.index(name)
            return ExprOrigin(f"{text}.__closure__[{index}].cell_contents", name)
        return ExprOrigin(f"{text}.__globals__[{name!r}]", name)

    # -- statements ----------------------------------------------------------------

    def statement(self, node: ast.stmt) -> None:
        if self.frames:
            # The error is that of the call.
            self.visit(node)
        else:
            super().statement(node)

    def device_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.decorator_list:
            raise exc.StatementNotSupported(construct="a decorator in a device loop")
        self.assign(
            ast.copy_location(ast.Name(id=node.name, ctx=ast.Store()), node),
            DeviceFunction(node, self, self._defaults(node.args)),
        )

    def visit_Lambda(self, node: ast.Lambda) -> Any:
        if not self.on_device:
            made = super().visit_Lambda(node)
            if isinstance(made, types.FunctionType):
                self.host_nodes[made.__code__] = node
            return made
        return DeviceFunction(node, self, self._defaults(node.args))

    def _defaults(self, args: ast.arguments) -> tuple[list[Any], dict[str, Any]]:
        names = [a.arg for a in args.kwonlyargs]
        pairs = zip(names, args.kw_defaults, strict=True)
        return (
            [self.evaluate(d) for d in args.defaults],
            {n: self.evaluate(d) for n, d in pairs if d is not None},
        )

    def device_Nonlocal(self, node: ast.Nonlocal) -> None:
        raise exc.ClosureMutation(name=", ".join(node.names))

    def device_Global(self, node: ast.Global) -> None:
        if self.frames:
            raise exc.GlobalMutation(name=", ".join(node.names))
        self.refuse(node)


@contextlib.contextmanager
def _at_the_call(name: str) -> Iterator[None]:
    """Tell of an error in a function where it is called, and where it arose."""
    try:
        yield
    except exc.Base as error:
        place = error.location
        if place is not None:
            error.message += (
                f'\nin {name}, File "{place.filename}", line {place.lineno}: '
                f"{place.line.strip()}"
            )
        error.location = None
        raise


_EMPTY = object()


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _EMPTY


def _as_def(node: Function | None) -> ast.FunctionDef:
    if isinstance(node, ast.FunctionDef):
        return node
    assert node is not None
    body = ast.copy_location(ast.Return(value=node.body), node.body)
    (made,) = ast.parse("def made(): pass").body
    assert isinstance(made, ast.FunctionDef)
    made.name, made.args, made.body = "<lambda>", node.args, [body]
    return made


def _signature(
    node: Function, defaults: list[Any], kw_defaults: dict[str, Any]
) -> inspect.Signature:
    """Return the signature of a function of the AST."""
    kinds = inspect.Parameter
    args = node.args
    plain = [(a.arg, kinds.POSITIONAL_ONLY) for a in args.posonlyargs]
    plain += [(a.arg, kinds.POSITIONAL_OR_KEYWORD) for a in args.args]
    given = dict(zip([n for n, _ in plain][len(plain) - len(defaults) :], defaults))
    found = [kinds(n, k, default=given.get(n, kinds.empty)) for n, k in plain]
    if args.vararg is not None:
        found.append(kinds(args.vararg.arg, kinds.VAR_POSITIONAL))
    for arg in args.kwonlyargs:
        default = kw_defaults.get(arg.arg, kinds.empty)
        found.append(kinds(arg.arg, kinds.KEYWORD_ONLY, default=default))
    if args.kwarg is not None:
        found.append(kinds(args.kwarg.arg, kinds.VAR_KEYWORD))
    return inspect.Signature(found)


_texts: dict[types.CodeType, tuple[Function | None, FunctionSource]] = {}


def function_text(function: types.FunctionType) -> tuple[Function | None, Any]:
    """Return the parsed text of a function and where it stands, None if unknown."""
    code = function.__code__
    if code not in _texts:
        source: Any = None
        try:
            source = FunctionSource.of(function)
            node = _found_in(ast.parse(source.text), code)
        except (OSError, TypeError, SyntaxError):
            node = None
        _texts[code] = node, source
    return _texts[code]


def _found_in(tree: ast.Module, code: types.CodeType) -> Function | None:
    """Return the one function of a text that code was made from."""
    if isinstance(tree.body[0], ast.FunctionDef):
        return tree.body[0]
    lambdas = [n for n in ast.walk(tree) if isinstance(n, ast.Lambda)]
    same = [n for n in lambdas if _code_of(n).co_code == code.co_code]
    alike = {ast.dump(n) for n in same}
    return same[0] if len(alike) == 1 else None


def _code_of(node: ast.Lambda) -> types.CodeType:
    made = compile(ast.Expression(node), "<lambda>", "eval")
    return next(c for c in made.co_consts if isinstance(c, types.CodeType))
