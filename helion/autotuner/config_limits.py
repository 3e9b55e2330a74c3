"""The cap on elements of one tile: who exceeds it, and what to halve."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from helion.autotuner.config_fragment import padded_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from helion.autotuner.config_spec import ConfigSpec

Dim = int | tuple[Literal["block", "reduction"], int]
TensorShape = tuple[Dim, ...]


@dataclass(frozen=True)
class Extents:
    """The tile extents that a choice of blocks and chunks gives to block ids."""

    blocks: dict[int, int]
    reductions: dict[int, int]
    fixed: dict[int, int]

    @classmethod
    def of(
        cls, spec: ConfigSpec, blocks: Sequence[int], chunks: Sequence[int | None]
    ) -> Extents:
        """Take values in the order of ``spec``; a chunk of None is the whole axis."""
        return cls(
            {entry.block_id: n for entry, n in zip(spec.block_sizes, blocks)},
            {
                entry.block_id: entry.padded if n is None else n
                for entry, n in zip(spec.reduction_loops, chunks)
            },
            spec.fixed_block_sizes,
        )

    def extent(self, dim: Dim) -> int:
        """Return how many elements a tile has along ``dim``."""
        if isinstance(dim, int):
            return padded_size(dim)
        kind, block_id = dim
        sizes = self.blocks if kind == "block" else self.reductions
        size = sizes.get(block_id, self.fixed.get(block_id))
        assert size is not None, f"{dim} has no knob and no fixed size"
        return size

    def numel(self, shape: TensorShape) -> int:
        return math.prod(self.extent(dim) for dim in shape)


def oversized(
    spec: ConfigSpec, blocks: Sequence[int], chunks: Sequence[int | None]
) -> Iterator[tuple[TensorShape, int]]:
    """Yield (shape, elements) of each different tile above the cap of ``spec``."""
    extents = Extents.of(spec, blocks, chunks)
    for shape in dict.fromkeys(spec.tensor_shapes):
        if (numel := extents.numel(shape)) > spec.max_tensor_numel:
            yield shape, numel


def shrink_blocks(
    spec: ConfigSpec, blocks: Sequence[int], chunks: Sequence[int | None], cap: int
) -> list[int]:
    """Halve the largest block of each tile above ``cap``, not below its minimum."""
    sizes = list(blocks)
    for shape in spec.tensor_shapes:
        inside = [i for i, e in enumerate(spec.block_sizes) if _has(shape, e.block_id)]
        while Extents.of(spec, sizes, chunks).numel(shape) > cap:
            larger = [i for i in inside if sizes[i] > spec.block_sizes[i].min_size]
            if not larger:
                break
            sizes[max(larger, key=lambda i: sizes[i])] //= 2
    return sizes


def shrink_chunks(
    spec: ConfigSpec, blocks: Sequence[int], chunks: Sequence[int | None], cap: int
) -> list[int | None]:
    """Halve the largest reduction chunk of each tile that is still above ``cap``."""
    sizes = list(chunks)
    entries = spec.reduction_loops
    for shape in spec.tensor_shapes:
        inside = [
            i for i, e in enumerate(entries) if ("reduction", e.block_id) in shape
        ]
        while Extents.of(spec, blocks, sizes).numel(shape) > cap:
            extents = {i: sizes[i] or entries[i].padded for i in inside}
            largest = max(inside, key=lambda i: extents[i], default=None)
            if largest is None or extents[largest] <= 2:
                break
            sizes[largest] = extents[largest] // 2
    return sizes


def limit_splits(
    spec: ConfigSpec,
    blocks: Sequence[int],
    chunks: Sequence[int | None],
    splits: Sequence[int],
) -> list[int]:
    """Lower splits to the chunks that there are, and to what one tile can fold.

    An axis that one tile holds is not split.
    """
    chunk_of = {e.block_id: n for e, n in zip(spec.reduction_loops, chunks)}
    extents = Extents.of(spec, blocks, chunks)
    result = []
    for entry, count in zip(spec.split_reductions, splits):
        chunk = chunk_of[entry.block_id]
        if chunk is None:
            result.append(1)
            continue
        largest = max(extents.numel(shape) for shape in entry.shapes)
        room = max(spec.max_tensor_numel // max(largest, 1), 1)
        turns = padded_size(max(-(-entry.size_hint // chunk), 1))
        result.append(min(count, turns, 1 << (room.bit_length() - 1)))
    return result


def _has(shape: TensorShape, block_id: int) -> bool:
    return ("block", block_id) in shape
