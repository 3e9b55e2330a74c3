"""Specialization keys: which facts about the arguments need a compile of their own."""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import torch

from helion import exc
from helion._compiler.op_registry import Op
from helion.language.constexpr import ConstExpr, unwrap
from helion.language.jagged_tensor import JaggedTensor

TensorKey = Callable[[torch.Tensor], Hashable]
Facts = Callable[..., Hashable]

INT32_MAX = 2**31 - 1

# A new value of these types is the same kernel with another run-time argument.
SCALARS = (bool, int, float, torch.SymInt, torch.SymFloat, torch.SymBool)

# The value of these types is compiled in.
CONSTANTS = (
    str,
    type(None),
    torch.dtype,
    torch.device,
    torch.layout,
    torch.memory_format,
    type(Ellipsis),
    enum.Enum,
    type,
    types.BuiltinFunctionType,
    torch._ops.OpOverload,
    torch._ops.OpOverloadPacket,
    Op,
)

# Types whose facts are worth spelling out in the generated fast path.
_PLAIN_TENSORS = (torch.Tensor, torch.nn.Parameter)
_PLAIN_SCALARS = (bool, int, float)
_PLAIN_CONSTANTS = (str, type(None), torch.dtype, torch.device)


class Identity:
    """Stands in a key for an object that is only equal to itself, and keeps it."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


# ---- tensors ----


def exact_key(tensor: torch.Tensor) -> Hashable:
    """Return all that a compile could depend on: the finest of the tensor keys."""
    layout = tensor.shape, tensor.stride()
    return tensor.dtype, *layout, tensor.device, tensor.requires_grad


def static_key(tensor: torch.Tensor) -> Hashable:
    """Return the facts that are compiled in with ``static_shapes=True``."""
    return tensor.dtype, tensor.shape, tensor.stride(), tensor.device.type


def dynamic_key(tensor: torch.Tensor) -> Hashable:
    """Return the facts that are compiled in with ``static_shapes=False``.

    Sizes count as 0, 1 or more. Strides are arguments of the kernel unless they are
    0 or 1, and follow from the sizes of a contiguous tensor.
    """
    sizes, strides = tensor.shape, tensor.stride()
    buckets = tuple(min(size, 2) for size in sizes)
    contiguous = tensor.is_contiguous()
    layout = None if contiguous else tuple(s if s in (0, 1) else 2 for s in strides)
    last = sum((size - 1) * stride for size, stride in zip(sizes, strides))
    is_large = max(tensor.numel(), last + 1) > INT32_MAX
    marked = getattr(tensor, "_dynamo_static_indices", ())
    static = tuple((dim, sizes[dim]) for dim in sorted(marked))
    return tensor.dtype, buckets, layout, is_large, static, tensor.device.type


# ---- other arguments ----


def argument_key(value: Any, tensor_key: TensorKey) -> Hashable:
    """Return the facts about one argument, whatever it contains.

    Raises:
        exc.KernelArgumentError: a type that no kernel can take.
    """
    return _rule_of(type(value))(value, tensor_key)


def _scalar(value: object, tensor_key: TensorKey) -> Hashable:
    # Subclasses of int act as ints in a kernel.
    return next(kind for kind in SCALARS if isinstance(value, kind))


def _constant(value: object, tensor_key: TensorKey) -> Hashable:
    return constant_key(value)


def _jagged(value: JaggedTensor, tensor_key: TensorKey) -> Hashable:
    """Return the facts about a nested tensor: how long its rows are is none of them."""
    parts = value.parts
    values, layout = parts.values, parts.layout
    static: list[Hashable] = []
    if tensor_key is not dynamic_key:
        sizes = list(values.shape)
        sizes[parts.ragged_dim - 1] = -1
        is_dense = values.is_contiguous()
        static = [*sizes, layout.batch, None if is_dense else values.stride()]
    lengths = None if layout.lengths is None else layout.lengths.dtype
    padded = tuple(dim for dim, _ in parts.padded)
    batch = min(layout.batch, 2)
    kind = (JaggedTensor, parts.ragged_dim, padded, layout.offsets.dtype, lengths)
    return (*kind, batch, dynamic_key(values), *static)


def _tensor(value: torch.Tensor, tensor_key: TensorKey) -> Hashable:
    if value.is_nested:
        is_jagged = value.layout is torch.jagged
        raise exc.KernelArgumentError(
            reason="a nested tensor inside another argument cannot be read"
            if is_jagged
            else f"a nested tensor of layout {value.layout} cannot be read",
            hint="pass it as an argument of its own"
            if is_jagged
            else "make it with torch.nested.nested_tensor(rows, layout=torch.jagged)",
        )
    if value.layout is not torch.strided:
        raise exc.KernelArgumentError(
            reason=f"a tensor of layout {value.layout} cannot be a kernel argument",
            hint="pass its dense form (to_dense()) or its parts",
        )
    return tensor_key(value)


def _sequence(value: Sequence[Any], tensor_key: TensorKey) -> Hashable:
    if isinstance(value, torch.Size):
        raise _unsupported(value, hint="pass tuple(size), or the tensor itself")
    return (type(value), *(argument_key(item, tensor_key) for item in value))


def _dict(value: dict[Any, Any], tensor_key: TensorKey) -> Hashable:
    items = ((name, argument_key(v, tensor_key)) for name, v in value.items())
    return (type(value), *items)


def _dataclass(value: Any, tensor_key: TensorKey) -> Hashable:
    names = (field.name for field in dataclasses.fields(value))
    return (type(value), *(argument_key(getattr(value, n), tensor_key) for n in names))


def _graph_module(value: torch.fx.GraphModule, tensor_key: TensorKey) -> Hashable:
    bad = [n for n in value.graph.nodes if n.op in ("call_module", "get_attr")]
    if bad:
        raise exc.GraphModuleUnsupportedOps(
            ops=", ".join(f"{n.op} {n.target}" for n in bad)
        )
    nodes = (
        (n.op, str(n.target), str(n.args), str(n.kwargs)) for n in value.graph.nodes
    )
    return (torch.fx.GraphModule, *nodes)


def _function(value: types.FunctionType, tensor_key: TensorKey) -> Hashable:
    """Return the code and what it captures; a new lambda each call is no new key."""
    keywords = value.__kwdefaults__ or {}
    defaults = [*(value.__defaults__ or ()), *keywords.values()]
    captured = [*captured_by(value), *defaults]
    return (
        value.__code__,
        Identity(value.__globals__),
        *(captured_key(item, tensor_key) for item in captured),
    )


def captured_by(function: types.FunctionType) -> list[Any]:
    """Return what a closure holds; the function itself and empty cells are None."""
    found: list[Any] = []
    for cell in function.__closure__ or ():
        try:
            value = cell.cell_contents
        except ValueError:
            value = None
        found.append(None if value is function else value)
    return found


def captured_key(value: Any, tensor_key: TensorKey) -> Hashable:
    """Return the facts about what a function captured: numbers count by value."""
    if isinstance(value, (torch.Tensor, types.FunctionType)):
        return argument_key(value, tensor_key)
    if type(value) in (list, tuple):
        return (type(value), *(captured_key(item, tensor_key) for item in value))
    if type(value) in (*_PLAIN_SCALARS, *_PLAIN_CONSTANTS):
        return constant_key(value)
    return Identity(value)


def constant_key(value: Any) -> Hashable:
    """Return the key of a compile-time value, of which equality is not enough.

    ``2 == 2.0`` and ``0.0 == -0.0``, but they make different kernels.
    """
    value = unwrap(value)
    if isinstance(value, float):
        return float, value.hex()
    if type(value) in (list, tuple):
        return (type(value), *map(constant_key, value))
    if type(value).__hash__ is None or isinstance(value, torch.Tensor):
        raise exc.KernelArgumentError(
            reason=f"a value of type {_type_name(value)} cannot be a constant",
            hint="hl.constexpr takes hashable values that are not tensors",
        )
    return type(value), value


def _unsupported(
    value: object, tensor_key: TensorKey | None = None, hint: str = ""
) -> exc.KernelArgumentError:
    return exc.KernelArgumentError(
        reason=f"a value of type {_type_name(value)} cannot be a kernel argument",
        hint=hint
        or "pass tensors, numbers, strings, functions, or lists, tuples, "
        "dicts and dataclasses of them",
    )


def _type_name(value: object) -> str:
    kind = type(value)
    known = kind.__module__ in ("builtins", "__main__")
    return kind.__qualname__ if known else f"{kind.__module__}.{kind.__qualname__}"


def _refused(value: object, tensor_key: TensorKey) -> Hashable:
    raise _unsupported(value)


# The first type that fits decides, so an enum of ints is a constant.
_RULES: tuple[tuple[type | tuple[type, ...], Callable[[Any, TensorKey], Hashable]], ...]
_RULES = (
    (JaggedTensor, _jagged),
    (torch.Tensor, _tensor),
    ((*CONSTANTS, ConstExpr), _constant),
    (SCALARS, _scalar),
    ((list, tuple), _sequence),
    (dict, _dict),
    (types.FunctionType, _function),
    (torch.fx.GraphModule, _graph_module),
)


@functools.cache
def _rule_of(kind: type) -> Callable[[Any, TensorKey], Hashable]:
    for kinds, rule in _RULES:
        if issubclass(kind, kinds):
            return rule
    return _dataclass if dataclasses.is_dataclass(kind) else _refused


# ---- all arguments of a call ----


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in an argument: in containers and closures as well."""
    if isinstance(value, torch.Tensor):
        yield value
        return
    items: Sequence[Any] = ()
    if isinstance(value, (list, tuple)):
        items = value
    elif isinstance(value, dict):
        items = list(value.values())
    elif isinstance(value, types.FunctionType):
        items = captured_by(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = [getattr(value, field.name) for field in dataclasses.fields(value)]
    for item in items:
        yield from tensors_in(item)


def aliases(args: Sequence[Any]) -> Hashable:
    """Return for each tensor the place where it occurs first; () if all differ."""
    tensors = list(tensors_in(args))
    first: dict[int, int] = {}
    places = tuple(first.setdefault(id(t), i) for i, t in enumerate(tensors))
    return () if len(first) == len(places) else places


def kernel_device(args: Sequence[Any]) -> torch.device:
    """Return the one device of all tensors; without any, of a device argument.

    Raises:
        exc.NoTensorArgs: there is neither.
        exc.MixedDevices: tensors are on several devices.
    """
    devices = dict.fromkeys(tensor.device for tensor in tensors_in(args))
    if not devices:
        devices = dict.fromkeys(a for a in args if isinstance(a, torch.device))
    if not devices:
        raise exc.NoTensorArgs
    if len(devices) > 1:
        raise exc.MixedDevices(devices=", ".join(sorted(map(str, devices))))
    return next(iter(devices))


@functools.cache
def capability(device: torch.device) -> Hashable:
    """Return what tells one generation of the device type from another."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_capability(device)


class Specializer:
    """Turns the arguments of one kernel into keys.

    ``constants`` are the places of parameters annotated ``hl.constexpr``; ``user_key``
    is the decorator's ``key=``. Arguments are positional, with defaults filled in.
    """

    def __init__(
        self,
        params: Sequence[str],
        constants: frozenset[int],
        static_shapes: bool,
        user_key: Callable[..., Hashable] | None,
    ) -> None:
        self.params = params
        self.constants = constants
        self.tensor_key = static_key if static_shapes else dynamic_key
        self.user_key = user_key

    def key(self, args: Sequence[Any]) -> Hashable:
        """Return the specialization key: equal keys may share what is compiled."""
        parts = [
            self._part(place, arg, self.tensor_key) for place, arg in enumerate(args)
        ]
        device = kernel_device(args)
        whole = (aliases(args), device.type, capability(device), self._user_part(args))
        return (*parts, *whole)

    def facts(self, kinds: tuple[type, ...]) -> Facts:
        """Return a quick function from arguments of these types to a finer key.

        It is straight-line code, because it runs on every call.
        """
        names = [f"a{place}" for place in range(len(kinds))]
        listed = f"({''.join(f'{name}, ' for name in names)})"
        items = [self._fact_text(p, kind, listed) for p, kind in enumerate(kinds)]
        tensors = [n for n, kind in zip(names, kinds) if kind in _PLAIN_TENSORS]
        if any(item.startswith("part(") for item in items) or len(tensors) > 8:
            items.append(f"aliases({listed})")
        else:
            items += [f"{a} is {b}" for i, a in enumerate(tensors) for b in tensors[:i]]
        if self.user_key is not None:
            items.append(f"user_part({listed})")
        text = "".join(f"{item}, " for item in items if item)
        namespace = {
            "part": functools.partial(self._part, tensor_key=exact_key),
            "aliases": aliases,
            "user_part": self._user_part,
            "Identity": Identity,
        }
        return eval(f"lambda {', '.join(names)}: ({text})", namespace)

    def _fact_text(self, place: int, kind: type, listed: str) -> str:
        """Return the source of the facts of one argument; "" if its type says all."""
        name = f"a{place}"
        is_constant = place in self.constants
        if kind in _PLAIN_TENSORS:
            # exact_key, without the call.
            facts = ("dtype", "shape", "stride()", "device", "requires_grad")
            return ", ".join(f"{name}.{fact}" for fact in facts)
        if kind in _PLAIN_SCALARS and not is_constant:
            return ""
        # Equality does not tell the zeros of float apart.
        if kind in (*_PLAIN_CONSTANTS, bool, int):
            return name
        general = f"part({place}, {name})"
        if kind is not types.FunctionType or is_constant:
            return general
        captures = " or ".join(
            f"{name}.{slot}"
            for slot in ("__closure__", "__defaults__", "__kwdefaults__")
        )
        quick = f"({name}.__code__, Identity({name}.__globals__))"
        return f"(({general}, aliases({listed})) if {captures} else {quick})"

    def _part(self, place: int, arg: Any, tensor_key: TensorKey) -> Hashable:
        try:
            if place in self.constants:
                return constant_key(arg)
            return argument_key(arg, tensor_key)
        except exc.KernelArgumentError as error:
            facts = error.facts
            reason = f"argument {self.params[place]!r}: {facts['reason']}"
            raise exc.KernelArgumentError(reason=reason, hint=facts["hint"]) from None

    def _user_part(self, args: Sequence[Any]) -> Hashable:
        if self.user_key is None:
            return None
        found = self.user_key(*args)
        try:
            hash(found)
        except TypeError:
            raise exc.KernelArgumentError(
                reason=f"key= returned an unhashable {type(found).__name__}",
                hint="return a number, a string, or a tuple of them",
            ) from None
        return found
