"""Gradients through kernel calls: recorded as one step, recomputed when wanted.

A kernel has no derivative that a compiler could see, but its body is plain PyTorch.
The backward runs that body eagerly, with gradients on, and differentiates it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

from helion import exc
from helion.runtime.ref_mode import run_eagerly
from helion.runtime.specialization import tensors_in
from helion.runtime.tensor_trees import map_tensors

if TYPE_CHECKING:
    from helion.runtime.bound_kernel import BoundKernel

Runner = Callable[..., Any]

# Kernels whose backward was warned of.
_warned: weakref.WeakSet[Any] = weakref.WeakSet()


def needs_gradient(args: Sequence[Any]) -> bool:
    """Tell whether a call with these arguments takes part in autograd."""
    return any(tensor.requires_grad for tensor in tensors_in(args))


def with_gradient(bound: BoundKernel, run: Runner) -> Runner:
    """Return ``run`` with its results connected to autograd where that is on."""

    def run_recorded(*args: Any) -> Any:
        if not torch.is_grad_enabled():
            return run(*args)
        call = KernelCall(bound, run, args)
        found = _Recorded.apply(call, *call.inputs)
        return call.connected(found)

    return run_recorded


def with_versions(bound: BoundKernel, run: Runner) -> Runner:
    """Return ``run`` so that autograd notices the arguments it writes to.

    PyTorch counts changes of a tensor to find out that a value saved for a backward
    is gone; emitted code does not count.
    """
    written = sorted(bound.written_arguments)

    def run_counted(*args: Any) -> Any:
        result = run(*args)
        if torch.is_grad_enabled():
            tensors = list(tensors_in(args))
            changed = [tensors[place] for place in written]
            known = [tensor for tensor in changed if not tensor.is_inference()]
            torch.autograd.graph.increment_version(known)
        return result

    return run_counted


@dataclass
class KernelCall:
    """One call with arguments that need gradients.

    ``inputs`` are the different tensors among the arguments; ``written`` those that
    the kernel changes.
    """

    bound: BoundKernel
    run: Runner
    args: tuple[Any, ...]
    inputs: list[torch.Tensor] = field(init=False)
    written: list[torch.Tensor] = field(init=False)
    result: Any = None

    def __post_init__(self) -> None:
        every = list(tensors_in(self.args))
        self.inputs = list({id(tensor): tensor for tensor in every}.values())
        places = self.bound.written_arguments
        changed = {id(every[place]): every[place] for place in places}
        self.written = list(changed.values())
        for tensor in self.written:
            if tensor.is_leaf and tensor.requires_grad:
                name = self.bound.kernel.name
                raise exc.AutodiffNotSupported(
                    reason=f"kernel {name} writes to an argument that is a leaf tensor "
                    "which requires grad",
                    hint="call it under torch.no_grad(), or on a clone of the tensor",
                )

    def connected(self, outputs: Sequence[torch.Tensor]) -> Any:
        """Return the result of the kernel with ``outputs`` in place of its tensors."""
        by_id = dict(zip(map(id, _unique_tensors(self.result)), outputs))
        return map_tensors(lambda tensor: by_id[id(tensor)], self.result)


class _Recorded(torch.autograd.Function):
    """The kernel as one differentiable function of the tensors in its arguments."""

    @staticmethod
    def forward(ctx: Any, call: KernelCall, *inputs: torch.Tensor) -> Any:
        written = {id(tensor) for tensor in call.written}
        before = [t.clone() if id(t) in written else t for t in inputs]
        ctx.random_state = torch.get_rng_state()
        call.result = call.run(*call.args)
        returned = _unique_tensors(call.result)
        known = {id(tensor) for tensor in returned}
        ctx.bound = call.bound
        ctx.save_for_backward(*before)
        # Placeholders: tensors of their own, which keep no graph alive.
        stands = {id(t): t.detach() for t in inputs}
        ctx.template = map_tensors(lambda tensor: stands[id(tensor)], call.args)
        ctx.stands = [stands[id(tensor)] for tensor in inputs]
        ctx.written = [i for i, t in enumerate(inputs) if id(t) in written]
        ctx.mark_dirty(*call.written)
        ctx.set_materialize_grads(False)
        return (*returned, *(t for t in call.written if id(t) not in known))

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: torch.Tensor | None
    ) -> Any:
        leaves = [
            saved.detach().requires_grad_(needed)
            for saved, needed in zip(ctx.saved_tensors, ctx.needs_input_grad[1:])
        ]
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            torch.set_rng_state(ctx.random_state)
            # What the body changes must not be a leaf.
            given = [t.clone() if i in ctx.written else t for i, t in enumerate(leaves)]
            by_id = dict(zip(map(id, ctx.stands), given))
            args = map_tensors(lambda tensor: by_id[id(tensor)], ctx.template)
            changed = [given[place] for place in ctx.written]

            def outputs_of(result: Any) -> list[torch.Tensor]:
                returned = _unique_tensors(result)
                known = {id(tensor) for tensor in returned}
                return [*returned, *(t for t in changed if id(t) not in known)]

            found = gradients(ctx.bound, args, leaves, outputs_of, grads)
        return None, *found


def gradients(
    bound: BoundKernel,
    args: Sequence[Any],
    leaves: Sequence[torch.Tensor],
    outputs_of: Callable[[Any], list[torch.Tensor]],
    grads: Sequence[torch.Tensor | None],
) -> list[torch.Tensor | None]:
    """Return the gradients of ``leaves``, from which ``args`` are made.

    ``outputs_of`` returns the tensors, of the result of the kernel, that ``grads``
    belong to; None stands for a gradient of zeros.

    Raises:
        exc.AutodiffNotSupported: the body does not run eagerly.
    """
    kernel = bound.kernel
    if kernel not in _warned:
        _warned.add(kernel)
        warning = exc.EagerBackward(name=kernel.name)
        exc.warn(warning, kernel.settings.ignore_warnings)
    try:
        result = run_eagerly(kernel.fn, tuple(args), bound.device, None)
    except Exception as error:
        reason = f"the body of kernel {kernel.name} does not run eagerly: {error}"
        raise exc.AutodiffNotSupported(reason=reason) from error
    pairs = [
        (output, grad)
        for output, grad in zip(outputs_of(result), grads, strict=True)
        if grad is not None and output.requires_grad
    ]
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    if not pairs:
        return [None] * len(leaves)
    got = torch.autograd.grad(
        [output for output, _ in pairs],
        wanted,
        [grad for _, grad in pairs],
        allow_unused=True,
    )
    by_leaf = dict(zip(map(id, wanted), got))
    return [by_leaf.get(id(leaf)) for leaf in leaves]


def _unique_tensors(value: Any) -> list[torch.Tensor]:
    return list({id(tensor): tensor for tensor in tensors_in(value)}.values())
