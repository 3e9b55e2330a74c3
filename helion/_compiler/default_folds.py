"""The pick for launches that fold axes: rows or chunks that keep threads busy."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..language.memory_ops import load
from .default_launch import Launch, floor_power, next_power
from .node_args import raw_arg

if TYPE_CHECKING:
    from ..autotuner.config_spec import ReductionLoopSpec

FOLD_NUMEL = 8192
MAX_PERSISTENT = 16384
REREAD_NUMEL = 32768
STRIP_WIDTH = 128
SPLIT_BELOW = 2
SPLIT_TURNS = 8
SPLIT_PROGRAMS = 8
MAX_SPLITS = 256
MAX_ACCUMULATED = 128
WARPS_AN_SM = 12
MAX_STRIP_WARPS = 8
TURN_NUMEL = 4096
MAX_TURN_ROWS = 32
MAX_RUN = 64
SORTED_A_WARP = 512
SORTS = ("sort_last", "first_sorted", "kth_of_all")


@dataclass(frozen=True)
class Strip:
    """How a program folds a strip of columns, and how many an SM should have."""

    warps: int
    per_thread: int
    per_sm: int


# By how many rows of a strip stand side by side in a warp; see benchmarks/NOTES.md.
STRIPS = {1: Strip(1, 32, 24), 2: Strip(2, 64, 6), 4: Strip(4, 128, 2)}


def folds(launch: Launch) -> bool:
    """Tell whether a launch is about axes that are folded, or held as a whole."""
    is_long = any(size > 16 for size in launch.whole.values())
    return is_long or bool(launch.reductions())


class FoldPicker(Launch):
    """Keeps about ``FOLD_NUMEL`` elements of the widest value in a program.

    It is for launches that fold or hold whole axes; see also ``TiledFoldPicker``.
    """

    def choose(self) -> None:
        """Keep about ``FOLD_NUMEL`` elements of the widest value in a program."""
        runs = self.contiguous_axes()
        whole = self.whole
        if len(whole) == len(runs) == 1 and self._strips(
            next(iter(runs)), max(whole.values())
        ):
            return
        for block_id in self.blocks:
            self.sizes[block_id] = self._fold_block(block_id, runs)
        self._shrink(sorted(runs), FOLD_NUMEL)
        tile = math.prod(self.sizes[b] for b in runs)
        for spec in self.chunks:
            spec.default = self._chunk(spec, tile)
        per_thread = 32
        if tile == 1:
            per_thread = self._widen_rows(max(whole.values()))
            once = [s.block_id for s in self.chunks if self._is_read_once(s)]
            if once:
                # Two turns at a time: the second one loads while the first one folds.
                self._unroll(once)
                per_thread = 64
        self._split_folds(SPLIT_PROGRAMS)
        if self.uses(*SORTS):
            self._sorted_rows(whole)
        else:
            self._fold_warps(whole, tile, per_thread)

    def _shrink(self, runs: list[int], most: int) -> None:
        """Halve the longest of several runs until all have ``most`` elements."""
        while len(runs) > 1 and math.prod(self.sizes[b] for b in runs) > most:
            longest = max(runs, key=lambda b: (self.sizes[b], -b))
            if self.sizes[longest] <= self.blocks[longest].min_size:
                return
            self.sizes[longest] //= 2

    def _unroll(self, block_ids: list[int]) -> None:
        self.set_each(
            "range_unroll_factors",
            self.spec.ranges,
            0,
            lambda loop: 2 if set(loop.block_ids) & set(block_ids) else 0,
        )

    def _strips(self, run: int, length: int) -> bool:
        """Fold columns in strips, if the launch can be split along them.

        A warp as wide as the strip adds up rows without exchanging anything; narrow
        strips have rows side by side in a warp, and fold longer chunks.
        """
        if not self.spec.split_reductions:
            return False
        width = self.clamped(run, STRIP_WIDTH)
        side_by_side = min(max(STRIP_WIDTH // width, 1), max(STRIPS))
        strip = STRIPS[side_by_side]
        chunk = max(strip.per_thread * 32 * strip.warps // width, 8)
        if length <= chunk or any(b != run and b in self.grid for b in self.blocks):
            return False
        if strip.per_thread * len(self.reductions()) > MAX_ACCUMULATED and width > 8:
            # Every fold has an accumulator of a chunk: registers for two of 64.
            width //= 2
            strip = dataclasses.replace(strip, per_sm=2 * strip.per_sm)
        self.sizes.update({b: width if b == run else 1 for b in self.blocks})
        for spec in self.chunks:
            spec.default = self._bounded(spec, chunk)
        self._split_folds(strip.per_sm)
        self.preferred["num_warps"] = self._fill_sms(run, strip.warps, length)
        self.needs_few_warps = True
        return True

    def _fill_sms(self, run: int, warps: int, length: int) -> int:
        """Return more warps for longer chunks, where strips and splits are few."""
        splits = max((s.default for s in self.spec.split_reductions), default=1)
        programs = splits * -(-self.hint(run) // self.sizes[run])
        while (
            warps < MAX_STRIP_WARPS
            and programs * warps < WARPS_AN_SM * self.sms()
            and all(2 * (s.default or length) * splits <= length for s in self.chunks)
        ):
            warps *= 2
            for spec in self.chunks:
                spec.default = self._bounded(spec, 2 * (spec.default or length))
        return warps

    def _split_folds(self, per_sm: int) -> None:
        """Let several programs fold a long axis where tiles alone are too few."""
        chunks = {s.block_id: s.default for s in self.chunks}
        tiles = math.prod(-(-self.hint(b) // self.sizes.get(b, 1)) for b in self.grid)
        for spec in self.spec.split_reductions:
            if spec.block_id not in chunks:
                continue
            chunk = max(chunks[spec.block_id] or spec.size_hint, 1)
            turns = -(-spec.size_hint // chunk)
            wanted = per_sm * self.sms() // max(tiles, 1)
            if tiles < SPLIT_BELOW * self.sms() and turns >= SPLIT_TURNS:
                spec.default = floor_power(min(wanted, turns, MAX_SPLITS))

    def _fold_block(self, block_id: int, runs: set[int]) -> int:
        """Tile the contiguous axis; beside whole rows one index at a time will do."""
        if block_id in runs:
            size = min(next_power(self.hint(block_id)), MAX_RUN)
        elif block_id in self.grid:
            size = 1
        else:
            # Several rows a turn, so that their loads are in flight together.
            size = TURN_NUMEL // math.prod(map(next_power, self.whole.values()))
            size = min(max(size, 1), MAX_TURN_ROWS)
        return self.clamped(block_id, size)

    def _chunk(self, spec: ReductionLoopSpec, tile: int) -> int:
        """Return how much of a folded axis to hold; all of it if registers allow."""
        padded = next_power(spec.size_hint)
        limit = MAX_PERSISTENT if tile == 1 else FOLD_NUMEL // tile
        if padded <= limit and self._stays_below(spec.block_id, limit):
            return spec.size_hint
        spec.default = None
        numel = FOLD_NUMEL if tile > 1 or self._is_read_once(spec) else REREAD_NUMEL
        return self._bounded(spec, max(min(numel // tile, padded), 16))

    def _is_read_once(self, spec: ReductionLoopSpec) -> bool:
        """Whether an axis is walked in chunks, by one loop only."""
        is_looped = spec.default is None or spec.default < spec.size_hint
        splits = self.spec.split_reductions
        return is_looped and any(s.block_id == spec.block_id for s in splits)

    def _stays_below(self, block_id: int, limit: int) -> bool:
        """Whether an axis fits into a tile; a dynamic length becomes a guard."""
        numel = self.env.block_sizes[block_id].numel
        return numel is None or bool(numel <= limit)

    def _bounded(self, spec: ReductionLoopSpec, chunk: int) -> int:
        """Return a chunk within the caps."""
        most = self.spec.max_reduction_chunk or chunk
        return min(chunk, floor_power(most), spec.cap(self.spec))

    def _widen_rows(self, row: int) -> int:
        """Short rows share a program; return how many elements a thread should have.

        Two rows that are multiplied by the same weights load these once.
        """
        padded, per_thread = next_power(row), 32
        rows = max(2048 // padded, 1)
        loads, shared = self._row_loads()
        if shared and rows == loads == 1 and 2 * padded <= MAX_PERSISTENT:
            rows, per_thread = 2, 64
        left = rows
        for block_id in reversed([b for b in self.blocks if b in self.grid]):
            if self.is_dealt(block_id):
                self.sizes[block_id] = self.dealt_size(block_id)
                continue
            size = min(left, next_power(self.hint(block_id)))
            while size > 1 and self._tiles() < 4 * size * self.sms():
                size //= 2
            self.sizes[block_id] = size
            left //= size
        rows //= left
        return per_thread if rows > 1 else 32

    def _is_split(self) -> bool:
        return any(s.default > 1 for s in self.spec.split_reductions)

    def _tiles(self) -> int:
        """Return how many programs there are with one index each."""
        return math.prod(self.hint(b) for b in self.grid)

    def _row_loads(self) -> tuple[int, int]:
        """Return how many loads are of rows, and how many all rows have in common."""
        rows = shared = 0
        for node in self.nodes:
            kinds = [e[0] for e in raw_arg(node, 1)] if node.target is load else []
            rows += "full" in kinds and len(kinds) > 1
            shared += kinds == ["full"]
        return rows, shared

    def _sorted_rows(self, whole: dict[int, int]) -> None:
        """A row to a program, in one warp if it is short: sorting exchanges a lot."""
        self.sizes = {b: 1 if b in self.grid else n for b, n in self.sizes.items()}
        warps = floor_power(max(next_power(max(whole.values())) // SORTED_A_WARP, 1))
        self.preferred["num_warps"] = min(warps, 16)

    def _fold_warps(self, whole: dict[int, int], tile: int, per_thread: int) -> None:
        numel = tile
        if tile == 1:
            mine = {b: n for b, n in self.sizes.items() if not self.is_dealt(b)}
            # The tiles of inner loops are not held at once.
            numel = math.prod(n for b, n in mine.items() if b in self.grid)
            numel *= max((n for b, n in mine.items() if b not in self.grid), default=1)
        width, is_looped = 1, False
        for block_id, size in whole.items():
            spec = next((s for s in self.chunks if s.block_id == block_id), None)
            chunk = spec.default if spec is not None and spec.default else size
            width = max(width, min(next_power(chunk), next_power(size)))
            is_looped |= chunk < size
        if not is_looped:
            numel = max(numel, self.widest(self.sizes) // width)
        warps = floor_power(max(numel * width // (per_thread * 32), 1))
        if is_looped and self._tiles() < self.sms() and not self._is_split():
            warps *= 4  # each program has a multiprocessor to itself
        self.preferred["num_warps"] = min(max(warps, 4), 32 if is_looped else 16)
