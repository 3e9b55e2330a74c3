"""Evaluates user expressions on fake tensors, symbols and compile-time values.

One method per expression kind; the value of each node is also kept as a TypeInfo.
Names come from the device scope, then the host scope, closures, globals, builtins.
"""

from __future__ import annotations

import ast
import operator
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from . import symbols
from .ast_extension import facts
from .call_checks import (
    check_call,
    check_container,
    check_op_call,
    helper_place,
    tiles_as_sizes,
    typed_error,
)
from .compile_environment import CompileAgain
from .error_text import describe
from .function_modes import scalar_to_tensor
from .host_function import bound_names, read_names
from .name_lookup import NameLookup
from .op_registry import Op
from .traced_tile import TracedTile
from .type_info import Unknown, merge_named, type_of

if TYPE_CHECKING:
    import types
    from collections.abc import Callable

    from .compile_environment import CompileEnvironment
    from .graph_tracer import GraphTracer
    from .host_function import HostFunction


def _is_in(value: Any, container: Any) -> bool:
    values = [value, container]
    values += container if isinstance(container, (list, tuple)) else []
    if any(isinstance(v, torch.Tensor) for v in values):
        raise exc.TypeInferenceError(
            "'in' is not defined for tensors", hint="compare with == and use |"
        )
    return value in container


BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.MatMult: operator.matmul,
}
COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: _is_in,
    ast.NotIn: lambda a, b: not _is_in(a, b),
}


class Evaluator(NameLookup):
    """Computes expressions; statements are the subclasses' business."""

    def __init__(
        self, env: CompileEnvironment, host: HostFunction, tracer: GraphTracer
    ) -> None:
        super().__init__(env, host, tracer)
        # Lists and dicts that code being traced may change, with their graphs.
        self._own_containers: dict[int, tuple[Any, Any]] = {}

    def evaluate(self, node: ast.expr) -> Any:
        """Return the value of an expression; errors carry the node's line."""
        self.tracer.location = self.host.location(node)
        try:
            value = self.visit(node)
        except exc.Base as error:
            error.with_location(self.host.location(node))
            raise
        facts(node).type_info = type_of(value)
        return value

    def generic_visit(self, node: ast.AST) -> Any:
        if self.on_device or isinstance(node, (ast.Yield, ast.YieldFrom, ast.Await)):
            raise exc.StatementNotSupported(construct=type(node).__name__)
        return Unknown(f"{type(node).__name__} is not followed by the compiler")

    # -- names and constants -------------------------------------------------------

    def visit_Constant(self, node: ast.Constant) -> Any:
        return node.value

    def visit_Name(self, node: ast.Name) -> Any:
        return self.lookup(node.id)

    # -- operators -----------------------------------------------------------------

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        left, right = self.evaluate(node.left), self.evaluate(node.right)
        return self.call(BINARY[type(node.op)], [left, right], {})

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        value = self.evaluate(node.operand)
        if isinstance(value, Unknown):
            return value
        if isinstance(node.op, ast.Not):
            return self._not(value)
        table = {ast.USub: operator.neg, ast.UAdd: operator.pos}
        return self.call(table.get(type(node.op), operator.invert), [value], {})

    def _not(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return torch.logical_not(value)
        if isinstance(value, symbols.SymValue):
            return torch.sym_not(_as_symbool(value))
        return not value

    def visit_Compare(self, node: ast.Compare) -> Any:
        values = [self.evaluate(n) for n in (node.left, *node.comparators)]
        results = [
            self.call(COMPARE[type(op)], [left, right], {})
            for op, left, right in zip(node.ops, values, values[1:], strict=False)
        ]
        return self._combine(results, is_and=True)

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        is_and = isinstance(node.op, ast.And)
        values: list[Any] = []
        for operand in node.values:
            value = self.evaluate(operand)
            decided = self.static_bool(value)
            if decided is None:
                values.append(value)
            elif decided != is_and:
                # Python returns the operand that decides.
                return self._combine([*values, value], is_and) if values else value
            elif operand is node.values[-1] and not values:
                return value
        return self._combine(values, is_and)

    def _combine(self, values: list[Any], is_and: bool) -> Any:
        result = values[0]
        for value in values[1:]:
            if isinstance(result, Unknown) or isinstance(value, Unknown):
                return Unknown("a condition that is not followed by the compiler")
            if any(isinstance(v, torch.Tensor) and v.dim() for v in (result, value)):
                raise exc.TypeInferenceError(
                    "'and'/'or' of tensors is not defined; use & and |"
                )
            if isinstance(result, torch.Tensor) or isinstance(value, torch.Tensor):
                both = [scalar_to_tensor(self.tracer, v) != 0 for v in (result, value)]
                result = both[0] & both[1] if is_and else both[0] | both[1]
            elif self.on_device and not all(_is_bool(v) for v in (result, value)):
                raise exc.TypeInferenceError(
                    "'and'/'or' of run-time numbers would return one of them",
                    hint="compare them, e.g. n != 0, or use an if statement",
                )
            elif is_and:
                result = _as_symbool(result) & _as_symbool(value)
            else:
                result = _as_symbool(result) | _as_symbool(value)
        return result

    def static_bool(self, value: Any) -> bool | None:
        """Return the truth of a value if it is known when compiling."""
        if isinstance(value, (Unknown, torch.Tensor)):
            return None
        if isinstance(value, TracedTile):
            raise exc.IncorrectTileUsage.from_text("a tile is not a condition")
        if isinstance(value, symbols.SymValue):
            expression = symbols.sym_expr(value)
            if expression.is_number or expression in (True, False):
                return bool(expression)
            return None
        return bool(value)

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        decided = self.static_bool(self.evaluate(node.test))
        if decided is not None:
            return self.evaluate(node.body if decided else node.orelse)
        body, orelse = self.evaluate(node.body), self.evaluate(node.orelse)
        try:
            return merge_named("conditional expression", body, orelse)
        except exc.Base:
            return Unknown("a conditional expression of two types")

    # -- access --------------------------------------------------------------------

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        value = self.evaluate(node.value)
        if isinstance(value, Unknown):
            return value
        result = self.call(getattr, [value, node.attr], {})
        return self.with_origin(node, value, result)

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        value = self.evaluate(node.value)
        index = self.evaluate_index(node.slice)
        if isinstance(value, Unknown):
            return value
        if isinstance(value, torch.Tensor):
            return self.call(torch.Tensor.__getitem__, [value, index], {})
        if isinstance(index, symbols.SymValue) and not isinstance(value, dict):
            raise exc.InvalidSequenceSubscription(index=ast.unparse(node.slice))
        result = self.call(operator.getitem, [value, index], {})
        return self.with_origin(node, value, result)

    def evaluate_index(self, node: ast.expr) -> Any:
        """Return a subscript: tuples and slices are kept as such."""
        if isinstance(node, ast.Tuple):
            return tuple(self.evaluate_index(e) for e in self._starred(node.elts))
        return self.evaluate(node)

    def _starred(self, nodes: list[ast.expr]) -> list[ast.expr]:
        if any(isinstance(n, ast.Starred) for n in nodes):
            raise exc.StatementNotSupported(construct="* in a subscript")
        return nodes

    def visit_Slice(self, node: ast.Slice) -> slice:
        parts = [node.lower, node.upper, node.step]
        return slice(*[None if p is None else self.evaluate(p) for p in parts])

    # -- displays ------------------------------------------------------------------

    def visit_Tuple(self, node: ast.Tuple) -> tuple[Any, ...]:
        return tuple(self._elements(node.elts))

    def visit_List(self, node: ast.List) -> list[Any]:
        return self._owned(self._elements(node.elts))

    def _owned(self, container: Any) -> Any:
        """Remember a list or dict as made by the code being traced."""
        if self.on_device:
            self._own_containers[id(container)] = (container, self.tracer.builder)
        return container

    def _elements(self, nodes: list[ast.expr]) -> list[Any]:
        result: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                result += self._spread(self.evaluate(node.value))
            else:
                result.append(self.evaluate(node))
        return result

    def _spread(self, value: Any) -> Any:
        """Return what ``*value`` or ``**value`` stands for."""
        if not isinstance(value, (list, tuple, dict, range)):
            raise exc.StarredArgsNotSupportedOnDevice(value=describe(value))
        return value

    def visit_Dict(self, node: ast.Dict) -> Any:
        result: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                result.update(self._spread(self.evaluate(value)))
            else:
                result[self.evaluate(key)] = self.evaluate(value)
        return self._owned(result)

    def _native(self, node: ast.expr) -> Any:
        """Let Python evaluate a node over the current values."""
        namespace = dict(self.host.namespace)
        own = bound_names(node)
        for name in read_names(node):
            try:
                value = self.lookup(name)
            except exc.UndefinedVariable:
                continue  # bound inside the node itself
            except exc.Base:
                if name not in own:
                    raise
                continue
            if isinstance(value, Unknown) and name not in own:
                return value
            namespace[name] = value
        code = compile(ast.Expression(node), self.host.source.filename, "eval")
        return self.defined(self._owned(self.call(_evaluate, [code, namespace], {})))

    visit_Lambda = visit_ListComp = visit_SetComp = visit_DictComp = _native
    visit_GeneratorExp = visit_Set = visit_JoinedStr = _native

    def visit_NamedExpr(self, node: ast.NamedExpr) -> Any:
        value = self.evaluate(node.value)
        self.host_scope[node.target.id] = value
        return value

    # -- calls ---------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> Any:
        function = self.evaluate(node.func)
        args = self._elements(node.args)
        kwargs: dict[str, Any] = {}
        for keyword in node.keywords:
            value = self.evaluate(keyword.value)
            if keyword.arg is None:
                kwargs.update(self._spread(value))
            else:
                kwargs[keyword.arg] = value
        self.tracer.location = self.host.location(node)
        self.tracer.call_node = node
        return self.call_user(node, function, args, kwargs)

    def call_user(
        self, node: ast.Call, function: Any, args: list[Any], kwargs: dict[str, Any]
    ) -> Any:
        """Call what the user wrote; a hook for what host code treats apart."""
        return self.call(function, args, kwargs)

    def call(self, function: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call a function on compile-time values, with errors made readable."""
        if any(isinstance(a, Unknown) for a in (function, *args, *kwargs.values())):
            unknown = [a for a in (function, *args) if isinstance(a, Unknown)]
            return (unknown or [Unknown("an argument is not known")])[0]
        if is_kernel(function):
            raise exc.NestedKernelCallsNotSupported()
        if self.on_device:
            args = self._checked_args(function, args, kwargs)
        if isinstance(function, Op):
            check_op_call(function, args, kwargs)
        try:
            return function(*args, **kwargs)
        except CompileAgain:
            raise
        except exc.Base as error:
            _name_helper(error)
            raise
        except Exception as error:
            return self.call_failed(function, [*args, *kwargs.values()], error)

    def _checked_args(
        self, function: Any, args: list[Any], kwargs: dict[str, Any]
    ) -> list[Any]:
        """Check a call in device code; tiles as sizes of torch become sizes."""
        check_call(function)
        builder = self.tracer.builder
        owned = {k for k, (_, b) in self._own_containers.items() if b is builder}
        check_container(function, owned)
        return tiles_as_sizes(function, args, kwargs)

    def call_failed(self, function: Any, args: list[Any], error: Exception) -> Any:
        """Turn an exception of a called function into a typed error."""
        if self.on_device:
            receiver = getattr(function, "__self__", None)
            self.env.unify(raw_extents([receiver, *args]))
        typed = typed_error(self.env, function, args, error)
        typed.__traceback__ = error.__traceback__
        _name_helper(typed)
        raise typed from error


def _is_bool(value: Any) -> bool:
    return isinstance(value, (bool, torch.SymBool))


def _as_symbool(value: Any) -> Any:
    if isinstance(value, (torch.SymInt, torch.SymFloat)):
        return value != 0
    return value if isinstance(value, torch.SymBool) else bool(value)


def raw_extents(values: Any) -> list[int]:
    """Return the extents of all device tensors among (nested) arguments."""
    with torch._C.DisableTorchFunction():
        found: list[int] = []
        for value in values:
            if isinstance(value, torch.Tensor):
                found += [s for s in value.size() if isinstance(s, int)]
            elif isinstance(value, (list, tuple)):
                found += raw_extents(value)
        return found


def _evaluate(code: types.CodeType, namespace: dict[str, Any]) -> Any:
    return eval(code, namespace)


def _name_helper(error: exc.Base) -> None:
    """Add where in a function that the kernel calls an error arose."""
    place = helper_place(error)
    if place and place not in error.message:
        error.message += f"\n{place}"


def is_kernel(function: Any) -> bool:
    """Whether a value is a helion kernel object."""
    return type(function).__name__ == "Kernel" and hasattr(function, "bind")


def is_op(function: Any, *names: str) -> bool:
    """Whether a value is the language op with one of the names."""
    return isinstance(function, Op) and function.name in names
