"""Traces assignments and stores of device code, and reports what fails."""

from __future__ import annotations

import ast
import operator
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from ..language.stack_ops import StackTensor
from .ast_extension import facts
from .display_values import DisplayEvaluator
from .error_text import describe, make_readable
from .evaluator import BINARY, is_op
from .host_function import assigned_names
from .name_lookup import DeviceOnly
from .predicate_jumps import shown_name
from .traced_tile import TracedTile
from .type_info import Unknown, type_of

if TYPE_CHECKING:
    from collections.abc import Callable


class AlreadyReported(Exception):
    """An error was collected where this value should have been computed."""


class Unjoined(DeviceOnly):
    """What a name stands for after a branch that gave it values of two kinds."""

    def __init__(self, name: str, error: exc.Base) -> None:
        super().__init__(name)
        self.error = error


class Deleted(DeviceOnly):
    """What a name stands for after ``del``."""


class StatementWalker(DisplayEvaluator):
    """Statements without control flow: assignments, stores, prints."""

    def statements(self, body: list[ast.stmt]) -> None:
        """Visit statements, collecting an error of each rather than stopping."""
        for statement in body:
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        """Visit one statement; a failed one poisons the names it binds."""
        location = self.host.location(node)
        try:
            self.visit(node)
            return
        except AlreadyReported:
            pass
        except exc.Base as error:
            self.env.report(make_readable(self.env, error).with_location(location))
        scope = self.host_scope if self.device_scope is None else self.device_scope
        for name in assigned_names([node]):
            scope[name] = Unknown("an error was reported where it is assigned")

    def lookup(self, name: str) -> Any:
        value = super().lookup(name)
        if isinstance(value, Unknown) and value.reason.startswith("an error was"):
            raise AlreadyReported
        if isinstance(value, Unjoined):
            raise value.error
        if isinstance(value, Deleted):
            raise exc.UndefinedVariable(name=name)
        if isinstance(value, DeviceOnly):
            raise exc.CrossRootDeviceValue(name=name)
        return value

    # -- simple statements ---------------------------------------------------------

    def device_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.evaluate(node.value)

    def device_Pass(self, node: ast.Pass) -> None:
        """Nothing to do."""

    def device_Assign(self, node: ast.Assign) -> None:
        if len(node.targets) != 1:
            raise exc.AssignmentMultipleTargets()
        for name in ast.walk(node.targets[0]):
            if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                self._check_rebind(name.id)
        self.assign(node.targets[0], self.evaluate(node.value))

    def device_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.assign(node.target, self.evaluate(node.value))

    def device_AugAssign(self, node: ast.AugAssign) -> None:
        target = node.target
        operation = BINARY[type(node.op)]
        if isinstance(target, ast.Subscript):
            base = self.evaluate(target.value)
            index = self.evaluate_index(target.slice)
            old = self.call(_item_of(base), [base, index], {})
            new = self.call(operation, [old, self.evaluate(node.value)], {})
            self.set_item(base, index, new)
            return
        if not isinstance(target, ast.Name):
            raise exc.InvalidAssignment()
        self._check_rebind(target.id)
        old = self.lookup(target.id)
        value = self.evaluate(node.value)
        if isinstance(old, torch.Tensor):
            # Python rebinds to what the in-place operator returns.
            in_place = IN_PLACE_OPERATORS[type(node.op)]
            self._bind(target.id, self.call(in_place, [old, value], {}))
        else:
            self.assign(target, self.call(operation, [old, value], {}))

    def assign(self, target: ast.expr, value: Any) -> None:
        """Bind a value to an assignment target."""
        facts(target).type_info = type_of(value)
        if isinstance(target, ast.Name):
            self._check_rebind(target.id)
            self._bind(target.id, value)
        elif isinstance(target, (ast.Tuple, ast.List)):
            self._unpack(target, value)
        elif isinstance(target, ast.Subscript):
            base = self.evaluate(target.value)
            self.set_item(base, self.evaluate_index(target.slice), value)
        elif self.on_device:
            raise exc.InvalidAssignment()

    def set_item(self, base: Any, index: Any, value: Any) -> None:
        """Store into a tensor, or replace an item of a list or dict."""
        if not isinstance(base, (torch.Tensor, StackTensor, list, dict)):
            raise exc.NonTensorSubscriptAssign(
                value_type=describe(value), target_type=describe(base)
            )
        method = getattr(base, "__setitem__")  # noqa: B009 (the bound method)
        if isinstance(base, torch.Tensor):
            method = torch.Tensor.__setitem__
            self.call(method, [base, index, value], {})
        elif isinstance(base, list) and not isinstance(index, (int, slice)):
            raise exc.InvalidSequenceSubscription(index=describe(index))
        else:
            self.call(method, [index, value], {})

    def _bind(self, name: str, value: Any) -> None:
        assert self.device_scope is not None
        self.device_scope[name] = value
        builder = self.tracer.builder
        if builder is None or not isinstance(value, torch.Tensor):
            return
        if builder.owns(value):
            builder.nodes[id(value)][1].meta.setdefault("name", shown_name(name))

    def _check_rebind(self, name: str) -> None:
        if not self.on_device or name in self._comprehended:
            return
        found = self.host_scope.get(name)
        if name in self.host_scope and not isinstance(found, DeviceOnly):
            raise exc.CannotModifyHostVariableOnDevice(name=name)

    def _unpack(self, target: ast.Tuple | ast.List, value: Any) -> None:
        starred = any(isinstance(e, ast.Starred) for e in target.elts)
        if starred:
            raise exc.InvalidAssignment()
        if isinstance(value, TracedTile):
            raise exc.FailedToUnpackTile()
        if isinstance(value, Unknown):
            value = [value] * len(target.elts)
        try:
            # A device value has no single elements to unpack.
            is_value = self.on_device and isinstance(value, torch.Tensor)
            items = [] if is_value else list(value)
        except TypeError:
            items = []
        if len(items) != len(target.elts):
            raise exc.FailedToUnpackTupleAssign(
                type=describe(value), expected=len(target.elts)
            )
        for element, item in zip(target.elts, items, strict=True):
            self.assign(element, item)

    def device_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self._check_rebind(target.id)
                self.lookup(target.id)
                self._bind(target.id, Deleted(target.id))
            elif isinstance(target, ast.Subscript):
                base = self.evaluate(target.value)
                if not isinstance(base, (list, dict)):
                    raise exc.InvalidAssignment.from_text(
                        f"an item of {describe(base)} cannot be deleted"
                    )
                index = self.evaluate_index(target.slice)
                self.call(base.__delitem__, [index], {})
            else:
                raise exc.InvalidAssignment()

    # -- texts ---------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> Any:
        if self.on_device and self._is_print(node):
            return self._print(node)
        return super().visit_Call(node)

    def _is_print(self, node: ast.Call) -> bool:
        """Whether a call prints an f-string."""
        parts = (ast.Name, ast.Attribute, ast.Load)
        is_name = all(isinstance(n, parts) for n in ast.walk(node.func))
        has_text = any(isinstance(arg, ast.JoinedStr) for arg in node.args)
        if not is_name or not has_text or node.keywords:
            return False
        return is_op(self.evaluate(node.func), "device_print")

    def _print(self, node: ast.Call) -> Any:
        """Print all texts first, with the sources of values, and then the values."""
        parts = [self.text_and_values(arg) for arg in node.args]
        is_text = [
            isinstance(arg, ast.JoinedStr) or not values
            for arg, (_, values) in zip(node.args, parts, strict=True)
        ]
        values = [v for _, found in parts for v in found]
        last = max(i for i, is_one in enumerate(is_text) if is_one)
        text = " ".join(t for t, _ in parts[: last + 1])
        self.tracer.location = self.host.location(node)
        function = self.evaluate(node.func)
        return self.call(function, [text if is_text[0] else None, *values], {})

    def refuse(self, node: ast.stmt) -> None:
        """Name a statement that device code cannot have."""
        kind = type(node).__name__
        if kind in ("Return", "With", "Try", "TryStar"):
            raise exc.NotAllowedOnDevice(construct=f"'{kind.lower()}'")
        raise exc.StatementNotSupported(construct=f"'{kind.lower()}' in a device loop")


def _item_of(base: Any) -> Callable[[Any, Any], Any]:
    is_tensor = isinstance(base, torch.Tensor)
    return torch.Tensor.__getitem__ if is_tensor else operator.getitem


def _augmented(name: str) -> Callable[[Any, Any], Any]:
    return lambda a, b: getattr(torch.Tensor, name)(a, b)


IN_PLACE_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: _augmented("__iadd__"),
    ast.Sub: _augmented("__isub__"),
    ast.Mult: _augmented("__imul__"),
    ast.Div: _augmented("__itruediv__"),
    ast.FloorDiv: _augmented("__ifloordiv__"),
    ast.Mod: _augmented("__imod__"),
    ast.Pow: _augmented("__ipow__"),
    ast.LShift: _augmented("__ilshift__"),
    ast.RShift: _augmented("__irshift__"),
    ast.BitAnd: _augmented("__iand__"),
    ast.BitOr: _augmented("__ior__"),
    ast.BitXor: _augmented("__ixor__"),
    ast.MatMult: lambda a, b: a @ b,
}
