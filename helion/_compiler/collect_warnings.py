"""Warnings about host code that works but is slow or elsewhere; printed at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .. import exc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .compile_environment import CompileEnvironment
    from .device_ir import DeviceIR
    from .source_location import SourceLocation

# Makers of tensors: they allocate and fill, which no device loop could do instead.
_MAKERS = ("new_", "empty", "zeros", "ones", "full", "arange", "rand", "eye", "tensor")
_MAKER_ENDS = ("_like", "_tensors", "getitem", "getattr", "size", "clone")


def note(
    env: CompileEnvironment, place: SourceLocation | None, warning: exc.BaseWarning
) -> None:
    """Keep a warning for the end of the compile; one of a kind and line."""
    key = (type(warning).__name__, place.lineno if place is not None else 0)
    env.warnings.setdefault(key, warning.with_location(place))


def print_warnings(ir: DeviceIR, env: CompileEnvironment) -> DeviceIR:
    """Print what was noted, but for what ``ignore_warnings`` names."""
    for warning in env.warnings.values():
        exc.warn(warning, env.settings.ignore_warnings)
    return ir


def note_host_result(
    env: CompileEnvironment,
    place: SourceLocation | None,
    function: Any,
    args: Sequence[Any],
    result: torch.Tensor,
) -> None:
    """Note a host operation that computes a tensor, or makes it on another device."""
    name = str(getattr(function, "__name__", function)).strip("_")
    if place is None or place.line.lstrip().startswith("for "):
        return  # what the compiler adds around a loop has the loop's place
    if result.device != env.device:
        facts = {"op": name, "got": result.device, "expected": env.device}
        note(env, place, exc.WrongDevice(**facts))
    elif _computes(name, args, result):
        note(env, place, exc.TensorOperationInWrapper(op=name))


def _computes(name: str, args: Sequence[Any], result: torch.Tensor) -> bool:
    tensors = [a for a in args if isinstance(a, torch.Tensor)]
    is_maker = name.startswith(_MAKERS) or name.endswith(_MAKER_ENDS)
    if not tensors or is_maker:
        return False
    memory = result.untyped_storage()._cdata
    return all(t.untyped_storage()._cdata != memory for t in tensors)
