"""What values need of shared memory to pass from one layout to another.

The rules were read off the allocations in Triton's output (3.6 and 3.7): a block goes
through shared memory in groups of the elements that a thread has before and after.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from helion.autotuner.block_layouts import (
    VECTOR_BYTES,
    Layouts,
    blocked_layout,
    register_bits,
)

if TYPE_CHECKING:
    from helion._compiler.kernel_facts import Access, Body, Tile
    from helion.autotuner.config_choice import Choice
    from helion.autotuner.device_facts import DeviceFacts

WARP = 32
POINTER_BYTES = 8


def _is_side(body: Body, access: Access) -> bool:
    """Whether a side of a product is made of nothing but this load, and of others."""
    sides = [side for p in body.products for side in (p.left, p.right)]
    return any(body.accesses[place] is access for s in sides for place in s.sources)


@dataclass
class LayoutChanges:
    """Finds the changes of layout in a body, and their bytes."""

    choice: Choice
    device: DeviceFacts
    layouts: Layouts

    def moved(self, body: Body, access: Access) -> int:
        """Return what an access needs to change the layout of its values."""
        choice = self.choice
        if choice.mode(access) == "tensor_descriptor":
            is_load = access.kind == "load" and not access.feeds_product
            return self.choice.size(access.tile) if is_load else self.staged(access)
        if access.kind == "atomic":
            # Triton moves the addresses rather than the values.
            shape = choice.shape(access.tile)
            is_long = len(shape) == 1 or (shape and shape[-1] >= 4 * WARP)
            moves = access.is_gathered and is_long
            return choice.numel(access.tile) * POINTER_BYTES if moves else 0
        shape = choice.shape(access.tile)
        if len(shape) >= 2 and not _is_side(body, access):
            version = self.layouts.outs.get(self.layouts.blocks(access.tile))
            if version is not None:
                return self._from_matrix(access, version)
        if access.kind == "load" and len(shape) == 1 and self._spreads(body, access):
            return self.choice.size(access.tile)
        if access.kind == "store":
            return self._converted(body, access)
        return 0

    def staged(self, access: Access) -> int:
        """Return the place from which a descriptor copies what is stored."""
        if access.kind == "load" or self.choice.mode(access) != "tensor_descriptor":
            return 0
        return self.choice.size(access.tile) // (
            self.choice.config.get("epilogue_subtile") or 1
        )

    def _from_matrix(self, access: Access, version: int) -> int:
        """Return what moves between the layout of a product and that of an access.

        Rows that a thread holds in both move one group at a time.
        """
        size = self.choice.size(access.tile)
        if version == 5:
            # A thread reads a row of tensor memory, a vector at a time.
            parts = VECTOR_BYTES // access.itemsize
            return size if access.kind == "load" else size // parts
        shape, own, lanes, warps = self.layouts.of(access.tile)
        if version < 3 or len(shape) != 2:
            return size
        # 8 rows of lanes, twice in a thread, then 4 warps of a group, then groups.
        rows = {b for b in range(shape[0].bit_length() - 1)} - {0, 1, 2, 4, 5}
        groups = min(self.choice.warps // 4, shape[0] // 64)
        rows -= {6 + b for b in range(groups.bit_length() - 1)}
        common = rows & register_bits(shape[0], own[0], lanes[0] * warps[0])
        bits = len(common) - (access.itemsize >= 4)
        return size >> max(bits, 0)

    def _spreads(self, body: Body, access: Access) -> bool:
        """Whether a row is loaded by other threads than those that need it."""
        choice = self.choice
        numel = choice.numel(access.tile)
        if numel < choice.threads:
            return False
        vector = self.layouts.vector(access)
        _, lanes, warps = blocked_layout([numel], [0], vector, choice.warps)
        for work in body.work:
            shape = choice.shape(work.tile)
            if len(shape) != 2 or not self.layouts.blocks(
                access.tile
            ) <= self.layouts.blocks(work.tile):
                continue
            shape, *places = self.layouts.of(work.tile)
            at = next((i for i in (1, 0) if shape[i] == numel), None)
            if at is not None:
                wanted = [place[at] for place in places]
                return wanted != [vector, lanes[0], warps[0]]
        return False

    def crossed(self, body: Body) -> list[int]:
        """Return what blocks need that meet a long column loaded along itself."""
        return [self._turned(tile, column) for tile, column in self._crossings(body)]

    def crossed_tiles(self, body: Body) -> list[Tile]:
        """Return the blocks that are there in two layouts."""
        return [tile for tile, _ in self._crossings(body)]

    def _crossings(self, body: Body) -> list[tuple[Tile, Access]]:
        choice, found = self.choice, []
        for column in body.accesses:
            run = self.layouts.contiguous(column)
            dims = [d.lanes(choice.sizes) for d in column.tile.dims]
            if column.kind != "load" or 1 not in dims or len(dims) < 2 or run is None:
                continue
            lanes = choice.sizes[run]
            if lanes < choice.threads or choice.numel(column.tile) != lanes:
                continue
            for work in body.work:
                shape = choice.shape(work.tile)
                if len(shape) == 2 and run in work.tile.dims[0].blocks:
                    found.append((work.tile, column))
        return found

    def _turned(self, tile: Tile, column: Access) -> int:
        """Return the bytes of a 4-byte block on its way to the layout of a column.

        Elements that a thread has before and after move one group at a time.
        """
        shape, own, lanes, warps = self.layouts.of(tile)
        other = blocked_layout(
            shape, [0, 1], self.layouts.vector(column), self.choice.warps
        )
        bits = 0
        for dim in range(2):
            before = register_bits(shape[dim], own[dim], lanes[dim] * warps[dim])
            after = register_bits(
                shape[dim], other[0][dim], other[1][dim] * other[2][dim]
            )
            bits += len(before & after)
        if self.device.limits.dot < 3:
            bits -= min(bits, 2)
        return self.choice.numel(tile) * 4 >> bits

    def _converted(self, body: Body, access: Access) -> int:
        """Return what a store needs that wants another layout than the loads before.

        Elements that a thread has before and after, beyond a vector, move in groups.
        """
        numel, vector = self.choice.numel(access.tile), self.layouts.vector(access)
        run = self.layouts.contiguous(access)
        for other in body.accesses:
            if other.kind != "load" or other.feeds_product or run is None:
                continue
            if self.choice.numel(other.tile) != numel or numel <= self.choice.threads:
                continue
            if self.layouts.contiguous(other) not in (None, run):
                return self.choice.size(access.tile)
            wide = self.layouts.vector(other)
            if wide > vector:
                return self._regrouped(access, wide, vector)
        return 0

    def _regrouped(self, access: Access, wide: int, vector: int) -> int:
        """Return the bytes of a change of the vector alone."""
        choice, size = self.choice, self.choice.size(access.tile)
        shape = choice.shape(access.tile)
        if len(shape) != 1:
            return size
        before = register_bits(shape[0], wide, choice.threads)
        after = register_bits(shape[0], vector, choice.threads)
        own = (VECTOR_BYTES // access.itemsize).bit_length() - 1
        return size >> max(len(before & after) - own, 0)
