"""Shared memory of a program: pipelined operands, and what passes between threads.

The rules are those of Triton's compiler (3.6 and 3.7): which loads it pipelines into
how many buffers, and where a value passes through shared memory.
``scripts/check_resources`` holds them to assembled kernels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from helion.autotuner.block_layouts import Layouts, matrix_version
from helion.autotuner.layout_changes import LayoutChanges

if TYPE_CHECKING:
    from helion._compiler.kernel_facts import (
        Access,
        Body,
        Fold,
        Launch,
        Operand,
        Product,
    )
    from helion.autotuner.config_choice import Choice, Region
    from helion.autotuner.device_facts import DeviceFacts

BARRIER_BYTES = 8


@dataclass
class SharedMemory:
    """Finds the place in a launch where most shared memory is in use."""

    launch: Launch
    choice: Choice
    device: DeviceFacts
    splits: int = 1

    def __post_init__(self) -> None:
        self.region = self.choice.region(self.launch, self.splits)
        self.layouts = Layouts(self.launch, self.choice, self.device)
        self.changes = LayoutChanges(self.choice, self.device, self.layouts)

    def peak(self) -> int:
        """Return the bytes of a program."""
        return self._region(self.region, 0)

    def _region(self, region: Region, held: int) -> int:
        """Return the most that is in use in a region, with ``held`` by those around."""
        base = held + self._captured(region)
        if self.choice.is_persistent and region is self.region:
            # Copies out of the last tile are under way when the next one begins.
            base += sum(self.changes.staged(a) for a in region.accesses())
        if region.depth > 1:
            base += sum(self._buffers(region, body) for body in region.bodies)
        peaks = [base]
        for body in region.bodies:
            peaks += [base + size for size in self._operands(region, body)]
            peaks += [base + self._fold(fold) for fold in body.folds]
            peaks += [base + self.changes.moved(body, a) for a in body.accesses]
            peaks += [base + size for size in self.changes.crossed(body)]
        peaks += [self._region(child, base) for child in region.children]
        return max(peaks)

    def _buffers(self, region: Region, body: Body) -> int:
        """Return what the pipeline of a loop holds."""
        total = 0
        for index, access in enumerate(body.accesses):
            if access.kind == "load" and self._is_pipelined(region, access):
                size = self.choice.numel(access.tile) * access.itemsize
                total += size * self._copies(region, body, index)
        total *= max(self.choice.range_value("range_unroll_factors", body) or 1, 1)
        if total and self._versions(body) == {5}:
            total += BARRIER_BYTES * 2 * len(body.products)
        return total

    def _has_chain(self, region: Region) -> bool:
        """Whether operands are loaded from where other loads of a loop tell."""
        loads = [a for a in region.accesses() if a.kind == "load"]
        waits = any(a.waits for a in loads if a.feeds_product)
        return waits and any(not a.feeds_product and a.tile.dims for a in loads)

    def _copies(self, region: Region, body: Body, index: int) -> int:
        """Return buffers of a load: one more where the product reads them itself."""
        depth = region.depth
        if self._has_chain(region):
            # Indices are loaded in turns before: their stages are shared.
            depth = -(-depth // 2)
        for product in body.products:
            if index in (product.left.load, product.right.load):
                version = matrix_version(product, self.choice, self.device)
                operand = product.left if product.left.load == index else product.right
                if version >= 3 and not self._has_mask(operand):
                    return depth
        return max(depth - 1, 1)

    def _is_pipelined(self, region: Region, access: Access) -> bool:
        if self.choice.mode(access) == "tensor_descriptor":
            return True
        wanted = access.feeds_product or bool(
            self.choice.range_value("range_num_stages", region.bodies[0])
        )
        # An asynchronous copy moves at least 4 bytes at a time.
        return wanted and self.layouts.vector(access) * access.itemsize >= 4

    def _versions(self, body: Body) -> set[int]:
        return {matrix_version(p, self.choice, self.device) for p in body.products}

    def _has_mask(self, operand: Operand) -> bool:
        choice = self.choice
        return any(
            choice.axes[b].numel % choice.sizes[b] or not choice.axes[b].is_static
            for b in operand.masks
        )

    def _captured(self, region: Region) -> int:
        """Return the operands that come from outside of a loop and stay."""
        total, seen = 0, set()
        if not region.is_loop:
            return 0
        for product in [p for body in region.bodies for p in body.products]:
            for operand in (product.left, product.right):
                if operand.is_carried_in and operand.tile not in seen:
                    seen.add(operand.tile)
                    total += self.choice.size(operand.tile)
        return total

    def _operands(self, region: Region, body: Body) -> list[int]:
        """Return what the sides of each product need beside the pipeline's buffers.

        What comes from memory as it is stays until its last product, what is computed
        for a warp group until the products are done.
        """
        loaded = self._loaded(region, body)
        found, made = [], 0
        for place, product in enumerate(body.products):
            version = matrix_version(product, self.choice, self.device)
            together = sum(loaded[place].values())
            alone = 0
            for operand in self._unbuffered(region, body, product):
                size = self.choice.size(operand.tile)
                if operand.load is not None and not _is_widened(operand, version):
                    continue
                if operand.is_carried_in:
                    together += size
                elif operand is product.right and version >= 3:
                    made += size
                elif operand.sources:
                    tiles = [body.accesses[i].tile for i in operand.sources]
                    alone = max(alone, *map(self.choice.size, tiles))
                elif operand is product.right:
                    alone = max(alone, size)
            found.append(max(together + made, alone))
        return found

    def _unbuffered(
        self, region: Region, body: Body, product: Product
    ) -> list[Operand]:
        """Return the sides of a product that have no place in shared memory yet."""
        version = matrix_version(product, self.choice, self.device)
        return [
            operand
            for operand in (product.left, product.right)
            if not (operand.is_carried_in and region.is_loop)
            and not self._is_buffered(region, body, operand, version)
        ]

    def _loaded(self, region: Region, body: Body) -> list[dict[int, int]]:
        """Return the bytes by access that are there during each product."""
        held: list[dict[int, int]] = [{} for _ in body.products]
        stays = max(self._versions(body), default=0) >= 3
        first: dict[int, int] = {}
        for place, product in enumerate(body.products):
            for operand in self._unbuffered(region, body, product):
                version = matrix_version(product, self.choice, self.device)
                if operand.load is None or _is_widened(operand, version):
                    continue
                start = first.setdefault(operand.load, place) if stays else place
                for turn in range(start, place + 1):
                    held[turn][operand.load] = self.choice.size(operand.tile)
        return held

    def _is_buffered(
        self, region: Region, body: Body, operand: Operand, version: int
    ) -> bool:
        """Whether the pipeline's buffers serve a side of a product."""
        places = operand.sources
        if version >= 3:
            places = () if operand.load is None else (operand.load,)
        if not places or region.depth <= 1:
            return False
        if not all(self._is_pipelined(region, body.accesses[i]) for i in places):
            return False
        return version < 3 or not self._has_mask(operand)

    def _fold(self, fold: Fold) -> int:
        """Return what warps that share a row leave for each other."""
        choice = self.choice
        shape = choice.shape(fold.tile)
        if not shape:
            return 0
        along = self._positions(fold)
        if not along:
            return 0
        shape, _, _, warps = self.layouts.of_value(fold.tile)
        others = math.prod(n for i, n in enumerate(shape) if i not in along)
        shared = math.prod(warps[i] for i in along if i < len(warps))
        if fold.kind in ("sort", "kth") and self.choice.warps > 1:
            return choice.numel(fold.tile) * fold.tile.itemsize
        if shared <= 1:
            return 0
        return others * shared * max(fold.tile.itemsize, 4) * fold.results

    def _positions(self, fold: Fold) -> list[int]:
        """Return the folded dims, counted among those that Triton sees."""
        sizes = self.choice.sizes
        kept = [i for i, d in enumerate(fold.tile.dims) if d.lanes(sizes) > 1]
        return [kept.index(i) for i in fold.along if i in kept]


def _is_widened(operand: Operand, version: int) -> bool:
    """Whether a side becomes 16-bit floats: warps multiply no 8-bit ones."""
    return version == 2 and operand.is_float and operand.tile.itemsize == 1
