"""Subscripts of nested tensors: which packed elements they name, and which exist.

The same steps serve eager mode, on real tensors, and the tracer: the beginning and the
length of a row are loaded, the position in the row is added to the one and compared
with the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from .. import exc
from .tile import Tile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .jagged_tensor import JaggedLayout, JaggedParts

# A selection's dims by what made them: the position in the subscript.
Labels = list[int]


class Reader(Protocol):
    """What differs between eager mode and the tracer."""

    def row(self, layout: JaggedLayout, element: Any) -> tuple[Any, Any]:
        """Return where the rows that an element names begin, and their lengths."""
        ...

    def positions(self, element: Any, size: Any, length: Any) -> Any:
        """Return the positions of an element: a vector, or a scalar."""
        ...

    def is_limited(self, element: Any, layout: JaggedLayout, batch: Any) -> bool:
        """Return whether accesses along an element are limited to the rows anyway."""
        ...


@dataclass(frozen=True)
class JaggedIndex:
    """A subscript of the packed values.

    ``lanes`` says which lanes exist (None: all), in the dims of ``packed``; ``dense``
    and ``packed`` label the dims of the selection from both views.
    """

    values: torch.Tensor
    index: list[Any]
    lanes: torch.Tensor | None
    dense: Labels
    packed: Labels

    def to_dense(self, value: torch.Tensor) -> torch.Tensor:
        """Return a loaded value with its dims in the order of the subscript."""
        if self.dense == self.packed:
            return value
        return value.permute([self.packed.index(label) for label in self.dense])

    def to_packed(self, value: Any) -> Any:
        """Return a value to store, or a mask, with its dims as in memory."""
        if not isinstance(value, torch.Tensor) or self.dense == self.packed:
            return value
        if value.dim() == 0 or value.dim() > len(self.dense):
            return value
        while value.dim() < len(self.dense):
            value = value.unsqueeze(0)
        return value.permute([self.dense.index(label) for label in self.packed])


def packed_index(
    parts: JaggedParts, index: Sequence[Any], reader: Reader
) -> JaggedIndex:
    """Resolve a subscript with one element per dim, ``None`` aside."""
    elements = [_unpacked(element) for element in index]
    places = [i for i, element in enumerate(elements) if element is not None]
    if len(places) != len(parts.shape()):
        raise exc.RankMismatch(
            tensor="a nested tensor", expected=len(parts.shape()), got=len(places)
        )
    batch_at, ragged_at = places[0], places[parts.ragged_dim]
    batch = elements[batch_at]
    start, length = reader.row(parts.layout, batch)
    size = parts.layout.max_length
    where = reader.positions(elements[ragged_at], size, length)
    _check_vectors(elements, places)
    rows = _sum(start, where)
    index = [
        rows if i == ragged_at else element
        for i, element in enumerate(elements)
        if i != batch_at
    ]
    dense = _labels(elements, range(len(elements)))
    packed = _packed_labels(dense, batch_at, ragged_at, elements)
    limits = []
    for dim, layout in parts.ragged:
        element = elements[places[dim]]
        if reader.is_limited(element, layout, batch):
            continue
        _, limit = reader.row(layout, batch)
        position = reader.positions(element, layout.max_length, limit)
        limits.append(_below(position, limit, places[dim], batch_at, packed))
    lanes = None
    for limit in limits:
        lanes = limit if lanes is None else lanes & limit
    return JaggedIndex(parts.values, index, lanes, dense, packed)


def _unpacked(element: Any) -> Any:
    """Return the tile in a list of one tile."""
    is_list = isinstance(element, (list, tuple)) and len(element) == 1
    return element[0] if is_list and isinstance(element[0], Tile) else element


def is_vector(element: Any) -> bool:
    """Return whether an element gives the selection a dim."""
    if isinstance(element, torch.Tensor):
        return element.dim() > 0
    return element is None or isinstance(element, (Tile, slice))


def _check_vectors(elements: Sequence[Any], places: Sequence[int]) -> None:
    for place in places:
        element = elements[place]
        if isinstance(element, torch.Tensor) and element.dim() > 1:
            raise exc.InvalidIndexingType(
                index=f"a tensor with {element.dim()} dims, for a nested tensor",
                hint="index a nested tensor by tiles, slices, numbers and vectors",
            )


def _labels(elements: Sequence[Any], places: Any) -> Labels:
    return [i for i in places if is_vector(elements[i])]


def _packed_labels(
    dense: Labels, batch_at: int, ragged_at: int, elements: Sequence[Any]
) -> Labels:
    """Return the labels with the batch right before the rows."""
    if not is_vector(elements[batch_at]):
        return dense
    rest = [label for label in dense if label != batch_at]
    following = [label for label in rest if label >= ragged_at]
    at = len(rest) - len(following)
    return [*rest[:at], batch_at, *rest[at:]]


def _sum(start: Any, where: Any) -> Any:
    """Return ``start + where``, as a matrix if both are vectors."""
    if _rank(start) and _rank(where):
        return start.unsqueeze(1) + where.unsqueeze(0)
    return start + where


def _rank(value: Any) -> int:
    return value.dim() if isinstance(value, torch.Tensor) else 0


def _below(
    position: Any, limit: Any, place: int, batch_at: int, labels: Labels
) -> torch.Tensor:
    """Return ``position < limit`` in the dims of the selection."""
    if _rank(position):
        position = _at(position, labels.index(place), len(labels))
    if _rank(limit):
        limit = _at(limit, labels.index(batch_at), len(labels))
    return limit > position


def _at(vector: torch.Tensor, dim: int, rank: int) -> torch.Tensor:
    for other in range(rank):
        if other != dim:
            vector = vector.unsqueeze(other)
    return vector
