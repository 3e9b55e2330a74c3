"""Stack tensors: many buffers of one shape, reached by their addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .. import exc
from . import _decorators
from ._eager import mark_loaded
from ._eager_indexing import fit_mask, fit_value, native, select

Index = Sequence[object]


@dataclass(frozen=True)
class StackTensor:
    """Equally shaped buffers seen as one tensor; :func:`stacktensor_like` makes it.

    ``stack[i, tile]`` covers the dims of ``tensor_like`` and gives a value whose first
    dims are those of ``dev_ptrs``; ``stack[i, tile] = value`` stores likewise. So do
    ``hl.load`` and ``hl.store``.
    """

    tensor_like: torch.Tensor
    dev_ptrs: torch.Tensor

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the buffers."""
        return self.tensor_like.dtype

    @property
    def device(self) -> torch.device:
        """The device that reads and writes the buffers."""
        return self.tensor_like.device

    @property
    def shape(self) -> tuple[Any, ...]:
        """The dims of the addresses, then those of a buffer."""
        return (*self.dev_ptrs.shape, *self.tensor_like.shape)

    def new_empty(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Do what ``new_empty`` of a buffer would do."""
        return self.tensor_like.new_empty(*args, **kwargs)

    def __getitem__(self, index: object) -> torch.Tensor:
        return stack_load(self, _elements(index))

    def __setitem__(self, index: object, value: Any) -> None:
        stack_store(self, _elements(index), value)


@_decorators.api()
def stacktensor_like(tensor_like: torch.Tensor, dev_ptrs: torch.Tensor) -> StackTensor:
    """Return the buffers at some addresses as one tensor.

    Args:
        tensor_like: a host tensor with the shape, strides and dtype of each buffer.
        dev_ptrs: a device tensor of addresses, loaded from a uint64 tensor.

    Raises:
        exc.StackTensorcOnHost: (compiled) outside a device loop.
        exc.StackTensorDevPtrOnHost: (compiled) the addresses were not loaded.
        exc.StackTensorExampleOnDevice: (compiled) ``tensor_like`` is a device value.
        exc.StackTensorDevPtrDtype: the addresses are not uint64.

    Example::

        stack = hl.stacktensor_like(like, pointers[:])
        out[:, tile] = stack[tile] * 2
    """
    check_pointers(dev_ptrs)
    return StackTensor(tensor_like, dev_ptrs)


def check_pointers(dev_ptrs: torch.Tensor) -> None:
    """Raise StackTensorDevPtrDtype unless they are uint64."""
    if dev_ptrs.dtype != torch.uint64:
        raise exc.StackTensorDevPtrDtype(dtype=dev_ptrs.dtype)


@_decorators.api(is_device_only=True)
def stack_load(
    stack: StackTensor, index: Index, extra_mask: torch.Tensor | None = None
) -> torch.Tensor:
    """What ``hl.load`` of a stack tensor does."""
    with native():
        addresses = stack.dev_ptrs.reshape(-1).tolist()
        buffers = [_buffer(stack.tensor_like, address) for address in addresses]
        parts = [select(buffer, index, is_padded=False).read() for buffer in buffers]
        shape = [*stack.dev_ptrs.shape, *_selected(stack, index)]
        like = stack.tensor_like
        result = torch.stack(parts).reshape(shape) if parts else like.new_zeros(shape)
        if extra_mask is not None:
            lanes = fit_mask(extra_mask, tuple(shape))
            result = torch.where(lanes, result, torch.zeros_like(result))
    return mark_loaded(result)


@_decorators.api(is_device_only=True, impure=True)
def stack_store(
    stack: StackTensor,
    index: Index,
    value: Any,
    extra_mask: torch.Tensor | None = None,
) -> None:
    """What ``hl.store`` into a stack tensor does."""
    with native():
        inner = tuple(_selected(stack, index))
        shape = (*stack.dev_ptrs.shape, *inner)
        fitted = fit_value(stack.tensor_like, shape, value)
        values = torch.as_tensor(fitted, device=stack.device).expand(shape)
        lanes = torch.ones(shape, dtype=torch.bool, device=stack.device)
        if extra_mask is not None:
            lanes = fit_mask(extra_mask, shape)
        addresses = stack.dev_ptrs.reshape(-1).tolist()
        rows = values.reshape(len(addresses), *inner)
        masks = lanes.reshape(len(addresses), *inner)
        for address, row, mask in zip(addresses, rows, masks, strict=True):
            buffer = _buffer(stack.tensor_like, address)
            select(buffer, index, is_padded=False).write(row, mask)


def _elements(index: object) -> list[object]:
    return list(index) if isinstance(index, (tuple, list)) else [index]


def _selected(stack: StackTensor, index: Index) -> tuple[int, ...]:
    return select(stack.tensor_like, index, is_padded=False).shape


class _Memory:
    """A stretch of memory, for numpy (on a CPU) and torch (on a GPU)."""

    def __init__(self, address: int, size: int) -> None:
        self.interface = {
            "data": (address, False),
            "shape": (size,),
            "typestr": "|u1",
            "version": 3,
        }

    @property
    def __array_interface__(self) -> dict[str, object]:
        return self.interface

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        return self.interface


def _buffer(like: torch.Tensor, address: int) -> torch.Tensor:
    """Return the tensor of the form of ``like`` at an address."""
    sizes, strides = tuple(like.shape), tuple(like.stride())
    if 0 in sizes:
        return torch.empty_like(like)
    last = sum((size - 1) * stride for size, stride in zip(sizes, strides))
    memory = _Memory(address, (last + 1) * like.element_size())
    if like.is_cuda:
        raw = torch.as_tensor(memory, device=like.device)
    else:
        raw = torch.from_numpy(np.asarray(memory))
    return raw.view(like.dtype).as_strided(sizes, strides)
