"""helion.language (``hl``): what a kernel author writes besides torch itself."""

from __future__ import annotations

from . import _eager_random  # noqa: F401 (registers its handlers)
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
from .distributed_ops import (
    AsyncCopyDescriptor,
    ProcessGroupName,
    make_async_remote_copy,
    pdl_launch_dependents,
    pdl_wait,
    remote_barrier,
)
from .inline_ops import inline_asm_elementwise, inline_triton, triton_kernel
from .jagged_ops import jagged_tile
from .loops import barrier, grid, reduction, static_range
from .loops import tile as _tile
from .low_bit_ops import (
    float4_e2m1fn_x2_to_float32,
    load_bfloat16_x16_to_float16,
    load_float4_e2m1fn_x16_to_float16,
)
from .matmul_ops import dot
from .memory_ops import load, store, subscript
from .random_ops import rand, rand4x, randint
from .reduce_ops import reduce
from .scaled_dot_ops import dot_scaled
from .scan_ops import associative_scan, cumprod, cumsum
from .stack_ops import StackTensor, stacktensor_like
from .tile import Tile, tile_begin, tile_block_size, tile_end, tile_id, tile_index
from .tunable_ops import register_block_size, register_tunable
from .view_ops import join, split

# The op, not the module of the same name.
tile = _tile

__all__ = [
    "AsyncCopyDescriptor",
    "ConstExpr",
    "ProcessGroupName",
    "StackTensor",
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
    "dot_scaled",
    "float4_e2m1fn_x2_to_float32",
    "full",
    "grid",
    "inline_asm_elementwise",
    "inline_triton",
    "jagged_tile",
    "join",
    "load",
    "load_bfloat16_x16_to_float16",
    "load_float4_e2m1fn_x16_to_float16",
    "make_async_remote_copy",
    "pdl_launch_dependents",
    "pdl_wait",
    "rand",
    "rand4x",
    "randint",
    "reduce",
    "reduction",
    "register_block_size",
    "register_tunable",
    "remote_barrier",
    "specialize",
    "split",
    "stacktensor_like",
    "static_range",
    "store",
    "subscript",
    "tile",
    "tile_begin",
    "tile_block_size",
    "tile_end",
    "tile_id",
    "tile_index",
    "triton_kernel",
    "zeros",
]
