"""Axes whose lanes have lengths of their own: which elements of a value exist.

Rows of unequal length are handled as a block as long as the longest of them. The rest
of each row does not exist: accesses leave it out, folds find the identity there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from ..language.creation_ops import arange
from ..language.memory_ops import load
from ..language.tile import tile_index
from .device_ir import _mask_to
from .error_text import describe
from .loop_bounds import LoopBounds
from .node_masking import IDENTITIES, PRODUCTS, RESHAPES, VIEWS
from .traced_tile import TracedTile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import fx

    from ..language.jagged_access import JaggedIndex
    from .compile_environment import BlockSizeInfo
    from .graph_tracer import GraphTracer

aten = torch.ops.aten
_CASTS = (aten._to_copy.default, torch.ops.prims.convert_element_type.default)
_SHAPES = (
    "hl.jagged_tile takes a device tensor of lengths over tiles, as n = lengths[t]"
)


@dataclass
class JaggedBounds(LoopBounds):
    """The range of ``hl.jagged_tile``: as long as the longest lane of ``parent``."""

    parent: torch.Tensor | None = None


@dataclass(frozen=True)
class Lengths:
    """How long the lanes along an axis are.

    ``make`` gives the lengths in the graph being recorded, None where they are out of
    reach; ``is_chunk``: the axis is walked tile by tile because the user says so.
    """

    make: Callable[[], torch.Tensor | None]
    key: object
    is_chunk: bool = False


class JaggedAxes:
    """The jagged axes of a kernel being traced, by block id."""

    def __init__(self, tracer: GraphTracer) -> None:
        self.tracer = tracer
        self.lengths: dict[int, list[Lengths]] = {}

    # -- hl.jagged_tile --------------------------------------------------------------

    def loop_bounds(self, args: list[Any], kwargs: dict[str, Any]) -> JaggedBounds:
        """Return the range of ``hl.jagged_tile(parent)``."""
        values = [*args, *kwargs.values()]
        if len(values) != 1 or kwargs.keys() - {"parent"}:
            raise exc.InvalidJaggedTileUsage(
                reason="hl.jagged_tile takes one argument, the lengths"
            )
        (parent,) = values
        if isinstance(parent, TracedTile):
            raise exc.TileOfTile()
        if not self.tracer.on_device:
            raise exc.InvalidJaggedTileUsage(
                reason="hl.jagged_tile cannot be the outermost loop",
                hint="put it in an hl.tile loop over the rows, of which it gets the "
                "lengths",
            )
        # Shapes are raw extents here, as they are in the rules of ops.
        with torch._C.DisableTorchFunction():
            self._check_parent(parent)
            longest = aten.amax.default(parent, [])
        return JaggedBounds("tile", [0], [longest], [None], False, parent)

    def _check_parent(self, parent: Any) -> None:
        env = self.tracer.env
        if not isinstance(parent, torch.Tensor):
            reason = f"the parent of hl.jagged_tile is {describe(parent)}"
            raise exc.InvalidJaggedTileUsage(reason=reason, hint=_SHAPES)
        if env.host_origin(parent) is not None:
            reason = "the parent of hl.jagged_tile is a host tensor"
            raise exc.InvalidJaggedTileUsage(reason=reason, hint=_SHAPES)
        if parent.dtype.is_floating_point or parent.dtype == torch.bool:
            reason = f"the parent of hl.jagged_tile has the dtype {parent.dtype}"
            raise exc.InvalidJaggedTileUsage(reason=reason, hint=_SHAPES)
        if parent.dim() == 0:
            raise exc.InvalidJaggedTileUsage(
                reason="the parent of hl.jagged_tile is one number",
                hint="a loop of one length is hl.tile(length)",
            )
        for dim, extent in enumerate(parent.shape):
            info = self._axis(extent)
            if info is None or info.kind != "tile":
                reason = (
                    f"dim {dim} of the parent of hl.jagged_tile is not that of a tile"
                )
                raise exc.InvalidJaggedTileUsage(reason=reason, hint=_SHAPES)

    def enter(self, bounds: LoopBounds, blocks: list[int]) -> None:
        """Remember the lengths that belong to the axis of a jagged loop."""
        if not isinstance(bounds, JaggedBounds):
            return
        parent = bounds.parent
        assert parent is not None
        info = self.tracer.env.block_sizes[blocks[0]]
        with torch._C.DisableTorchFunction():
            info.parents = tuple(parent.shape)

        def make() -> torch.Tensor | None:
            builder = self.tracer.builder
            assert builder is not None
            return parent if builder.lookup(parent) is not None else None

        self.lengths[blocks[0]] = [Lengths(make, id(parent), is_chunk=True)]

    def add(self, block_id: int, lengths: Lengths) -> None:
        """Remember what else limits the lanes along an axis."""
        known = self.lengths.setdefault(block_id, [])
        if all(lengths.key != other.key for other in known):
            known.append(lengths)

    # -- lanes -----------------------------------------------------------------------

    def lanes(
        self, shape: Sequence[int], along: set[int] | None = None
    ) -> torch.Tensor | None:
        """Return which elements of a shape exist, None if nothing is jagged in it.

        The result broadcasts to ``shape``; ``along`` restricts it to what matters to a
        fold of dims with these extents.
        """
        if not self.lengths:
            return None
        result: torch.Tensor | None = None
        for place, extent in enumerate(shape):
            info = self._axis(extent)
            known = [] if info is None else self.lengths.get(info.block_id, [])
            for lengths in known:
                assert info is not None
                term = self._term(info, place, list(shape), lengths, along)
                if term is not None:
                    result = term if result is None else result & term
        return result

    def _axis(self, extent: int) -> BlockSizeInfo | None:
        """Return the axis of a device dim without making one."""
        known = self.tracer.env.block_sizes
        return next((b for b in known if b.extent == extent and extent != 1), None)

    def _term(
        self,
        info: BlockSizeInfo,
        place: int,
        shape: list[int],
        lengths: Lengths,
        along: set[int] | None,
    ) -> torch.Tensor | None:
        value = lengths.make()
        if value is None or any(s not in shape for s in value.shape if s != 1):
            return None
        if along is not None and not along & {info.extent, *value.shape}:
            return None
        # The loop ends at the longest, which is within reach of the index type.
        value = value.to(self.tracer.env.index_dtype)
        index = _placed(self._index(info), [place], shape)
        if value.dim() == 0:
            return index < value
        return index < _placed(value, [shape.index(s) for s in value.shape], shape)

    def _index(self, info: BlockSizeInfo) -> torch.Tensor:
        tracer = self.tracer
        value = tracer.new_value([info.extent], tracer.env.index_dtype)
        if info.is_reduction:
            return tracer.emit(arange, (0, 1), value)
        return tracer.emit(tile_index, (info.block_id,), value)

    def with_lanes(
        self, mask: torch.Tensor | None, shape: Sequence[int]
    ) -> torch.Tensor | None:
        """Return an access' extra mask, without the elements that do not exist."""
        return both(mask, self.lanes(shape))

    def note_load(self, value: torch.Tensor) -> None:
        """Remember that a loaded value is 0 where nothing exists."""
        if self.lengths:
            self.tracer.node_of(value).meta["lanes"] = self._keys(value.shape)

    def _keys(self, shape: Sequence[int]) -> list[object]:
        infos = [self._axis(extent) for extent in shape]
        known = [self.lengths.get(b.block_id, []) for b in infos if b is not None]
        return [lengths.key for entry in known for lengths in entry]

    def update_lanes(
        self,
        tensor: torch.Tensor,
        shape: Sequence[int],
        access: JaggedIndex | None = None,
    ) -> torch.Tensor | None:
        """Return what an atomic update may touch, None if all of its lanes."""
        self.check_store(tensor, shape)
        return both(self.lanes(shape), None if access is None else access.lanes)

    def attach(self, value: torch.Tensor, lanes: torch.Tensor | None) -> None:
        """Restrict the update that gave ``value``."""
        if lanes is not None:
            tracer = self.tracer
            tracer.node_of(value).kwargs = {"lanes": tracer.node_of(lanes)}

    def check_store(self, tensor: torch.Tensor, shape: Sequence[int]) -> None:
        """Refuse to write along a jagged tile without the dims of its lengths."""
        for extent in shape:
            info = self._axis(extent)
            missing = (
                [] if info is None else [p for p in info.parents if p not in shape]
            )
            if missing:
                assert info is not None
                origin = self.tracer.env.host_origin(tensor)
                name = origin.host_str() if origin is not None else "a tensor"
                jagged = info.hint or info.block_id
                raise exc.InvalidJaggedTileUsage(
                    reason=f"{name} is written with the jagged tile {jagged}, but "
                    "without the tile of its lengths",
                    hint="index it with both, as in out[tile, jagged]",
                )

    # -- folds -----------------------------------------------------------------------

    def mask_operands(self, func: Any, args: Any) -> Any:
        """Return the arguments of an operation, with identities where nothing is."""
        if not self.lengths:
            return args
        if func in IDENTITIES:
            value, dim = args[0], args[1]
            dims = [dim] if isinstance(dim, int) else dim
            extents = {value.shape[d] for d in dims}
            other = IDENTITIES[func](value.dtype)
            return (self.masked(value, extents, other), *args[1:])
        if func in PRODUCTS:
            return self._masked_product(PRODUCTS[func], list(args))
        if func in RESHAPES:
            self._check_reshape(args[0], args[1])
        return args

    def _check_reshape(self, value: torch.Tensor, shape: Sequence[int]) -> None:
        for extent in value.shape:
            info = self._axis(extent)
            if info is None or info.block_id not in self.lengths or extent in shape:
                continue
            raise exc.InvalidJaggedTileUsage(
                reason="a reshape merges the dim of a jagged tile with others, which "
                "does away with the lengths of its rows",
                hint="keep it a dim of its own",
            )

    def _masked_product(self, first: int, args: list[Any]) -> Any:
        for place, dim in ((first, -1), (first + 1, -2)):
            value = args[place]
            if value.dim() >= 2:
                args[place] = self.masked(value, {value.shape[dim]}, 0)
        return tuple(args)

    def masked(
        self, value: torch.Tensor, extents: set[int], other: Any
    ) -> torch.Tensor:
        """Return a value with ``other`` where folding those dims must find nothing."""
        node = self.tracer.node_of(value)
        if other == 0 and self._is_zero(node):
            return value
        lanes = self.lanes(value.shape, extents)
        if lanes is None:
            return value
        blocks = [
            info.block_id
            for extent in value.shape
            if (info := self._axis(extent)) is not None
            and info.block_id in self.lengths
            and ({extent, *info.parents} & extents)
        ]
        result = self.tracer.like(value)
        return self.tracer.emit(_mask_to, (value, other, blocks, lanes), result)

    def filled(
        self, tensors: tuple[torch.Tensor, ...], dims: list[int], fills: Sequence[Any]
    ) -> tuple[torch.Tensor, ...]:
        """Return operands of one fold, each with its fill where nothing exists."""
        lanes = self.lanes(tensors[0].shape, {tensors[0].shape[d] for d in dims})
        if lanes is None:
            return tensors
        pairs = zip(tensors, fills, strict=True)
        return tuple(torch.where(lanes, t, fill).to(t.dtype) for t, fill in pairs)

    def check_backward(self, value: torch.Tensor, dim: int) -> None:
        """Refuse to begin at the ends of rows, where nothing neutral is known."""
        if self.lanes(value.shape, {value.shape[dim]}) is not None:
            raise exc.InvalidJaggedTileUsage(
                reason="a scan from the back begins where short rows have nothing",
                hint="scan from the front, or with hl.cumsum or hl.cumprod",
            )

    def _is_zero(self, node: fx.Node) -> bool:
        """Whether a value is 0 already where it does not exist."""
        while node.target in _CASTS or node.target in VIEWS - {aten.expand.default}:
            source = node.args[0]
            assert not isinstance(source, (int, float, str)) and source is not None
            node = source  # pyright: ignore[reportAssignmentType] operand of a view
        if node.target is _mask_to:
            return False
        is_load = node.target is load and node.args[2] is not None
        return is_load and node.meta.get("lanes") == self._keys(node.meta["val"].shape)

    def count(self, value: torch.Tensor, dims: list[int]) -> torch.Tensor | None:
        """Return how many elements exist along dims, in a shape that broadcasts.

        None: nothing is jagged there.

        Raises:
            exc.InvalidJaggedTileUsage: a dim is that of a jagged tile.
        """
        if not self.lengths:
            return None
        extents = {value.shape[d] for d in dims}
        for extent in extents:
            info = self._axis(extent)
            known = [] if info is None else self.lengths.get(info.block_id, [])
            if any(lengths.is_chunk for lengths in known):
                raise exc.InvalidJaggedTileUsage(
                    reason="the mean over a jagged tile is that of one tile, not of "
                    "the rows",
                    hint="sum over the tiles, and divide by the lengths after the loop",
                )
        lanes = self.lanes(value.shape, extents)
        if lanes is None:
            return None
        total: Any = lanes.to(torch.int32)
        for d in dims:
            if total.shape[d] == 1:
                total = total * self.tracer.env.true_length(value.shape[d])
            else:
                total = aten.sum.dim_IntList(total, [d], True)
        return total


def both(left: torch.Tensor | None, right: torch.Tensor | None) -> torch.Tensor | None:
    if left is None or right is None:
        return right if left is None else left
    return left & right


def _placed(value: torch.Tensor, places: list[int], shape: list[int]) -> torch.Tensor:
    """Return a value with its dims at ``places`` of a shape, others of size 1."""
    order = sorted(range(len(places)), key=places.__getitem__)
    if order != list(range(len(places))):
        value = value.permute(order)
    for dim in range(len(shape)):
        if dim not in places:
            value = value.unsqueeze(dim)
    return value
