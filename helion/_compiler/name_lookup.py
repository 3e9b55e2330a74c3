"""Looks up names, and keeps how host code spells the tensors that they lead to.

A tensor may have many names, and a name many tensors over time. So what device code
reaches through a name is spelled by that name, each time; what it reaches through a
list, by the place in the list: host code knows nothing of device variables.
"""

from __future__ import annotations

import ast
import dataclasses
import types
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .host_function import read_names
from .type_info import Unknown
from .variable_origin import ExprOrigin, NameOrigin, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .compile_environment import CompileEnvironment
    from .graph_tracer import GraphTracer
    from .host_function import HostFunction

_DEPTH = 8  # an object may hold itself
_KEYS = (str, int, float, bool, tuple, type(None))


class DeviceOnly:
    """What host code finds under a name that only a device loop binds."""

    def __init__(self, name: str) -> None:
        self.name = name


class NameLookup(ast.NodeVisitor):
    """Finds the values of names: device scope, host scope, closure, globals."""

    def __init__(
        self, env: CompileEnvironment, host: HostFunction, tracer: GraphTracer
    ) -> None:
        self.env = env
        self.host = host
        self.tracer = tracer
        tracer.namespace = host.namespace
        self.host_scope: dict[str, Any] = {}
        self.device_scope: dict[str, Any] | None = None
        # Tensors of closures and globals, and containers of them, with their fakes.
        self._global_fakes: dict[int, tuple[Any, Any]] = {}
        # Functions that host code defines read its names when they are called.
        self._host_functions: dict[int, types.FunctionType] = {}

    @property
    def on_device(self) -> bool:
        """Whether the code being evaluated runs in a device loop."""
        return self.device_scope is not None

    def lookup(self, name: str) -> Any:
        """Return the value of a name."""
        if self.device_scope is not None and name in self.device_scope:
            return self.device_scope[name]
        if name in self.host_scope:
            return self._host_value(name, self.host_scope[name])
        value = self.host.global_value(name)
        items = [value, *[item for item, _ in items_of(value, "")]]
        if any(isinstance(item, torch.Tensor) for item in items):
            return self._global_fake(name, value)
        if self.on_device and isinstance(value, types.FunctionType):
            return self._fake_function(self._global_origin(name), value)
        return self.device_builtin(value) if self.on_device else value

    def device_builtin(self, value: Any) -> Any:
        """Return the device meaning of a builtin; overridden where there is one."""
        return value

    def _host_value(self, name: str, value: Any) -> Any:
        if isinstance(value, DeviceOnly) and not self.on_device:
            raise exc.CannotReadDeviceVariableOnHost(name=name)
        if isinstance(value, DeviceOnly):
            raise exc.CrossRootDeviceValue(name=name)
        if self.on_device and isinstance(value, Unknown):
            raise exc.CantReadOnDevice(type=f"{name!r} ({value.reason})")
        if isinstance(value, torch.Tensor):
            self.env.add_host_tensor(value, NameOrigin(name))
        elif self.on_device and isinstance(value, types.FunctionType):
            return self._fake_function(NameOrigin(name), value)
        elif self.on_device:
            self._spell_items(value, name)
        return value

    def _spell_items(self, value: Any, text: str) -> None:
        """Spell the tensors in a list by their places, unless they have names."""
        for item, place in items_of(value, text):
            if not isinstance(item, torch.Tensor):
                continue
            origin = self.env.host_origin(item)
            name = origin.name if isinstance(origin, NameOrigin) else ""
            if self.host_scope.get(name) is not item:
                self.env.add_host_tensor(item, ExprOrigin(place))

    def defined(self, value: Any) -> Any:
        """Remember a function that host code defines."""
        if isinstance(value, types.FunctionType):
            self._host_functions[id(value)] = value
        return value

    def _fake_function(self, origin: Origin, value: Any) -> Any:
        if id(value) in self._host_functions:
            names = value.__globals__.keys() & self.host_scope.keys()
            value.__globals__.update({n: self.host_scope[n] for n in names})
        with self.tracer.paused():
            return self.env.fake_function(value, origin)

    def _global_origin(self, name: str) -> ExprOrigin:
        """Return how the wrapper, a module of its own, spells a free name."""
        if name in self.host.closure:
            return ExprOrigin(f"_closure[{name!r}]", name)
        return ExprOrigin(f"_source_module.{name}", name)

    def _global_fake(self, name: str, value: Any) -> Any:
        origin = self._global_origin(name)
        if id(value) not in self._global_fakes:
            with self.tracer.paused():
                fake = self._fake_items(value, origin)
            self._global_fakes[id(value)] = (value, fake)
        fake = self._global_fakes[id(value)][1]
        if isinstance(fake, torch.Tensor):
            self.env.add_host_tensor(fake, origin)
        else:
            self._spell_items(fake, origin.host_str())
        return fake

    def _fake_items(self, value: Any, origin: ExprOrigin) -> Any:
        """Return a value with fakes for its tensors; its numbers are constants."""
        if isinstance(value, torch.Tensor):
            return self.env.to_fake(value, origin)
        text = origin.text
        if isinstance(value, dict):
            return {
                k: self._fake_items(v, ExprOrigin(f"{text}[{k!r}]"))
                for k, v in value.items()
            }
        if isinstance(value, (list, tuple)):
            items = [
                self._fake_items(v, ExprOrigin(f"{text}[{i}]"))
                for i, v in enumerate(value)
            ]
            is_named = hasattr(value, "_fields")
            return type(value)(*items) if is_named else type(value)(items)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self.env.to_fake(value, origin)
        return value

    def with_origin(self, node: ast.expr, container: Any, result: Any) -> Any:
        """Name a host tensor that was reached through a host container."""
        is_tensor = isinstance(result, torch.Tensor)
        if not is_tensor or isinstance(container, torch.Tensor):
            return result
        builder = self.tracer.builder
        if builder is not None and builder.lookup(result) is not None:
            return result
        if self.tracer.is_device_value(result):
            raise exc.CrossRootDeviceValue(name=ast.unparse(node))
        names = read_names(node)
        host_names = self.host_scope.keys() - (self.device_scope or {}).keys()
        if names <= host_names or not self.on_device:
            self.env.add_host_tensor(result, ExprOrigin(ast.unparse(node)))
        elif self.env.host_origin(result) is None:
            raise exc.CantReadOnDevice(
                type=f"{ast.unparse(node)!r} (host code cannot say which tensor it is)"
            )
        return result


def items_of(value: Any, text: str, depth: int = 0) -> Iterator[tuple[Any, str]]:
    """Yield what a container holds, down to ``_DEPTH``, with how it is spelled."""
    parts: list[tuple[Any, str]] = []
    if isinstance(value, dict):
        pairs = [(k, v) for k, v in value.items() if isinstance(k, _KEYS)]
        parts = [(v, f"{text}[{k!r}]") for k, v in pairs]
    elif isinstance(value, (list, tuple)):
        parts = [(v, f"{text}[{i}]") for i, v in enumerate(value)]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value)]
        parts = [(getattr(value, n), f"{text}.{n}") for n in names if hasattr(value, n)]
    for item, place in parts:
        yield item, place
        if depth < _DEPTH:
            yield from items_of(item, place, depth + 1)
