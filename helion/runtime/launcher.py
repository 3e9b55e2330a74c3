"""Launch emitted kernels: first through Triton, then by their own C launcher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

# Attribute of a jit function that holds its DirectLauncher, or None if it has none.
_SLOT = "_helion_direct_launcher"
_UNSEEN = object()

# Types of constexpr values whose equality (with the type) means the same kernel.
_PLAIN_CONSTANTS = (int, bool, str, type(None))


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
    the same facts (see ``DirectLauncher.key``) call the compiled kernel directly.
    Whatever is out of the ordinary, hooks for example, goes through ``jit_fn.run``.
    """
    if 0 in grid:
        return None
    direct: Any = getattr(jit_fn, _SLOT, _UNSEEN)
    if direct is _UNSEEN:
        direct = _attach(jit_fn)
    options["num_warps"] = num_warps
    options["num_stages"] = num_stages
    if direct is None:
        return jit_fn[grid](*args, **options)
    key = direct.key(args, options)
    launch = direct.ready.get(key) if key is not None else None
    if launch is not None:
        return launch(grid, args)
    kernel = jit_fn.run(*args, grid=grid, warmup=False, **options)
    if key is not None:
        direct.remember(key, kernel)
    return kernel


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

    Triton's instrumentation mode and target are read once; its hooks at each call.
    """

    def __init__(self, jit_fn: Any) -> None:
        """Raise AttributeError or RuntimeError where Triton is not as expected."""
        from triton import knobs
        from triton.runtime import driver

        self.jit_fn = jit_fn
        self.constant = tuple(bool(param.is_constexpr) for param in jit_fn.params)
        self.runtime = knobs.runtime
        self.driver = driver.active
        # Elsewhere a specialization also depends on the size of storages.
        self.usable = (
            self.driver.get_current_target().backend == "cuda"
            and not knobs.compilation.instrumentation_mode
        )
        self.ready: dict[Hashable, ReadyKernel] = {}

    def key(self, args: tuple[Any, ...], options: Mapping[str, Any]) -> Hashable | None:
        """Return the facts that select a compiled kernel; None: leave it to Triton.

        Per tensor: dtype and 16-byte alignment; per integer: whether it is 1, divisible
        by 16, and its width; per constexpr: type and value. Not coarser than Triton's.
        """
        if not self.usable or len(args) != len(self.constant) or self.is_watched():
            return None
        facts: list[Any] = [self.driver.get_current_device(), self.runtime.debug]
        for arg, constant in zip(args, self.constant):
            fact = _constant_fact(arg) if constant else _fact(arg)
            if fact is None:
                return None
            facts.append(fact)
        for name, value in options.items():
            if type(value) not in _PLAIN_CONSTANTS:
                return None
            facts.append((name, type(value), value))
        return tuple(facts)

    def is_watched(self) -> bool:
        """Tell whether someone hooked into launches or the compiler."""
        runtime = self.runtime
        return bool(
            self.jit_fn.pre_run_hooks
            or runtime.add_stages_inspection_hook is not None
            or _has_hooks(runtime.launch_enter_hook)
            or _has_hooks(runtime.launch_exit_hook)
        )

    def remember(self, key: Hashable, kernel: Any) -> None:
        """Launch ``kernel`` directly from now on, if it can be."""
        # Triton checks at each launch that the globals a kernel read are unchanged.
        if self.jit_fn.used_global_vals:
            return
        try:
            self.ready[key] = ReadyKernel(kernel, self.driver)
        except AttributeError:
            return


class ReadyKernel:
    """A compiled kernel loaded on a device, with all that a launch needs."""

    __slots__ = ("driver", "function", "kernel", "packed_metadata", "run")

    def __init__(self, kernel: Any, driver: Any) -> None:
        self.kernel = kernel
        self.driver = driver
        self.run = kernel.run
        self.function = kernel.function
        self.packed_metadata = kernel.packed_metadata

    def __call__(self, grid: tuple[int, ...], args: tuple[Any, ...]) -> Any:
        """Launch on the current stream; return the compiled kernel, as Triton does."""
        x, y, z = (*grid, 1, 1)[:3]
        driver = self.driver
        stream = driver.get_current_stream(driver.get_current_device())
        nothing = (None, None, None)  # launch metadata, enter hook, exit hook
        self.run(x, y, z, stream, self.function, self.packed_metadata, *nothing, *args)
        return self.kernel


def _has_hooks(hook: Any) -> bool:
    """Tell whether a hook, or a chain of them, would do anything."""
    return hook is not None and bool(getattr(hook, "calls", True))


def _constant_fact(arg: Any) -> Hashable | None:
    """Return what tells one constexpr value from another; None: not known."""
    kind = type(arg)
    if kind in _PLAIN_CONSTANTS:
        return (kind, arg)
    # Equality of floats hides the sign of zero, and NaN is not equal to itself.
    return (kind, arg.hex()) if kind is float else None


def _fact(arg: Any) -> Hashable | None:
    """Return what Triton may specialize on for an argument; None: not known."""
    kind = type(arg)
    if kind is torch.Tensor or kind is torch.nn.Parameter:
        return (arg.dtype, arg.data_ptr() % 16 == 0)
    if kind is int:
        narrow = -(2**31) <= arg < 2**31
        return (kind, arg == 1, arg % 16 == 0, narrow or arg < 2**63, narrow)
    if kind is bool:
        return (kind, arg)
    return kind if kind is float or arg is None else None
