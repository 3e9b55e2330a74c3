"""The pick for launches with matrix products: tiles for the matrix units."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..language.memory_ops import load, store
from .default_launch import Launch, floor_power, next_power, value_of
from .default_tiles import Problem, TileShape
from .device_ir import ForLoopGraphInfo, _for_loop
from .finalize_config import PRODUCTS
from .node_args import int_arg, raw_arg

if TYPE_CHECKING:
    from torch import fx

SHARED_BYTES = 160 * 1024
MAX_ACCUMULATOR = 32768
SHARES = 2
MIN_TURNS = 4
PERSISTENT = "persistent_interleaved"
DESCRIPTOR = "tensor_descriptor"


@dataclass(frozen=True)
class Product:
    """One matrix product: the axes of its sides (None: an extent of 1).

    ``is_made``: a side is computed from what was loaded, as quantized weights are.
    """

    m: int | None
    n: int | None
    k: int | None
    batch: int | None
    itemsize: int
    is_made: bool


def products_in(launch: Launch) -> list[Product]:
    """Return the matrix products of a launch."""
    found = []
    for node in launch.nodes:
        places = PRODUCTS.get(node.target)
        if places is None:
            continue
        left, right = (value_of(node.args[i]) for i in places)
        sides: list[Any] = [node.args[i] for i in places]
        found.append(
            Product(
                launch.axis(left.shape[-2]),
                launch.axis(right.shape[-1]),
                launch.axis(left.shape[-1]),
                launch.axis(left.shape[0]) if left.dim() == 3 else None,
                max(left.dtype.itemsize, right.dtype.itemsize),
                any(launch.is_converted(side) for side in sides),
            )
        )
    return found


class ProductPicker(Launch):
    """Fills the register file with accumulators, and shared memory with operands."""

    def choose(self) -> None:
        """Size the sides of the products; every other axis goes index by index."""
        products = products_in(self)
        rows = [p.m for p in products] + [p.n for p in products]
        self.order(lambda b: (b not in rows, rows.index(b) if b in rows else b))
        for block_id in self.blocks:
            self.sizes[block_id] = 1
        inner = {p.k for p in products}
        first = products[0]
        if any({p.m, p.n} & inner - {None} for p in products):
            self._chained(products)
        elif first.m in self.blocks and first.n in self.blocks:
            self._tiled(products)
        else:
            self._with_whole_sides(first)

    # -- both sides are tiled ----------------------------------------------------------

    def _tiled(self, products: list[Product]) -> None:
        """Take the tile that a model of the machine finds fastest."""
        first = products[0]
        problem = Problem(
            self.hint(first.m),
            self.hint(first.n),
            max(self._depth(p) for p in products),
            self._others(first),
            min(first.itemsize, 4),
            self.sms(),
            max(sum(p.k == first.k for p in products), len({p.k for p in products})),
            self._split_entry(first) is not None or self._dealer(first) is not None,
        )
        shape, splits = problem.best()
        if len({p.k for p in products}) > 1:
            # A program begins several sums, each with a pipeline to fill.
            shape = dataclasses.replace(shape, depth=256, stages=min(shape.stages, 3))
        if first.is_made:
            shape = self._shape_of_made(problem)
            splits = self._shares_of_made(problem, shape)
        bk = problem.depth(shape)
        for product in products:
            self._set_sides(product, shape.m, shape.n, bk)
        stages = problem.stages(shape, splits)
        self.preferred.update(num_warps=shape.warps, num_stages=stages)
        self._group(problem, shape)
        self._flatten_nests()
        dealer = self._dealer(first)
        if dealer is not None:
            self.sizes[dealer] = max(next_power(problem.k // splits), MIN_TURNS * bk)
        elif splits > 1:
            entry = self._split_entry(first)
            self.spec.preferred["loop_splits"] = [
                splits if e is entry else 1 for e in self.spec.split_loops
            ]
            self.preferred["split_mode"] = "semaphore"
        elif shape.m * shape.n >= 128 * 128 and not first.is_made:
            self._describe(problem, first)

    def _shape_of_made(self, problem: Problem) -> TileShape:
        """Return a tile that leaves registers for the making of a side."""
        columns = min(max(next_power(problem.n), 16), 64)
        if self.uses("split") and problem.m > 64:
            # What is taken apart passes through shared memory anyway.
            return TileShape(128, columns, 128, 4, 1, 1.0)
        rows = min(max(next_power(problem.m), 16), 64)
        depth = 128 if rows < 64 else 256
        return TileShape(rows, columns, depth, 4, 3 if rows < 64 else 4, 1.0)

    def _shares_of_made(self, problem: Problem, shape: TileShape) -> int:
        """A few programs an SM hide the work of making a side, where rows are few."""
        if not problem.splits or problem.m > 64:
            return 1
        turns = problem.k // problem.depth(shape)
        wanted = SHARES * SHARES * problem.sms // max(problem.tiles(shape), 1)
        return floor_power(max(min(wanted, turns // MIN_TURNS, 16), 1))

    def _set_sides(self, product: Product, bm: int, bn: int, bk: int) -> None:
        for block_id, size in ((product.m, bm), (product.n, bn), (product.k, bk)):
            if block_id in self.blocks:
                self.sizes[block_id] = size

    def _group(self, problem: Problem, shape: TileShape) -> None:
        """Let a wave of programs read as many rows as columns."""
        if problem.m >= 4 * shape.m:
            wave = max(problem.sms * shape.n // shape.m, 1)
            group = min(floor_power(math.isqrt(wave)), 16)
            self.set_each("l2_groupings", self.spec.l2_groupings, 1, lambda _: group)

    def _flatten_nests(self) -> None:
        """Let sums that go on from loop to loop be one pipeline, not one a turn."""
        outer = self._outer_loops()
        if outer:
            self.spec.preferred["range_flattens"] = [
                True if entry.block_ids in outer else None for entry in self.spec.ranges
            ]

    def _outer_loops(self) -> set[tuple[int, ...]]:
        """Return the axes of loops that carry values through a loop inside."""
        return {
            tuple(body.block_ids)
            for loop in self._loops()
            for body in [self.ir.graphs[int_arg(loop, 0)]]
            if isinstance(body, ForLoopGraphInfo)
            and raw_arg(loop, 3)
            and any(n.graph is body.graph and raw_arg(n, 3) for n in self._loops())
        }

    def _loops(self) -> list[fx.Node]:
        return [node for node in self.nodes if node.target is _for_loop]

    def _describe(self, problem: Problem, first: Product) -> None:
        """Copy tiles by descriptors, with the next tile's under way during the store.

        That pays where both operands can be copied so; descriptors made by the host
        cost nothing on the device.
        """
        allowed = self.spec.allowed_pid_types
        tiles = [n for n in self.nodes if n.target is load and value_of(n).dim() > 1]
        sites = [n.meta["site"] for n in tiles]
        ends = [n.meta["site"] for n in self.nodes if n.target is store]
        deep = problem.k * problem.itemsize >= 1024 and problem.itemsize <= 2
        fits = all(map(self._may_describe, sites)) and {first.m, first.n} <= self.grid
        if not fits or not deep or len(self.ir.roots) > 1:
            return
        self._use_descriptors([*sites, *(i for i in ends if self._may_describe(i))])
        if PERSISTENT in allowed:
            self.preferred.update(pid_type=PERSISTENT, epilogue_subtile=2)
            self.preferred["num_stages"] = 4
            # Sums of bytes are finished in registers that a flat loop has to keep.
            flat = True if problem.itemsize > 1 else None
            self.spec.preferred["range_flattens"] = [
                flat if entry.is_grid else None for entry in self.spec.ranges
            ]

    def _use_descriptors(self, sites: list[int]) -> None:
        self.spec.preferred["indexing"] = [
            DESCRIPTOR if site in sites else "pointer"
            for site in range(self.spec.num_memory_ops)
        ]
        self.preferred["host_tensor_descriptors"] = True

    def _may_describe(self, site: int) -> bool:
        modes = self.spec.indexing_modes
        return site < len(modes) and DESCRIPTOR in modes[site]

    def _split_entry(self, product: Product) -> Any:
        """Return the entry of the loop over K, None if it cannot be shared."""
        entries = self.spec.split_loops
        return next((e for e in entries if e.block_id == product.k), None)

    def _dealer(self, product: Product) -> int | None:
        """Return the axis of the grid that deals out K to programs, if one does."""
        if product.k is None:
            return None
        outer = self.env.block_sizes[product.k].bounded_by
        return outer if outer in self.blocks and outer in self.grid else None

    def _depth(self, product: Product) -> int:
        dealer = self._dealer(product)
        turns = math.prod(self.hint(b) for axes in self._outer_loops() for b in axes)
        return self.hint(product.k if dealer is None else dealer) * turns

    def _others(self, product: Product) -> int:
        """Return how many tiles of M by N there are along the other axes."""
        if product.m not in self.grid:
            return 1  # the grid counts tiles of these sides, or is no part of them
        others = self.grid - {product.m, product.n, self._dealer(product)}
        return math.prod(max(self.hint(block_id), 1) for block_id in others)

    def _programs(self, bm: int, bn: int, product: Product) -> int:
        count = -(-self.hint(product.m) // bm) * -(-self.hint(product.n) // bn)
        return count * self._others(product)

    # -- a side stands in a block as a whole -------------------------------------------

    def _with_whole_sides(self, product: Product) -> None:
        """Fill the register file with the accumulator, then shared memory with K."""
        m, n = self.hint(product.m), self.hint(product.n)
        wide = product.itemsize >= 4
        bm = min(max(next_power(m), 16), 128)
        bn = min(max(next_power(n), 16), 128 if wide else 256)
        while bm * bn > 4096 and self._programs(bm, bn, product) < self.sms():
            bm, bn = (bm // 2, bn) if bm >= bn else (bm, bn // 2)
        bk = min(next_power(self.hint(product.k)), 128 // product.itemsize)
        if bm * bn <= 4096:
            bk = min(next_power(self.hint(product.k)), 256 // product.itemsize)
        bm, bn, bk = self._within_registers(product, bm, bn, bk)
        self._set_sides(product, bm, bn, bk)
        stage = (bm * bk + bk * bn) * product.itemsize
        stages = max(2, min(4, SHARED_BYTES // max(stage, 1)))
        warps = 8 if bm * bn >= 16384 else 4
        self.preferred.update(num_warps=warps, num_stages=stages)

    def _within_registers(
        self, product: Product, bm: int, bn: int, bk: int
    ) -> tuple[int, int, int]:
        """Make room for sides that are not tiled, but stand in a block as a whole."""
        bm = bm if product.m in self.blocks else next_power(self.hint(product.m))
        bn = bn if product.n in self.blocks else next_power(self.hint(product.n))
        bk = bk if product.k in self.blocks else next_power(self.hint(product.k))
        while bm * bn > MAX_ACCUMULATOR and product.m in self.blocks and bm > 16:
            bm //= 2
        while bm * bn > MAX_ACCUMULATOR and product.n in self.blocks and bn > 16:
            bn //= 2
        stage = 2 * (bm + bn) * product.itemsize
        while stage * bk > SHARED_BYTES and product.k in self.blocks and bk > 16:
            bk //= 2
        return bm, bn, bk

    # -- attention and its kin ---------------------------------------------------------

    def _chained(self, products: list[Product]) -> None:
        """One long tile of rows, a loop over the other side; see NOTES.md, entry 13."""
        heads = [
            self.hint(p)
            for product in products
            for p in (product.k, product.n)
            if p is not None and p not in self.blocks
        ]
        head = next_power(max(heads, default=64))
        rows = self.blocks.keys() & {p.m for p in products}
        wide = max(p.itemsize for p in products) >= 4
        bm, bn, warps, stages = self._attention_tile(head, wide, bool(rows))
        for block_id in rows:
            self.sizes[block_id] = bm
        for product in products:
            for block_id in (product.n, product.k):
                if block_id in self.blocks and block_id not in rows:
                    self.sizes[block_id] = bn
        self.preferred.update(num_warps=warps, num_stages=stages)
        if self.root.grows_along and "xyz" in self.spec.allowed_pid_types:
            # The bounds of loops in parts must be plainly the same for all threads:
            # where they come from a quotient, ptxas waits for every product.
            self.preferred["pid_type"] = "xyz"

    def _attention_tile(
        self, head: int, wide: bool, has_rows: bool
    ) -> tuple[int, int, int, int]:
        """Return rows, columns, warps and stages."""
        if wide:
            return 64, 64 if head <= 128 else 32, 8 if head > 64 else 4, 2
        if not has_rows:
            return 16, 64, 4, 3
        if head <= 64 and self._describe_all():
            return 64, 128, 4, 2
        if head <= 64:
            return 128, 64, 4, 3
        if head <= 128:
            # Where loops end early, wide tiles compute much that is masked.
            return (128, 128, 8, 3) if self._is_clipped() else (256, 64, 8, 3)
        return 64, 32, 8, 3

    def _is_clipped(self) -> bool:
        """Whether a loop ends with a tile of the grid, or with the data."""
        return bool(self.root.grows_along) or self._has_ragged_ends()

    def _describe_all(self) -> bool:
        """Use host descriptors for every access of at least two dims, if all can."""
        nodes = [n for n in self.nodes if n.target in (load, store)]
        wide = [n.meta["site"] for n in nodes if value_of(n.args[0]).dim() > 1]
        fits = wide and all(map(self._may_describe, wide)) and len(self.ir.roots) == 1
        if not fits or self._has_ragged_ends():
            return False
        self._use_descriptors(wide)
        return True

    def _has_ragged_ends(self) -> bool:
        """Whether the data tell where a loop ends: descriptors end with a tensor."""
        axes = (self.env.block_sizes[block_id] for block_id in self.own)
        return any(isinstance(axis.loop_end, torch.Tensor) for axis in axes)
