"""HostFunction: the user's function as the compiler sees it, before any Config."""

from __future__ import annotations

import ast
import builtins
import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import exc
from .ast_extension import facts
from .source_location import FunctionSource, SourceLocation
from .variable_origin import NameOrigin

if TYPE_CHECKING:
    import types

RESERVED_NAMES = {
    "hl",
    "tl",
    "torch",
    "triton",
    "math",
    "operator",
    "libdevice",
    "tl_math",
    "triton_helpers",
    "helion",
    "_launcher",
    "_default_launcher",
    "_source_module",
    "_closure",
    "_NUM_SM",
}


@dataclass
class HostFunction:
    """Source, parameters, globals and closure of a kernel function."""

    fn: types.FunctionType
    namespace: dict[str, Any]  # the function's globals
    source: FunctionSource
    tree: ast.FunctionDef
    closure: dict[str, Any]
    local_names: set[str]
    constexpr_params: set[str] = field(default_factory=set)
    loops: Any = None  # the HostLoops of all attempts

    @property
    def name(self) -> str:
        """The function's name."""
        return self.tree.name

    @property
    def params(self) -> list[str]:
        """Parameter names in order."""
        return [a.arg for a in self.tree.args.posonlyargs + self.tree.args.args]

    def location(self, node: ast.AST) -> SourceLocation:
        """Return the user's line of a node."""
        known = facts(node).location
        if known is not None:
            return known
        return self.source.location(node)

    def global_value(self, name: str) -> Any:
        """Return a closure, global or builtin value; UndefinedVariable if none."""
        if name in self.closure:
            return self.closure[name]
        if name in self.namespace:
            return self.namespace[name]
        if hasattr(builtins, name):
            return getattr(builtins, name)
        raise exc.UndefinedVariable(name=name)

    def param_origin(self, name: str) -> NameOrigin:
        """Return how host code spells an argument, also after it is rebound."""
        return NameOrigin(saved_name(name) if name in self.local_names else name)


def saved_name(param: str) -> str:
    """Return the wrapper's name for an argument whose parameter is rebound."""
    return f"_given_{param}"


def _is_constant(annotation: str) -> bool:
    """Whether an annotation asks for a compile-time value."""
    return "constexpr" in annotation.lower() or "ProcessGroupName" in annotation


def parse(fn: types.FunctionType) -> HostFunction:
    """Parse a kernel function and check what the text alone can tell."""
    source = FunctionSource.of(fn)
    tree = ast.parse(source.text).body[0]
    if not isinstance(tree, ast.FunctionDef):
        raise exc.StatementNotSupported(construct=f"{type(tree).__name__} as a kernel")
    closure = dict(inspect.getclosurevars(fn).nonlocals)
    host = HostFunction(
        fn, fn.__globals__, source, tree, closure, assigned_names(tree.body)
    )
    host.constexpr_params = {
        a.arg
        for a in tree.args.posonlyargs + tree.args.args
        if a.annotation is not None and _is_constant(ast.unparse(a.annotation))
    }
    _check_decorators(host)
    _check_names(host)
    return host


def _check_decorators(host: HostFunction) -> None:
    """A decorator applied before ours would hide the function's source."""
    names = [ast.unparse(d) for d in host.tree.decorator_list]
    ours = [i for i, n in enumerate(names) if n.split("(")[0].endswith("kernel")]
    if ours and ours[-1] != len(names) - 1:
        error = exc.DecoratorAfterHelionKernelDecorator()
        raise error.with_location(host.location(host.tree.decorator_list[-1]))


def _check_names(host: HostFunction) -> None:
    for node in ast.walk(host.tree):
        name = node.arg if isinstance(node, ast.arg) else getattr(node, "id", None)
        is_bound = isinstance(node, ast.arg) or isinstance(
            getattr(node, "ctx", None), ast.Store
        )
        if is_bound and name in RESERVED_NAMES:
            raise exc.NamingConflict(name=name).with_location(host.location(node))
    for name in sorted(host.local_names & RESERVED_NAMES):
        raise exc.NamingConflict(name=name).with_location(host.location(host.tree))


class _AssignedNames(ast.NodeVisitor):
    """Collects every name that statements bind, nested functions left out."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, (ast.Store, ast.Del)):
            self.names.add(node.id)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.names.add(node.name)

    def visit_Lambda(self, node: ast.expr) -> None:
        """A lambda binds names of its own only."""

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_Lambda

    def visit_alias(self, node: ast.alias) -> None:
        self.names.add((node.asname or node.name).split(".")[0])

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.names.add(node.name)
        self.generic_visit(node)


def assigned_names(body: list[ast.stmt]) -> set[str]:
    """Return the names that a list of statements binds."""
    visitor = _AssignedNames()
    for statement in body:
        visitor.visit(statement)
    return visitor.names


def bound_names(node: ast.AST) -> set[str]:
    """Return the names that an expression binds for its own parts."""
    return {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)} | {
        n.id
        for n in ast.walk(node)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }


def read_names(node: ast.AST) -> set[str]:
    """Return the names that a node reads."""
    return {
        n.id
        for n in ast.walk(node)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
    }
