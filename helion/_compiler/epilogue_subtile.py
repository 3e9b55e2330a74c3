"""Splits what follows a product into pieces along a tile, so that less is held at once.

A store (or an atomic add whose old value nobody reads), and what computes its value
element by element, are emitted once for each piece: the axis has a smaller tile for as
long, and values computed before are split.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from ..language.atomic_ops import atomic_add
from ..language.memory_ops import load, store
from ..language.tile import tile_index
from .ast_extension import assign, expr, statements, text_of
from .storage_use import storage_key

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable

    from .device_function import Axis, DeviceFunction
    from .device_ir import GraphInfo

aten = torch.ops.aten
# Emitted by the axis they are for, whatever its tile is.
_FOLLOWING = (aten.unsqueeze.default, aten.full.default, tile_index)


@dataclass(frozen=True)
class Epilogue:
    """A node that stores, the nodes that only it needs, and the axis to split.

    ``split`` are the values from before that have the axis.
    """

    block_id: int
    extent: int
    nodes: tuple[fx.Node, ...]
    split: tuple[fx.Node, ...]


def epilogues(fn: DeviceFunction, info: GraphInfo) -> dict[fx.Node, Epilogue]:
    """Return what of a graph the Config has in pieces, by the stores at its end."""
    if not fn.config.epilogue_subtile:
        return {}
    found = {}
    for node in info.graph.nodes:
        epilogue = _Finder(fn, node).find() if _stores(node) else None
        if epilogue is not None:
            found[node] = epilogue
    return found


def _stores(node: fx.Node) -> bool:
    return node.target is store or (node.target is atomic_add and not node.users)


class _Finder:
    """Finds the epilogue of one store."""

    def __init__(self, fn: DeviceFunction, node: fx.Node) -> None:
        self.fn = fn
        self.node = node
        self.order = {n: i for i, n in enumerate(node.graph.nodes)}

    def find(self) -> Epilogue | None:
        """Return what can be split along the innermost tile dim that allows it."""
        elements: Any = self.node.args[1]
        tiles = [e[1] for e in elements if e[0] == "tile"]
        for block_id in reversed(tiles):
            if not self._divides(block_id):
                continue
            extent = self.fn.env.block_sizes[block_id].extent
            nodes = self._movable(extent)
            outside = {n for m in nodes for n in m.all_input_nodes} - set(nodes)
            split = [n for n in outside if extent in _shape(n)]
            if split:
                split.sort(key=lambda n: self.order[n])
                return Epilogue(block_id, extent, tuple(nodes), tuple(split))
        return None

    def _divides(self, block_id: int) -> bool:
        """Whether the tile of an axis has two elements or more for each piece."""
        axis, info = self.fn.axes.get(block_id), self.fn.env.block_sizes[block_id]
        size = self.fn.block_values.get(block_id)
        if axis is None or axis.flat or info.kind != "tile" or info.parents:
            return False
        pieces = self.fn.config.epilogue_subtile or 1
        return isinstance(size, int) and size >= 2 * pieces

    def _movable(self, extent: int) -> list[fx.Node]:
        """Return the store and the nodes with the axis that nothing else needs."""
        moved = {self.node}
        pending = list(self.node.all_input_nodes)
        while pending:
            node = pending.pop()
            is_own = node not in moved and set(node.users) <= moved
            if is_own and extent in _shape(node) and self._follows(node):
                moved.add(node)
                pending += node.all_input_nodes
        return sorted(moved, key=lambda n: self.order[n])

    def _follows(self, node: fx.Node) -> bool:
        """Whether a node may be emitted later, and piece by piece."""
        if node.target is load:
            return self._may_wait(node)
        # The module of lowerings imports this one, by way of what emits graphs.
        kind = type(node.meta.get("lowering")).__name__
        return kind == "PointwiseLowering" or node.target in _FOLLOWING

    def _may_wait(self, node: fx.Node) -> bool:
        """Whether a load reads the same when it stands between the stores."""
        if _memory(node) == _memory(self.node):
            return False
        between = range(self.order[node] + 1, self.order[self.node])
        nodes = list(node.graph.nodes)
        return all(nodes[i].meta["lowering"].is_pure for i in between)


def _memory(node: fx.Node) -> int | None:
    source = node.args[0]
    assert isinstance(source, fx.Node)
    return storage_key(source.meta["val"])


def _shape(node: fx.Node) -> tuple[Any, ...]:
    """Return the device extents of a value, none of a tensor of the host."""
    value = node.meta.get("val")
    is_device = getattr(node.target, "__name__", "") != "_host_tensor"
    return tuple(value.shape) if isinstance(value, torch.Tensor) and is_device else ()


# -- emitting ------------------------------------------------------------------------


def emit_pieces(
    fn: DeviceFunction,
    epilogue: Epilogue,
    values: dict[fx.Node, Any],
    emit_node: Callable[[DeviceFunction, fx.Node, dict[fx.Node, Any]], Any],
) -> None:
    """Emit the nodes of an epilogue, piece by piece."""
    whole = fn.axes[epilogue.block_id]
    size = fn.block_values[epilogue.block_id] // fn.config.epilogue_subtile
    size_var = fn.constexpr_arg(f"_SUBTILE_SIZE_{epilogue.block_id}", str(size))
    parts = {n: _Splitter(fn, n, epilogue).parts(values[n]) for n in epilogue.split}
    for number in range(fn.config.epilogue_subtile or 1):
        fn.axes[epilogue.block_id] = _piece(fn, whole, size_var, number)
        own = {**values, **{node: found[number] for node, found in parts.items()}}
        for node in epilogue.nodes:
            own[node] = emit_node(fn, node, own)
    fn.axes[epilogue.block_id] = whole


def _piece(fn: DeviceFunction, whole: Axis, size_var: str, number: int) -> Axis:
    """Define offset, index and mask of a piece of a tile."""
    block = whole.block_id
    offset = fn.new_var(f"suboffset_{block}")
    shift = f" + {number} * {size_var}" if number else ""
    fn.emit(assign(offset, expr(f"{whole.offset}{shift}")))
    index = fn.new_var(f"subindices_{block}")
    dtype = fn.env.backend.dtype_text(fn.env.index_dtype)
    fn.emit(assign(index, expr(f"({offset} + tl.arange(0, {size_var})).to({dtype})")))
    mask = None
    if whole.mask is not None:
        mask = fn.new_var(f"submask_{block}")
        fn.emit(assign(mask, expr("{i} < {end}", i=index, end=whole.end)))
    return dataclasses.replace(
        whole, size_var=size_var, index=index, offset=offset, mask=mask
    )


class _Splitter:
    """Cuts a value into pieces along an axis, by halves."""

    def __init__(self, fn: DeviceFunction, node: fx.Node, epilogue: Epilogue) -> None:
        groups = fn.merged_dims(list(_shape(node)))
        self.fn = fn
        self.dims = [fn.dim_text(group) for group in groups]
        self.place = [group[0] for group in groups].index(epilogue.extent)
        self.size = fn.block_values[epilogue.block_id]

    def parts(self, value: ast.expr) -> list[ast.expr]:
        """Return the pieces in order."""
        pieces = [value]
        while len(pieces) < (self.fn.config.epilogue_subtile or 1):
            pieces = [half for piece in pieces for half in self._halves(piece, pieces)]
        return pieces

    def _halves(self, value: ast.expr, pieces: list[ast.expr]) -> list[ast.expr]:
        size = self.size // len(pieces) // 2
        place, rank = self.place, len(self.dims)
        dims = [*self.dims[:place], "2", str(size), *self.dims[place + 1 :]]
        order = [i for i in range(rank + 1) if i != place] + [place]
        names = [self.fn.new_var(f"half_{side}") for side in (0, 1)]
        apart = f"tl.reshape({{v}}, [{', '.join(dims)}])"
        code = f"{', '.join(names)} = tl.split(tl.permute({apart}, {order}))"
        self.fn.emit(*statements(code, v=text_of(value)))
        return [expr(name) for name in names]
