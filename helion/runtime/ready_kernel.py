"""Start a compiled kernel in the fewest steps: by the C function of its launcher."""

from __future__ import annotations

import copy
import types
from collections.abc import Callable
from typing import Any

# Called as ready(x, y, z, stream, args, values): the grid, the stream, the arguments,
# and the arguments with an address in place of each tensor.
ReadyKernel = Callable[[int, int, int, int, tuple[Any, ...], tuple[Any, ...]], Any]

# What a launcher says of a kernel that needs nothing beside its arguments.
_ORDINARY = {
    "global_scratch_size": 0,
    "profile_scratch_size": 0,
    "launch_cooperative_grid": False,
    "launch_pdl": False,
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
    found = _fast_start(run, fixed, kernel, len(args)) if is_direct else None
    if found is not None:
        return found

    def start(x: int, y: int, z: int, stream: int, args: Any, values: Any) -> Any:
        run(x, y, z, stream, *fixed, *args)
        return kernel

    return start


def _is_ordinary(launcher: Any) -> bool:
    """Tell whether a launcher does nothing but to call its C function."""
    # Around tensor descriptors it is a Python function.
    return not isinstance(launcher.launch, types.FunctionType) and all(
        getattr(launcher, name, None) == value for name, value in _ORDINARY.items()
    )


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


def _c_arguments(
    run: Any, fixed: tuple[Any, ...], marks: tuple[Any, ...]
) -> tuple[Any, ...] | None:
    """Return what a launcher gives its C function after the grid and the stream.

    Versions of Triton differ in that, so a copy of the launcher shows it. None: the
    grid and the stream do not come first.
    """
    shown: list[tuple[Any, ...]] = []
    model = copy.copy(run)
    model.launch = lambda *given: shown.append(given)
    place = tuple(object() for _ in range(4))
    try:
        model(*place, *fixed, *marks)
    except TypeError:
        return None
    is_known = len(shown) == 1 and shown[0][:4] == place
    return shown[0][4:] if is_known else None
