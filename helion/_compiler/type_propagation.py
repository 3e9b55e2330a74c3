"""Type propagation: walks the host function and hands tile loops to the tracer.

Host statements stay Python; only what they mean for sizes, dtypes and devices of the
values that device code reads is followed. What cannot be followed becomes Unknown,
which is an error only where device code reads it.
"""

from __future__ import annotations

import ast
import builtins
import types
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from ..language.debug_ops import breakpoint as hl_breakpoint
from ..language.debug_ops import device_print
from ..language.scan_ops import torch_scan
from . import (
    aten_lookups,  # noqa: F401 (registers its decompositions)
    aten_scatters,  # noqa: F401 (registers its decompositions)
    contractions,  # noqa: F401 (registers its handlers)
    device_views,  # noqa: F401 (registers its handlers)
    function_handlers,  # noqa: F401 (registers its handlers)
    histogram_handlers,  # noqa: F401 (registers its handlers)
    matrix_functions,  # noqa: F401 (registers its handlers)
    random_handlers,  # noqa: F401 (registers its handlers)
    refused_methods,  # noqa: F401 (registers its handlers)
    reshape_values,  # noqa: F401 (registers its handlers)
    scan_decompositions,  # noqa: F401 (registers its decompositions)
    sort_decompositions,  # noqa: F401 (registers its decompositions)
    special_functions,  # noqa: F401 (registers its decompositions)
    symbols,
    value_slices,  # noqa: F401 (registers its handlers)
)
from .ast_extension import LoopType, facts
from .collect_warnings import note_host_result
from .compile_environment import CompileAgain
from .device_ir import RootGraphInfo
from .device_statements import IN_PLACE_OPERATORS, AlreadyReported
from .function_modes import KernelFunctionMode
from .host_function import assigned_names
from .host_joins import kind_of
from .host_unroll import HostUnroll
from .inline_launches import inline_launches
from .launch_bounds import read_bounds
from .name_lookup import DeviceOnly
from .op_registry import set_tracer
from .type_info import Unknown, type_of

if TYPE_CHECKING:
    from .compile_environment import CompileEnvironment
    from .graph_tracer import GraphTracer
    from .host_function import HostFunction

_QUIET_ON_HOST = {print, open, input, breakpoint, exec}
_FACTORIES = {
    torch.zeros,
    torch.ones,
    torch.empty,
    torch.full,
    torch.arange,
    torch.rand,
    torch.randn,
    torch.eye,
    torch.tensor,
    torch.empty_strided,
}


def propagate_types(
    host: HostFunction,
    env: CompileEnvironment,
    tracer: GraphTracer,
    args: dict[str, Any],
) -> None:
    """Visit the function with ``args`` as parameters; graphs go to ``tracer.ir``."""
    inline_launches(host, args)
    walker = HostWalker(env, host, tracer)
    walker.host_scope.update(args)
    walker.start_unrolling()
    with env.active(), set_tracer(tracer), KernelFunctionMode(tracer):
        walker.statements(host.tree.body)


class HostWalker(HostUnroll):
    """Statements of host code; device statements are inherited."""

    def visit(self, node: ast.AST) -> Any:
        if not isinstance(node, ast.stmt):
            return super().visit(node)
        kind = "device" if self.on_device else "host"
        method = getattr(self, f"{kind}_{type(node).__name__}", None)
        if method is not None:
            return method(node)
        if self.on_device:
            return self.refuse(node)
        return self._host_other(node)

    def evaluate(self, node: ast.expr) -> Any:
        value = super().evaluate(node)
        if type(value) is int and self.env.specialized_vars:
            self.env.specialized.table.note(node, value)
        return value

    def statements(self, body: list[ast.stmt]) -> None:
        try:
            super().statements(body)
        finally:
            if not self.on_device:
                # What loops need around them becomes part of the function.
                parts = [(self.around.pop(id(n), ([], [])), n) for n in body]
                body[:] = [s for (pre, post), n in parts for s in (*pre, n, *post)]

    # -- host statements -----------------------------------------------------------

    def _host_other(self, node: ast.stmt) -> None:
        """A statement kept as it is; what it binds is not known."""
        for name in assigned_names([node]):
            self.host_scope[name] = Unknown(f"bound by {type(node).__name__}")

    def host_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.evaluate(node.value)

    def host_Pass(self, node: ast.Pass) -> None:
        """Nothing to do."""

    def host_Return(self, node: ast.Return) -> None:
        if node.value is not None:
            self.evaluate(node.value)

    def host_Assign(self, node: ast.Assign) -> None:
        value = self.evaluate(node.value)
        for target in node.targets:
            self.assign(target, value)
            self.env.specialized.table.bind(target, node.value)

    def host_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.device_AnnAssign(node)
        if node.value is not None:
            self.env.specialized.table.bind(node.target, node.value)

    def host_AugAssign(self, node: ast.AugAssign) -> None:
        old = self.host_scope.get(_name_of(node.target))
        if isinstance(old, torch.Tensor):
            # The tensor stays the same one, and keeps its dtype.
            value = self.evaluate(node.value)
            in_place = IN_PLACE_OPERATORS[type(node.op)]
            self.assign(node.target, self.call(in_place, [old, value], {}))
            return
        read = ast.parse(ast.unparse(node.target), mode="eval").body
        for part in ast.walk(read):
            ast.copy_location(part, node)
        operation = ast.BinOp(left=read, op=node.op, right=node.value)
        self.assign(node.target, self.evaluate(ast.copy_location(operation, node)))
        self.env.specialized.table.bind(node.target, operation)

    def _bind(self, name: str, value: Any) -> None:
        if self.on_device:
            super()._bind(name, value)
            return
        if isinstance(value, symbols.SymValue) and not self._is_printable(value):
            kind = kind_of(value)
            assert kind is not None
            value = self.named_scalar(kind, name)
        self.host_scope[name] = value

    def _is_printable(self, value: Any) -> bool:
        known = self.env.symbol_origins
        return all(s in known for s in value.node.expr.free_symbols)

    def assign(self, target: ast.expr, value: Any) -> None:
        if not self.on_device and isinstance(target, (ast.Attribute, ast.Subscript)):
            base = self.evaluate(target.value)
            if isinstance(target, ast.Subscript):
                index = self.evaluate_index(target.slice)
                if isinstance(base, (list, dict)):
                    self.call(type(base).__setitem__, [base, index, value], {})
            return
        targets = target.elts if isinstance(target, (ast.Tuple, ast.List)) else []
        if not self.on_device and any(isinstance(t, ast.Starred) for t in targets):
            self._host_other(ast.Assign(targets=[target], value=ast.Constant(0)))
            return
        super().assign(target, value)

    def host_Assert(self, node: ast.Assert) -> None:
        test = self.evaluate(node.test)
        if self.static_bool(test) is False:
            message = None if node.msg is None else self.evaluate(node.msg)
            raise AssertionError(*([] if message is None else [message]))
        if isinstance(test, torch.SymBool):
            # From here on the sizes are known to agree; another outcome binds anew.
            bool(test)

    def host_If(self, node: ast.If) -> None:
        decided = self.static_bool(self.evaluate(node.test))
        if decided is not None:
            self.statements(node.body if decided else node.orelse)
            return
        before, lists = dict(self.host_scope), self.lists()
        with self.on_some_path():
            self.statements(node.body)
        then, self.host_scope = self.host_scope, before
        changed = self.restore(lists)
        with self.on_some_path():
            self.statements(node.orelse)
        self.merge_scope(then)
        self.forget_lists([*changed, *self.restore(lists)])

    def host_Raise(self, node: ast.Raise) -> None:
        """Reached on every path when compiling under a decided branch: keep it."""

    def host_With(self, node: ast.With) -> None:
        for item in node.items:
            if item.optional_vars is not None:
                self._host_other(
                    ast.Assign(targets=[item.optional_vars], value=ast.Constant(0))
                )
        self.statements(node.body)

    def host_Try(self, node: ast.Try) -> None:
        with self.on_some_path():
            self._try(node)

    def _try(self, node: ast.Try) -> None:
        before = dict(self.host_scope)
        self.statements(node.body)
        then = self.host_scope
        for handler in node.handlers:
            self.host_scope = dict(before)
            if handler.name:
                self.host_scope[handler.name] = Unknown("an exception")
            self.statements(handler.body)
            handled, self.host_scope = self.host_scope, then
            self.merge_scope(handled)
        self.statements(node.orelse)
        self.statements(node.finalbody)

    def host_FunctionDef(self, node: ast.FunctionDef) -> None:
        namespace = {**self.host.namespace, **self.host.closure, **self.host_scope}
        module = ast.Module(body=[node], type_ignores=[])
        exec(compile(module, self.host.source.filename, "exec"), namespace)
        made = namespace[node.name]
        if isinstance(made, types.FunctionType):
            self.host_nodes[made.__code__] = node
        self.host_scope[node.name] = self.defined(made)

    def host_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.host_scope.pop(target.id, None)

    # -- host loops ----------------------------------------------------------------

    def host_While(self, node: ast.While) -> None:
        self._host_loop_body(node)
        self.statements(node.orelse)

    def host_For(self, node: ast.For) -> None:
        bounds = None
        if self._is_launch(node) and not self.is_static_range(node):
            bounds = self.loop_bounds(node)
        if bounds is not None and bounds.kind == "reduction":
            raise exc.IncorrectTileUsage(
                "hl.reduction walks an axis inside a tile loop, not on the host"
            )
        if bounds is not None:
            self._launch(node, bounds)
            return
        facts(node).loop_type = LoopType.HOST
        values = self.host_items(node)
        if self.is_unrolled(node, values):
            self.unroll(node, values)
            return
        turns = self.turns_without_launches(node, values)
        if turns is not None:
            with self.repeating():
                for value in turns:
                    self.assign(node.target, value)
                    self.statements(node.body)
            return
        with self.keeping(node, values):
            items = list(values) if isinstance(values, (list, tuple)) else None
            with self.beginning(node.body):
                self._bind_host_target(node.target, values, items)
            self._host_loop_body(node)
            self.statements(node.orelse)

    def _is_launch(self, node: ast.For) -> bool:
        if not isinstance(node.iter, ast.Call):
            return False
        return self.evaluate(node.iter.func) is not range

    def _bind_host_target(
        self, target: ast.expr, values: Any, items: list[Any] | None
    ) -> None:
        if isinstance(values, range) and isinstance(target, ast.Name):
            self.host_scope[target.id] = self.named_scalar(int, target.id)
        elif items:
            self.assign(target, items[0])
            for item in items[1:]:
                before = dict(self.host_scope)
                self.assign(target, item)
                self.merge_scope(before)
        else:
            self._host_other(ast.Assign(targets=[target], value=ast.Constant(0)))

    def _host_loop_body(self, node: ast.For | ast.While) -> None:
        """Visit a body once, with names that it rebinds no longer constants."""
        before, lists = dict(self.host_scope), self.lists()
        carried = self.enter_loop(node)
        self.statements(node.body)
        self.leave_loop(node, carried)
        self.merge_scope(before)
        self.forget_lists(self.restore(lists))

    # -- launches ------------------------------------------------------------------

    def _launch(self, node: ast.For, bounds: Any) -> None:
        """Trace a top-level tile loop: one root graph."""
        if node.orelse:
            raise exc.DeviceLoopElseBlock(loop="a tile loop")
        try:
            read_bounds(self.env, bounds, self.scalar_texts)
        except exc.Base as error:
            raise error.with_location(self.host.location(node.iter)) from None
        facts(node).loop_type = LoopType.GRID
        node.body = self.launch_body(node)
        blocks = self.loop_blocks(node, bounds)
        before, after = self.split_accumulators(node, bounds, blocks)
        super().statements(before)
        self.tracer.location = self.host.location(node)
        self.device_scope = {}
        try:
            with self.tracer.recording() as builder:
                self.assign(node.target, self.loop_variable(bounds, blocks))
                self.statements(node.body)
                builder.graph.output([])
        finally:
            self.device_scope = None
        pairs = list(zip(bounds.begins, bounds.ends, strict=True))
        info = RootGraphInfo(-1, builder.graph, blocks, pairs, self.host.location(node))
        info.steps = bounds.sizes if bounds.kind == "grid" else []
        graph_id = self.tracer.ir.add(info)
        self.tracer.ir.root_ids.append(graph_id)
        facts(node).launch_ids.append(graph_id)
        names = assigned_names([*node.body, ast.Assign([node.target], ast.Constant(0))])
        for name in names:
            self.host_scope[name] = DeviceOnly(name)
        super().statements(after)

    # -- host calls ----------------------------------------------------------------

    def device_builtin(self, value: Any) -> Any:
        return _DEVICE_BUILTINS.get(value, value) if _hashable(value) else value

    def call_user(
        self, node: ast.Call, function: Any, args: list[Any], kwargs: dict[str, Any]
    ) -> Any:
        if self.on_device:
            return self.call(self.device_builtin(function), args, kwargs)
        if _hashable(function) and function in _QUIET_ON_HOST:
            return None
        if _hashable(function) and function in _FACTORIES and "device" not in kwargs:
            kwargs["device"] = self.env.device
            facts(node).needs_device = True
        is_int = function is int and isinstance(args[0] if args else None, torch.SymInt)
        if is_int and args[0].node.expr in self.scalar_texts:
            return args[0]  # what was read from a tensor is an int already
        result = self.call(function, args, kwargs)
        if isinstance(result, torch.SymInt):
            self.scalar_texts[result.node.expr] = ast.unparse(node)
        return result

    def call(self, function: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        result = super().call(function, args, kwargs)
        if not self.on_device and isinstance(result, torch.Tensor):
            place = self.tracer.location
            note_host_result(self.env, place, function, args, result)
        return result

    def call_failed(self, function: Any, args: list[Any], error: Exception) -> Any:
        if self.on_device:
            return super().call_failed(function, args, error)
        module = str(getattr(function, "__module__", None) or "")
        is_torch = isinstance(function, types.BuiltinFunctionType) or "torch" in module
        if is_torch and "data-dependent" not in str(error).lower():
            return super().call_failed(function, args, error)
        return Unknown(f"{type(error).__name__}: {error}")

    def statement(self, node: ast.stmt) -> None:
        try:
            super().statement(node)
        except (AlreadyReported, AssertionError, exc.Base, CompileAgain):
            raise
        except Exception as error:
            wrapped = exc.InternalError(error)
            raise wrapped.with_location(self.host.location(node)) from error


def _name_of(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _hashable(value: Any) -> bool:
    return isinstance(value, (types.BuiltinFunctionType, types.FunctionType, type))


def _device_min(*values: Any) -> Any:
    return _fold(values, torch.minimum, torch.sym_min)


def _device_max(*values: Any) -> Any:
    return _fold(values, torch.maximum, torch.sym_max)


def _fold(values: tuple[Any, ...], of_tensors: Any, of_symbols: Any) -> Any:
    if len(values) == 1:
        if isinstance(values[0], torch.Tensor):
            raise exc.TypeInferenceError(
                "min or max of one tensor", hint="use torch.amin or torch.amax"
            )
        values = tuple(values[0])
    if not values:
        raise exc.TypeInferenceError("min or max of nothing")
    result = values[0]
    for value in values[1:]:
        if isinstance(result, torch.Tensor) or isinstance(value, torch.Tensor):
            like = result if isinstance(result, torch.Tensor) else value
            pair = [
                v if isinstance(v, torch.Tensor) else torch.full_like(like, v)
                for v in (result, value)
            ]
            result = of_tensors(*pair)
        else:
            result = of_symbols(result, value)
    return result


def _device_zip(*values: Any, strict: bool = False) -> Any:
    lists = [list(v) for v in values if not isinstance(v, torch.Tensor)]
    if len(lists) < len(values):
        raise exc.InvalidDeviceForLoop(type="a tensor in zip()")
    if len({len(v) for v in lists}) > 1:
        lengths = ", ".join(str(len(v)) for v in lists)
        raise exc.TypeInferenceError(
            f"zip of different lengths: {lengths}", hint="slice the longer one"
        )
    return list(zip(*lists, strict=True))


_higher_order: Any = getattr(torch, "_higher_order_ops")  # noqa: B009
_DEVICE_BUILTINS: dict[Any, Any] = {
    min: _device_min,
    max: _device_max,
    zip: _device_zip,
    print: device_print,
    builtins.breakpoint: hl_breakpoint,
    _higher_order.associative_scan: torch_scan,
}
__all__ = ["propagate_types", "type_of"]
