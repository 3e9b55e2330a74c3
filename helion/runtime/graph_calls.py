"""Kernel calls inside ``torch.compile``: one operator in the graph for each call.

Dynamo calls ``call_in_graph`` without looking inside. It finds out, on stand-ins
without memory, what the kernel returns and which arguments it writes to, and puts an
operator into the graph: ``helion::call``, or ``helion::call_in_place_N`` with N new
tensors. The operator looks up what belongs to the call and runs the kernel.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch._dynamo
from torch._dynamo import eval_frame
from torch._dynamo.types import FrameAction, FrameExecStrategy
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes

from helion import exc
from helion.runtime import gradients
from helion.runtime.kernel import Kernel, kernel_of
from helion.runtime.specialization import tensors_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from helion.runtime.bound_kernel import BoundKernel

_library = torch.library.Library("helion", "DEF")
_library.define(
    "call(str key, Tensor[] tensors, SymInt[] ints, float[] floats) -> Tensor[]",
    # Kernels may draw random numbers: two equal calls are two calls.
    tags=torch.Tag.nondeterministic_seeded,
)
_library.define(
    "call_backward(str key, Tensor?[] grads, Tensor[] tensors, SymInt[] ints, "
    "float[] floats, bool[] needed) -> Tensor[]"
)


@dataclass(frozen=True)
class Place:
    """Where an argument or a result is found: its kind and its number there."""

    kind: str  # "read", "written", "int", "float"; of results "new", "argument"
    at: int


@dataclass(frozen=True)
class View:
    """A result that shares memory with a new tensor or an argument."""

    of: Place
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: Any


@dataclass
class GraphCall:
    """All about one call that is not in the graph.

    ``places`` stand for the leaves of the arguments, constants for themselves;
    ``results`` likewise for the leaves of what the kernel returns.
    """

    kernel: Kernel
    bound: BoundKernel
    places: list[Any]
    args_tree: pytree.TreeSpec
    results: list[Any]
    form: Any

    def args(
        self,
        read: Sequence[Any],
        written: Sequence[Any],
        ints: Sequence[Any],
        floats: Sequence[Any],
    ) -> tuple[Any, ...]:
        """Return the arguments of the kernel made of those of the operator."""
        given = {"read": read, "written": written, "int": ints, "float": floats}
        leaves = [
            given[place.kind][place.at] if isinstance(place, Place) else place
            for place in self.places
        ]
        return tuple(pytree.tree_unflatten(leaves, self.args_tree))


# Kinds of operands, in the order of the operators.
KINDS = ("read", "written", "int", "float")

# Keys are made of the text of the kernel and the form of the arguments, so that a
# graph that another process cached finds the same call here.
_calls: dict[str, GraphCall] = {}


def call(token: str, args: Any, kwargs: Any) -> Any:
    """Call the kernel registered under ``token``, as Dynamo reads it.

    What goes through the graph are tensors and numbers; the rest of the result is
    the same in every call of the graph.
    """
    leaves = call_in_graph(token, args, kwargs)
    return _rebuild(_form_of(token), leaves)


def _rebuild(form: Any, leaves: Any) -> Any:
    kind, value = form
    if kind == "leaf":
        return leaves[value]
    if kind == "list":
        return [_rebuild(item, leaves) for item in value]
    if kind == "tuple":
        return tuple([_rebuild(item, leaves) for item in value])
    if kind == "dict":
        return {key: _rebuild(item, leaves) for key, item in value}
    return value


@torch._dynamo.assume_constant_result
def _form_of(token: str) -> Any:
    """Return the form of the result of the last call that was put into a graph.

    An error of that call is raised here, where Dynamo lets it pass as it is.
    """
    found = _forms.pop(token)
    if isinstance(found, exc.Base):
        raise found
    return found


# By the token of the kernel, and of this thread's latest call alone.
_forms: dict[str, Any] = {}


@torch._dynamo.nonstrict_trace
def call_in_graph(token: str, args: Any, kwargs: Any) -> list[Any]:
    """Put a call into the graph; return the tensors and numbers of its result."""
    try:
        form, leaves = _put_in_graph(kernel_of(token), args, kwargs)
    except exc.Base as error:
        form, leaves = error, []
    _forms[token] = form
    return leaves


def _put_in_graph(kernel: Kernel, args: Any, kwargs: Any) -> tuple[Any, list[Any]]:
    """Return the form of the result of a call, and its tensors and numbers.

    Raises:
        exc.AutodiffNotSupported: a kernel that writes to arguments, with gradients.
    """
    leaves, tree = pytree.tree_flatten(list(kernel.normalize_args(*args, **kwargs)))
    if kernel.settings.static_shapes:
        leaves = [_with_numbers(leaf) for leaf in leaves]
    key, call = _call_of(kernel, leaves, tree)
    if any(isinstance(r, (View, int, float)) for r in call.results):
        leaves = [_with_numbers(leaf) for leaf in leaves]
    read, written, ints, floats = _operands(call.places, leaves)
    if not written:
        new = torch.ops.helion.call(key, read, ints, floats)
    elif torch.is_grad_enabled() and any(t.requires_grad for t in (*read, *written)):
        raise exc.AutodiffNotSupported(
            reason=f"kernel {kernel.name} writes to an argument, and an argument "
            "requires grad, inside torch.compile"
        )
    else:
        operator = _in_place(sum(_is_new(result) for result in call.results))
        found = operator(key, read, written, ints, floats)
        new = found if isinstance(found, (tuple, list)) else [found]
    return call.form, _results(call, new, leaves)


def _with_numbers(leaf: Any) -> Any:
    """Make the graph depend on the sizes of a tensor: other sizes, another graph."""
    if isinstance(leaf, torch.Tensor):
        for size in (*leaf.shape, *leaf.stride()):
            int(size)
    return leaf


# ---- from arguments to operands ----


class _Standins:
    """Tensors without memory, and numbers, in place of what a graph passes."""

    def __init__(self) -> None:
        self.mode = FakeTensorMode()
        self.seen: dict[int, torch.Tensor] = {}

    def of(self, leaf: Any) -> Any:
        """Return a stand-in with the sizes that the leaf has now."""
        if isinstance(leaf, (torch.SymInt, torch.SymFloat)):
            return leaf.node.hint
        if not isinstance(leaf, torch.Tensor):
            return leaf
        if id(leaf) not in self.seen:
            with self.mode:
                self.seen[id(leaf)] = torch.empty_strided(
                    tuple(map(_hint, leaf.shape)),
                    tuple(map(_hint, leaf.stride())),
                    dtype=leaf.dtype,
                    device=leaf.device,
                )
        return self.seen[id(leaf)]


def _operands(places: Sequence[Any], leaves: Sequence[Any]) -> tuple[list[Any], ...]:
    """Return the leaves by kind: tensors read, tensors written, ints, floats."""
    found: dict[str, list[Any]] = {kind: [] for kind in KINDS}
    for place, leaf in zip(places, leaves):
        if isinstance(place, Place) and place.at == len(found[place.kind]):
            found[place.kind].append(leaf)
    return tuple(found.values())


def _hint(size: Any) -> int:
    return size.node.hint if isinstance(size, torch.SymInt) else size


def _places(leaves: Sequence[Any], written: set[int]) -> list[Any]:
    """Return where each leaf goes; ``written`` has the ids of written tensors."""
    counts = dict.fromkeys(KINDS, 0)
    seen: dict[int, Place] = {}
    places: list[Any] = []
    for leaf in leaves:
        if isinstance(leaf, torch.Tensor):
            kind = "written" if id(leaf) in written else "read"
        elif isinstance(leaf, torch.SymInt):
            kind = "int"
        elif isinstance(leaf, torch.SymFloat):
            kind = "float"
        else:
            places.append(leaf)
            continue
        if id(leaf) not in seen:
            seen[id(leaf)] = Place(kind, counts[kind])
            counts[kind] += 1
        places.append(seen[id(leaf)])
    return places


def _call_of(
    kernel: Kernel, leaves: Sequence[Any], tree: pytree.TreeSpec
) -> tuple[str, GraphCall]:
    """Return what belongs to a call like this, and the key to find it by."""
    with _disable_current_modes(), torch.no_grad():
        made = _Standins()
        standins = [made.of(leaf) for leaf in leaves]
        args = tuple(pytree.tree_unflatten(standins, tree))
        bound = kernel.bind(args)
        every = list(tensors_in(args))
        with made.mode:
            result = _without_launch(bound, args)
    changed = {id(every[place]) for place in bound.written_arguments}
    written = {id(leaf) for leaf, s in zip(leaves, standins) if id(s) in changed}
    places = _places(leaves, written)
    flat: list[Any] = []
    form = _form(result, flat)
    results = _result_places(flat, standins, places)
    words = (kernel.kernel_source(), repr(places), str(tree), repr((results, form)))
    digest = hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]
    key = f"{kernel.__module__}.{kernel.__qualname__}:{digest}"
    _calls[key] = GraphCall(kernel, bound, places, tree, results, form)
    return key, _calls[key]


def _without_launch(bound: BoundKernel, args: Sequence[Any]) -> Any:
    """Run the host part on tensors without memory, for sizes and dtypes."""
    return bound.compile_config(allow_print=False)(*args, _launcher=_no_launch)


def _no_launch(*args: Any, **kwargs: Any) -> None:
    """Stand in for the launcher: sizes and dtypes are all that is wanted."""


# ---- from what the operator returns to results ----


def _form(value: Any, leaves: list[Any]) -> tuple[str, Any]:
    """Return the form of a result; its tensors and numbers are added to ``leaves``."""
    if isinstance(value, torch.Tensor) or type(value) in (int, float):
        leaves.append(value)
        return "leaf", len(leaves) - 1
    if type(value) is dict:
        items = tuple((key, _form(item, leaves)) for key, item in value.items())
        return "dict", items
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        items = tuple(_form(item, leaves) for item in value)
        return type(value).__name__, items
    return "constant", value


def _result_places(
    flat: Sequence[Any], standins: Sequence[Any], places: Sequence[Any]
) -> list[Any]:
    """Return what each leaf of the result is: new, an argument, a view, a constant."""
    owners = {
        _memory(s): (place, s)
        for s, place in reversed(list(zip(standins, places)))
        if isinstance(s, torch.Tensor)
    }
    results: list[Any] = []
    count = 0
    for leaf in flat:
        if not isinstance(leaf, torch.Tensor):
            results.append(leaf)
            continue
        owner = owners.get(_memory(leaf))
        if owner is None:
            place = Place("new", count)
            owners[_memory(leaf)] = place, leaf
            results.append(place)
            count += 1
        elif owner[1] is leaf:
            results.append(owner[0])
        else:
            view = tuple(leaf.shape), leaf.stride(), leaf.storage_offset()
            results.append(View(owner[0], *view))
    return results


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _results(call: GraphCall, new: Sequence[Any], leaves: Sequence[Any]) -> list[Any]:
    """Return the tensors and numbers of the result of one call."""
    by_place = dict(zip(map(repr, call.places), leaves))

    def tensor_at(place: Place) -> Any:
        return new[place.at] if place.kind == "new" else by_place[repr(place)]

    found: list[Any] = []
    for item in call.results:
        if isinstance(item, Place):
            found.append(tensor_at(item))
        elif isinstance(item, View):
            base = tensor_at(item.of)
            found.append(base.as_strided(item.size, item.stride, item.offset))
        else:
            found.append(item)
    return found


def _new_tensors(call: GraphCall, result: Any) -> list[torch.Tensor]:
    """Return the results that share memory with nothing before them."""
    flat: list[Any] = []
    _form(result, flat)
    return [leaf for leaf, item in zip(flat, call.results) if _is_new(item)]


def _is_new(item: Any) -> bool:
    return isinstance(item, Place) and item.kind == "new"


# ---- the operators ----


@torch.library.register_fake("helion::call", lib=_library)
def _fake_call(key: str, tensors: Any, ints: Any, floats: Any) -> list[torch.Tensor]:
    return _fake_in_place(key, tensors, [], ints, floats)


def _fake_in_place(
    key: str, tensors: Any, written: Any, ints: Any, floats: Any
) -> list[torch.Tensor]:
    call = _calls[key]
    args = call.args(tensors, written, ints, floats)
    return _new_tensors(call, _without_launch(call.bound, args))


def _call(key: str, tensors: Any, ints: Any, floats: Any) -> list[torch.Tensor]:
    return _call_in_place(key, tensors, [], ints, floats)


def _call_in_place(
    key: str, tensors: Any, written: Any, ints: Any, floats: Any
) -> list[torch.Tensor]:
    call = _calls[key]
    with torch.no_grad():
        result = call.kernel(*call.args(tensors, written, ints, floats))
    return _new_tensors(call, result)


@functools.cache
def _in_place(count: int) -> Any:
    """Return the operator for kernels that write to arguments, with new results.

    PyTorch puts operators with an effect into a graph only if they return a fixed
    number of tensors.
    """
    name = f"call_in_place_{count}"
    returns = ", ".join(["Tensor"] * count)
    returns = returns if count == 1 else f"({returns})"
    _library.define(
        f"{name}(str key, Tensor[] tensors, Tensor(a!)[] written, SymInt[] ints, "
        f"float[] floats) -> {returns}"
    )

    def fixed(results: list[torch.Tensor]) -> Any:
        return (None, *results)[count] if count < 2 else tuple(results)

    torch.library.register_fake(
        f"helion::{name}", lambda *args: fixed(_fake_in_place(*args)), lib=_library
    )
    _library.impl(
        name, lambda *args: fixed(_call_in_place(*args)), "CompositeExplicitAutograd"
    )
    return getattr(torch.ops.helion, name)


@torch.library.register_fake("helion::call_backward", lib=_library)
def _fake_call_backward(
    key: str, grads: Any, tensors: Any, ints: Any, floats: Any, needed: list[bool]
) -> list[torch.Tensor]:
    return [torch.empty_like(t) for t, is_wanted in zip(tensors, needed) if is_wanted]


def _call_backward(
    key: str, grads: Any, tensors: Any, ints: Any, floats: Any, needed: list[bool]
) -> list[torch.Tensor]:
    call = _calls[key]
    leaves = [t.detach().requires_grad_(n) for t, n in zip(tensors, needed)]
    with torch.enable_grad():
        args = call.args(leaves, [], ints, floats)
        found = gradients.gradients(
            call.bound, args, leaves, lambda result: _new_tensors(call, result), grads
        )
    return [
        torch.zeros_like(leaf) if grad is None else grad.clone()
        for leaf, grad, is_wanted in zip(leaves, found, needed)
        if is_wanted
    ]


_library.impl("call", _call, "CompositeExplicitAutograd")
_library.impl("call_backward", _call_backward, "CompositeExplicitAutograd")


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.key, tensors, ctx.ints, ctx.floats = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grads: list[torch.Tensor | None]) -> tuple[Any, ...]:
    tensors, needed = list(ctx.saved_tensors), ctx.needs_input_grad[1]
    operands = (tensors, ctx.ints, ctx.floats, list(needed))
    found = iter(torch.ops.helion.call_backward(ctx.key, grads, *operands))
    got = [next(found) if wanted else None for wanted in needed]
    return None, got, [None] * len(ctx.ints), [None] * len(ctx.floats)


torch.library.register_autograd(
    "helion::call", _backward, setup_context=_remember, lib=_library
)

# Where a graph breaks at a call, the call runs as it does without torch.compile, and
# Dynamo does not look into what it calls either.
_SKIP = FrameExecStrategy(FrameAction.SKIP, FrameAction.SKIP)
eval_frame.set_code_exec_strategy(Kernel.__call__.__code__, _SKIP)
