"""Loads and conversions of packed narrow floats."""

from __future__ import annotations

import torch

from .. import exc
from . import _decorators
from ._eager import mark_loaded
from ._eager_indexing import fit_mask, native
from ._eager_low_bits import e2m1_pair

FLOAT4_X2 = torch.float4_e2m1fn_x2
# Dtypes of which a device sees only the bytes.
BYTE_DTYPES = (FLOAT4_X2, torch.float8_e8m0fnu)
FLOAT4_STORAGE = (torch.uint8, FLOAT4_X2)
BFLOAT16_STORAGE = (torch.bfloat16,)


@_decorators.api(is_device_only=True)
def float4_e2m1fn_x2_to_float32(
    value: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first and the second number of each pair of 4-bit floats.

    Args:
        value: a device value of dtype ``torch.float4_e2m1fn_x2``; the first number of a
            pair is in the low bits.

    Raises:
        exc.InvalidAPIUsage: another dtype.

    Example::

        first, second = hl.float4_e2m1fn_x2_to_float32(packed[tile])
    """
    check_float4(value)
    with native():
        return e2m1_pair(value)


@_decorators.api(is_device_only=True)
def load_float4_e2m1fn_x16_to_float16(
    storage: torch.Tensor,
    group_offsets: torch.Tensor,
    extra_mask: torch.Tensor | None = None,
) -> tuple[torch.Tensor, ...]:
    """Return the 16 numbers of groups of 8 bytes of 4-bit floats.

    Args:
        storage: a contiguous host tensor of uint8 or ``torch.float4_e2m1fn_x2``.
        group_offsets: which groups, as ints; group ``g`` is the bytes ``8 * g`` to
            ``8 * g + 7`` of ``storage``, its dims taken as one.
        extra_mask: bools that broadcast to ``group_offsets``; where False, nothing is
            read and the numbers are 0.

    Returns:
        16 float16 tensors of the shape of ``group_offsets``: number ``2 * j`` of a
        group is in the low bits of its byte ``j``, number ``2 * j + 1`` in the high.

    Raises:
        exc.InvalidAPIUsage: another dtype, or a storage that is not contiguous.

    Example::

        for i, part in enumerate(hl.load_float4_e2m1fn_x16_to_float16(w, group)):
            acc = acc + part.to(torch.float32) * x[tile, i]
    """
    check_storage("load_float4_e2m1fn_x16_to_float16", storage, FLOAT4_STORAGE)
    check_offsets("load_float4_e2m1fn_x16_to_float16", group_offsets)
    with native():
        packed = _groups(storage.view(torch.uint8), group_offsets, 8, extra_mask)
        pairs = [e2m1_pair(byte) for byte in packed]
        parts = [part.to(torch.float16) for pair in pairs for part in pair]
    return tuple(mark_loaded(part) for part in parts)


@_decorators.api(is_device_only=True)
def load_bfloat16_x16_to_float16(
    storage: torch.Tensor,
    group_offsets: torch.Tensor,
    extra_mask: torch.Tensor | None = None,
) -> tuple[torch.Tensor, ...]:
    """Return the 16 numbers of groups of 16 bfloat16 numbers, as float16.

    The arguments are those of :func:`load_float4_e2m1fn_x16_to_float16`; group ``g`` is
    the numbers ``16 * g`` to ``16 * g + 15`` of a bfloat16 ``storage``.
    """
    check_storage("load_bfloat16_x16_to_float16", storage, BFLOAT16_STORAGE)
    check_offsets("load_bfloat16_x16_to_float16", group_offsets)
    with native():
        parts = _groups(storage, group_offsets, 16, extra_mask)
        parts = [part.to(torch.float16) for part in parts]
    return tuple(mark_loaded(part) for part in parts)


def check_float4(value: torch.Tensor) -> None:
    """Raise InvalidAPIUsage unless ``value`` holds pairs of 4-bit floats."""
    if value.dtype != FLOAT4_X2:
        raise exc.InvalidAPIUsage(
            f"hl.float4_e2m1fn_x2_to_float32 takes {FLOAT4_X2}, not {value.dtype}",
            hint="view the host tensor as it: x.view(torch.float4_e2m1fn_x2)",
        )


def check_storage(
    name: str, storage: torch.Tensor, dtypes: tuple[torch.dtype, ...]
) -> None:
    """Raise InvalidAPIUsage unless a host tensor can be read in groups."""
    if storage.dtype not in dtypes:
        wanted = " or ".join(map(str, dtypes))
        raise exc.InvalidAPIUsage(
            f"hl.{name}: the storage is of {storage.dtype}, but must be of {wanted}"
        )
    if not storage.is_contiguous():
        raise exc.InvalidAPIUsage(
            f"hl.{name}: the storage is not contiguous",
            hint="pass storage.contiguous() to the kernel",
        )


def check_offsets(name: str, offsets: torch.Tensor) -> None:
    """Raise InvalidAPIUsage unless the group numbers are integers."""
    if offsets.dtype.is_floating_point or offsets.dtype in (torch.bool, *BYTE_DTYPES):
        raise exc.InvalidAPIUsage(
            f"hl.{name}: group_offsets are {offsets.dtype}, but must be integers"
        )


def _groups(
    storage: torch.Tensor,
    offsets: torch.Tensor,
    size: int,
    extra_mask: torch.Tensor | None,
) -> list[torch.Tensor]:
    """Return the ``size`` elements of each group; those past an end are zeros."""
    groups = storage.reshape(-1)
    groups = groups[: groups.numel() // size * size].reshape(-1, size)
    lanes = (offsets >= 0) & (offsets < groups.shape[0])
    if extra_mask is not None:
        lanes = lanes & fit_mask(extra_mask, tuple(offsets.shape))
    if groups.shape[0] == 0:
        return [groups.new_zeros(offsets.shape) for _ in range(size)]
    chosen = groups[torch.where(lanes, offsets, 0).to(torch.int64)]
    chosen = torch.where(lanes.unsqueeze(-1), chosen, torch.zeros_like(chosen))
    return list(chosen.unbind(-1))
