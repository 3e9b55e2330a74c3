"""Compile-time form of a subscript: one tuple per element, and the result's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .._compiler import symbols
from .._compiler.node_args import int_arg
from .tile import tile_index

if TYPE_CHECKING:
    from .._compiler.graph_tracer import GraphTracer


class SubscriptBuilder:
    """Reads the elements of one subscript of a host tensor."""

    def __init__(
        self, tracer: GraphTracer, tensor: torch.Tensor, is_masked: bool
    ) -> None:
        self.tracer = tracer
        self.is_masked = is_masked
        self.env = tracer.env
        self.tensor = tensor
        self.elements: list[tuple[Any, ...]] = []
        self.shape: list[int] = []
        self.dim = 0
        self.pairwise_at: int | None = None
        self.pairwise: list[torch.Tensor] = []

    def build(self, index: Any) -> tuple[list[tuple[Any, ...]], list[int]]:
        """Return the elements for a node and the extents of the selection."""
        given = sum(item is not None for item in index)
        if given != self.tensor.dim():
            origin = self.env.host_origin(self.tensor)
            name = origin.host_str() if origin is not None else "the tensor"
            raise exc.RankMismatch(tensor=name, expected=self.tensor.dim(), got=given)
        for item in index:
            self._add(item)
        if self.pairwise:
            at = self.pairwise_at
            assert at is not None
            shapes = [t.size() for t in self.pairwise]
            self.shape[at:at] = list(torch.broadcast_shapes(*shapes))
        return self.elements, self.shape

    def _add(self, item: Any) -> None:
        if isinstance(item, (list, tuple)) and len(item) == 1:
            item = item[0] if _block(item[0]) is not None else item
        if item is None:
            self.elements.append(("new",))
            self.shape.append(1)
            return
        block = _block(item)
        if block is not None:
            self._tile(block)
        elif isinstance(item, slice):
            self._slice(item)
        elif isinstance(item, bool):
            raise exc.InvalidIndexingType(index=repr(item))
        elif isinstance(item, int):
            self._integer(item)
        elif isinstance(item, torch.SymInt):
            self.elements.append(("scalar", item))
        elif isinstance(item, torch.Tensor):
            self._tensor(item)
        elif isinstance(item, (list, tuple)) and any(
            _block(i) is not None for i in item
        ):
            raise exc.OverpackedTile(container=repr(item))
        else:
            raise exc.InvalidIndexingType(index=repr(item))
        self.dim += 1

    def _tile(self, block_id: int) -> None:
        info = self.env.block_sizes[block_id]
        self._check_bounds(info.loop_end)
        self.elements.append(("tile", block_id))
        self.shape.append(info.extent)

    def _check_bounds(self, end: Any) -> None:
        """A tile that runs past the tensor would read other memory."""
        if self.is_masked:
            return  # the user's own mask decides
        size = symbols.static_int(self.tensor.size(self.dim))
        end = symbols.static_int(end)
        if size is None or end is None or size == 1 or end <= size:
            return
        origin = self.env.host_origin(self.tensor)
        raise exc.TileSizeMismatch(
            tensor=origin.host_str() if origin else "the tensor",
            dim=self.dim,
            size=size,
            end=end,
        )

    def _slice(self, item: slice) -> None:
        size = self.tensor.size(self.dim)
        if item == slice(None):
            self._whole(size)
            return
        for bound in (item.start, item.stop, item.step):
            if isinstance(bound, torch.Tensor):
                raise exc.TensorSliceBound(value=repr(bound))
        block = self.env.enclosing_tile(item.start, item.stop)
        if block is not None and item.step in (None, 1):
            self._tile(block)
            return
        self._static_slice(item, size)

    def _whole(self, size: Any) -> None:
        known = symbols.static_int(size)
        self.elements.append(("full", None))
        if known == 1:
            self.shape.append(1)
            return
        info = self.env.reduction_dim(size)
        self.elements[-1] = ("full", info.block_id)
        self.shape.append(info.extent)

    def _static_slice(self, item: slice, size: Any) -> None:
        step = 1 if item.step is None else symbols.static_int(item.step)
        if step is None or step <= 0:
            raise exc.InvalidSliceStep(step=item.step)
        bounds = [
            None if b is None else symbols.static_int(b)
            for b in (item.start, item.stop)
        ]
        missing = [
            b is not None and k is None
            for b, k in zip((item.start, item.stop), bounds, strict=True)
        ]
        known = self._known_size(size, bounds)
        if known is None or any(missing):
            raise exc.InvalidIndexingType(
                index="a slice with run-time bounds",
                hint="use constant bounds, tile.begin:tile.end, "
                "or a tensor of positions",
            )
        start, stop, step = slice(bounds[0], bounds[1], step).indices(known)
        length = max(0, -(-(stop - start) // step))
        self.elements.append(("slice", start, step, length))
        self.shape.append(self.env.reduction_dim(length).extent if length != 1 else 1)

    def _known_size(self, size: Any, bounds: list[int | None]) -> int | None:
        """Return a size that clips the bounds of a slice as the dim's own does.

        A run-time size does not matter where it reaches to the end of the slice: that
        it does becomes a guard.
        """
        known = symbols.static_int(size)
        if known is not None or None in bounds[1:]:
            return known
        ends = [bound or 0 for bound in bounds]
        own = set(self.env.symbol_origins) - {b.symbol for b in self.env.block_sizes}
        is_open = not symbols.sym_expr(size).free_symbols <= own
        if is_open or min(ends) < 0 or symbols.size_hint(size, -1) < max(ends):
            return None
        return max(ends) if bool(size >= max(ends)) else None

    def _integer(self, item: int) -> None:
        size = self.tensor.size(self.dim)
        known = symbols.static_int(size)
        if known is not None and not -known <= item < known:
            raise exc.InvalidIndexingType(
                index=f"{item} (dim {self.dim} has size {known})"
            )
        self.elements.append(("scalar", size + item if item < 0 else item))

    def _tensor(self, item: torch.Tensor) -> None:
        if item.dtype == torch.bool:
            raise exc.DataDependentOutputShapeNotSupported(
                op="indexing by a bool tensor"
            )
        if item.dtype.is_floating_point:
            raise exc.InvalidIndexingType(index=f"a {item.dtype} tensor")
        node = self.tracer.node_of(item)
        if node.target is tile_index:
            self._tile(int_arg(node, 0))
            return
        if item.dim() == 0:
            self.elements.append(("scalar", item))
            return
        self.elements.append(("tensor", item))
        if item.dim() == 1:
            self.shape += list(item.size())
            return
        if self.pairwise_at is None:
            self.pairwise_at = len(self.shape)
        self.pairwise.append(item)


def _block(item: Any) -> int | None:
    """Return the axis of a traced tile, None for anything else."""
    return getattr(item, "block_id", None)


def read_subscript(
    tracer: GraphTracer, tensor: torch.Tensor, index: Any, is_masked: bool = False
) -> tuple[list[tuple[Any, ...]], list[int]]:
    """Return the elements of a subscript and the extents of what it selects."""
    if not isinstance(index, (list, tuple)):
        raise exc.InvalidIndexingType(index=f"{index!r}, not in a list,")
    with tracer.paused():
        return SubscriptBuilder(tracer, tensor, is_masked).build(index)
