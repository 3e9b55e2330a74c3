"""The pick for launches that fold the tiles of their own loops, not whole axes."""

from __future__ import annotations

import math

from .default_launch import Launch, floor_power, next_power
from .device_ir import _for_loop

TILE_NUMEL = 16384
TURN_NUMEL = 4096
# What an SM should have under way, to keep its share of the memory busy.
BYTES_UNDER_WAY = 32 * 1024
COLUMNS = 64
FEWEST_ROWS = 8
MOST_ROWS = 128
PER_THREAD = 32
SCANS = ("cumsum", "cumprod", "associative_scan", "cummax", "cummin", "logcumsumexp")


class TiledFoldPicker(Launch):
    """Gives the contiguous axis of a loop a long run, and a grid of rows one each.

    A loop along another axis reads several rows a turn, so that their loads are in
    flight together. The numbers are those of benchmarks/NOTES.md, entry 14.
    """

    def choose(self) -> None:
        """Size every axis by its place, then make the widest value fit."""
        runs = self.contiguous_axes()
        for block_id in self.blocks:
            size = self._wanted(block_id, block_id in runs)
            self.sizes[block_id] = self.clamped(block_id, size)
        inner = [b for b in self.blocks if b not in self.grid and b not in runs]
        self._deepen(inner)
        self._shrink(inner, FEWEST_ROWS)
        self._shrink([b for b in self.blocks if b in runs], COLUMNS)
        self._widen_rows(runs)
        is_busy = self._programs() >= self.sms() and self._folds_in_loops()
        per_thread = PER_THREAD if is_busy else PER_THREAD // 2
        if self.uses(*SCANS):
            per_thread = 2 * PER_THREAD  # a scan goes from warp to warp
        warps = floor_power(max(self.widest(self.sizes) // (per_thread * 32), 1))
        self.preferred["num_warps"] = min(max(warps, 4), 16)

    def _wanted(self, block_id: int, is_run: bool) -> int:
        if block_id not in self.grid:
            length = next_power(self.hint(block_id))
            return min(length, TILE_NUMEL) if is_run else 1
        if is_run:
            return COLUMNS
        return self.dealt_size(block_id) if self.is_dealt(block_id) else 1

    def _deepen(self, inner: list[int]) -> None:
        """Let a loop read so many rows a turn that enough bytes are under way."""
        per_sm = min(self._programs() / self.sms(), 8)
        least = int(BYTES_UNDER_WAY / (max(per_sm, 0.5) * max(self.narrowest(), 2)))
        # Where every turn exchanges values, fewer of them count more.
        turn = 2 * TURN_NUMEL if self._folds_in_loops() else TURN_NUMEL
        rows = floor_power(max(max(turn, least) // self.widest(self.sizes), 1))
        for block_id in inner:
            self.sizes[block_id] = self.clamped(block_id, min(rows, MOST_ROWS))

    def _folds_in_loops(self) -> bool:
        """Whether threads exchange values in every turn of some loop."""
        outer = {n.graph for n in self.nodes if n.target is _for_loop}
        return any(n.graph not in outer for n in self.reductions())

    def _shrink(self, axes: list[int], least: int) -> None:
        """Halve the longest of some axes until the widest value is small enough."""
        # Few programs are all that an SM has: they hold more.
        most = TILE_NUMEL * (1 + (self._programs() < self.sms()))
        while self.widest(self.sizes) > most:
            long = [b for b in axes if self.sizes[b] > self._least(b, least)]
            if not long:
                return
            self.sizes[max(long, key=lambda b: (self.sizes[b], -b))] //= 2

    def _least(self, block_id: int, least: int) -> int:
        return max(least, self.blocks[block_id].min_size)

    def _widen_rows(self, runs: set[int]) -> None:
        """Short rows share a program, as long as there are programs enough."""
        rows = (self.grid & self.blocks.keys()) - runs
        for block_id in (b for b in rows if not self.is_dealt(b)):
            wider = {**self.sizes, block_id: self.sizes[block_id] * 2}
            while (
                self.widest(wider) <= 2048
                and self._programs() >= 8 * self.sms()
                and self.clamped(block_id, wider[block_id]) == wider[block_id]
            ):
                self.sizes[block_id] *= 2
                wider[block_id] *= 2

    def _programs(self) -> int:
        return math.prod(-(-self.hint(b) // self.sizes.get(b, 1)) for b in self.grid)
