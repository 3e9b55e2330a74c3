"""Atomic updates of host tensors: read, change and write an element in one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from .. import exc
from . import _decorators
from ._eager import is_loaded
from ._eager_indexing import Selection, fit_value, native, select

Value = torch.Tensor | int | float | bool
Index = Sequence[object]
MEMORY_ORDERS = ("relaxed", "acquire", "release", "acq_rel")


@_decorators.api(is_device_only=True, impure=True)
def atomic_add(
    target: torch.Tensor, index: Index, value: Value, sem: str = "relaxed"
) -> torch.Tensor:
    """Add ``value`` to ``target[index]`` and return what was there before.

    Args:
        target: a host tensor.
        index: a list or tuple with one element for each dim, as in ``hl.load``. An
            element that several lanes name is updated by each of them.
        value: a number or a tensor that broadcasts to the selection; converted to the
            dtype of ``target``.
        sem: ``"relaxed"``, ``"acquire"``, ``"release"`` or ``"acq_rel"``.

    Returns:
        The old values, in the shape of ``target[index]``; masked lanes hold 0.

    Raises:
        exc.AtomicOnDeviceTensor: ``target`` is a device value.
        exc.InvalidIndexingType: ``index`` is no list or tuple.
        ValueError: an unknown ``sem``.

    Example::

        hl.atomic_add(counts, [bucket[tile]], 1)
    """
    return _update("atomic_add", torch.add, target, index, [value], sem)


@_decorators.api(is_device_only=True, impure=True)
def atomic_and(
    target: torch.Tensor, index: Index, value: Value, sem: str = "relaxed"
) -> torch.Tensor:
    """Do a bitwise and of ``value`` into ``target[index]``; see :func:`atomic_add`."""
    return _update("atomic_and", torch.bitwise_and, target, index, [value], sem)


@_decorators.api(is_device_only=True, impure=True)
def atomic_or(
    target: torch.Tensor, index: Index, value: Value, sem: str = "relaxed"
) -> torch.Tensor:
    """Do a bitwise or of ``value`` into ``target[index]``; see :func:`atomic_add`."""
    return _update("atomic_or", torch.bitwise_or, target, index, [value], sem)


@_decorators.api(is_device_only=True, impure=True)
def atomic_xor(
    target: torch.Tensor, index: Index, value: Value, sem: str = "relaxed"
) -> torch.Tensor:
    """Do a bitwise xor of ``value`` into ``target[index]``; see :func:`atomic_add`."""
    return _update("atomic_xor", torch.bitwise_xor, target, index, [value], sem)


@_decorators.api(is_device_only=True, impure=True)
def atomic_max(
    target: torch.Tensor, index: Index, value: Value, sem: str = "relaxed"
) -> torch.Tensor:
    """Raise ``target[index]`` to at least ``value``; see :func:`atomic_add`."""
    return _update("atomic_max", torch.maximum, target, index, [value], sem)


@_decorators.api(is_device_only=True, impure=True)
def atomic_min(
    target: torch.Tensor, index: Index, value: Value, sem: str = "relaxed"
) -> torch.Tensor:
    """Lower ``target[index]`` to at most ``value``; see :func:`atomic_add`."""
    return _update("atomic_min", torch.minimum, target, index, [value], sem)


@_decorators.api(is_device_only=True, impure=True)
def atomic_xchg(
    target: torch.Tensor, index: Index, value: Value, sem: str = "relaxed"
) -> torch.Tensor:
    """Replace ``target[index]`` by ``value``; see :func:`atomic_add`."""
    return _update("atomic_xchg", _second, target, index, [value], sem)


@_decorators.api(is_device_only=True, impure=True)
def atomic_cas(
    target: torch.Tensor,
    index: Index,
    expected: Value,
    value: Value,
    sem: str = "relaxed",
) -> torch.Tensor:
    """Replace elements that equal ``expected`` by ``value``; see :func:`atomic_add`.

    Both are converted to the dtype of ``target`` and broadcast to the selection. A lane
    succeeded where the returned old value equals ``expected``.
    """
    return _update("atomic_cas", _swap, target, index, [expected, value], sem)


def check_sem(sem: str) -> None:
    """Raise ValueError for an unknown memory order."""
    if sem not in MEMORY_ORDERS:
        raise ValueError(f"sem is {sem!r}, but must be one of {MEMORY_ORDERS}")


def _second(old: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return value


def _swap(
    old: torch.Tensor, expected: torch.Tensor, value: torch.Tensor
) -> torch.Tensor:
    return torch.where(old == expected, value, old)


def _update(
    name: str,
    rule: Callable[..., torch.Tensor],
    target: torch.Tensor,
    index: Index,
    values: list[Value],
    sem: str,
) -> torch.Tensor:
    """Apply ``rule(old, *values)`` lane after lane and return the old values."""
    check_sem(sem)
    if is_loaded(target):
        raise exc.AtomicOnDeviceTensor(name=f"hl.{name}")
    if not isinstance(index, (list, tuple)):
        raise exc.InvalidIndexingType(index=f"{index!r}, not in a list,")
    selection = select(target, index, is_padded=False)
    operands = [_lanes(selection, value) for value in values]
    lanes = selection.valid()
    old = target.new_zeros(selection.shape)
    with native():
        where = selection.lane_positions(lanes)
        operands = [operand[lanes] for operand in operands]
        before = torch.empty_like(operands[0])
        for turn in _turns(selection.linear(lanes)):
            chosen = tuple(positions[turn] for positions in where)
            before[turn] = selection.tensor[chosen]
            updated = rule(before[turn], *(operand[turn] for operand in operands))
            selection.tensor[chosen] = updated
        old[lanes] = before
    return old


def _lanes(selection: Selection, value: Value) -> torch.Tensor:
    tensor = selection.tensor
    fitted = fit_value(tensor, selection.shape, value)
    return torch.as_tensor(fitted, dtype=tensor.dtype, device=tensor.device).expand(
        selection.shape
    )


def _turns(elements: torch.Tensor) -> list[torch.Tensor]:
    """Split lanes into turns: the k-th lane of each element is in turn k."""
    order = torch.argsort(elements, stable=True)
    ordered = elements[order]
    starts = torch.ones_like(ordered, dtype=torch.bool)
    starts[1:] = ordered[1:] != ordered[:-1]
    place = torch.arange(ordered.numel(), device=elements.device)
    first = torch.where(starts, place, 0).cummax(0).values
    turn = place - first
    count = int(turn.max()) + 1 if turn.numel() else 0
    if count == 1:
        return [order]
    by_turn = torch.argsort(turn, stable=True)
    sizes = torch.bincount(turn, minlength=count).tolist()
    return [order[part] for part in by_turn.split(sizes)]
