"""Estimates time and resources of a kernel under a Config, in well under 1 ms.

A launch takes as long as the slowest of: device memory, the waves of programs on the
multiprocessors (matrix units, instructions, the cache's bandwidth), and the chain of
what one program has to wait for. Constants are for no product; those that were fitted
say so, and to what: benchmarks/NOTES.md has the measurements.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from helion.autotuner.block_layouts import Layouts, matrix_version
from helion.autotuner.config_choice import Choice
from helion.autotuner.resource_model import Resources, register_class, resources_of
from helion.autotuner.traffic_model import Traffic, TrafficModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from helion._compiler.kernel_facts import Fold, KernelFacts, Launch, Product
    from helion.autotuner.config_choice import Region
    from helion.autotuner.device_facts import DeviceFacts

# A kernel that writes one element takes 4.2 us (NOTES, entry 12).
LAUNCH_US = 4.0
# To start a program and to end it, where no other one runs beside it.
PROGRAM_US = 0.3
# From a load to its value: from memory, and from the cache.
MEMORY_US = 0.65
CACHE_US = 0.35
# The bytes a clock that a multiprocessor gets of the cache, and the part reached.
CACHE_WIDTH = 64 * 0.75
# Exchanging values: between lanes (a step), between warps (a pass).
SHUFFLE_US = 0.02
BARRIER_US = 0.06
# Shared memory that each program takes beside its own.
RESERVED_BYTES = 1024
# The part of instruction slots that real code fills (NOTES, entry 9).
ISSUE = 0.75
# What the matrix units reach of the warp-group rate with instructions of a warp.
OLD_MATRIX = 0.62
# Instructions for an address, a mask and the access, for one vector.
ACCESS_INSTRUCTIONS = 4
# Spilled values come from the first cache: a few of them cost little.
SPILL = 1.3
# Estimates of registers are rather too high, and near a limit one program more fits.
FIT = 0.88
# How much of the shorter one of products and other work is hidden behind the longer
# one, in one program and between several (entry 5: attention adds them up).
HIDDEN = {1: 0.4, 2: 0.6}
# (instructions, special functions) of an element that is folded.
FOLD_COSTS = {
    "_max_and_sum_exp": (9.0, 1.0),
    "_sum_and_squares": (4.0, 0.0),
    "arg": (6.0, 0.0),
    "scan": (8.0, 0.0),
}


@dataclass(frozen=True)
class LaunchEstimate:
    """What one launch needs and takes; ``limit`` names what it waits for."""

    name: str
    time_us: float
    floor_us: float
    bytes: float
    device_bytes: float
    operations: float
    shared_bytes: int
    registers: int
    spills: bool
    programs: int
    waves: float
    occupancy: int
    limit: str
    parts_us: dict[str, float]


@dataclass(frozen=True)
class Estimate:
    """What a kernel needs and takes under a Config; resources are the most of any
    launch. ``reason``: why it would not launch, None if it would."""

    time_us: float
    floor_us: float
    bytes: float
    operations: float
    shared_bytes: int
    registers: int
    register_class: int
    spills: bool
    programs: int
    waves: float
    occupancy: int
    limit: str
    reason: str | None
    launches: tuple[LaunchEstimate, ...]

    @property
    def legal(self) -> bool:
        """Whether the device can launch it."""
        return self.reason is None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def estimate(
    facts: KernelFacts, device: DeviceFacts, config: Mapping[str, Any]
) -> Estimate:
    """Return what a kernel will need and take under a normalized Config."""
    choice = Choice(facts, config)
    found, reason = [], None
    for launch, splits in choice.launches():
        model = _LaunchModel(launch, choice, device, splits)
        one = model.estimate()
        if launch.merges and choice.joins_at_once and found:
            one = _joined(found.pop(), one)
        found.append(one)
        reason = reason or model.reason
    slowest = max(found, key=lambda e: e.time_us)
    return Estimate(
        sum(e.time_us for e in found),
        sum(e.floor_us for e in found),
        sum(e.bytes for e in found),
        sum(e.operations for e in found),
        max(e.shared_bytes for e in found),
        max(e.registers for e in found),
        register_class(max(e.registers for e in found)),
        any(e.spills for e in found),
        slowest.programs,
        slowest.waves,
        slowest.occupancy,
        slowest.limit,
        reason,
        tuple(found),
    )


def resource_estimates(
    facts: KernelFacts, device: DeviceFacts, config: Mapping[str, Any]
) -> list[Resources]:
    """Return what a program of each launch needs, in the order of the launches."""
    choice, found = Choice(facts, config), []
    for launch, splits in choice.launches():
        needs = resources_of(launch, choice, device, splits)
        if launch.merges and choice.joins_at_once and found:
            first = found.pop()
            needs = Resources(
                max(first.shared_bytes, needs.shared_bytes),
                max(first.registers, needs.registers),
                first.spills or needs.spills,
            )
        found.append(needs)
    return found


def _joined(first: LaunchEstimate, second: LaunchEstimate) -> LaunchEstimate:
    """Return the estimate of two halves that are one kernel."""
    return replace(
        first,
        name=second.name,
        time_us=first.time_us + second.time_us - LAUNCH_US,
        floor_us=first.floor_us + second.floor_us,
        bytes=first.bytes + second.bytes,
        device_bytes=first.device_bytes + second.device_bytes,
        shared_bytes=max(first.shared_bytes, second.shared_bytes),
        registers=max(first.registers, second.registers),
        spills=first.spills or second.spills,
    )


@dataclass
class _Work:
    """Seconds (in us) of one program alone: units at full rate, and waiting."""

    matrix: float = 0.0
    lanes: float = 0.0
    cache: float = 0.0
    chain: float = 0.0

    def add(self, other: _Work, times: float = 1.0) -> None:
        self.matrix += other.matrix * times
        self.lanes += other.lanes * times
        self.cache += other.cache * times
        self.chain += other.chain * times


@dataclass
class _LaunchModel:
    """The estimate of one launch."""

    launch: Launch
    choice: Choice
    device: DeviceFacts
    splits: int

    def __post_init__(self) -> None:
        choice, device = self.choice, self.device
        self.needs = resources_of(self.launch, choice, device, self.splits)
        self.reason = self._reason()
        self.occupancy = self._occupancy()
        self.region = choice.region(self.launch, self.splits)
        self.layouts = Layouts(self.launch, choice, device)
        self.tiles = choice.tiles(self.launch)
        if self.launch.split_by is not None:
            self.tiles *= self.splits
        self.programs = self.tiles
        if choice.is_persistent and self.launch.split_by is None:
            many = device.sms * (choice.config.get("num_sm_multiplier") or 1)
            self.programs = min(many, self.tiles)
        self.at_once = min(self.programs, device.sms * self.occupancy)
        self.model = TrafficModel(
            self.launch, choice, device, self.region, self.splits, self.at_once
        )

    # -- resources -------------------------------------------------------------------

    def _reason(self) -> str | None:
        """Return why a program cannot be launched."""
        limits, needs = self.device.limits, self.needs
        if needs.shared_bytes > limits.shared_per_block:
            return (
                f"{needs.shared_bytes} bytes of shared memory, but a program has "
                f"{limits.shared_per_block}"
            )
        if self.choice.threads > 1024:
            return f"{self.choice.threads} threads, but a program has 1024"
        return None

    def _occupancy(self) -> int:
        """Return how many programs run on a multiprocessor at a time."""
        limits, warps = self.device.limits, self.choice.warps
        needed = max(self.needs.registers, 24) * FIT
        registers = math.ceil(needed / 8) * 8 * 32 * warps
        return max(
            min(
                limits.shared_per_sm // (self.needs.shared_bytes + RESERVED_BYTES),
                limits.registers_per_sm // registers,
                limits.threads_per_sm // (limits.warp_size * warps),
                limits.blocks_per_sm,
            ),
            1,
        )

    # -- time ------------------------------------------------------------------------

    def estimate(self) -> LaunchEstimate:
        """Return what the launch needs and takes."""
        traffic = self.model.traffic()
        work = self._region(self.region)
        operations = self._operations(self.region)
        waves = self.programs / (self.device.sms * self.occupancy)
        parts = self._parts(traffic, work)
        longest = max(parts, key=lambda k: parts[k])
        total = parts[longest] + LAUNCH_US
        if self.needs.spills:
            total *= SPILL
        return LaunchEstimate(
            self.launch.name,
            total,
            self._floor(traffic, operations),
            traffic.least,
            traffic.device,
            operations,
            self.needs.shared_bytes,
            self.needs.registers,
            self.needs.spills,
            self.programs,
            waves,
            self.occupancy,
            longest,
            {name: round(value, 3) for name, value in parts.items()},
        )

    def _floor(self, traffic: Traffic, operations: float) -> float:
        sizes = [
            max(p.left.tile.itemsize, p.right.tile.itemsize)
            for p in self.launch.products()
        ]
        matrix = 0.0
        if sizes:
            matrix = operations / self.device.matrix_rate(min(max(sizes), 4))
        return 1e6 * max(traffic.least / self.device.bytes_per_s, matrix)

    def _parts(self, traffic: Traffic, work: _Work) -> dict[str, float]:
        """Return the times (us) of what may limit the launch."""
        rows = self.tiles / self.programs
        per_sm = self.tiles / self.device.sms
        # Some multiprocessor has this many tiles to do, whatever the average.
        busiest = max(math.ceil(per_sm), 1)
        turns = math.ceil(self.programs / (self.device.sms * self.occupancy))
        both = self._overlapped(work)
        chain = (work.chain + PROGRAM_US) * turns * math.ceil(rows)
        memory = (
            1e6 * traffic.device / (self.device.bytes_per_s * self._in_flight(work))
        )
        return {
            "memory": memory + MEMORY_US,
            "matrix units": both * busiest if work.matrix >= work.lanes else 0.0,
            "instructions": both * busiest if work.lanes > work.matrix else 0.0,
            "cache": work.cache * per_sm,
            "latency": chain,
        }

    def _overlapped(self, work: _Work) -> float:
        """Return the time of a tile's products and other work on a busy SM."""
        together = min(self.occupancy, max(self.programs // self.device.sms, 1))
        hidden = HIDDEN[min(together, 2)]
        less, more = sorted((work.matrix, work.lanes))
        return more + (1 - hidden) * less

    def _in_flight(self, work: _Work) -> float:
        """Return the share of the bandwidth that the bytes in flight can fill."""
        wanted = self.device.bytes_per_s * MEMORY_US * 1e-6
        own = max((self._loaded(r) for r in self.region.walk()), default=0.0)
        if self.launch.merges:
            sizes = (self.choice.numel(t) for t in self.launch.partials)
            own += 4 * self.splits * sum(sizes)
        filled = own * self.at_once / wanted
        # A smooth minimum with 1.
        return max((filled**3 / (1 + filled**3)) ** (1 / 3), 1e-3)

    def _loaded(self, region: Region) -> float:
        """Return the bytes that a program asks for before it waits."""
        total = sum(self.model.tile_bytes(a) for a in region.accesses())
        unroll = self.choice.range_value("range_unroll_factors", region.bodies[0]) or 1
        depth = max(region.depth - 1, 1) if region.is_loop else 1
        return total * max(unroll if region.is_loop else 1, depth)

    # -- one program -----------------------------------------------------------------

    def _operations(self, region: Region) -> float:
        """Return the operations of matrix products in all programs."""
        own = sum(
            p.flops(self.choice.sizes) for body in region.bodies for p in body.products
        )
        inner = sum(c.trips * self._operations(c) for c in region.children)
        is_root = region is self.region
        return (own + inner) * (self.tiles if is_root else 1)

    def _region(self, region: Region) -> _Work:
        """Return the work of one run of a region (a turn of a loop)."""
        own = _Work()
        for body in region.bodies:
            for product in body.products:
                own.matrix += self._product(product)
            for work in body.work:
                own.lanes += self._lanes(
                    self.choice.numel(work.tile), work.alu, work.special
                )
            for fold in body.folds:
                self._add_fold(own, fold)
        self._add_accesses(own, region)
        own.chain += self._waits(region, own)
        for child in region.children:
            own.add(self._region(child), child.trips)
        return own

    def _waits(self, region: Region, own: _Work) -> float:
        """Return the time of one run for a program that is alone."""
        alone = own.lanes * max(8 / self.choice.warps, 1.0)
        busy = own.matrix + alone
        loads = [a for a in region.accesses() if a.kind == "load"]
        if not loads:
            return busy
        chained = 1 + any(a.waits for a in loads)
        wait = (CACHE_US if region.is_loop else MEMORY_US) * chained
        unroll = self.choice.range_value("range_unroll_factors", region.bodies[0]) or 1
        if region.depth > 1:
            return max(busy, own.cache, wait / (region.depth - 1))
        return busy + max(own.cache, wait) / (unroll if region.is_loop else 1)

    def _product(self, product: Product) -> float:
        """Return the time (us) of a product on the matrix units of one SM."""
        sizes, device = self.choice.sizes, self.device
        flops = product.flops(sizes)
        size = max(product.left.tile.itemsize, product.right.tile.itemsize)
        version = matrix_version(product, self.choice, device)
        rate = device.matrix_rate(min(size, 4)) / device.sms
        if version == 0:
            rate = 2 * device.limits.lanes * device.clock_hz * ISSUE
        elif version == 2 and device.limits.dot > 2:
            rate *= OLD_MATRIX
        elif version >= 3:
            n = product.n.lanes(sizes)
            # Below 64 columns the rows come from shared memory too slowly.
            rate *= min(1.0, n / (n + 0.12 * 64)) if n < 256 else 1.0
        return 1e6 * flops / rate

    def _lanes(self, numel: float, alu: float, special: float) -> float:
        """Return the time (us) of elementwise instructions on one SM."""
        limits = self.device.limits
        numel = max(numel, self.choice.threads)
        clocks = numel * max(
            alu / (limits.lanes * ISSUE) + special / (limits.lanes * ISSUE),
            special / limits.special,
        )
        return 1e6 * clocks / self.device.clock_hz

    def _add_fold(self, own: _Work, fold: Fold) -> None:
        """Add a fold: in a thread, in steps between lanes, in a pass between warps."""
        numel = self.choice.numel(fold.tile)
        alu, special = FOLD_COSTS.get(fold.kind, (1.0 + 4 * (fold.results - 1), 0.0))
        own.lanes += self._lanes(numel, alu, special)
        shape, _, lanes, warps = self.layouts.of_value(fold.tile)
        kept = [
            i for i, d in enumerate(fold.tile.dims) if d.lanes(self.choice.sizes) > 1
        ]
        along = [kept.index(i) for i in fold.along if i in kept]
        across = math.prod(lanes[i] for i in along)
        rest = [i for i in range(len(shape)) if i not in along]
        others = math.prod(-(-shape[i] // (lanes[i] * warps[i])) for i in rest)
        steps = max(across, 1).bit_length() - 1
        exchanged = self.choice.threads * steps * others * fold.results
        own.lanes += self._lanes(exchanged, 3.0, 0.0)
        own.chain += SHUFFLE_US * steps
        if math.prod(warps[i] for i in along) > 1:
            own.chain += BARRIER_US * 2
        if fold.kind == "sort":
            steps = max(numel, 2).bit_length() ** 2 / 2
            own.lanes += self._lanes(numel * steps, 6.0, 0.0)

    def _add_accesses(self, own: _Work, region: Region) -> None:
        """Add what loads and stores take of the cache and of instructions."""
        clock = self.device.clock_hz
        for access in region.accesses():
            if access.kind == "load" and not access.has_use:
                continue
            moved = self.model.tile_bytes(access)
            own.cache += 1e6 * moved / (CACHE_WIDTH * clock)
            vectors = self.choice.numel(access.tile) / self.layouts.vector(access)
            is_copied = self.choice.mode(access) == "tensor_descriptor"
            if not is_copied:
                own.lanes += self._lanes(vectors, ACCESS_INSTRUCTIONS, 0.0)
            if access.kind == "atomic":
                own.lanes += self._lanes(self.choice.real_numel(access), 16.0, 0.0)
