"""A Config as the cost model reads it: block sizes, turns of loops, pipelining."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from helion.autotuner.config_fragment import padded_size
from helion.autotuner.config_knobs import PERSISTENT_PID_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from helion._compiler.kernel_facts import (
        Access,
        AxisFacts,
        Body,
        KernelFacts,
        Launch,
        Tile,
    )


@dataclass
class Region:
    """Bodies that are one piece of code: those of loops of a single turn are in it.

    ``trips`` counts its runs for one run of the region around it; ``depth`` the turns
    that are in flight.
    """

    kind: str
    bodies: list[Body]
    trips: float
    is_loop: bool = False
    depth: int = 1
    children: list[Region] = field(default_factory=list)

    def walk(self) -> Iterator[Region]:
        """Yield this region and all inside, outer first."""
        yield self
        for child in self.children:
            yield from child.walk()

    def has_products(self) -> bool:
        """Whether there are matrix products, outside of inner regions."""
        return any(body.products for body in self.bodies)

    def accesses(self) -> list[Access]:
        """Return the accesses outside of inner regions."""
        return [access for body in self.bodies for access in body.accesses]


@dataclass
class Choice:
    """The numbers that a normalized Config gives to the facts of a kernel."""

    facts: KernelFacts
    config: Mapping[str, Any]
    sizes: dict[int, int] = field(default_factory=dict)
    rolled: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        # A Config copies every list that it hands out.
        self.config = dict(self.config)
        self.axes: dict[int, AxisFacts] = {a.block_id: a for a in self.facts.axes}
        self.warps: int = self.config.get("num_warps", 4)
        self.stages: int = self.config.get("num_stages", 1)
        self.threads = 32 * self.warps
        self._numels: dict[int, int] = {}
        self._choose_sizes()
        self.is_persistent = self.config.get("pid_type") in PERSISTENT_PID_TYPES

    def _choose_sizes(self) -> None:
        knobs = self.facts.knobs
        given = {
            block: size
            for (block, *_), size in zip(
                knobs.get("block_sizes", ()), self.config.get("block_sizes", [])
            )
        }
        chunks = {
            block: chunk
            for (block, *_), chunk in zip(
                knobs.get("reduction_loops", ()),
                self.config.get("reduction_loops", []),
            )
        }
        for axis in self.facts.axes:
            block = axis.block_id
            size = given.get(block, axis.fixed if axis.fixed is not None else 1)
            if axis.is_reduction or block in chunks:
                size = chunks.get(block) or padded_size(axis.numel)
            self.sizes[block] = max(size, axis.min_size if axis.fixed is None else 1)
        self._roll({b for b, chunk in chunks.items() if chunk is not None})

    def _roll(self, looped: set[int]) -> None:
        chosen: tuple[int, ...] = ()
        for block, *_ in self.facts.knobs.get("reduction_loops", ()):
            if block in looped and (*chosen, block) in self.facts.versions:
                chosen = (*chosen, block)
            elif block in looped and self.axes[block].is_reduction:
                self.sizes[block] = padded_size(self.axes[block].numel)
        self.rolled = chosen

    # -- launches --------------------------------------------------------------------

    def launches(self) -> list[tuple[Launch, int]]:
        """Return each launch, with the programs that share a tile of it."""
        found: list[tuple[Launch, int]] = []
        for launch in self.facts.launches(self.rolled):
            halves, splits = self._halves(launch.name)
            found += [(half, splits) for half in halves] or [(launch, 1)]
        return found

    def _halves(self, name: str) -> tuple[tuple[Launch, ...], int]:
        """Return the halves of a launch that is split, and in how many parts."""
        knobs, config = self.facts.knobs, self.config
        reductions = zip(
            knobs.get("split_reductions", ()), config.get("reduction_splits") or []
        )
        for (block, *_), splits in reductions:
            halves = self.facts.splits.get(("reduction", block, name))
            if splits > 1 and block in self.rolled and halves is not None:
                return halves, splits
        for place, splits in enumerate(config.get("loop_splits") or []):
            halves = self.facts.splits.get(("loop", place, name))
            if splits > 1 and not self.rolled and halves is not None:
                return halves, splits
        return (), 1

    @property
    def joins_at_once(self) -> bool:
        """Whether the halves of a split launch are one kernel."""
        return self.config.get("split_mode", "partials") != "partials"

    def tiles(self, launch: Launch) -> int:
        """Return how many tiles the grid of a launch has."""
        total = 1
        for block in launch.grid:
            total *= self.turns(block)
        return total

    # -- sizes -----------------------------------------------------------------------

    def turns(self, block: int, length: int | None = None) -> int:
        """Return how many tiles an axis is walked in, or ``length`` of it."""
        axis, size = self.axes[block], self.sizes[block]
        length = axis.numel if length is None else length
        if axis.counts is not None:
            length = -(-axis.numel // self.sizes[axis.counts])
        if axis.bounded_by is not None:
            length = min(self.sizes[axis.bounded_by], length)
        return max(-(-length // size), 1)

    def numel(self, tile: Tile) -> int:
        """Return the lanes of a tile."""
        key = id(tile)
        found = self._numels.get(key)
        if found is None:
            sizes, found = self.sizes, 1
            for dim in tile.dims:
                lanes = dim.times
                for block in dim.blocks:
                    lanes *= sizes[block]
                if not dim.blocks or dim.times != 1 or dim.over != 1:
                    lanes = padded_size(max(lanes // dim.over, 1))
                found *= lanes
            self._numels[key] = found
        return found

    def size(self, tile: Tile) -> int:
        """Return the bytes of a tile."""
        return self.numel(tile) * tile.itemsize

    def shape(self, tile: Tile) -> list[int]:
        """Return the lanes of each dim that Triton sees."""
        lanes = [padded_size(dim.lanes(self.sizes)) for dim in tile.dims]
        return [n for n in lanes if n > 1]

    def real_numel(self, access: Access) -> float:
        """Return the elements of an access that exist, on average over the tiles."""
        total = 1.0
        for dim in access.tile.dims:
            lanes = dim.lanes(self.sizes)
            if len(dim.blocks) == 1 and dim.times == dim.over == 1:
                block = dim.blocks[0]
                numel = self.axes[block].numel
                lanes = min(lanes, numel / self.turns(block))
            total *= lanes
        return total

    # -- loops -----------------------------------------------------------------------

    def trips(self, body: Body, launch: Launch, splits: int) -> float:
        """Return how often a body runs for one run of what is around it."""
        total = body.share
        if body.kind in ("loop", "chunks"):
            for block, length in self._walked(body):
                total *= self.turns(block, length)
            if launch.split_by in body.block_ids:
                total = max(total / splits, 1)
        return total

    def is_loop(self, body: Body) -> bool:
        """Whether a loop is left of a body once constants are folded."""
        if body.kind not in ("loop", "chunks"):
            return body.kind == "while"
        if self._is_unrolled(body):
            return False
        known = body.is_known
        if body.kind == "chunks":
            known = all(self.axes[b].is_static for b in body.block_ids)
        return not known or any(self.turns(b, n) > 1 for b, n in self._walked(body))

    def _walked(self, body: Body) -> list[tuple[int, int | None]]:
        """Return each axis of a loop with the length that it walks."""
        lengths = body.lengths or (None,) * len(body.block_ids)
        return list(zip(body.block_ids, lengths))

    def _is_unrolled(self, body: Body) -> bool:
        entries = self.facts.knobs.get("static_ranges", ())
        flags = self.config.get("static_ranges", [])
        return any(
            flag and set(entry) & set(body.block_ids)
            for entry, flag in zip(entries, flags)
        )

    def range_value(self, key: str, body: Body) -> Any:
        """Return the element of a ``range_*`` knob for a loop; None: it has none."""
        values = self.config.get(key) or []
        unit = "stage_ranges" if key == "range_num_stages" else "ranges"
        for entry, value in zip(self.facts.knobs.get(unit, ()), values):
            if set(entry) & set(body.block_ids):
                return value
        return None

    # -- regions ---------------------------------------------------------------------

    def region(self, launch: Launch, splits: int) -> Region:
        """Return the code of a launch as nested regions, as Triton will see it."""
        return self._region(launch.body, launch, splits)

    def _region(self, body: Body, launch: Launch, splits: int) -> Region:
        region = Region(body.kind, [body], self.trips(body, launch, splits))
        region.is_loop = self.is_loop(body)
        for child in body.children:
            inner = self._region(child, launch, splits)
            if inner.is_loop or inner.trips != 1.0:
                region.children.append(inner)
            else:
                region.bodies += inner.bodies
                region.children += inner.children
        region.depth = self._depth(region)
        return region

    def _depth(self, region: Region) -> int:
        """Return how many turns of a loop are in flight by software pipelining."""
        if not region.is_loop or any(
            c.is_loop for c in region.walk() if c is not region
        ):
            return 1
        own = self.range_value("range_num_stages", region.bodies[0]) or 0
        if own:
            return max(own, 1)
        return max(self.stages, 1) if region.has_products() else 1

    @property
    def is_flattened(self) -> bool:
        """Whether the loop over tiles and the loops in it become one."""
        flags = self.config.get("range_flattens") or []
        grid = self.facts.knobs.get("grid_range", ())
        return self.is_persistent and any(
            place < len(flags) and bool(flags[place]) for (place,) in grid
        )

    # -- accesses --------------------------------------------------------------------

    def mode(self, access: Access) -> str:
        """Return how an access is addressed."""
        if access.kind == "atomic":
            modes = self.config.get("atomic_indexing") or []
        else:
            modes = self.config.get("indexing") or []
        if isinstance(modes, str):
            return modes
        return modes[access.site] if access.site < len(modes) else "pointer"

    def run(self, access: Access) -> int:
        """Return how many neighbouring elements of memory one row of a tile has.

        Rows that follow each other in memory are one row.
        """
        run = 1
        entries = [e for e in access.index if e.block_id is not None]
        for entry in sorted(entries, key=lambda e: e.stride):
            if entry.gathered or entry.stride != run:
                break
            assert entry.block_id is not None
            lanes = min(self.sizes[entry.block_id], entry.size)
            run *= lanes
            if lanes < entry.size:
                break
        return run
