"""What a kernel does, as numbers over its axes: the cost model's view of the IR.

Nothing here knows a Config. Extents are products of block sizes, so that a Config
turns every fact into a number without looking at a graph again. Sizes that only a
call knows are those of the example.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class AxisFacts:
    """One axis; ``fixed`` is the block size that the user pinned (None: a knob).

    ``counts`` is an axis of ``numel`` elements whose tiles this one goes over;
    ``dealt_by`` are the axes of the grid that share its whole length out.
    """

    block_id: int
    numel: int
    is_static: bool
    is_reduction: bool
    min_size: int = 1
    fixed: int | None = None
    bounded_by: int | None = None
    counts: int | None = None
    dealt_by: tuple[int, ...] = ()


@dataclass(frozen=True)
class Dim:
    """One dim of a device value: ``times`` the blocks of some axes, ``over`` a number.

    Without blocks it is ``times`` long.
    """

    blocks: tuple[int, ...]
    times: int = 1
    over: int = 1

    def lanes(self, sizes: Mapping[int, int]) -> int:
        """Return its length under a choice of block sizes."""
        total = self.times
        for block_id in self.blocks:
            total *= sizes[block_id]
        return max(total // self.over, 1)


@dataclass(frozen=True)
class Tile:
    """A device value: its dims, and the bytes of an element."""

    dims: tuple[Dim, ...]
    itemsize: int

    def numel(self, sizes: Mapping[int, int]) -> int:
        """Return how many lanes it has."""
        return math.prod(dim.lanes(sizes) for dim in self.dims)


@dataclass(frozen=True)
class Index:
    """How one dim of a tensor is indexed: by an axis, or (None) by a single number.

    ``stride`` counts elements, ``size`` is that of the tensor; ``gathered``: by values
    that jump; ``shifted``: by the axis plus something.
    """

    block_id: int | None
    stride: int
    size: int
    gathered: bool = False
    shifted: bool = False


@dataclass(frozen=True)
class Access:
    """One load, store or atomic; ``site`` is its place in the knob of its kind.

    ``waits``: where it reads or writes depends on another load.
    """

    kind: str
    site: int
    tensor: str
    tensor_bytes: int
    itemsize: int
    tile: Tile
    index: tuple[Index, ...]
    has_mask: bool = False
    has_use: bool = True
    feeds_product: bool = False
    waits: bool = False

    @property
    def is_gathered(self) -> bool:
        """Whether some dim is indexed by values that only the device knows."""
        return any(entry.gathered for entry in self.index)

    def axes(self) -> set[int]:
        """Return the axes that tell its elements apart."""
        own = {entry.block_id for entry in self.index} - {None}
        return {b for b in own if b is not None}


@dataclass(frozen=True)
class Operand:
    """One side of a product: where it comes from, and what stands in between.

    ``load`` is the index of the access in its body that it is, None: it is computed;
    ``sources`` those of all that it is made of, elementwise. ``masks`` are the axes
    whose padded lanes are replaced on the way.
    """

    tile: Tile
    load: int | None
    masks: tuple[int, ...]
    is_float: bool = True
    is_carried_in: bool = False
    is_row_major: bool = True
    sources: tuple[int, ...] = ()


@dataclass(frozen=True)
class Product:
    """One matrix product, rows x columns x depth of a tile."""

    m: Dim
    n: Dim
    k: Dim
    batch: Dim | None
    left: Operand
    right: Operand
    out: Tile
    has_acc: bool

    def flops(self, sizes: Mapping[int, int]) -> int:
        """Return the operations of one tile."""
        batch = 1 if self.batch is None else self.batch.lanes(sizes)
        m, n, k = (d.lanes(sizes) for d in (self.m, self.n, self.k))
        return 2 * batch * m * n * k


@dataclass(frozen=True)
class Work:
    """Elementwise work on values of one shape: instructions, and special functions."""

    tile: Tile
    alu: float
    special: float


@dataclass(frozen=True)
class Fold:
    """A reduction, scan or sort along the dims ``along`` of a value.

    ``results`` are the values that it leaves for each of the other dims.
    """

    kind: str
    tile: Tile
    along: tuple[int, ...]
    results: int


@dataclass(frozen=True)
class LiveSet:
    """Values that a thread has at once: ``held`` all of them, ``ahead`` in part."""

    held: tuple[Tile, ...]
    ahead: tuple[Tile, ...] = ()


@dataclass(frozen=True)
class Body:
    """The work of a root, loop or branch, once; ``children`` run inside.

    ``block_ids`` are the axes that it walks, ``lengths`` how far (None: as long as the
    axis is). ``share`` is the part of its turns that is taken: a branch, a loop that
    stops at the diagonal. ``live`` has the values alive where most are. ``is_known``:
    compiling tells its bounds, so that one turn is no loop.
    """

    kind: str
    block_ids: tuple[int, ...] = ()
    lengths: tuple[int | None, ...] = ()
    share: float = 1.0
    is_known: bool = True
    accesses: tuple[Access, ...] = ()
    products: tuple[Product, ...] = ()
    work: tuple[Work, ...] = ()
    folds: tuple[Fold, ...] = ()
    carried: tuple[Tile, ...] = ()
    live: tuple[LiveSet, ...] = ()
    children: tuple[Body, ...] = ()

    def walk(self) -> Iterator[Body]:
        """Yield this body and all inside, outer first."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True)
class Launch:
    """One kernel of a module: its grid and its work.

    ``split_by`` is the axis over which several programs share a tile, ``merges`` tells
    the launch that folds what they leave.
    """

    name: str
    grid: tuple[int, ...]
    body: Body
    split_by: int | None = None
    merges: bool = False
    partials: tuple[Tile, ...] = ()

    def accesses(self) -> list[Access]:
        """Return every access."""
        return [access for body in self.body.walk() for access in body.accesses]

    def products(self) -> list[Product]:
        """Return every matrix product."""
        return [product for body in self.body.walk() for product in body.products]


@dataclass(frozen=True)
class KernelFacts:
    """All launches, for each choice of axes that are walked in chunks.

    ``splits`` has the two halves of a launch by what is split (a ``reduction`` of an
    axis, or a ``loop`` by its place in the knob) and by its name.
    ``knobs`` gives the axes of each element of a list knob, by the attribute of the
    spec that has the elements. ``unknown`` are operations that are not counted.
    """

    name: str
    axes: tuple[AxisFacts, ...]
    versions: dict[tuple[int, ...], tuple[Launch, ...]]
    splits: dict[tuple[str, int, str], tuple[Launch, Launch]] = field(
        default_factory=dict
    )
    knobs: dict[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    def launches(self, rolled: tuple[int, ...]) -> tuple[Launch, ...]:
        """Return the launches when the axes ``rolled`` are walked in chunks."""
        return self.versions.get(rolled) or self.versions[()]
