"""Memory that a kernel needs beside its arguments; Triton asks for it per launch."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


def allocate(size: int, alignment: int, stream: int | None) -> torch.Tensor:
    """Return memory on the current device, in the order of the current stream.

    It may be freed once the launch is made: what has it next runs after the kernel.
    A CUDA graph that is being captured keeps it, as all memory it allocates.
    """
    return torch.empty(size, dtype=torch.int8, device="cuda")


def ensure_allocator() -> None:
    """Let launches in this context have memory, unless the user sees to that."""
    from triton.runtime import _allocation

    if is_missing(_allocation._allocator.get()):
        _allocation.set_allocator(allocate)


def memory_for(size: int, alignment: int, stream: int) -> Any:
    """Return memory for one launch, by the user's allocator if there is one."""
    from triton.runtime import _allocation

    found = _allocation._allocator.get()
    make = allocate if is_missing(found) else found
    return make(size, alignment, stream)


def with_allocator(allocator: Any, call: Callable[[], Any]) -> Any:
    """Return what ``call`` does, with another allocator meanwhile."""
    from triton.runtime import _allocation

    def run() -> Any:
        _allocation.set_allocator(allocator)
        return call()

    return contextvars.copy_context().run(run)


def is_missing(allocator: Any) -> bool:
    """Whether an allocator is what Triton has before anybody gave it one."""
    return type(allocator).__name__ == "NullAllocator"
