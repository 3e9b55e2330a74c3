"""Names for several devices and for overlapping launches; most have no code yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import exc
from . import _decorators
from .constexpr import ConstExpr

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


class ProcessGroupName(ConstExpr):
    """Annotates the argument that names a process group.

    Like ``hl.constexpr`` it makes the argument a compile-time value:
    ``def kernel(x, group: hl.ProcessGroupName)``.
    """


class AsyncCopyDescriptor:
    """A copy to another device that was begun by :func:`make_async_remote_copy`."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise exc.NotSupportedYet(feature="hl.AsyncCopyDescriptor")

    def start(self) -> None:
        """Begin to copy."""

    def wait(self) -> None:
        """Wait until both sides are done."""

    def wait_send(self) -> None:
        """Wait until the source may be changed."""

    def wait_recv(self) -> None:
        """Wait until the destination may be read."""


@_decorators.api(impure=True)
def make_async_remote_copy(
    src: torch.Tensor,
    src_index: Sequence[object],
    device_id: int | torch.Tensor,
    dst: torch.Tensor | None = None,
    dst_index: Sequence[object] | None = None,
) -> AsyncCopyDescriptor:
    """Describe a copy of ``src[src_index]`` into the memory of another device.

    Raises:
        exc.NotSupportedYet: always, for now.
    """
    raise exc.NotSupportedYet(feature="hl.make_async_remote_copy")


@_decorators.api(impure=True)
def remote_barrier(device_ids: int | torch.Tensor | Sequence[int]) -> None:
    """Wait until other devices come here, too.

    Raises:
        exc.NotSupportedYet: always, for now.
    """
    raise exc.NotSupportedYet(feature="hl.remote_barrier")


@_decorators.api()
def pdl_wait() -> None:
    """Wait, before the first loop, for the launch that this one overlaps.

    At the prompt and in eager mode it does nothing.

    Raises:
        exc.NotSupportedYet: (compiled) always, for now.
        exc.PdlPlacement: (compiled) in a device loop.
    """


@_decorators.api()
def pdl_launch_dependents() -> None:
    """Let the next launch begin before this one ends; see :func:`pdl_wait`."""


def _not_yet(op: Any) -> None:
    @_decorators.type_propagation(op)
    def trace(tracer: Any, *args: Any, **options: Any) -> None:
        if op.name.startswith("pdl") and tracer.on_device:
            raise exc.PdlPlacement(reason=f"hl.{op.name} stands in a device loop")
        raise exc.NotSupportedYet(feature=f"hl.{op.name} in a compiled kernel")


for _op in (make_async_remote_copy, remote_barrier, pdl_wait, pdl_launch_dependents):
    _not_yet(_op)
