"""helion.language (``hl``): what a kernel author writes besides torch itself."""

from __future__ import annotations

from .atomic_ops import (
    atomic_add,
    atomic_and,
    atomic_cas,
    atomic_max,
    atomic_min,
    atomic_or,
    atomic_xchg,
    atomic_xor,
)
from .constexpr import ConstExpr, constexpr, specialize
from .creation_ops import arange, full, zeros
from .debug_ops import breakpoint, device_print
from .loops import barrier, grid, jagged_tile, reduction, static_range
from .loops import tile as _tile
from .matmul_ops import dot
from .memory_ops import load, store, subscript
from .random_ops import rand, rand4x, randint
from .reduce_ops import reduce
from .scan_ops import associative_scan, cumprod, cumsum
from .tile import Tile, tile_begin, tile_block_size, tile_end, tile_id, tile_index
from .tunable_ops import register_block_size, register_tunable
from .view_ops import join, split

# The op, not the module of the same name.
tile = _tile

__all__ = [
    "ConstExpr",
    "Tile",
    "arange",
    "associative_scan",
    "atomic_add",
    "atomic_and",
    "atomic_cas",
    "atomic_max",
    "atomic_min",
    "atomic_or",
    "atomic_xchg",
    "atomic_xor",
    "barrier",
    "breakpoint",
    "constexpr",
    "cumprod",
    "cumsum",
    "device_print",
    "dot",
    "full",
    "grid",
    "jagged_tile",
    "join",
    "load",
    "rand",
    "rand4x",
    "randint",
    "reduce",
    "reduction",
    "register_block_size",
    "register_tunable",
    "specialize",
    "split",
    "static_range",
    "store",
    "subscript",
    "tile",
    "tile_begin",
    "tile_block_size",
    "tile_end",
    "tile_id",
    "tile_index",
    "zeros",
]
