"""Nested tensors inside a kernel: rows of unequal length behind a dense face.

A kernel is written for ``[B, M, K]``. Called with a nested tensor it sees ``M`` as the
longest row, and reads and writes only what exists: row ``b`` is at ``offsets[b]`` of
the packed values.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from .. import exc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType


class JaggedLayout:
    """Where the rows of nested tensors begin and how long they are.

    While compiling, tensors are fakes and numbers are symbols.
    """

    def __init__(
        self,
        offsets: torch.Tensor,
        lengths: torch.Tensor | None,
        batch: int,
        max_length: int,
        total: int,
    ) -> None:
        self.offsets = offsets
        self.lengths = lengths
        self.batch = batch
        self.max_length = max_length
        self.total = total

    @cached_property
    def row_lengths(self) -> list[int]:
        """The lengths as numbers, for eager mode."""
        lengths = self.offsets.diff() if self.lengths is None else self.lengths
        return lengths.tolist()

    def length_here(self) -> int:
        """Return the length of the row that eager mode is at, or the longest."""
        row = current_row(self.batch)
        return self.max_length if row is None else self.row_lengths[row]


@dataclass(frozen=True)
class JaggedParts:
    """What a nested tensor consists of.

    Dim ``ragged_dim`` is packed: it is dim ``ragged_dim - 1`` of ``values``. ``padded``
    lists further dims of unequal length, which are as long as the longest row.
    """

    values: torch.Tensor
    layout: JaggedLayout
    ragged_dim: int
    padded: tuple[tuple[int, JaggedLayout], ...] = ()

    def shape(self) -> list[Any]:
        """Return the dense shape."""
        sizes: list[Any] = [self.layout.batch, *self.values.shape]
        sizes[self.ragged_dim] = self.layout.max_length
        return sizes

    @property
    def ragged(self) -> tuple[tuple[int, JaggedLayout], ...]:
        """All dims of unequal length, the packed one first."""
        return ((self.ragged_dim, self.layout), *self.padded)


class RaggedSize(int):
    """The size of a ragged dim: the longest row, and which rows these are."""

    layout: JaggedLayout

    def __new__(cls, value: int, layout: JaggedLayout) -> RaggedSize:
        made = super().__new__(cls, value)
        made.layout = layout
        return made


class BatchSize(int):
    """The number of rows, and which rows these are."""

    layout: JaggedLayout

    def __new__(cls, value: int, layout: JaggedLayout) -> BatchSize:
        made = super().__new__(cls, value)
        made.layout = layout
        return made


class JaggedTensor(torch.Tensor):
    """What a kernel's body gets for a nested tensor: a dense shape, packed values."""

    parts: JaggedParts

    @staticmethod
    def __new__(cls: type[JaggedTensor], parts: JaggedParts) -> JaggedTensor:
        values = parts.values
        made = torch.Tensor._make_wrapper_subclass(  # torch has no public way
            cls, parts.shape(), dtype=values.dtype, device=values.device
        )
        made.parts = parts
        return made

    def __init__(self, parts: JaggedParts) -> None:
        super().__init__()

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"JaggedTensor({list(self.parts.shape())}, {self.parts.values.dtype})"

    # What emitted host code reads.

    @property
    def jagged_values(self) -> torch.Tensor:
        """The packed rows."""
        return self.parts.values

    @property
    def jagged_offsets(self) -> torch.Tensor:
        """Where each row begins, and the end of the last one."""
        return self.parts.layout.offsets

    @property
    def jagged_lengths(self) -> torch.Tensor | None:
        """How long each row is, None if each ends where the next begins."""
        return self.parts.layout.lengths

    @property
    def max_length(self) -> int:
        """The length of the longest row."""
        return self.parts.layout.max_length

    @property
    def batch(self) -> int:
        """The number of rows."""
        return self.parts.layout.batch

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func == _GET_SHAPE:
            return _shape(args[0])
        if func is torch.Tensor.size:
            return _size(*args, **kwargs)
        if func in LIKE_FACTORIES:
            return _like(func, *args, **kwargs)
        if func in NEW_FACTORIES:
            return _new(func, *args, **kwargs)
        if func in _FACTS or _is_fact(func):
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        raise unsupported(func)

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise unsupported(func)


def unsupported(func: Any) -> exc.InvalidAPIUsage:
    """Make the error for an operation of host code on a nested tensor."""
    name = getattr(func, "__name__", str(func))
    return exc.InvalidAPIUsage(
        reason=f"{name} of a nested tensor outside the tile loops of a kernel",
        hint="host code of a kernel may read sizes, dtype and device of a nested "
        "tensor and make others like it; the rest goes into a tile loop",
    )


_GET_SHAPE = vars(torch._C.TensorBase)["shape"].__get__
_FACTS = frozenset(
    {
        torch.Tensor.dim,
        torch.Tensor.is_floating_point,
        torch.Tensor.is_complex,
        torch.Tensor.element_size,
        torch.Tensor.stride,
        torch.is_floating_point,
        torch.is_complex,
        torch.Tensor.is_inference,
    }
)
_FACT_NAMES = frozenset(
    {
        "device",
        "dtype",
        "grad_fn",
        "is_cpu",
        "is_cuda",
        "is_leaf",
        "is_meta",
        "is_nested",
        "is_quantized",
        "is_sparse",
        "layout",
        "ndim",
        "requires_grad",
    }
)
FACTORIES = frozenset(
    {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}
)
NEW_FACTORIES = frozenset(
    {
        torch.Tensor.new_empty,
        torch.Tensor.new_zeros,
        torch.Tensor.new_ones,
        torch.Tensor.new_full,
    }
)
LIKE_FACTORIES = frozenset(
    {
        torch.empty_like,
        torch.zeros_like,
        torch.ones_like,
        torch.full_like,
        torch.rand_like,
        torch.randn_like,
    }
)
"""What makes a tensor of the shape or the rows of another."""

_ZEROED: dict[Any, Callable[..., torch.Tensor]] = {
    torch.empty: torch.zeros,
    torch.Tensor.new_empty: torch.Tensor.new_zeros,
}


def _is_fact(func: Any) -> bool:
    is_getter = getattr(func, "__name__", "") == "__get__"
    return is_getter and getattr(func.__self__, "__name__", "") in _FACT_NAMES


def _shape(tensor: JaggedTensor) -> torch.Size:
    parts = tensor.parts
    sizes = parts.shape()
    sizes[0] = BatchSize(sizes[0], parts.layout)
    for dim, layout in parts.ragged:
        sizes[dim] = RaggedSize(sizes[dim], layout)
    return torch.Size(sizes)


def _size(tensor: JaggedTensor, dim: int | None = None) -> Any:
    sizes = _shape(tensor)
    return sizes if dim is None else sizes[dim]


def _like(func: Any, tensor: JaggedTensor, *args: Any, **kwargs: Any) -> JaggedTensor:
    parts = tensor.parts
    is_partial = func is torch.empty_like and parts.padded
    made = torch.zeros_like if is_partial else func
    values = made(parts.values, *args, **kwargs)
    return JaggedTensor(
        JaggedParts(values, parts.layout, parts.ragged_dim, parts.padded)
    )


def _new(func: Any, tensor: JaggedTensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    return make(func, (tensor.parts.values,), args, kwargs)


def make(
    func: Any,
    first: tuple[torch.Tensor, ...],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> torch.Tensor:
    """Call a factory; a ragged size makes the result jagged, with the same rows.

    ``first`` is what stands before the sizes.
    """
    sizes, rest, others = split_sizes(func, args, kwargs)
    ragged = ragged_dims(sizes)
    if not ragged:
        return func(*first, *args, **kwargs)
    (dim, layout), *padded = ragged
    packed = [int(size) for size in sizes[1:]]
    packed[dim - 1] = layout.total
    # What lies past the end of a padded row is not written: it is zero from the start.
    call: Any = _ZEROED.get(func, func) if padded else func
    values = call(*first, packed, *rest, **others)
    return JaggedTensor(JaggedParts(values, layout, dim, tuple(padded)))


def split_sizes(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[Any], tuple[Any, ...], dict[str, Any]]:
    """Return the sizes of a factory call, and its other arguments."""
    kwargs = dict(kwargs)
    if "size" in kwargs:
        return list(kwargs.pop("size")), args, kwargs
    if args and isinstance(args[0], (list, tuple)):
        return list(args[0]), args[1:], kwargs
    return list(args), (), kwargs


def ragged_dims(sizes: Sequence[Any]) -> list[tuple[int, JaggedLayout]]:
    """Return the dims of a shape that have rows, if its first dim counts them."""
    found = [
        (dim, size.layout)
        for dim, size in enumerate(sizes)
        if dim and isinstance(size, RaggedSize)
    ]
    return [(d, layout) for d, layout in found if int(sizes[0]) == layout.batch]


# -- running on nested tensors ---------------------------------------------------------


class _Rows(threading.local):
    """Which rows the eager loops of this thread are at: (number of rows, row)."""

    def __init__(self) -> None:
        self.stack: list[tuple[int, int]] = []
        self.layouts: list[JaggedLayout] = []


_rows = _Rows()


def current_row(batch: int) -> int | None:
    """Return the row of the innermost eager loop over ``batch`` rows."""
    found = (row for count, row in reversed(_rows.stack) if count == batch)
    return next(found, None)


def row_counts() -> set[int]:
    """Return how many rows the nested tensors of the running call have."""
    return {layout.batch for layout in _rows.layouts}


def enter_row(batch: int, row: int) -> None:
    """Note that an eager loop is at a row."""
    _rows.stack.append((batch, row))


def leave_row() -> None:
    """Undo the last ``enter_row``."""
    _rows.stack.pop()


class JaggedMode(TorchFunctionMode):
    """Gives factories called with a ragged size their meaning during a call."""

    def __init__(self, layouts: Sequence[JaggedLayout]) -> None:
        super().__init__()
        self.layouts = list(layouts)

    def __enter__(self) -> Any:
        self.before = _rows.stack, _rows.layouts
        _rows.stack, _rows.layouts = [], self.layouts
        return super().__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _rows.stack, _rows.layouts = self.before
        super().__exit__(kind, error, trace)

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        is_new = func in NEW_FACTORIES and not isinstance(args[0], JaggedTensor)
        if func in FACTORIES or is_new:
            first = args[:1] if is_new else ()
            if _rows.stack:
                args = _here(args)
                return func(*args, **kwargs)
            return make(func, first, args[len(first) :], kwargs)
        return func(*args, **kwargs)


def _here(value: Any) -> Any:
    """Return sizes as a loop over rows sees them: those of its row."""
    if isinstance(value, RaggedSize):
        return value.layout.length_here()
    if isinstance(value, (list, tuple)):
        return type(value)(_here(item) for item in value)
    return value


def from_nested(nested: Any, layout: JaggedLayout | None = None) -> JaggedTensor:
    """Return what stands for a nested tensor of the jagged layout."""
    if layout is None:
        layout = layout_of(nested)
    return JaggedTensor(JaggedParts(nested._values, layout, nested._ragged_idx))


def layout_of(nested: Any) -> JaggedLayout:
    """Return the rows of a nested tensor; the longest one is counted once."""
    offsets, lengths = nested._offsets, nested._lengths
    longest = int(nested._get_max_seqlen())
    total = nested._values.size(nested._ragged_idx - 1)
    return JaggedLayout(offsets, lengths, nested.size(0), longest, total)


def to_nested(tensor: JaggedTensor) -> torch.Tensor:
    """Return the nested tensor that a kernel's result stands for."""
    parts = tensor.parts
    return torch.nested.nested_tensor_from_jagged(
        parts.values,
        parts.layout.offsets,
        parts.layout.lengths,
        jagged_dim=parts.ragged_dim,
        max_seqlen=parts.layout.max_length,
    )
