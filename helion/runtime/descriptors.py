"""What calls of kernels with tensor descriptors need on the host."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from torch._subclasses.fake_tensor import FakeTensor

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Sequence

    import torch

_MASK = 15  # addresses and strides are multiples of 16 bytes
_MOST_KNOWN = 1024
_known: dict[Any, Any] = {}


def aligned(*tensors: torch.Tensor) -> bool:
    """Whether tensors begin where a descriptor can; those without memory do."""
    for tensor in tensors:
        if type(tensor) is not FakeTensor and tensor.data_ptr() & _MASK:
            return False
    return True


def describable(tensor: torch.Tensor, dim: int) -> bool:
    """Whether a tensor with stride 1 along ``dim`` can have a descriptor."""
    sizes, strides, itemsize = tensor.size(), tensor.stride(), tensor.element_size()
    for other, (size, stride) in enumerate(zip(sizes, strides)):
        if size <= 0:
            return False
        if other != dim and (not stride or stride * itemsize & _MASK):
            return False
    return aligned(tensor)


def descriptor(
    tensor: torch.Tensor, block: Sequence[int], order: Sequence[int] | None = None
) -> Any:
    """Return Triton's descriptor of a tensor, its dims in the given order.

    On a GPU it is kept, and says no more than the address of the tensor.
    """
    if not tensor.is_cuda or type(tensor) is FakeTensor:
        return _make(tensor, tensor, block, order)
    address = tensor.data_ptr()
    key = address, tensor.dtype, tensor.shape, tensor.stride(), block, order
    found = _known.get(key)
    if found is None:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        found = _known[key] = _make(
            tensor, _Address(address, tensor.dtype), block, order
        )
        found.facts = tensor.dtype, tuple(block)
        found.parts = {}
    return found


def _make(
    tensor: torch.Tensor, base: Any, block: Sequence[int], order: Sequence[int] | None
) -> Any:
    sizes, strides = tensor.size(), tensor.stride()
    dims = range(len(sizes)) if order is None else order
    # The only element of a dim is at 0, wherever the next one would be.
    steps = [strides[i] if sizes[i] != 1 else 16 for i in dims[:-1]]
    kind = descriptor_type()
    return kind(base, [sizes[i] for i in dims], [*steps, 1], list(block))


@functools.cache
def descriptor_type() -> Any:
    """Return the type of descriptors that the launcher knows: one of Triton's."""
    from triton.tools.tensor_descriptor import TensorDescriptor

    return type("HostDescriptor", (TensorDescriptor,), {})


class _Address:
    """Stands for a tensor whose memory somebody else keeps."""

    is_cuda = True

    def __init__(self, address: int, dtype: torch.dtype) -> None:
        self.address, self.dtype = address, dtype

    def data_ptr(self) -> int:
        """Return the address, as a tensor does."""
        return self.address


def expander_of(
    launch: types.FunctionType, count: int
) -> tuple[Any, Callable[[Sequence[Any]], list[Any]]] | None:
    """Return Triton's C function, and what fills in descriptors among its arguments.

    ``launch`` is Triton's function around it; None: it is not as expected. What stands
    for a descriptor is the same at each launch of a kernel, so it is kept.
    """
    outer = inspect.getclosurevars(launch).nonlocals
    fill = launch.__globals__.get("make_tensordesc_arg")
    places, metas = outer.get("tensordesc_indices"), outer.get("tensordesc_meta")
    inner = outer.get("launcher")
    if fill is None or inner is None or not places or metas is None:
        return None
    if len(places) != len(metas) or max(places) >= count:
        return None
    known = dict(zip(sorted(places), metas))
    token = object()

    def expand(values: Sequence[Any]) -> list[Any]:
        final: list[Any] = []
        for place, value in enumerate(values):
            if place not in known:
                final.append(value)
                continue
            parts = value.parts.get((token, place))
            if parts is None:
                parts = value.parts[token, place] = fill(value, known[place])
            final += parts
        return final

    return inner, expand
