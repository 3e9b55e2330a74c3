"""Bytes that a launch moves: through the caches, and from device memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from helion._compiler.kernel_facts import Access, Launch
    from helion.autotuner.config_choice import Choice, Region
    from helion.autotuner.device_facts import DeviceFacts

# The unit in which memory is read (CUDA programming guide, "Device Memory Accesses").
SECTOR_BYTES = 32
# The part of the cache that a tensor may take and be sure to stay.
KEPT = 0.6


@dataclass(frozen=True)
class Traffic:
    """Bytes: ``least`` if all is read and written once, ``cached`` between cache and
    multiprocessors, ``device`` to and from memory."""

    least: float
    cached: float
    device: float


@dataclass
class TrafficModel:
    """Counts the bytes of one launch; ``programs`` of it run at a time."""

    launch: Launch
    choice: Choice
    device: DeviceFacts
    region: Region
    splits: int
    programs: int
    _distinct: dict[int, int] = field(default_factory=dict)

    def traffic(self) -> Traffic:
        """Return the bytes of the whole launch."""
        self._distinct = self._wave()
        cached = moved = 0.0
        unique: dict[tuple[str, str], float] = {}
        seen: dict[tuple[str, str, tuple[int | None, ...]], int] = {}
        for access, repeats in self._accesses(self.region, {}, 1.0):
            if access.kind == "load" and not access.has_use:
                continue
            own = self._unique(access, repeats)
            through = self.tile_bytes(access) * self._runs(repeats)
            cached += through
            key = (access.tensor, access.kind)
            part = tuple(entry.block_id for entry in access.index)
            read = (*key, part)
            if read not in seen:
                moved += self._from_memory(access, repeats, own, through)
                unique[key] = max(unique.get(key, 0.0), own)
            elif self._stands_alone(access):
                moved += self._again(access, repeats, own)
            seen[read] = seen.get(read, 0) + 1
        cached, moved = self._with_partials(cached, moved)
        return Traffic(sum(unique.values()), cached, max(moved, sum(unique.values())))

    def _with_partials(self, cached: float, moved: float) -> tuple[float, float]:
        """Add what the halves of a split launch leave for each other."""
        tiles = self.choice.tiles(self.launch)
        size = sum(self.choice.numel(t) * 4 for t in self.launch.partials)
        total = float(size * tiles * self.splits)
        return cached + total, moved + total

    def tile_bytes(self, access: Access) -> float:
        """Return the bytes that one run moves, in whole sectors."""
        real = self.choice.real_numel(access) * access.itemsize
        run = self.choice.run(access) * access.itemsize
        if access.is_gathered or run < SECTOR_BYTES:
            # Sectors are shared by the lanes of a row that is shorter than one.
            return real * min(SECTOR_BYTES / max(run, 1), 8)
        return real

    # -- where accesses run ----------------------------------------------------------

    def _accesses(
        self, region: Region, walked: dict[int, float], runs: float
    ) -> list[tuple[Access, dict[int, float]]]:
        """Return each access with the turns of the loops around it, by axis.

        Axis -1 stands for turns that no axis tells.
        """
        found: list[tuple[Access, dict[int, float]]] = []
        for body in region.bodies:
            inside = dict(walked)
            for block in body.block_ids:
                if body.kind != "root":
                    inside[block] = self.choice.turns(block) * body.share
            if body.kind in ("branch", "while"):
                inside[-1] = inside.get(-1, 1.0) * body.share
            found += [(access, inside) for access in body.accesses]
        merged = dict(walked)
        for body in region.bodies:
            if body.kind not in ("root",):
                for block in body.block_ids:
                    merged[block] = self.choice.turns(block) * body.share
        for child in region.children:
            found += self._accesses(child, merged, runs)
        return found

    def _runs(self, walked: dict[int, float]) -> float:
        """Return how often an access runs, over all programs."""
        return self.choice.tiles(self.launch) * math.prod(walked.values())

    def _unique(self, access: Access, walked: dict[int, float]) -> float:
        """Return the bytes of all different elements that an access touches."""
        total = self.choice.real_numel(access) * access.itemsize
        for block in access.axes():
            if block in walked:
                total *= walked[block] * self._dealt(block, self.choice.turns)
            elif block in self.launch.grid:
                total *= self.choice.turns(block)
        if access.is_gathered:
            total = (
                self.choice.real_numel(access) * access.itemsize * self._runs(walked)
            )
        return min(total, access.tensor_bytes)

    def _dealt(self, block: int, count: Callable[[int], int]) -> int:
        """Return how many parts of an axis there are, each for tiles of its own."""
        return math.prod(count(b) for b in self.choice.axes[block].dealt_by)

    # -- what comes from memory ------------------------------------------------------

    def _from_memory(
        self, access: Access, walked: dict[int, float], unique: float, through: float
    ) -> float:
        """Return the bytes of the first reading of a tensor in each program."""
        if access.kind == "atomic":
            return 2 * unique
        if access.kind == "store" or unique <= KEPT * self.device.l2_bytes:
            return unique
        if access.is_gathered:
            return min(through, max(unique, access.tensor_bytes))
        tiles = self.choice.tiles(self.launch)
        at_once = self._at_once(access, walked)
        waves = max(tiles / max(self.programs, 1), 1.0)
        return min(max(at_once * waves, unique), through)

    def _at_once(self, access: Access, walked: dict[int, float]) -> float:
        """Return the different bytes that the programs of one wave read."""
        total = self.choice.real_numel(access) * access.itemsize
        for block in access.axes():
            if block in walked:
                total *= walked[block]
                total *= self._dealt(block, lambda b: self._distinct.get(b, 1))
            elif block in self._distinct:
                total *= self._distinct[block]
        return total

    def _wave(self) -> dict[int, int]:
        """Return how many tiles of each axis the programs of one wave work on."""
        left, found = max(self.programs, 1), {}
        order, group = self._order()
        for place, block in enumerate(order):
            turns = self.choice.turns(block)
            most = min(group, turns) if place == 0 and group > 1 else turns
            found[block] = min(max(left, 1), most)
            left = -(-left // found[block])
        return found

    def _order(self) -> tuple[list[int], int]:
        """Return the axes of the grid, fastest first, and the size of groups."""
        grid, choice = list(self.launch.grid), self.choice
        knobs, config = choice.facts.knobs, choice.config
        group = 1
        for entry, order in zip(
            knobs.get("loop_orders", ()), config.get("loop_orders") or []
        ):
            if list(entry) == list(self.launch.grid):
                grid = [entry[i] for i in order]
        for entry, size in zip(
            knobs.get("l2_groupings", ()), config.get("l2_groupings") or []
        ):
            if list(entry) == list(self.launch.grid):
                group = size
        return grid, group

    def _stands_alone(self, access: Access) -> bool:
        """Whether a repeated reading may have to come from memory again."""
        return access.kind == "load" and bool(access.axes())

    def _again(self, access: Access, walked: dict[int, float], unique: float) -> float:
        """Return the bytes of a second reading: what the cache has lost by then."""
        own = self.choice.real_numel(access) * access.itemsize
        for block in access.axes():
            own *= walked.get(block, 1.0)
        held = own * self.programs
        if not any(block in walked for block in access.axes()):
            return 0.0  # the same tile, at once
        lost = min(held / self.device.l2_bytes, 1.0)
        return unique * lost
