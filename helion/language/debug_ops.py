"""Looking into a running kernel: hl.device_print and hl.breakpoint."""

from __future__ import annotations

import sys

from . import _decorators


@_decorators.api(is_device_only=True, impure=True)
def device_print(prefix: str, *values: object) -> None:
    """Print ``prefix`` and tensors from inside a kernel; ``print`` means the same.

    Args:
        prefix: a string literal.
        values: tensors (eager also anything else).

    Raises:
        TypeError: ``prefix`` is no string.
    """
    if not isinstance(prefix, str):
        raise TypeError(f"hl.device_print begins with a string, not {prefix!r}")
    print(prefix, *values)


@_decorators.api(is_device_only=True, impure=True)
def device_assert(condition: object, message: str = "") -> None:
    """Stop with ``message`` unless ``condition`` holds; ``assert`` means the same.

    Compiled kernels check it under the setting ``debug``; otherwise it costs nothing.

    Args:
        condition: a bool or a 0-d tensor.
        message: what the error says.
    """
    assert condition, message


@_decorators.api(is_device_only=True, impure=True)
def breakpoint() -> None:
    """Stop in the debugger; compiled kernels need an interpreted mode for that.

    Raises:
        exc.BreakpointInDeviceLoopRequiresInterpret: (compiled) no interpreted mode.
    """
    sys.breakpointhook()
