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
    """Begin while the launch before is ending; wait for its end before any access.

    It stands before the first loop, and holds for all launches of the kernel. Needs an
    NVIDIA GPU of capability 9.0. At the prompt and in eager mode it does nothing.

    Raises:
        exc.PdlPlacement: (compiled) in a device loop, or after one.
        exc.BackendUnsupported: (compiled) the GPU cannot do that.
    """


@_decorators.api()
def pdl_launch_dependents() -> None:
    """Let the next launch begin before this one ends; see :func:`pdl_wait`.

    It stands before the first loop or after the last one: the next launch may begin
    when all programs of this one have begun, or when they are about to end.
    """


def _not_yet(op: Any) -> None:
    @_decorators.type_propagation(op)
    def trace(tracer: Any, *args: Any, **options: Any) -> None:
        raise exc.NotSupportedYet(feature=f"hl.{op.name} in a compiled kernel")


def _overlaps(op: Any) -> None:
    @_decorators.type_propagation(op)
    def trace(tracer: Any) -> None:
        if tracer.on_device:
            raise exc.PdlPlacement(reason=f"hl.{op.name} stands in a device loop")
        tracer.ir.overlap.note(op.name, len(tracer.ir.root_ids), tracer.env.device)


for _op in (make_async_remote_copy, remote_barrier):
    _not_yet(_op)
for _op in (pdl_wait, pdl_launch_dependents):
    _overlaps(_op)
