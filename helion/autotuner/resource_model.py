"""Shared memory and registers of a kernel under a Config, without compiling it.

Registers are a sum of the values alive at once; ``scripts/check_resources`` shows how
far that goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from helion.autotuner.block_layouts import matrix_version
from helion.autotuner.shared_memory import SharedMemory

if TYPE_CHECKING:
    from helion._compiler.kernel_facts import Access, Launch, LiveSet, Product, Tile
    from helion.autotuner.config_choice import Choice, Region
    from helion.autotuner.device_facts import DeviceFacts

MAX_REGISTERS = 255
# What a thread needs beside its values: addresses, counters, temporaries.
BASE_REGISTERS = 12
# The share of what a stretch of code loads that is loaded before it is used, and the
# registers that are given to it at most.
AHEAD = 0.6
# Registers are reused better than is foreseen: so much more than there are is too much.
SURE = 1.25
MOST_AHEAD = 64
REGISTER_CLASSES = (64, 128, 168, MAX_REGISTERS)


@dataclass(frozen=True)
class Resources:
    """What a program needs; ``spills`` is a guess, from the values that are alive."""

    shared_bytes: int
    registers: int
    spills: bool

    @property
    def register_class(self) -> int:
        """The least of ``REGISTER_CLASSES`` that holds the registers."""
        return register_class(self.registers)


def register_class(registers: int) -> int:
    """Return the least of ``REGISTER_CLASSES`` that holds so many registers."""
    return next(c for c in REGISTER_CLASSES if registers <= c)


def resources_of(
    launch: Launch, choice: Choice, device: DeviceFacts, splits: int = 1
) -> Resources:
    """Return what one program of a launch needs."""
    shared = SharedMemory(launch, choice, device, splits)
    needed = Registers(launch, choice, device, shared).needed()
    limit = _register_limit(choice, device)
    return Resources(shared.peak(), min(needed, limit), needed > SURE * limit)


def _register_limit(choice: Choice, device: DeviceFacts) -> int:
    """Return the most registers of a thread: fewer, where many threads need some."""
    per_thread = device.limits.registers_per_sm // choice.threads
    limit = min(MAX_REGISTERS, per_thread)
    own = choice.config.get("maxnreg") if choice.is_persistent else None
    return min(limit, own) if own else limit


@dataclass
class Registers:
    """Adds up the values that a thread holds where they are most."""

    launch: Launch
    choice: Choice
    device: DeviceFacts
    shared: SharedMemory

    def needed(self) -> int:
        """Return the registers of a thread, if there were enough."""
        region = self.shared.region
        return int(BASE_REGISTERS + max(map(self._region, region.walk())))

    def _region(self, region: Region) -> float:
        groups = [live for body in region.bodies for live in body.live]
        most = max(map(self._live, groups), default=0.0)
        changes, bodies = self.shared.changes, region.bodies
        twice = [p.out for b in bodies for p in b.products if self._is_twice(p)]
        crossed = [tile for body in bodies for tile in changes.crossed_tiles(body)]
        most += max(map(self._tile, twice), default=0.0)
        most += max(map(self._tile, crossed), default=0.0)
        return most + sum(self._addresses(region, a) for a in region.accesses())

    def _is_twice(self, product: Product) -> bool:
        """Whether sums of 8-bit products are moved to an accumulator of their own."""
        is_narrow = product.left.is_float and product.left.tile.itemsize == 1
        return is_narrow and matrix_version(product, self.choice, self.device) == 3

    def _live(self, live: LiveSet) -> float:
        ahead = sum(map(self._tile, live.ahead))
        return sum(map(self._tile, live.held)) + min(AHEAD * ahead, MOST_AHEAD)

    def _tile(self, tile: Tile) -> float:
        if not tile.dims or tile.itemsize == 1:
            return tile.itemsize / 4
        own = max(self.choice.numel(tile) / self.choice.threads, 1)
        return max(own * tile.itemsize / 4, 1)

    def _addresses(self, region: Region, access: Access) -> float:
        """Return what addresses take: an asynchronous copy keeps one a vector."""
        if self.choice.mode(access) == "tensor_descriptor":
            return 2.0
        own = max(self.choice.numel(access.tile) / self.choice.threads, 1)
        vectors = own / self.shared.layouts.vector(access)
        if region.depth > 1 and access.feeds_product:
            masked = any(
                self.choice.axes[b].numel % self.choice.sizes[b] for b in access.axes()
            )
            return min(2 * vectors, 48 if masked else 24)
        return min(2 + vectors / 4, 8)
