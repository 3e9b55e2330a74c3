"""Launch emitted kernels: first through Triton, then by their own C launcher."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from helion import exc
from helion.runtime.descriptors import descriptor_type
from helion.runtime.ready_kernel import ready_kernel
from helion.runtime.scratch import ensure_allocator

if TYPE_CHECKING:
    from helion.runtime.ready_kernel import ReadyKernel

# Attribute of a jit function that holds its DirectLauncher, or None if it has none.
_SLOT = "_helion_direct_launcher"
_UNSEEN = object()

# How calls with one tuple of argument types find their kernel: a function from them to
# the facts that select it and the values for the C launcher (None: other types), and
# the kernels by facts.
Plan = tuple[
    Callable[..., tuple[Hashable, tuple[Any, ...]] | None],
    dict[Hashable, "ReadyKernel"],
]
_NO_PLAN: Plan = (lambda *args: None, {})

_TOO_LARGE = re.compile(r"numel \((\d+)\) exceeds triton maximum .*numel \((\d+)\)")

# Types of values whose equality (with the type) means the same kernel.
_PLAIN_CONSTANTS = (int, bool, str, type(None))
_PLAIN_TENSORS = (torch.Tensor, torch.nn.Parameter)

# The source of the facts about argument {0}, by its type; "": the type says all.
# Equality of floats hides the sign of zero, and NaN is not equal to itself.
_CONSTANT_FACTS = {**dict.fromkeys(_PLAIN_CONSTANTS, "a{0}"), float: "a{0}.hex()"}
_TENSOR_FACTS = "a{0}.dtype, a{0}.is_cuda, not (p{0} := a{0}.data_ptr()) & 15"
_FACTS = {
    **dict.fromkeys(_PLAIN_TENSORS, _TENSOR_FACTS),
    int: "not a{0} & 15 if 1 < a{0} < 2147483648 else wide(a{0})",
    bool: "a{0}",
    float: "",
    type(None): "",
}


def default_launcher(
    jit_fn: Any,
    grid: tuple[int, ...],
    *args: Any,
    num_warps: int,
    num_stages: int,
    **options: Any,
) -> Any:
    """Run ``jit_fn`` once per point of ``grid``; an empty grid runs nothing.

    The first launch of a specialization goes through ``jit_fn.run``. Later ones with
    the same facts (see ``DirectLauncher``) call the compiled kernel directly.
    Whatever is out of the ordinary, hooks for example, goes through ``jit_fn.run``.
    """
    if 0 in grid:
        return None
    direct: Any = getattr(jit_fn, _SLOT, _UNSEEN)
    if direct is _UNSEEN:
        direct = _attach(jit_fn)
    if direct is not None:
        return direct.launch(grid, args, num_warps, num_stages, options)
    with _clear_errors(jit_fn):
        every = {**options, "num_warps": num_warps, "num_stages": num_stages}
        return jit_fn[grid](*args, **every)


def _attach(jit_fn: Any) -> DirectLauncher | None:
    """Make a direct launcher and keep it on the jit function; None: not possible."""
    try:
        direct = DirectLauncher(jit_fn)
    except (AttributeError, ImportError, RuntimeError):
        # Interpreted, wrapped, or no GPU driver: Triton knows what to do or to say.
        return None
    try:
        setattr(jit_fn, _SLOT, direct)
    except AttributeError:
        return None
    return direct


class DirectLauncher:
    """The compiled kernels of one jit function, by the facts Triton specializes on.

    Per tensor: dtype, 16-byte alignment and whether a GPU holds it; per integer:
    whether it is 1, divisible by 16, and its width; per constexpr: type and value.
    Beside them the current device and the options. Not coarser than Triton's.

    Triton's instrumentation mode and target are read once; its hooks at each call.
    """

    def __init__(self, jit_fn: Any) -> None:
        """Raise AttributeError or RuntimeError where Triton is not as expected."""
        from triton import knobs
        from triton.runtime import driver

        self.jit_fn = jit_fn
        self.constant = tuple(bool(param.is_constexpr) for param in jit_fn.params)
        self.runtime = knobs.runtime
        self.enter_hooks = knobs.runtime.launch_enter_hook
        self.exit_hooks = knobs.runtime.launch_exit_hook
        self.driver = driver.active
        self.get_device = _device_getter(self.driver)
        self.get_stream = self.driver.get_current_stream
        # Elsewhere a specialization also depends on the size of storages.
        self.usable = (
            self.driver.get_current_target().backend == "cuda"
            and not knobs.compilation.instrumentation_mode
        )
        self.plan = _NO_PLAN
        self.plans: dict[tuple[type, ...], Plan] = {}

    def launch(
        self,
        grid: tuple[int, ...],
        args: tuple[Any, ...],
        num_warps: int,
        num_stages: int,
        options: dict[str, Any],
    ) -> Any:
        """Launch on the current stream; return the compiled kernel, as Triton does."""
        extra = _option_facts(options) if options else ()
        is_usual = self.usable and len(args) == len(self.constant)
        if extra is None or not is_usual or self.is_watched():
            return self._by_triton(grid, args, num_warps, num_stages, options)
        facts_of, kernels = self.plan
        found = facts_of(*args)
        if found is None:
            facts_of, kernels = self.plan = self._plan_for(args)
            if (found := facts_of(*args)) is None:
                return self._by_triton(grid, args, num_warps, num_stages, options)
        facts, values = found
        device = self.get_device()
        key = (facts, device, num_warps, num_stages, extra, self.runtime.debug)
        ready = kernels.get(key)
        if ready is None:
            kernel = self._by_triton(grid, args, num_warps, num_stages, options)
            self._remember(kernels, key, kernel, args)
            return kernel
        size = len(grid)
        y = grid[1] if size > 1 else 1
        z = grid[2] if size > 2 else 1
        return ready(grid[0], y, z, self.get_stream(device), args, values)

    def _plan_for(self, args: tuple[Any, ...]) -> Plan:
        kinds = tuple(map(type, args))
        if kinds not in self.plans:
            self.plans[kinds] = _new_plan(kinds, self.constant)
        return self.plans[kinds]

    def is_watched(self) -> Any:
        """Tell by truth whether someone hooked into launches or the compiler."""
        runtime = self.runtime
        return (
            self.jit_fn.pre_run_hooks
            or self.enter_hooks.calls
            or self.exit_hooks.calls
            or runtime.launch_enter_hook is not self.enter_hooks
            or runtime.launch_exit_hook is not self.exit_hooks
            or runtime.add_stages_inspection_hook is not None
        )

    def _by_triton(
        self,
        grid: tuple[int, ...],
        args: tuple[Any, ...],
        num_warps: int,
        num_stages: int,
        options: dict[str, Any],
    ) -> Any:
        options = {**options, "num_warps": num_warps, "num_stages": num_stages}
        ensure_allocator()
        with _clear_errors(self.jit_fn):
            return self.jit_fn.run(*args, grid=grid, warmup=False, **options)

    def _remember(
        self,
        kernels: dict[Hashable, ReadyKernel],
        key: Hashable,
        kernel: Any,
        args: tuple[Any, ...],
    ) -> None:
        """Launch ``kernel`` directly from now on, if it can be."""
        # Triton checks at each launch that the globals a kernel read are unchanged.
        if self.jit_fn.used_global_vals:
            return
        launcher_cls = getattr(self.driver, "launcher_cls", None)
        try:
            kernels[key] = ready_kernel(kernel, launcher_cls, args)
        except AttributeError:
            return


@contextlib.contextmanager
def _clear_errors(jit_fn: Any) -> Iterator[None]:
    """Say in the terms of a Config that a block is too large for Triton.

    Configs are checked before; but with dynamic shapes the sizes of a later call may
    be larger than those that the Config was checked for.
    """
    try:
        yield
    except Exception as error:
        found = _TOO_LARGE.search(str(error))
        if found is None:
            raise
        size, cap = map(int, found.groups())
        axis = f"in a block of {getattr(jit_fn, '__name__', jit_fn)}"
        raise exc.HelionReductionTooLarge(axis=axis, size=size, cap=cap) from error


def _device_getter(driver: Any) -> Callable[[], int]:
    """Return what tells the current device; CUDA is initialized by then."""
    quick = getattr(torch._C, "_cuda_getDevice", None)
    usual = driver.get_current_device
    return quick if quick and usual is torch.cuda.current_device else usual


def _option_facts(options: dict[str, Any]) -> Hashable | None:
    """Return what tells options apart; None: not known."""
    if any(type(value) not in _PLAIN_CONSTANTS for value in options.values()):
        return None
    return tuple((name, type(value), value) for name, value in options.items())


def _new_plan(kinds: tuple[type, ...], constant: tuple[bool, ...]) -> Plan:
    """Return the plan for arguments of these types; they may be unknown to it.

    Its function is straight-line code, because it runs on every call.
    """
    texts = [
        _CONSTANT_FACTS.get(kind) if is_constant else _fact_text(kind)
        for kind, is_constant in zip(kinds, constant)
    ]
    if None in texts:
        return _NO_PLAN
    places = range(len(kinds))
    facts = "".join(f"{t.format(p)}, " for p, t in zip(places, texts) if t)
    values = "".join(
        f"{'p' if kind in _PLAIN_TENSORS else 'a'}{p}, "
        for p, kind in zip(places, kinds)
    )
    names = ", ".join(f"a{p}" for p in places)
    known = " and ".join(f"type(a{p}) is k{p}" for p in places) or "True"
    namespace: dict[str, Any] = {f"k{p}": kind for p, kind in zip(places, kinds)}
    text = f"lambda {names}: (({facts}), ({values})) if {known} else None"
    return eval(text, {**namespace, "wide": _wide_fact}), {}


def _fact_text(kind: type) -> str | None:
    """Return the source of the facts about an argument; None: they are not known."""
    found = _FACTS.get(kind)
    if found is None and kind.__name__ == "HostDescriptor":
        return "a{0}.facts" if kind is descriptor_type() else None
    return found


def _wide_fact(number: int) -> Hashable:
    """Return what Triton may specialize on for an integer above int32, or below 2."""
    narrow = -(2**31) <= number < 2**31
    return number == 1, number % 16 == 0, narrow or number < 2**63, narrow
