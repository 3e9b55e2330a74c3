"""What a pick of a Config looks at: the axes and operations of one launch."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from ..language.memory_ops import load, store
from . import symbols
from .device_ir import _host_tensor
from .finalize_config import nodes_under
from .lowering_kinds import ReductionLowering
from .node_args import raw_arg

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..autotuner.config_spec import BlockSizeSpec, LoopOrderSpec
    from .compile_environment import CompileEnvironment
    from .device_ir import DeviceIR, RootGraphInfo

DEFAULT_SMS = 132
DEALT_PROGRAMS = 4
MAX_DEALT = 1024
UNKNOWN_LENGTH = 2048


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


@dataclass
class Launch:
    """Facts about one launch, and where the choices for it go."""

    env: CompileEnvironment
    ir: DeviceIR
    root: RootGraphInfo

    def __post_init__(self) -> None:
        self.spec = self.env.config_spec
        self.nodes = [
            n for n in nodes_under(self.ir, self.root.graph_id) if _is_call(n)
        ]
        own = self.own = self._axes()
        self.blocks = {
            s.block_id: s for s in self.spec.block_sizes if s.block_id in own
        }
        self.chunks = [s for s in self.spec.reduction_loops if s.block_id in own]
        self.whole = {
            b.block_id: b.size_hint()
            for b in self.env.block_sizes
            if b.is_reduction and b.block_id in own
        }
        self.sizes: dict[int, int] = {}
        self.grid = set(self.root.block_ids)
        self.preferred: dict[str, Any] = {}
        self.needs_few_warps = False

    def _axes(self) -> set[int]:
        """Return the axes of this launch: of its loops, and of values in them."""
        found = set(self.root.block_ids)
        for graph_id in self.ir.reachable(
            self.root.graph_id, {g.graph_id: g for g in self.ir.graphs}
        ):
            found |= set(getattr(self.ir.graphs[graph_id], "block_ids", ()))
        extents: set[Any] = set()
        for node in self.nodes:
            value = None if node.target is _host_tensor else node.meta.get("val")
            for item in value if isinstance(value, (list, tuple)) else [value]:
                sizes = item.shape if isinstance(item, torch.Tensor) else ()
                extents |= {size for size in sizes if isinstance(size, int)}
        found |= {b.block_id for b in self.env.block_sizes if b.extent in extents}
        return found

    def choose(self) -> None:
        """Fill ``sizes`` and ``preferred``, and the choices of folded axes."""
        raise NotImplementedError

    def apply(self) -> None:
        """Set the spec's defaults for this launch, where none are set yet."""
        self.choose()
        for block_id, size in self.sizes.items():
            if self.blocks[block_id].default is None:
                self.blocks[block_id].default = self.clamped(block_id, size)

    def clamped(self, block_id: int, size: int) -> int:
        spec: BlockSizeSpec = self.blocks[block_id]
        high = next_power(spec.size_hint)
        if spec.max_size is not None:
            high = min(high, spec.max_size)
        return max(min(size, high), spec.min_size)

    def axis(self, extent: int) -> int | None:
        info = self.env.block_of(extent)
        return None if info is None else info.block_id

    def order(self, rank: Callable[[int], Any]) -> None:
        """Let neighbouring programs differ in the axes that ``rank`` puts first."""

        def order(loop: LoopOrderSpec) -> list[int]:
            return sorted(_identity(loop), key=lambda i: rank(loop.block_ids[i]))

        loops = self.spec.loop_orders
        kept = self.spec.preferred.get("loop_orders", [_identity(i) for i in loops])
        self.spec.preferred["loop_orders"] = [
            order(loop) if self.is_own(loop) else before
            for loop, before in zip(loops, kept)
        ]

    def set_each(
        self, knob: str, entries: list[Any], default: Any, choose: Callable[[Any], Any]
    ) -> None:
        """Choose the entries of a list for the loops of this launch."""
        kept = self.spec.preferred.get(knob, [default] * len(entries))
        if entries:
            self.spec.preferred[knob] = [
                choose(entry) if self.is_own(entry) else before
                for entry, before in zip(entries, kept)
            ]

    def is_own(self, entry: Any) -> bool:
        """Tell whether a loop or an axis that a knob has an entry for is here."""
        return not set(entry.block_ids).isdisjoint(self.own)

    def contiguous_axes(self) -> set[int]:
        """Return the tiled axes that index a stride-1 dim of some access."""
        found: set[int] = set()
        for node in self.nodes:
            if node.target not in (load, store):
                continue
            tensor = value_of(node.args[0])
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

    def hint(self, block_id: int | None) -> int:
        """Return a length to plan with; None is an axis of one element."""
        if block_id is None:
            return 1
        info = self.env.block_sizes[block_id]
        if info.max_size is not None and info.numel == info.max_size:
            # A registered block size: the loop that it tiles tells the length.
            end = symbols.static_int(info.loop_end)
            return end if end is not None else max(info.max_size, UNKNOWN_LENGTH)
        return info.size_hint()

    def is_dealt(self, block_id: int) -> bool:
        """Whether an inner loop walks the tiles of an axis: they count programs."""
        return any(b.bounded_by == block_id for b in self.env.block_sizes)

    def dealt_size(self, block_id: int) -> int:
        """Return the tile of such an axis for a few programs a multiprocessor."""
        share = self.hint(block_id) // (DEALT_PROGRAMS * self.sms())
        return min(next_power(max(share, 1)), MAX_DEALT)

    def reductions(self) -> list[fx.Node]:
        """Return the nodes that fold an axis."""
        kind = ReductionLowering
        return [n for n in self.nodes if isinstance(n.meta.get("lowering"), kind)]

    def is_converted(self, node: fx.Node) -> bool:
        """Whether a side of a product is computed from another dtype's elements."""
        itemsize, pending = value_of(node).dtype.itemsize, [node]
        seen: set[fx.Node] = set()
        while pending:
            found = pending.pop()
            if found in seen or not _is_call(found):
                continue
            seen.add(found)
            if found.target is not load:
                pending += found.all_input_nodes
            elif value_of(found).dtype.itemsize < itemsize:
                return True
        return False

    def widest(self, sizes: dict[int, int]) -> int:
        """Return the elements of the widest value of this launch."""

        def extent(dim: Any) -> int:
            if isinstance(dim, int):
                return next_power(dim)
            length = next_power(self.whole.get(dim[1], 1))
            return sizes.get(dim[1], length)

        shapes = []
        for shape in self.spec.tensor_shapes:
            if self.own.issuperset(d[1] for d in shape if not isinstance(d, int)):
                shapes.append(math.prod(map(extent, shape)))
        return max(shapes, default=1)

    def uses(self, *names: str) -> bool:
        """Tell whether an operation of one of these names is in the launch."""
        return any(getattr(n.target, "name", None) in names for n in self.nodes)

    def narrowest(self) -> int:
        """Return the bytes of an element of the narrowest tensor that is accessed."""
        accesses = [n for n in self.nodes if n.target in (load, store)]
        sizes = [value_of(n.args[0]).dtype.itemsize for n in accesses]
        return min(sizes, default=4)

    def sms(self) -> int:
        return _sms(str(self.env.device))


def value_of(arg: Any) -> torch.Tensor:
    assert isinstance(arg, fx.Node)
    return arg.meta["val"]


def _is_call(node: fx.Node) -> bool:
    return node.op == "call_function"


def _identity(loop: LoopOrderSpec) -> list[int]:
    return list(range(len(loop.block_ids)))
