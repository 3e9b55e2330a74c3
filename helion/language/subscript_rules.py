"""Compile-time form of a subscript: one tuple per element, and the result's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .._compiler import symbols
from .._compiler.node_args import int_arg
from .slice_bounds import plan_slice
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
            is_negative = symbols.sym_expr(item).is_negative
            size = self.tensor.size(self.dim)
            self.elements.append(("scalar", size + item if is_negative else item))
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
        plan = plan_slice(self.env, item, size)
        self.elements.append(plan.element())
        self.shape.append(plan.extent)

    def _whole(self, size: Any) -> None:
        known = symbols.static_int(size)
        self.elements.append(("full", None))
        if known == 1:
            self.shape.append(1)
            return
        info = self.env.reduction_dim(size)
        self.elements[-1] = ("full", info.block_id)
        self.shape.append(info.extent)

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
