"""The pick for launches with matrix products: tiles for the matrix units."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .default_launch import Launch, floor_power, next_power, value_of
from .finalize_config import PRODUCTS

SHARED_BYTES = 160 * 1024
MAX_ACCUMULATOR = 32768


@dataclass(frozen=True)
class Product:
    """One matrix product: the axes of its sides (None: an extent of 1)."""

    m: int | None
    n: int | None
    k: int | None
    batch: int | None
    itemsize: int


def products_in(launch: Launch) -> list[Product]:
    """Return the matrix products of a launch."""
    found = []
    for node in launch.nodes:
        places = PRODUCTS.get(node.target)
        if places is None:
            continue
        left, right = (value_of(node.args[i]) for i in places)
        found.append(
            Product(
                launch.axis(left.shape[-2]),
                launch.axis(right.shape[-1]),
                launch.axis(left.shape[-1]),
                launch.axis(left.shape[0]) if left.dim() == 3 else None,
                max(left.dtype.itemsize, right.dtype.itemsize),
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
        if len(products) > 1:
            self._chained(products)
        else:
            self._single(products[0])

    def _single(self, product: Product) -> None:
        """Fill the register file with the accumulator, then shared memory with K."""
        m, n = self.hint(product.m), self.hint(product.n)
        wide = product.itemsize >= 4
        bm = min(max(next_power(m), 16), 128)
        bn = min(max(next_power(n), 16), 128 if wide else 256)
        while bm * bn > 16384 and self._programs(bm, bn, product) < self.sms():
            bm, bn = (bm // 2, bn) if bm >= bn else (bm, bn // 2)
        while bm * bn > 4096 and self._programs(bm, bn, product) < self.sms():
            bm, bn = (bm // 2, bn) if bm >= bn else (bm, bn // 2)
        bk = min(next_power(self.hint(product.k)), 128 // product.itemsize)
        if bm * bn <= 4096:
            bk = min(next_power(self.hint(product.k)), 256 // product.itemsize)
        bm, bn, bk = self._within_registers(product, bm, bn, bk)
        for block_id, size in ((product.m, bm), (product.n, bn), (product.k, bk)):
            if block_id in self.blocks:
                self.sizes[block_id] = size
        stage = (bm * bk + bk * bn) * product.itemsize
        stages = max(2, min(4, SHARED_BYTES // max(stage, 1)))
        warps = 8 if bm * bn >= 16384 else 4
        self.preferred.update(num_warps=warps, num_stages=stages)
        if m >= 4 * bm:
            # A wave of programs then reads as many rows as columns.
            group = floor_power(math.isqrt(max(self.sms() * bn // bm, 1)))
            self.set_each("l2_groupings", self.spec.l2_groupings, 1, lambda _: group)

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

    def _programs(self, bm: int, bn: int, product: Product) -> int:
        count = -(-self.hint(product.m) // bm) * -(-self.hint(product.n) // bn)
        others = self.grid - {product.m, product.n}
        for block_id in others:
            count *= max(self.hint(block_id), 1)
        return count

    def _chained(self, products: list[Product]) -> None:
        """Attention and its kin: one long tile of rows, a loop over the other side."""
        heads = [
            self.hint(p)
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
        self.preferred.update(
            num_warps=8 if head > 64 else 4, num_stages=2 if wide else 3
        )
