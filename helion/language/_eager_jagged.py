"""Eager mode on nested tensors: row by row, so that nothing is padded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from .. import exc
from ._eager import running_loop
from ._eager_indexing import SELECTORS, Selection, native, select
from .jagged_access import packed_index
from .jagged_tensor import (
    BatchSize,
    JaggedLayout,
    JaggedTensor,
    RaggedSize,
    current_row,
    enter_row,
    leave_row,
    row_counts,
)
from .tile import Tile

# Makes what a loop yields: (begin, end, step, index).
Item = Callable[[int, int, int, int], Any]


class EagerReader:
    """Reads rows of real tensors."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def row(self, layout: JaggedLayout, element: Any) -> tuple[Any, Any]:
        """Return where the rows that an element names begin, and their lengths."""
        which = self.positions(element, layout.batch, None)
        start, lengths = layout.offsets[which], layout.lengths
        if lengths is not None:
            return start, lengths[which]
        return start, layout.offsets[which + 1] - start

    def positions(self, element: Any, size: Any, length: Any) -> Any:
        """Return positions; a whole row is as long as it is, if it is one row."""
        if isinstance(element, Tile):
            return torch.arange(element.begin, element.end, device=self.device)
        if isinstance(element, slice):
            is_one = isinstance(length, torch.Tensor) and length.numel() == 1
            whole = int(length) if is_one else int(size)
            return torch.arange(*element.indices(whole), device=self.device)
        if isinstance(element, int) and element < 0:
            return element + int(size)
        return element

    def is_limited(self, element: Any, layout: JaggedLayout, batch: Any) -> bool:
        """Nothing is limited of itself."""
        return False


@dataclass(frozen=True)
class JaggedSelection(Selection):
    """Elements of a nested tensor; lanes that do not exist read as 0."""

    lanes: torch.Tensor

    def valid(self) -> torch.Tensor:
        return super().valid() & self.lanes

    def read(self) -> torch.Tensor:
        values = super().read()
        with native():
            return torch.where(self.valid(), values, torch.zeros_like(values))


def select_jagged(tensor: torch.Tensor, elements: list[object]) -> Selection:
    """Resolve a subscript, with one element per dim, of a nested tensor."""
    assert isinstance(tensor, JaggedTensor)
    _check_row(tensor, elements)
    with native():
        found = packed_index(tensor.parts, elements, EagerReader(tensor.device))
        plain = select(found.values, found.index, is_padded=False)
        shape = [plain.shape[found.packed.index(label)] for label in found.dense]
        dims = [
            replace(dim, positions=found.to_dense(dim.positions), span=None)
            for dim in plain.dims
        ]
        lanes = torch.ones((), dtype=torch.bool, device=tensor.device)
        if found.lanes is not None:
            lanes = found.to_dense(found.lanes)
    return JaggedSelection(found.values, tuple(shape), tuple(dims), None, lanes)


SELECTORS[JaggedTensor] = select_jagged


def _check_row(tensor: JaggedTensor, elements: Sequence[Any]) -> None:
    """Refuse to read another row than that by which loops were shortened."""
    row = current_row(tensor.parts.layout.batch)
    batch = next(element for element in elements if element is not None)
    other = batch.begin if isinstance(batch, Tile) else batch
    if row is not None and isinstance(other, int) and other != row:
        raise exc.InvalidAPIUsage(
            reason=f"row {other} of a nested tensor is read in a loop that is at row "
            f"{row}",
            hint="let the loop over the rows end at x.size(0) of the nested tensor",
        )


# -- loops -----------------------------------------------------------------------------


def row_dims(ends: Sequence[Any]) -> list[int]:
    """Return which dims of a loop go over the rows of nested tensors."""
    counts = row_counts()
    if not counts:
        return []
    exact = [dim for dim, end in enumerate(ends) if isinstance(end, BatchSize)]
    plain = [
        dim
        for dim, end in enumerate(ends)
        if not isinstance(end, RaggedSize) and int(end) in counts
    ]
    return exact or plain[:1]


def has_rows(ends: Sequence[Any]) -> bool:
    """Return whether a loop goes over, or along, the rows of nested tensors."""
    if not row_counts():
        return False
    return any(isinstance(end, RaggedSize) for end in ends) or bool(row_dims(ends))


def walk_rows(
    ranges: Sequence[tuple[int, Any, int | None]],
    is_list: bool,
    device: torch.device | None,
    item: Item,
) -> Iterator[Any]:
    """Yield the points of a loop, each of its rows with the lengths of that row.

    ``ranges`` are (begin, end, step) per dim; a step of None covers the dim at once.
    """
    rows = row_dims([end for _, end, _ in ranges])
    order = [*rows, *(dim for dim in range(len(ranges)) if dim not in rows)]
    chosen: dict[int, Any] = {}

    def points(at: int) -> Iterator[tuple[Any, ...]]:
        if at == len(order):
            yield tuple(chosen[dim] for dim in range(len(ranges)))
            return
        dim = order[at]
        begin, given, size = ranges[dim]
        end = _end_here(given)
        step = 1 if dim in rows else size or max(end - begin, 1)
        for index in range(begin, end, step):
            chosen[dim] = item(begin, end, step, index)
            if dim not in rows:
                yield from points(at + 1)
                continue
            enter_row(int(given), index)
            try:
                yield from points(at + 1)
            finally:
                leave_row()

    with running_loop(device):
        for point in points(0):
            yield point if is_list else point[0]


def _end_here(end: Any) -> int:
    if not isinstance(end, RaggedSize):
        return int(end)
    if current_row(end.layout.batch) is None:
        raise exc.InvalidAPIUsage(
            reason="a loop along the rows of a nested tensor runs eagerly, but no loop "
            "over the rows is around it",
            hint="loop over x.size(0) first, or in the same hl.tile",
        )
    return end.layout.length_here()
