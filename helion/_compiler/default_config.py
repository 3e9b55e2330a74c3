"""The Config used before any search: a pick by shape and kernel class.

Three classes are told apart by what the graphs do: products (tiles for the matrix
units), folds (rows or chunks that keep every thread busy) and pointwise work (wide
runs along the contiguous axis). The numbers are for 16-byte loads, 32 lanes a warp
and the 228 KiB of shared memory of an SM; see benchmarks/NOTES.md.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from ..language.memory_ops import load, store
from . import symbols
from .finalize_config import PRODUCTS, all_nodes
from .node_args import raw_arg

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..autotuner.config_spec import BlockSizeSpec, ReductionLoopSpec
    from .compile_environment import CompileEnvironment
    from .device_ir import DeviceIR

DEFAULT_SMS = 132
SHARED_BYTES = 160 * 1024
POINTWISE_NUMEL = 1024
FOLD_NUMEL = 8192
MAX_PERSISTENT = 16384
CARRIED_ROWS = 4
REREAD_NUMEL = 32768
STRIP_WIDTH = 128
SPLIT_BELOW = 2
SPLIT_TURNS = 8
SPLIT_PROGRAMS = 8
MAX_SPLITS = 256


def floor_power(value: int) -> int:
    """Return the largest power of two of at most ``value`` (at least 1)."""
    return 1 << (max(value, 1).bit_length() - 1)


def next_power(value: int) -> int:
    """Return the least power of two of at least ``value``."""
    return 1 << max(value - 1, 0).bit_length()


@functools.cache
def _sms(device: str) -> int:
    kind = torch.device(device)
    if kind.type == "cuda" and torch.cuda.is_available():
        return torch.cuda.get_device_properties(kind).multi_processor_count
    return DEFAULT_SMS


@dataclass(frozen=True)
class Product:
    """One matrix product: the axes of its sides (None: an extent of 1)."""

    m: int | None
    n: int | None
    k: int | None
    batch: int | None
    itemsize: int


@dataclass(frozen=True)
class Strip:
    """How a program folds a strip of columns, and how many an SM should have."""

    warps: int
    per_thread: int
    per_sm: int


# By how many rows of a strip stand side by side in a warp; see benchmarks/NOTES.md.
STRIPS = {1: Strip(1, 32, 24), 2: Strip(2, 64, 6), 4: Strip(4, 128, 2)}


@dataclass
class DefaultPicker:
    """Chooses block sizes, chunks, warps and stages; writes them into the spec."""

    env: CompileEnvironment
    ir: DeviceIR

    def __post_init__(self) -> None:
        self.spec = self.env.config_spec
        self.blocks = {s.block_id: s for s in self.spec.block_sizes}
        self.sizes: dict[int, int] = {}
        self.grid = {b for root in self.ir.roots for b in root.block_ids}
        self.nodes = all_nodes(self.ir)

    def pick(self) -> None:
        """Set the spec's defaults."""
        products = self._products()
        if products:
            self._for_products(products)
        elif self._folds():
            self._for_folds()
        else:
            self._for_pointwise()
        for block_id, size in self.sizes.items():
            self.blocks[block_id].default = self._clamped(block_id, size)

    def _clamped(self, block_id: int, size: int) -> int:
        spec: BlockSizeSpec = self.blocks[block_id]
        high = next_power(spec.size_hint)
        if spec.max_size is not None:
            high = min(high, spec.max_size)
        return max(min(size, high), spec.min_size)

    def _axis(self, extent: int) -> int | None:
        info = self.env.block_of(extent)
        return None if info is None else info.block_id

    # -- products --------------------------------------------------------------------

    def _products(self) -> list[Product]:
        found = []
        for node in self.nodes:
            places = PRODUCTS.get(node.target)
            if places is None:
                continue
            left, right = (_value(node.args[i]) for i in places)
            found.append(
                Product(
                    self._axis(left.shape[-2]),
                    self._axis(right.shape[-1]),
                    self._axis(left.shape[-1]),
                    self._axis(left.shape[0]) if left.dim() == 3 else None,
                    max(left.dtype.itemsize, right.dtype.itemsize),
                )
            )
        return found

    def _for_products(self, products: list[Product]) -> None:
        first = products[0]
        rows = [p.m for p in products] + [p.n for p in products]
        self._order(lambda b: (b not in rows, rows.index(b) if b in rows else b))
        for block_id in self.blocks:
            self.sizes[block_id] = 1
        if len(products) > 1:
            self._chained(products)
        else:
            self._single(first)

    def _single(self, product: Product) -> None:
        """Fill the register file with the accumulator, then shared memory with K."""
        m, n = self._hint(product.m), self._hint(product.n)
        wide = product.itemsize >= 4
        bm = min(max(next_power(m), 16), 128)
        bn = min(max(next_power(n), 16), 128 if wide else 256)
        while bm * bn > 16384 and self._programs(bm, bn, product) < self._sms():
            bm, bn = (bm // 2, bn) if bm >= bn else (bm, bn // 2)
        while bm * bn > 4096 and self._programs(bm, bn, product) < self._sms():
            bm, bn = (bm // 2, bn) if bm >= bn else (bm, bn // 2)
        bk = min(next_power(self._hint(product.k)), 128 // product.itemsize)
        if bm * bn <= 4096:
            bk = min(next_power(self._hint(product.k)), 256 // product.itemsize)
        for block_id, size in ((product.m, bm), (product.n, bn), (product.k, bk)):
            if block_id in self.blocks:
                self.sizes[block_id] = size
        stage = (bm * bk + bk * bn) * product.itemsize
        stages = max(2, min(4, SHARED_BYTES // max(stage, 1)))
        warps = 8 if bm * bn >= 16384 else 4
        self.spec.preferred.update(num_warps=warps, num_stages=stages)
        if self.spec.l2_groupings and m >= 4 * bm:
            # A wave of programs then reads as many rows as columns.
            group = floor_power(math.isqrt(max(self._sms() * bn // bm, 1)))
            self.spec.preferred["l2_groupings"] = [group] * len(self.spec.l2_groupings)

    def _order(self, rank: Callable[[int], Any]) -> None:
        """Let neighbouring programs differ in the axes that ``rank`` puts first."""
        self.spec.preferred["loop_orders"] = [
            sorted(range(len(loop.block_ids)), key=lambda i: rank(loop.block_ids[i]))
            for loop in self.spec.loop_orders
        ]

    def _programs(self, bm: int, bn: int, product: Product) -> int:
        count = -(-self._hint(product.m) // bm) * -(-self._hint(product.n) // bn)
        others = self.grid - {product.m, product.n}
        for block_id in others:
            count *= max(self._hint(block_id), 1)
        return count

    def _chained(self, products: list[Product]) -> None:
        """Attention and its kin: one long tile of rows, a loop over the other side."""
        heads = [
            self._hint(p)
            for product in products
            for p in (product.k, product.n)
            if p is not None and p not in self.blocks
        ]
        head = max(heads, default=64)
        rows = self.blocks.keys() & {p.m for p in products}
        for block_id in rows:
            self.sizes[block_id] = 128 if head <= 128 else 64
        for product in products:
            for block_id in (product.n, product.k):
                if block_id in self.blocks and block_id not in rows:
                    self.sizes[block_id] = 64 if head <= 128 else 32
        wide = max(p.itemsize for p in products) >= 4
        if wide:
            self.sizes = {b: min(s, 64) for b, s in self.sizes.items()}
        self.spec.preferred.update(
            num_warps=8 if head > 64 else 4, num_stages=2 if wide else 3
        )

    # -- folds -----------------------------------------------------------------------

    def _folds(self) -> bool:
        kinds = {type(n.meta.get("lowering")).__name__ for n in self.nodes}
        whole = any(b.is_reduction and b.size_hint() > 16 for b in self.env.block_sizes)
        return "ReductionLowering" in kinds or whole

    def _for_folds(self) -> None:
        """Keep about ``FOLD_NUMEL`` elements of the widest value in a program."""
        runs = self._contiguous_axes()
        whole = {
            b.block_id: b.size_hint() for b in self.env.block_sizes if b.is_reduction
        }
        if len(whole) == len(runs) == 1 and self._strips(
            next(iter(runs)), max(whole.values())
        ):
            return
        for block_id in self.blocks:
            self.sizes[block_id] = self._fold_block(block_id, runs, bool(whole))
        tile = math.prod(self.sizes[b] for b in runs) if whole else 1
        for spec in self.spec.reduction_loops:
            spec.default = self._chunk(spec, tile)
        per_thread = 32
        if whole and tile == 1:
            per_thread = self._widen_rows(max(whole.values()))
            once = [
                s.block_id for s in self.spec.reduction_loops if self._is_read_once(s)
            ]
            if once:
                # Two turns at a time: the second one loads while the first one folds.
                self._unroll(once)
                per_thread = 64
        self._split_folds(SPLIT_PROGRAMS)
        self._fold_warps(whole, tile, per_thread)

    def _unroll(self, block_ids: list[int]) -> None:
        self.spec.preferred["range_unroll_factors"] = [
            2 if set(loop.block_ids) & set(block_ids) else 0
            for loop in self.spec.ranges
        ]

    def _strips(self, run: int, length: int) -> bool:
        """Fold columns in strips, if the launch can be split along them.

        A warp as wide as the strip adds up rows without exchanging anything; narrow
        strips have rows side by side in a warp, and fold longer chunks.
        """
        if not self.spec.split_reductions:
            return False
        width = self._clamped(run, STRIP_WIDTH)
        side_by_side = min(max(STRIP_WIDTH // width, 1), max(STRIPS))
        strip = STRIPS[side_by_side]
        chunk = max(strip.per_thread * 32 * strip.warps // width, 8)
        if length <= chunk or any(b != run and b in self.grid for b in self.blocks):
            return False
        self.sizes.update({b: width if b == run else 1 for b in self.blocks})
        for spec in self.spec.reduction_loops:
            spec.default = self._bounded(spec, chunk)
        self._split_folds(strip.per_sm)
        self.spec.preferred["num_warps"] = strip.warps
        return True

    def _split_folds(self, per_sm: int) -> None:
        """Let several programs fold a long axis where tiles alone are too few."""
        chunks = {s.block_id: s.default for s in self.spec.reduction_loops}
        tiles = math.prod(-(-self._hint(b) // self.sizes.get(b, 1)) for b in self.grid)
        for spec in self.spec.split_reductions:
            chunk = max(chunks[spec.block_id] or spec.size_hint, 1)
            turns = -(-spec.size_hint // chunk)
            wanted = per_sm * self._sms() // max(tiles, 1)
            if tiles < SPLIT_BELOW * self._sms() and turns >= SPLIT_TURNS:
                spec.default = floor_power(min(wanted, turns, MAX_SPLITS))

    def _fold_block(self, block_id: int, runs: set[int], has_whole: bool) -> int:
        """Tile the contiguous axis; beside whole rows one index at a time will do."""
        if block_id in runs:
            limit = 64 if has_whole else 2048
            size = min(next_power(self._hint(block_id)), limit)
        else:
            size = 4 if block_id in self.grid and not has_whole else 1
        return self._clamped(block_id, size)

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
        for block_id in self.blocks:
            info = self.env.block_sizes[block_id]
            if block_id in self.grid and self._is_carried_over(info):
                share = self._hint(block_id) // (CARRIED_ROWS * self._sms())
                self.sizes[block_id] = min(next_power(max(share, 1)), 1024)
                continue
            is_grid = block_id in self.grid
            while (
                rows > 1 and is_grid and self._hint(block_id) < 4 * rows * self._sms()
            ):
                rows //= 2
            self.sizes[block_id] = rows
        return per_thread if rows > 1 else 32

    def _row_loads(self) -> tuple[int, int]:
        """Return how many loads are of rows, and how many all rows have in common."""
        rows = shared = 0
        for node in self.nodes:
            kinds = [e[0] for e in raw_arg(node, 1)] if node.target is load else []
            rows += "full" in kinds and len(kinds) > 1
            shared += kinds == ["full"]
        return rows, shared

    def _is_carried_over(self, info: Any) -> bool:
        """Whether a tile of rows is only walked by an inner loop."""
        return any(b.bounded_by == info.block_id for b in self.env.block_sizes)

    def _fold_warps(self, whole: dict[int, int], tile: int, per_thread: int) -> None:
        numel = tile
        for block_id in self.blocks:
            if not self._is_carried_over(self.env.block_sizes[block_id]):
                numel = max(numel, tile) * (self.sizes[block_id] if tile == 1 else 1)
        width, is_looped = 1, False
        for block_id, size in whole.items():
            spec = next(
                (s for s in self.spec.reduction_loops if s.block_id == block_id), None
            )
            chunk = spec.default if spec is not None and spec.default else size
            width = max(width, min(next_power(chunk), next_power(size)))
            is_looped |= chunk < size
        warps = floor_power(max(numel * width // (per_thread * 32), 1))
        self.spec.preferred["num_warps"] = min(max(warps, 4), 32 if is_looped else 16)

    def _contiguous_axes(self) -> set[int]:
        """Return the tiled axes that index a stride-1 dim of some access."""
        found: set[int] = set()
        for node in self.nodes:
            if node.target not in (load, store):
                continue
            tensor = _value(node.args[0])
            dim = 0
            for element in raw_arg(node, 1):
                if element[0] == "new":
                    continue
                stride = symbols.static_int(tensor.stride(dim))
                wide = symbols.static_int(tensor.size(dim)) != 1
                if element[0] == "tile" and stride == 1 and wide and tensor.dim() > 1:
                    found.add(element[1])
                dim += 1
        return found & self.blocks.keys()

    # -- pointwise -------------------------------------------------------------------

    def _for_pointwise(self) -> None:
        """Give the contiguous axis the longest run, and the rest what is left."""
        runs = self._contiguous_axes()
        self._order(lambda b: -b)
        order = sorted(self.blocks, key=lambda b: (b in runs, b), reverse=True)
        left = POINTWISE_NUMEL
        for block_id in order:
            share = left
            if len(runs) > 1 and block_id in runs:
                # Two accesses want different runs: a square serves both.
                share = 32
            size = self._clamped(block_id, min(share, next_power(self._hint(block_id))))
            self.sizes[block_id] = size
            left = max(left // size, 1)
        self.spec.preferred["num_warps"] = 4

    # -- facts -----------------------------------------------------------------------

    def _hint(self, block_id: int | None) -> int:
        return 1 if block_id is None else self.env.block_sizes[block_id].size_hint()

    def _sms(self) -> int:
        return _sms(str(self.env.device))


def _value(arg: Any) -> torch.Tensor:
    assert isinstance(arg, fx.Node)
    return arg.meta["val"]


def prefer_defaults(env: CompileEnvironment, ir: DeviceIR) -> None:
    """Choose the defaults of ``env.config_spec``."""
    DefaultPicker(env, ir).pick()
