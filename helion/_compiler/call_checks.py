"""Refuses calls that a device loop cannot have, and types what a failed call raised."""

from __future__ import annotations

import builtins
import dis
import functools
import operator
import os
import re
import traceback
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .error_text import describe, shape_text
from .op_registry import Op
from .traced_tile import TracedTile

if TYPE_CHECKING:
    import inspect

    from .compile_environment import CompileEnvironment

# Builtins that act on the world, or on Python's own state.
_SIDE_EFFECTS = [
    "open",
    "input",
    "exec",
    "eval",
    "compile",
    "globals",
    "locals",
    "vars",
    "setattr",
    "delattr",
    "__import__",
    "exit",
    "quit",
    "help",
]
_REFUSED = {getattr(builtins, n): n for n in _SIDE_EFFECTS if hasattr(builtins, n)}
_MUTATORS = [
    "append",
    "extend",
    "insert",
    "pop",
    "remove",
    "clear",
    "sort",
    "reverse",
    "update",
    "setdefault",
    "popitem",
    "add",
    "discard",
    "__setitem__",
]
_SYMBOLS = {
    operator.add: "+",
    operator.sub: "-",
    operator.mul: "*",
    operator.truediv: "/",
    operator.floordiv: "//",
    operator.mod: "%",
    operator.pow: "**",
    operator.lshift: "<<",
    operator.rshift: ">>",
    operator.and_: "&",
    operator.or_: "|",
    operator.xor: "^",
    operator.matmul: "@",
    operator.lt: "<",
    operator.le: "<=",
    operator.gt: ">",
    operator.ge: ">=",
    operator.neg: "-",
    operator.invert: "~",
    operator.getitem: "[]",
}
_SHAPES = re.compile(
    r"must match|broadcast|shape mismatch|same reduction dim|cannot be multiplied"
    r"|Shape mismatch|must match the size|inconsistent tensor size",
)
_DATA_SIZES = ("DynamicOutputShapeException", "DataDependentOutputException")
_SIZED_METHODS = frozenset(
    [
        "new_zeros",
        "new_ones",
        "new_empty",
        "new_full",
        "reshape",
        "view",
        "expand",
        "broadcast_to",
    ]
)
_FACTORIES = frozenset(
    [
        "zeros",
        "ones",
        "empty",
        "full",
        "arange",
        "rand",
        "randint",
        "randn",
        "reshape",
        "broadcast_to",
    ]
)
_HERE = str(Path(__file__).parent.parent) + os.sep
_TORCH = str(Path(torch.__file__).parent) + os.sep
_STDLIB = str(Path(os.__file__).parent) + os.sep
_OUTSIDE = frozenset(
    [
        "os",
        "posix",
        "sys",
        "io",
        "time",
        "random",
        "subprocess",
        "shutil",
        "socket",
        "threading",
        "logging",
    ]
)


def call_name(function: Any) -> str:
    """Return how a user would name a function."""
    if isinstance(function, Op):
        return f"hl.{function.name}"
    if _is_hashable(function) and function in _SYMBOLS:
        return f"the operator {_SYMBOLS[function]}"
    name = getattr(function, "__name__", type(function).__name__)
    if isinstance(getattr(function, "__self__", None), torch.Tensor):
        return f"Tensor.{name}"
    return f"torch.{name}" if getattr(torch, name, None) is function else str(name)


def _is_hashable(value: Any) -> bool:
    return isinstance(value, (types.BuiltinFunctionType, types.FunctionType, type))


# -- before a call -------------------------------------------------------------------


def check_call(function: Any) -> None:
    """Refuse a call in device code that Python could do but a launch cannot."""
    if isinstance(function, Op):
        return
    if _is_hashable(function) and function in _REFUSED:
        raise exc.NotAllowedOnDevice(construct=f"a call of {_REFUSED[function]}()")
    if isinstance(function, types.FunctionType):
        check_helper(function)
    owner = getattr(function, "__self__", None)
    if isinstance(owner, torch.Tensor) and function.__name__ == "tolist":
        # A method of fake tensors themselves, which no function mode sees.
        raise exc.NotAllowedOnDevice(construct="Tensor.tolist()")
    if isinstance(owner, types.ModuleType) or owner is None:
        _check_module(function)


def _check_module(function: Any) -> None:
    module = str(getattr(function, "__module__", "") or "").split(".")[0]
    if module in _OUTSIDE:
        name = getattr(function, "__name__", "a function")
        raise exc.NotAllowedOnDevice(construct=f"a call of {module}.{name}()")


def check_container(function: Any, owned: set[int]) -> None:
    """Refuse changing a list or dict that other iterations or the host see, too."""
    owner = getattr(function, "__self__", None)
    if not isinstance(owner, (list, dict, set)) or id(owner) in owned:
        return
    if getattr(function, "__name__", "") in _MUTATORS:
        kind = type(owner).__name__
        raise exc.TypeInferenceError(
            f"{function.__name__} changes a {kind} made outside this loop or branch",
            hint="make it in the same loop, or carry a tensor instead",
        )


def check_op_call(op: Op[..., Any], args: list[Any], kwargs: dict[str, Any]) -> None:
    """Check number, names and kinds of the arguments of a language op."""
    try:
        bound = op.signature.bind(*args, **kwargs)
    except TypeError as error:
        raise exc.InvalidAPIUsage(
            f"hl.{op.name}: {error}", hint=f"it is hl.{op.name}{_plain(op.signature)}"
        ) from None
    for name, value in bound.arguments.items():
        note = str(op.signature.parameters[name].annotation)
        expected = _EXPECTED.get(note.removesuffix(" | None"))
        if expected is None or (value is None and note.endswith("None")):
            continue
        if not isinstance(value, (TracedTile, expected[0])):
            raise exc.InvalidAPIUsage(
                f"hl.{op.name}: {name} must be {expected[1]}, not {describe(value)}"
            )


def tiles_as_sizes(function: Any, args: list[Any], kwargs: dict[str, Any]) -> list[Any]:
    """Replace tiles in the sizes of a torch function by their block sizes."""
    owner = getattr(function, "__self__", None)
    name = getattr(function, "__name__", "")
    is_method = isinstance(owner, torch.Tensor) and name in _SIZED_METHODS
    if not is_method and (name not in _FACTORIES or not call_name(function).count(".")):
        return args
    if "size" in kwargs:
        kwargs["size"] = _tile_sizes(kwargs["size"])
    # What fills a tensor is no size.
    count = 1 if name.endswith("full") else len(args)
    return [_tile_sizes(a) for a in args[:count]] + args[count:]


def _tile_sizes(value: Any) -> Any:
    if isinstance(value, TracedTile):
        return value.block_size
    if isinstance(value, (list, tuple)):
        return type(value)(_tile_sizes(v) for v in value)
    return value


_EXPECTED: dict[str, tuple[Any, str]] = {
    "torch.Tensor": (torch.Tensor, "a tensor"),
    "torch.dtype": (torch.dtype, "a torch.dtype"),
    "bool": (bool, "True or False"),
}


def _plain(signature: inspect.Signature) -> str:
    names = [
        name if p.default is p.empty else f"{name}={p.default!r}"
        for name, p in signature.parameters.items()
    ]
    return f"({', '.join(names)})"


@functools.lru_cache(maxsize=512)
def _effects_of(code: types.CodeType) -> tuple[tuple[str, str], ...]:
    """Return (kind, name) of what a function writes outside itself, or reads."""
    found = []
    for step in dis.get_instructions(code):
        if step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            found.append(("global", step.argval))
        elif step.opname == "STORE_DEREF" and step.argval in code.co_freevars:
            found.append(("closure", step.argval))
        elif step.opname == "LOAD_GLOBAL":
            found.append(("read", step.argval))
    return tuple(dict.fromkeys(found))


def check_helper(function: types.FunctionType, seen: Any = None) -> None:
    """Refuse a helper that changes globals or closures, or does input or output."""
    seen = set() if seen is None else seen
    module = str(function.__module__ or "").split(".")[0]
    if function.__code__ in seen or module in ("torch", "helion"):
        return
    seen.add(function.__code__)
    for kind, name in _effects_of(function.__code__):
        if kind == "global":
            raise exc.GlobalMutation(name=name)
        if kind == "closure":
            raise exc.ClosureMutation(name=name)
        value = function.__globals__.get(name, getattr(builtins, name, None))
        if isinstance(value, types.FunctionType):
            check_helper(value, seen)
        elif _is_hashable(value) and value in _REFUSED:
            raise exc.NotAllowedOnDevice(
                construct=f"a call of {_REFUSED[value]}() in {function.__name__}()"
            )


# -- after a call --------------------------------------------------------------------


def typed_error(
    env: CompileEnvironment,
    function: Any,
    values: list[Any],
    error: Exception,
) -> exc.Base:
    """Return the error to report for an exception that a called function raised."""
    name, text = call_name(function), str(error)
    is_helper = isinstance(function, types.FunctionType) and not is_of_torch(function)
    owner = getattr(function, "__self__", None)
    tensors = [v for v in (owner, *values) if isinstance(v, torch.Tensor)]
    if type(error).__name__ in _DATA_SIZES:
        return exc.DataDependentOutputShapeNotSupported(op=name)
    if "data-dependent" in text or "unbacked" in text.lower():
        return exc.ShapeSpecializingCall(call=name)
    if "not linked with support" in text:
        detail = f"{name} in a device loop"
        return exc.BackendUnsupported(backend=env.backend.name, detail=detail)
    is_plain_use = isinstance(error, TypeError) or function is not getattr
    if is_plain_use and not is_helper and any(_is_tile(v) for v in values):
        return exc.IncorrectTileUsage(name=name)
    if _SHAPES.search(text) and is_helper:
        return exc.ShapeMismatch(_first_line(text))
    if _SHAPES.search(text) and len(tensors) > 1:
        left, right = (shape_text(env, t) for t in tensors[:2])
        return exc.ShapeMismatch(f"{name}: the shapes {left} and {right} do not fit")
    if isinstance(error, RecursionError):
        return exc.TypeInferenceError(f"{name} calls itself without end")
    if isinstance(error, AttributeError):
        return exc.TypeInferenceError(_first_line(text))
    if isinstance(function, Op):
        return exc.InvalidAPIUsage(_with_name(name, _first_line(text)))
    if is_helper:
        kind = type(error).__name__
        return exc.TypeInferenceError(f"{name} raised {kind}: {_first_line(text)}")
    if tensors or name.startswith(("torch.", "Tensor.")):
        return exc.TorchOpTracingError(f"{name}: {_first_line(text)}")
    return exc.TypeInferenceError(f"{type(error).__name__}: {_first_line(text)}")


def is_of_torch(function: Any) -> bool:
    """Whether a Python function comes from torch."""
    return str(function.__module__ or "").split(".")[0] == "torch"


def _is_tile(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(isinstance(v, TracedTile) for v in value)
    return isinstance(value, TracedTile)


def _with_name(name: str, text: str) -> str:
    return text if name in text else f"{name}: {text}"


def _first_line(text: str) -> str:
    """Torch lists every overload below the first line."""
    lines = text.strip().splitlines()
    return (
        lines[0].removesuffix(", but expected one of:") if lines else "no reason given"
    )


def helper_place(error: BaseException) -> str:
    """Return where in a called function of the user's an error arose ('' if not)."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        inside = frame.filename.startswith((_HERE, _TORCH, "<"))
        if not inside and "site-packages" not in frame.filename:
            if frame.name.startswith("<") or frame.filename.startswith(_STDLIB):
                continue
            return (
                f'in {frame.name}, File "{frame.filename}", line {frame.lineno}: '
                f"{frame.line}"
            )
    return ""
