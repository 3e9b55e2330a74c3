"""Which tile a matrix product gets: the fastest of a short list, by a small model.

A tile is bound by the matrix unit, by what a multiprocessor can read from the cache,
or by memory; a grid by its last wave. The rates are those of an H200, relative to each
other, and hold for its kin; benchmarks/NOTES.md, entry 15, has the measurements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# A multiprocessor at work: operations of 2-byte elements a microsecond, bytes a
# microsecond from the cache, and from memory.
SM_OPS = 6.0e6
SM_CACHE_BYTES = 60e3
SM_MEMORY_BYTES = 45e3
MEMORY_BYTES = 4.2e6
# Starting a program, and writing its tile; joining the shares of split programs.
PROGRAM_US = 0.3
SM_STORE_BYTES = 40e3
JOIN_US = 2.5
TIE = 1.03
SHARED_BYTES = 220 * 1024
SPLITS = (1, 2, 4, 8, 16, 32)
MIN_TURNS = 4


@dataclass(frozen=True)
class TileShape:
    """Sides, depth in bytes, warps and stages; ``rate`` is a share of the peak."""

    m: int
    n: int
    depth: int
    warps: int
    stages: int
    rate: float


SMALLEST = TileShape(16, 16, 512, 4, 4, 0.05)
# The best of each pair of sides, for elements of two bytes.
SHAPES = (
    TileShape(128, 256, 128, 8, 3, 1.00),
    TileShape(256, 128, 128, 8, 3, 0.95),
    TileShape(128, 128, 128, 4, 4, 0.90),
    TileShape(64, 256, 128, 4, 4, 0.85),
    TileShape(64, 128, 128, 4, 4, 0.75),
    TileShape(128, 64, 128, 4, 4, 0.75),
    TileShape(64, 64, 256, 4, 4, 0.60),
    TileShape(64, 32, 256, 4, 4, 0.40),
    TileShape(32, 128, 256, 4, 3, 0.30),
    TileShape(32, 64, 256, 4, 4, 0.25),
    TileShape(128, 32, 256, 4, 3, 0.40),
    TileShape(128, 16, 256, 4, 3, 0.25),
    TileShape(16, 128, 256, 4, 3, 0.20),
    TileShape(16, 64, 512, 4, 3, 0.18),
    TileShape(16, 32, 512, 4, 4, 0.10),
    SMALLEST,
)

# Sums of bytes are brought to full precision in registers of their own.
SHAPES_OF_BYTES = (
    TileShape(256, 128, 128, 8, 4, 1.00),
    TileShape(128, 128, 128, 8, 4, 0.85),
    *(s for s in SHAPES if s.m * s.n < 128 * 128),
)

# Operands pass through registers, which more warps have.
SHAPES_OF_FLOATS = (
    TileShape(256, 128, 128, 8, 3, 1.00),
    TileShape(128, 64, 128, 4, 4, 0.97),
    *(s for s in SHAPES if s.m * s.n <= 64 * 64),
)


@dataclass(frozen=True)
class Problem:
    """A product of ``batch`` pairs; ``accumulators`` tiles are held at once.

    ``splits`` tells whether programs can share the sum.
    """

    m: int
    n: int
    k: int
    batch: int
    itemsize: int
    sms: int
    accumulators: int = 1
    splits: bool = False

    def tiles(self, shape: TileShape) -> int:
        """Return how many programs a grid of such tiles has."""
        return self.batch * -(-self.m // shape.m) * -(-self.n // shape.n)

    def depth(self, shape: TileShape) -> int:
        """Return how much of the sum a turn adds."""
        padded = 1 << max(self.k - 1, 0).bit_length()
        return max(min(shape.depth // self.itemsize, padded), 16)

    def time_us(self, shape: TileShape, splits: int = 1) -> float:
        """Return the predicted time."""
        programs = self.tiles(shape) * splits
        waves, busy = -(-programs // self.sms), max(min(programs, self.sms), 1)
        length = self.turns(shape, splits) * self.depth(shape)
        ops = 2.0 * shape.m * shape.n * length * self.accumulators
        speed = SM_OPS * shape.rate * 2 / self.itemsize
        reads = (shape.m + shape.n) * length * self.itemsize
        sides = self.m + self.n * self.accumulators
        moved = self.batch * (sides * self.k * self.itemsize + 2.0 * self.m * self.n)
        work = waves * max(ops / speed, reads / SM_CACHE_BYTES)
        # Beside each other, programs hide how long the others begin and store.
        alone = PROGRAM_US + 2.0 * shape.m * shape.n / SM_STORE_BYTES
        stage = (shape.m + shape.n) * self.depth(shape) * self.itemsize
        shared = self.stages(shape, splits) * stage
        beside = max(1, min(SHARED_BYTES // shared, 4))
        memory = moved / min(MEMORY_BYTES, busy * SM_MEMORY_BYTES)
        if splits > 1:
            left = 8.0 * self.batch * self.m * self.n * splits
            memory += JOIN_US + left / MEMORY_BYTES
        return max(work, memory) + (waves + 1) * alone / beside

    def turns(self, shape: TileShape, splits: int = 1) -> int:
        """Return how many turns the loop of one of the programs of a tile has."""
        return -(-self.k // (splits * self.depth(shape)))

    def stages(self, shape: TileShape, splits: int = 1) -> int:
        """Return how many turns are under way: no more than there are."""
        return max(min(shape.stages, self.turns(shape, splits)), 1)

    def choices(self, shapes: Iterable[TileShape]) -> Iterator[tuple[TileShape, int]]:
        """Yield the tiles that fit, with every useful number of programs for each."""
        for shape in shapes:
            if shape.m * shape.n * self.accumulators > 32768:
                continue
            if shape is not SMALLEST and self._overhangs(shape):
                continue
            yield shape, 1
            turns = self.k // self.depth(shape)
            for splits in SPLITS[1:] if self.splits else ():
                crowded = self.tiles(shape) * splits > 2 * self.sms
                if not crowded and turns >= MIN_TURNS * splits:
                    yield shape, splits

    def _overhangs(self, shape: TileShape) -> bool:
        """Whether half of a side, or more, would be padding."""
        sides = ((shape.m, self.m), (shape.n, self.n))
        return any(side > 16 and side >= 2 * max(have, 1) for side, have in sides)

    def best(self) -> tuple[TileShape, int]:
        """Return the tile that should be fastest, and how many programs share it."""
        shapes = SHAPES_OF_BYTES if self.itemsize == 1 else SHAPES
        if self.itemsize >= 4:
            shapes = SHAPES_OF_FLOATS
        times = {choice: self.time_us(*choice) for choice in self.choices(shapes)}
        # The first of those that are about as fast: large tiles come first.
        limit = TIE * min(times.values())
        return next(choice for choice, time in times.items() if time <= limit)
