"""Start a compiled kernel in the fewest steps: by the C function of its launcher."""

from __future__ import annotations

import copy
import types
from collections.abc import Callable
from typing import Any

from helion.runtime.descriptors import expander_of
from helion.runtime.scratch import ensure_allocator, memory_for, with_allocator

# Called as ready(x, y, z, stream, args, values): the grid, the stream, the arguments,
# and the arguments with an address in place of each tensor.
ReadyKernel = Callable[[int, int, int, int, tuple[Any, ...], tuple[Any, ...]], Any]

# What a launcher says of a kernel that is started in the usual way.
_ORDINARY = {
    "profile_scratch_size": 0,
    "launch_cooperative_grid": False,
    "num_ctas": 1,
}

_NO_HOOKS = (None, None, None)  # launch metadata, enter hook, exit hook


def ready_kernel(kernel: Any, launcher_cls: Any, args: tuple[Any, ...]) -> ReadyKernel:
    """Return what launches ``kernel``, which ran with ``args``, and returns it.

    ``launcher_cls`` is the driver's class of launchers; None, or arguments outside the
    GPU's memory, mean that the launcher looks at the arguments each time.

    Raises:
        AttributeError: this is not a loaded kernel.
    """
    run, fixed = kernel.run, (kernel.function, kernel.packed_metadata, *_NO_HOOKS)
    is_direct = (
        isinstance(launcher_cls, type)
        and isinstance(run, launcher_cls)
        and _is_ordinary(run)
        and all(getattr(arg, "is_cuda", True) for arg in args)
    )
    if is_direct:
        begin = _special_start if _is_special(run) else _fast_start
        found = begin(run, fixed, kernel, len(args))
        if found is not None:
            return found

    needs_scratch = bool(getattr(run, "global_scratch_size", 0))

    def start(x: int, y: int, z: int, stream: int, args: Any, values: Any) -> Any:
        if needs_scratch:
            ensure_allocator()  # a thread of its own has none yet
        run(x, y, z, stream, *fixed, *args)
        return kernel

    return start


def _is_ordinary(launcher: Any) -> bool:
    """Tell whether a kernel is started in the usual way."""
    return all(
        getattr(launcher, name, None) == value for name, value in _ORDINARY.items()
    )


def _is_special(launcher: Any) -> bool:
    """Tell whether a launcher does more than to call its C function."""
    # Around tensor descriptors it is a Python function.
    is_wrapped = isinstance(launcher.launch, types.FunctionType)
    return is_wrapped or getattr(launcher, "global_scratch_size", None) != 0


def _fast_start(
    run: Any, fixed: tuple[Any, ...], kernel: Any, count: int
) -> ReadyKernel | None:
    """Return a start by the C function; None: it is called in an unknown way."""
    launch = run.launch
    given = _c_arguments(run, fixed, marks := tuple(object() for _ in range(count)))
    if given is None:
        return None
    if given[-1:] == (marks,):
        packed_head = given[:-1]

        def start(x: int, y: int, z: int, stream: int, args: Any, values: Any) -> Any:
            launch(x, y, z, stream, *packed_head, values)
            return kernel

        return start
    if given[-count:] != marks:
        return None
    head = given[:-count]

    def start_flat(x: int, y: int, z: int, stream: int, args: Any, values: Any) -> Any:
        launch(x, y, z, stream, *head, *values)
        return kernel

    return start_flat


def _special_start(
    run: Any, fixed: tuple[Any, ...], kernel: Any, count: int
) -> ReadyKernel | None:
    """Return a start that provides scratch memory and fills in tensor descriptors."""
    launch, expand = run.launch, None
    if isinstance(launch, types.FunctionType):
        expander = expander_of(launch, count)
        if expander is None:
            return None
        launch, expand = expander
    marks = tuple(object() for _ in range(count))
    scratch = object()
    given = _c_arguments(run, fixed, marks, scratch)
    if given is None or (given[-1:] != (marks,) and given[-count:] != marks):
        return None
    is_packed = given[-1:] == (marks,)
    head = list(given[:-1] if is_packed else given[:-count])
    place = next((i for i, item in enumerate(head) if item is scratch), None)
    size, alignment = run.global_scratch_size, getattr(run, "global_scratch_align", 1)
    if (place is None) != (size == 0):
        return None

    def start(x: int, y: int, z: int, stream: int, args: Any, values: Any) -> Any:
        if expand is not None:
            values = expand(values)
        rest = (values,) if is_packed else values
        if place is None:
            launch(x, y, z, stream, *head, *rest)
            return kernel
        memory = memory_for(x * y * z * size, alignment, stream)
        before, after = head[:place], head[place + 1 :]
        launch(x, y, z, stream, *before, memory.data_ptr(), *after, *rest)
        return kernel

    return start


def _c_arguments(
    run: Any, fixed: tuple[Any, ...], marks: tuple[Any, ...], scratch: object = None
) -> tuple[Any, ...] | None:
    """Return what a launcher gives its C function after the grid and the stream.

    Versions of Triton differ in that, so a copy of the launcher shows it; ``scratch``
    stands for memory that it asks for. None: the grid and the stream do not come first.
    """
    shown: list[tuple[Any, ...]] = []
    model = copy.copy(run)
    model.launch = lambda *given: shown.append(given)
    place = (1, 1, 1, object())
    try:
        with_allocator(lambda *_: scratch, lambda: model(*place, *fixed, *marks))
    except TypeError:
        return None
    is_known = len(shown) == 1 and shown[0][:4] == place
    return shown[0][4:] if is_known else None
