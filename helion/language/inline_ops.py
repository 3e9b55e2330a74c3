"""Triton and assembly code written into a kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .. import exc
from . import _decorators

Args = Sequence[object] | Mapping[str, object]
Likes = torch.Tensor | Sequence[torch.Tensor] | None
Results = torch.Tensor | tuple[torch.Tensor, ...] | None


@_decorators.api(is_device_only=True, impure=True)
def inline_triton(triton_source: str, args: Args, output_like: Likes) -> Results:
    """Run Triton statements and return the value of the last one.

    Args:
        triton_source: a string literal. ``{0}`` or ``{name}`` stand for the arguments;
            braces of the code itself are doubled. Names that it assigns are its own.
        args: a list or tuple (``{0}``, ``{1}``...) or a dict (``{name}``): device
            tensors, host tensors (as pointers) and numbers.
        output_like: a device tensor with the shape and dtype of the result, a tuple of
            them for several results, or None for code that has only effects.

    Raises:
        exc.InvalidAPIUsage: the source is no string, empty or no Python; its last
            statement gives no value; a placeholder has no argument; the results are
            not described by tensors.
        exc.CompiledOnly: in eager mode.

    Example::

        y = hl.inline_triton("tl.where({0} > 0, {0}, {1})", [x[tile], 0.5], x[tile])
    """
    raise exc.CompiledOnly(name="hl.inline_triton")


@_decorators.api(is_device_only=True, impure=True)
def triton_kernel(triton_source_or_fn: Any, args: Args, output_like: Likes) -> Results:
    """Call a ``triton.jit`` function and return its result.

    Args:
        triton_source_or_fn: the source of one function as a string literal, the name of
            a function among the kernel's globals, or a function. Functions and
            constants that it uses are brought along.
        args: a list or tuple (positional) or a dict (by keyword): device tensors
            (values), host tensors (pointers), numbers, strings and None.
        output_like: as in :func:`inline_triton`.

    Raises:
        exc.InvalidAPIUsage: there is no such function, or the results are not
            described by tensors.
        exc.CompiledOnly: in eager mode.

    Example::

        total = hl.triton_kernel(add_pairs, [x[tile], y[tile]], x[tile])
    """
    raise exc.CompiledOnly(name="hl.triton_kernel")


@_decorators.api(is_device_only=True, impure=True)
def inline_asm_elementwise(
    asm: str,
    constraints: str,
    args: Sequence[torch.Tensor],
    dtype: torch.dtype | Sequence[torch.dtype],
    is_pure: bool,
    pack: int,
) -> torch.Tensor | tuple[torch.Tensor, ...]:
    """Run assembly for each element of some tensors.

    Args:
        asm: assembly of the target, a string literal; ``$0``, ``$1``... are the
            registers of results, then of arguments.
        constraints: what they are in LLVM's notation, such as ``"=r,r,r"``.
        args: device tensors, broadcast to one shape. Without any the result has one
            element.
        dtype: the dtype of the result, or a sequence of them for several results.
        is_pure: False if the code has an effect; it is then neither removed nor merged.
        pack: how many elements a run handles; those below 4 bytes share registers. Each
            result may only depend on the arguments at its own place.

    Raises:
        exc.InvalidAPIUsage: an argument of another type, or no dtype.
        exc.CompiledOnly: in eager mode.

    Example::

        y = hl.inline_asm_elementwise("sqrt.approx.f32 $0, $1;", "=f,f", [x[tile]],
                                      torch.float32, True, 1)
    """
    raise exc.CompiledOnly(name="hl.inline_asm_elementwise")


@_decorators.api(is_device_only=True)
def pure_asm(
    asm: str,
    constraints: str,
    args: Sequence[torch.Tensor],
    dtype: torch.dtype | Sequence[torch.dtype],
    pack: int,
) -> Any:
    """What :func:`inline_asm_elementwise` without an effect is in a graph."""
    raise exc.CompiledOnly(name="hl.inline_asm_elementwise")
