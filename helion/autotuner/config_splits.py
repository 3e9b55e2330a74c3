"""The knob ``loop_splits``: which loops have it, and how many programs are useful."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from helion.autotuner.config_fragment import PowerOfTwoFragment, padded_size
from helion.autotuner.config_limits import Extents

if TYPE_CHECKING:
    from collections.abc import Sequence

    from helion.autotuner.config_fragment import Fragment
    from helion.autotuner.config_spec import ConfigSpec

MAX_LOOP_SPLITS = 64
MAX_SEARCHED_BYTES = 1 << 28
"""A search draws no splits that leave more than this for the second half to read."""


@dataclass
class SplitLoopSpec:
    """A device loop whose turns several programs can share.

    ``size_hint`` is the length of its axis, which ``is_static`` tells to be known;
    ``bytes_left`` what each split leaves in memory, over all tiles; ``can_stream``
    that it has as many turns in one tile as in any other.
    """

    root_id: int
    loop_id: int
    block_id: int
    size_hint: int
    is_static: bool
    bytes_left: int
    can_stream: bool = True
    default: int = 1

    def fragment(self, spec: ConfigSpec) -> Fragment:
        """Return the searched numbers of splits."""
        entries = [e for e in spec.block_sizes if e.block_id == self.block_id]
        least = entries[0].min_size if entries else self._fixed(spec)
        turns = padded_size(max(-(-self.size_hint // least), 1))
        room = max(MAX_SEARCHED_BYTES // max(self.bytes_left, 1), 1)
        high = min(MAX_LOOP_SPLITS, turns, 1 << (room.bit_length() - 1))
        return PowerOfTwoFragment(1, high, min(self.default, high))

    def _fixed(self, spec: ConfigSpec) -> int:
        return max(spec.fixed_block_sizes.get(self.block_id, 1), 1)

    def limit(self, extents: Extents, splits: int) -> int:
        """Lower splits to the turns that there are, where that is known."""
        if not self.is_static:
            return splits
        tables = (extents.blocks, extents.reductions, extents.fixed)
        size = max(*(table.get(self.block_id, 1) for table in tables))
        return min(splits, max(-(-self.size_hint // size), 1))


def limit_loop_splits(
    spec: ConfigSpec,
    blocks: Sequence[int],
    chunks: Sequence[int | None],
    splits: Sequence[int],
) -> list[int]:
    """Lower splits to the turns that there are, and to one loop of each launch."""
    extents = Extents.of(spec, blocks, chunks)
    taken: set[int] = set()
    result = []
    for entry, count in zip(spec.split_loops, splits):
        count = 1 if entry.root_id in taken else entry.limit(extents, count)
        if count > 1:
            taken.add(entry.root_id)
        result.append(count)
    return result
