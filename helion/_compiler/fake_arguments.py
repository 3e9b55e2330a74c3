"""Turns arguments, and what functions capture, into compile-time stand-ins."""

from __future__ import annotations

import dataclasses
import types
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from . import symbols
from .variable_origin import ExprOrigin, Origin, SizeOrigin, StrideOrigin

if TYPE_CHECKING:
    from .compile_environment import CompileEnvironment

_AS_IS = (str, type(None), torch.dtype, torch.device, complex, torch.layout)


def to_fake(env: CompileEnvironment, value: Any, origin: Origin) -> Any:
    """Return fake tensors, symbols, or the value itself if it is a constant.

    Containers, dataclasses and functions with captured tensors are copied.
    """
    if isinstance(value, torch.Tensor):
        is_ours = getattr(value, "fake_mode", None) is env.fake_mode
        return value if is_ours else fake_tensor(env, value, origin)
    if isinstance(value, (bool, float)):
        return env.new_scalar(type(value), origin)
    if isinstance(value, int):
        # Arguments are read before anything is specialized: this is a later value.
        if env.get_specialized_symbol(value) is not None:
            return env.create_symint_for_dimension(value)
        return env.new_size(value, origin, is_size=False)
    if isinstance(value, symbols.SymValue):
        return env.new_scalar(int, origin)
    if isinstance(value, types.FunctionType):
        return fake_function(env, value, origin)
    if isinstance(value, (list, tuple, dict)) or dataclasses.is_dataclass(value):
        return _fake_container(env, value, origin)
    return value


def _fake_container(env: CompileEnvironment, value: Any, origin: Origin) -> Any:
    text = origin.host_str()

    def item(v: Any, access: str) -> Any:
        return to_fake(env, v, ExprOrigin(f"{text}{access}"))

    if isinstance(value, dict):
        return {k: item(v, f"[{k!r}]") for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        items = [item(v, f"[{i}]") for i, v in enumerate(value)]
        is_named = hasattr(value, "_fields")
        return type(value)(*items) if is_named else type(value)(items)
    if isinstance(value, type):
        return value
    names = [f.name for f in dataclasses.fields(value) if f.init]
    return dataclasses.replace(
        value, **{n: item(getattr(value, n), f".{n}") for n in names}
    )


def fake_tensor(
    env: CompileEnvironment, value: torch.Tensor, origin: Origin
) -> torch.Tensor:
    """Return a fake of the same dtype and device; sizes are symbols if dynamic."""
    if value.is_nested:
        raise exc.KernelArgumentError(
            reason=f"{origin.host_str()} is a nested tensor that is no argument",
            hint="pass it as an argument of its own",
        )
    if value.device.type != env.device.type:
        devices = sorted({str(value.device), str(env.device)})
        raise exc.MixedDevices(devices=", ".join(devices))
    sizes: list[Any] = list(value.size())
    strides: list[Any] = list(value.stride())
    if not env.settings.static_shapes:
        sizes, strides = _symbolic_layout(env, value, origin)
    with env.fake_mode:
        fake = torch.empty_strided(
            sizes, strides, dtype=value.dtype, device=value.device
        )
    env.add_host_tensor(fake, origin)
    return fake


def _symbolic_layout(
    env: CompileEnvironment, value: torch.Tensor, origin: Origin
) -> tuple[list[Any], list[Any]]:
    sizes = [
        s if s in (0, 1) else env.new_size(s, SizeOrigin(origin, d))
        for d, s in enumerate(value.size())
    ]
    strides: list[Any] = []
    if value.is_contiguous():
        running: Any = 1
        for size in reversed(sizes):
            strides.insert(0, running)
            running = running * (1 if symbols.static_int(size) == 0 else size)
        return sizes, strides
    for dim, stride in enumerate(value.stride()):
        known = stride in (0, 1)
        origin_of = StrideOrigin(origin, dim)
        strides.append(stride if known else env.new_size(stride, origin_of))
    return sizes, strides


def fake_function(env: CompileEnvironment, fn: Any, origin: Origin | None) -> Any:
    """Return ``fn`` with tensors in its closure and globals replaced by fakes."""
    text = "" if origin is None else origin.host_str()
    cells = list(fn.__closure__ or ())
    contents = []
    changed = False
    for index, cell in enumerate(cells):
        old = _cell_value(cell)
        place = ExprOrigin(
            f"{text}.__closure__[{index}].cell_contents", fn.__code__.co_freevars[index]
        )
        needs = isinstance(old, (torch.Tensor, types.FunctionType))
        new = to_fake(env, old, place) if needs else old
        changed |= new is not old
        contents.append(types.CellType(new) if new is not old else cell)
    used = set(fn.__code__.co_names) & fn.__globals__.keys()
    tensors = [n for n in used if isinstance(fn.__globals__[n], torch.Tensor)]
    if not changed and not tensors:
        return fn
    namespace = fn.__globals__
    if tensors:
        namespace = dict(namespace)
        for name in tensors:
            place = ExprOrigin(f"{text}.__globals__[{name!r}]", name)
            namespace[name] = to_fake(env, namespace[name], place)
    result = types.FunctionType(
        fn.__code__, namespace, fn.__name__, fn.__defaults__, tuple(contents)
    )
    result.__kwdefaults__ = fn.__kwdefaults__
    return result


def _cell_value(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # an empty cell
        return None
