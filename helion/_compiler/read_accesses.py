"""Tiles of nodes, and how loads, stores and atomics index tensors, as facts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from ..language.tile import tile_index
from . import symbols
from .kernel_facts import Access, Dim, Index, Tile
from .node_args import int_arg, raw_arg
from .node_uses import VIEWS, has_load, reaches_product
from .variable_origin import BlockOrigin, BlockSizeOrigin

if TYPE_CHECKING:
    from .compile_environment import CompileEnvironment

aten = torch.ops.aten
SUMS = {aten.add.Tensor, aten.sub.Tensor, aten._to_copy.default}


@dataclass
class AccessReader:
    """Knows what the sizes of traced values stand for."""

    env: CompileEnvironment
    dims: dict[int, Dim] = field(default_factory=dict)

    # -- values ----------------------------------------------------------------------

    def dim(self, extent: int) -> Dim:
        """Return what a device extent stands for."""
        found = self.dims.get(extent)
        if found is None:
            found = self.dims[extent] = self._dim(extent)
        return found

    def _dim(self, extent: int) -> Dim:
        if extent <= 1:
            return Dim((), max(extent, 1))
        known = self.env._by_extent.get(extent)
        if known is not None:
            return Dim((known.block_id,))
        blocks, rest, over = [], extent, 1
        for info in self.env.block_sizes:
            prime = info.extent // self.env.extent_factor
            while not info.is_reduction and prime > 1 and rest % prime == 0:
                blocks.append(info.block_id)
                rest, over = rest // prime, over * self.env.extent_factor
        return Dim(tuple(blocks), rest, over)

    def tile(self, value: torch.Tensor) -> Tile:
        dims = tuple(self.dim(int(size)) for size in value.shape)
        return Tile(dims, value.dtype.itemsize)

    def tiles(self, node: Any) -> list[Tile]:
        """Return the tiles that a node leaves."""
        value = node.meta.get("val") if isinstance(node, fx.Node) else None
        items = value if isinstance(value, (list, tuple)) else [value]
        return [self.tile(v) for v in items if isinstance(v, torch.Tensor)]

    # -- accesses --------------------------------------------------------------------

    def access(self, node: fx.Node, name: str) -> Access:
        host = node.args[0]
        tensor = host.meta["val"] if isinstance(host, fx.Node) else None
        value = node.meta.get("val")
        shape = list(value.shape) if isinstance(value, torch.Tensor) else []
        site = node.meta.get("site", node.meta.get("atomic_site", 0))
        mask_at = {"load": 2, "store": 3}.get(name)
        if name == "store" and len(node.args) > 4:
            shape = list(raw_arg(node, 4))
        has_mask = mask_at is not None and node.args[mask_at] is not None
        known = isinstance(tensor, torch.Tensor)
        itemsize = tensor.dtype.itemsize if known else 8
        sizes = [symbols.size_hint(s) for s in tensor.shape] if known else []
        strides = [symbols.size_hint(s) for s in tensor.stride()] if known else []
        numel = itemsize
        for size, stride in zip(sizes, strides, strict=True):
            numel *= size if stride else 1
        index = self._index(raw_arg(node, 1), sizes, strides)
        # Along an expanded dim, what stands there is loaded once.
        once = {e.block_id for e in index if name == "load" and e.stride == 0}
        dims = tuple(
            Dim(()) if once & {*dim.blocks} else dim
            for dim in (self.dim(int(size)) for size in shape)
        )
        return Access(
            "atomic" if name.startswith("atomic_") else name,
            site,
            str(host.args[0]) if isinstance(host, fx.Node) and host.args else "?",
            numel,
            itemsize,
            Tile(dims, itemsize),
            index,
            has_mask,
            bool(node.users),
            name == "load" and reaches_product(node),
            any(e[0] == "tensor" and has_load(e[1]) for e in raw_arg(node, 1)),
        )

    def _index(
        self, elements: Any, sizes: list[int], strides: list[int]
    ) -> tuple[Index, ...]:
        found: list[Index] = []
        dims = iter(zip(sizes, strides, strict=True))
        for element in elements:
            if element[0] == "new":
                continue
            size, stride = next(dims, (1, 1))
            if element[0] in ("tile", "full"):
                found.append(Index(element[1], stride, size))
            elif element[0] == "tensor" and isinstance(element[1], fx.Node):
                for block, gathered in self._terms(element[1]) or [(None, True)]:
                    plain = element[1].target is tile_index
                    found.append(Index(block, stride, size, gathered, not plain))
            else:
                found += self._scalar(element, stride, size)
        return tuple(found)

    def _scalar(self, element: Any, stride: int, size: int) -> list[Index]:
        """Return the axes that a single index follows, or that it follows none."""
        value = element[1] if len(element) > 1 else None
        if symbols.static_int(value) == 0:
            return [Index(None, 0, size)]
        if isinstance(value, fx.Node):
            value = value.meta.get("val")
        blocks = self.followed(value)
        return [Index(b, stride, size, False, True) for b in blocks] or [
            Index(None, stride, size)
        ]

    def followed(self, value: Any) -> list[int]:
        """Return the axes whose tile or index a scalar depends on."""
        if not isinstance(value, torch.SymInt):
            return []
        symbols_in = symbols.sym_expr(value).free_symbols
        origins = map(self.env.symbol_origins.get, symbols_in)
        found = {
            o.block_id
            for o in origins
            if isinstance(o, BlockOrigin) and not isinstance(o, BlockSizeOrigin)
        }
        return sorted(found)

    def _terms(self, node: fx.Node) -> list[tuple[int | None, bool]]:
        """Return the axes that an index moves with, and whether it jumps along them."""
        if node.target is tile_index:
            return [(int_arg(node, 0), False)]
        if node.target in SUMS or node.target in VIEWS:
            sources = [n for n in node.all_input_nodes if self.tiles(n)]
            found = [term for source in sources for term in self._terms(source)]
            return list(dict.fromkeys(found))
        (tile, *_) = self.tiles(node)
        return [(b, True) for dim in tile.dims for b in dim.blocks] or [(None, True)]


def is_column_major(access: Access) -> bool:
    """Whether the second last indexed dim is the one with stride 1."""
    strides = [entry.stride for entry in access.index if entry.block_id is not None]
    return len(strides) >= 2 and strides[-2] == 1 and strides[-1] != 1
