"""How Triton lays out blocks over threads: per element, lane and warp."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from helion._compiler.kernel_facts import Access, Launch, Product, Tile
    from helion.autotuner.config_choice import Choice
    from helion.autotuner.device_facts import DeviceFacts

VECTOR_BYTES = 16


def matrix_version(product: Product, choice: Choice, device: DeviceFacts) -> int:
    """Return the generation of matrix instruction that Triton uses for a product.

    5: operands in shared memory, results in tensor memory; 3: a warp group of 4 warps
    on at least 64 rows; 2: a warp, operands in registers; 0: no matrix unit.
    """
    m, n = product.m.lanes(choice.sizes), product.n.lanes(choice.sizes)
    size = max(product.left.tile.itemsize, product.right.tile.itemsize)
    newest = device.limits.dot
    if size > 4:
        return 0
    if newest == 5 and m >= 64 and n >= 16 and choice.warps in (4, 8):
        return 5
    if newest == 3 and m >= 64 and n >= 8 and choice.warps % 4 == 0:
        return 3
    return min(newest, 2)


def blocked_layout(
    shape: list[int], order: list[int], vector: int, warps: int, lanes: int = 32
) -> tuple[list[int], list[int], list[int]]:
    """Return elements, lanes and warps along each dim, as Triton's blocked layouts.

    ``order`` lists dims, the contiguous one first; each takes threads before the next.
    """
    rank = len(shape)
    per_thread, per_warp, per_block = [1] * rank, [1] * rank, [1] * rank
    if rank == 0:
        return per_thread, per_warp, per_block
    per_thread[order[0]] = min(vector, shape[order[0]])
    left_lanes, left_warps, left = lanes, warps, lanes * warps
    for dim in order[:-1]:
        wanted = min(max(shape[dim] // per_thread[dim], 1), left)
        per_warp[dim] = min(wanted, left_lanes)
        per_block[dim] = min(max(wanted // per_warp[dim], 1), left_warps)
        left_lanes //= per_warp[dim]
        left_warps //= per_block[dim]
        left //= wanted
    per_warp[order[-1]] = left_lanes
    per_block[order[-1]] = left_warps
    return per_thread, per_warp, per_block


def register_bits(length: int, vector: int, threads: int) -> set[int]:
    """Return which bits of a position tell elements of one thread apart."""
    bits = range(length.bit_length() - 1)
    return {b for b in bits if 1 << b < vector or 1 << b >= vector * threads}


@dataclass
class Layouts:
    """How values of a launch lie in threads: by the widest access of their shape."""

    launch: Launch
    choice: Choice
    device: DeviceFacts

    def __post_init__(self) -> None:
        self.accesses = [a for a in self.launch.accesses() if a.kind != "atomic"]
        self.outs = {
            self.blocks(p.out): matrix_version(p, self.choice, self.device)
            for p in self.launch.products()
        }

    def blocks(self, tile: Tile) -> frozenset[int]:
        """Return the axes that a value goes along."""
        sizes = self.choice.sizes
        return frozenset(b for d in tile.dims for b in d.blocks if sizes[b] > 1)

    def of_value(self, tile: Tile) -> tuple[list[int], list[int], list[int], list[int]]:
        """Return the same as ``of`` for a value that may be the result of a product."""
        version = self.outs.get(self.blocks(tile)) if self.outs else None
        shape = self.choice.shape(tile)
        if version is None or len(shape) != 2 or version == 0:
            return self.of(tile)
        warps = self.choice.warps
        if version == 5:
            return shape, [1, shape[1]], [32, 1], [4, max(warps // 4, 1)]
        if version == 3:
            rows = 4 * max(min(warps // 4, shape[0] // 64), 1)
        else:
            rows = max(min(warps, shape[0] // 16), 1)
        return shape, [1, 2], [8, 4], [rows, max(warps // rows, 1)]

    def contiguous(self, access: Access) -> int | None:
        """Return the axis along which an access has neighbouring elements."""
        best: tuple[int, int] | None = None
        for entry in access.index:
            if entry.block_id is None or entry.gathered or entry.size == 1:
                continue
            if entry.stride == 1 and self.choice.sizes[entry.block_id] > 1:
                best = (entry.stride, entry.block_id)
        return None if best is None else best[1]

    def vector(self, access: Access) -> int:
        """Return how many elements a thread loads at once."""
        block = self.contiguous(access)
        if block is None or access.has_mask and not access.tile.dims:
            return 1
        lanes = self.choice.sizes[block]
        own = max(self.choice.numel(access.tile) // self.choice.threads, 1)
        return max(
            min(VECTOR_BYTES // access.itemsize, self._aligned(access), lanes, own), 1
        )

    def _aligned(self, access: Access) -> int:
        """Return the elements that surely stand together: rows begin anywhere."""
        if any(e.shifted and e.stride == 1 for e in access.index):
            return 1
        return math.gcd(16, *(e.stride for e in access.index if e.stride != 1))

    def of(self, tile: Tile) -> tuple[list[int], list[int], list[int], list[int]]:
        """Return shape, and elements, lanes and warps along each dim of a value."""
        choice = self.choice
        kept = [d for d in tile.dims if d.lanes(choice.sizes) > 1]
        shape = choice.shape(tile)
        order = list(range(len(shape)))[::-1]
        vector = 1
        widest = 0
        blocks = [d.blocks for d in kept]
        for access in self.accesses:
            own = choice.numel(access.tile)
            if own < choice.numel(tile) or own <= widest:
                continue
            run = self.contiguous(access)
            at = next((i for i, b in enumerate(blocks) if run in b), None)
            if at is not None:
                order = [at, *[i for i in range(len(shape)) if i != at]]
                vector, widest = self.vector(access), own
        return (shape, *blocked_layout(shape, order, vector, choice.warps))
