"""The Config used before any search: a pick by shape and kernel class.

Three classes are told apart by what the graphs do: products (tiles for the matrix
units), folds (rows or chunks that keep every thread busy) and pointwise work (wide
runs along the contiguous axis). The numbers are for 16-byte loads, 32 lanes a warp
and the 228 KiB of shared memory of an SM; see benchmarks/NOTES.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .default_folds import FoldPicker, folds
from .default_launch import Launch, next_power
from .default_products import ProductPicker, products_in
from .default_tiled_folds import TiledFoldPicker

if TYPE_CHECKING:
    from .compile_environment import CompileEnvironment
    from .device_ir import DeviceIR, RootGraphInfo

POINTWISE_BYTES = 4096


class PointwisePicker(Launch):
    """Gives the contiguous axis the longest run, and the rest what is left."""

    def choose(self) -> None:
        """Give the contiguous axis the longest run, and the rest what is left."""
        runs = self.contiguous_axes()
        self.order(lambda b: -b)
        order = sorted(self.blocks, key=lambda b: (b in runs, b), reverse=True)
        left = POINTWISE_BYTES // max(self.narrowest(), 2)
        for block_id in order:
            share = left
            if len(runs) > 1 and block_id in runs:
                # Two accesses want different runs: a square serves both.
                share = 32
            size = self.clamped(block_id, min(share, next_power(self.hint(block_id))))
            self.sizes[block_id] = size
            left = max(left // size, 1)
        self.preferred["num_warps"] = 4


def _picker(env: CompileEnvironment, ir: DeviceIR, root: RootGraphInfo) -> Launch:
    facts = Launch(env, ir, root)
    if products_in(facts):
        return ProductPicker(env, ir, root)
    if not folds(facts):
        return PointwisePicker(env, ir, root)
    kind = FoldPicker if facts.whole else TiledFoldPicker
    return kind(env, ir, root)


def prefer_defaults(env: CompileEnvironment, ir: DeviceIR) -> None:
    """Choose the defaults of ``env.config_spec``, launch by launch.

    What several launches share is as the first one with a product wants it, else as
    the first one; warps are enough for the largest tile, or as few as strips of
    columns want: more of them fold across warps, at several times the cost.
    """
    pickers = [_picker(env, ir, root) for root in ir.roots]
    pickers.sort(key=lambda picker: not isinstance(picker, ProductPicker))
    for picker in pickers:
        picker.apply()
    common = pickers[0].preferred
    if isinstance(pickers[0], ProductPicker):
        wanted = [p.preferred["num_warps"] for p in pickers[1:]]
        # A launch with several times the warps in mind spills with so few.
        common["num_warps"] = max([common["num_warps"], *(w // 4 for w in wanted)])
    else:
        strips = [p for p in pickers if p.needs_few_warps]
        common["num_warps"] = max(p.preferred["num_warps"] for p in strips or pickers)
    env.config_spec.preferred.update(common)
