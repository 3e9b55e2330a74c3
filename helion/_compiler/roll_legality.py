"""How the nodes of a graph touch a reduced axis, and what forbids walking it in chunks.

A node is *inner* if it works per lane of the axis, folds it, or writes along it.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from ..language import atomic_ops
from ..language.creation_ops import arange
from ..language.inline_ops import pure_asm
from ..language.memory_ops import load, store
from ..language.random_ops import positions, rand, rand4x, randint, random_words
from ..language.tile import tile_index
from .device_ir import (
    CONTROL_FLOW,
    _get_symnode,
    _host_tensor,
    _mask_to,
    called_graphs,
    target_name,
)
from .lowering_kinds import PointwiseLowering
from .node_args import shape_of
from .node_masking import (
    PRODUCTS,
    RESHAPES,
    VIEWS,
    is_reduction,
    keeps_dim,
    operand_of,
    reduced_extents,
)
from .op_registry import Op

if TYPE_CHECKING:
    from .compile_environment import BlockSizeInfo
    from .device_ir import GraphInfo

    Graphs = dict[int, GraphInfo]

aten = torch.ops.aten

INDEX_LIKE = frozenset(
    {
        arange,
        tile_index,
        positions,
        rand,
        randint,
        aten.arange.default,
        aten.arange.start,
        aten.arange.start_step,
        torch.ops.prims.iota.default,
    }
)
"""Ops made from positions along the axis: their code must use the loop's index."""

_LANEWISE = frozenset(
    {
        _mask_to,
        operator.getitem,
        pure_asm,
        rand4x,
        random_words,
        aten.detach.default,
        aten.full.default,
        aten.zeros.default,
        aten.ones.default,
        aten.empty.memory_format,
    }
)
_ATOMICS = frozenset(op for op in vars(atomic_ops).values() if isinstance(op, Op))
_SYMBOLS = (_host_tensor, _get_symnode)


class NotRollable(Exception):
    """Why an axis has to stay in one tile."""


@dataclass(frozen=True)
class Access:
    """That a node reads or writes a host tensor, ``storage`` telling which."""

    storage: object
    is_write: bool

    def conflicts(self, other: Access) -> bool:
        """Whether the order of two accesses matters."""
        same = self.storage == other.storage
        return same and (self.is_write or other.is_write)


def is_symbol(node: fx.Node) -> bool:
    """Whether a node brings in a host value; such nodes are repeated at will."""
    return node.target in _SYMBOLS


def is_effect(node: fx.Node) -> bool:
    """Whether a node is kept even if nothing uses it."""
    if node.op != "call_function":
        return False
    return node.target in CONTROL_FLOW or not node.meta["lowering"].is_pure


def live_nodes(graph: fx.Graph) -> list[fx.Node]:
    """Return the called nodes that an effect or an output needs, in source order."""
    output = graph.output_node()
    found = set(output.all_input_nodes)
    for node in reversed(graph.nodes):
        if node in found or is_effect(node):
            found.add(node)
            found.update(node.all_input_nodes)
    called = [n for n in graph.nodes if n.op == "call_function"]
    return [n for n in called if n in found and not is_symbol(n)]


def accesses_of(graphs: Graphs, node: fx.Node) -> list[Access]:
    """Return what a node reads and writes, graphs that it runs included."""
    if node.target in CONTROL_FLOW:
        inside = [n for g in called_graphs(node) for n in graphs[g].graph.nodes]
        return [access for n in inside for access in accesses_of(graphs, n)]
    hosts = [n for n in node.all_input_nodes if n.target is _host_tensor]
    return [Access(_storage(host), node.target is not load) for host in hosts]


def _storage(host: fx.Node) -> object:
    value = host.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return host.args[0]
    # Names may differ where host code made a view.
    return value.untyped_storage()._cdata


class GraphOnAxis:
    """One graph seen from one reduced axis; ``nodes`` are its live called nodes."""

    def __init__(self, graphs: Graphs, graph: fx.Graph, info: BlockSizeInfo) -> None:
        self.graphs = graphs
        self.graph = graph
        self.info = info
        self.nodes = live_nodes(graph)
        self.inner = {n for n in self.nodes if self._is_inner(n)}

    # -- classes of nodes ------------------------------------------------------------

    def spans(self, value: object) -> bool:
        """Whether the result of a node has the axis as a dim."""
        return any(self.info.extent in shape for shape in _shapes(value))

    def folds(self, node: fx.Node) -> bool:
        """Whether a node is a reduction over the axis."""
        return node in self.inner and self.info.extent in reduced_extents(node)

    def is_access(self, node: fx.Node) -> bool:
        """Whether a node is a load, a store or an atomic."""
        return node.target is load or node.target is store or node.target in _ATOMICS

    def roots(self) -> list[fx.Node]:
        """Return the inner nodes for whose sake a loop exists."""
        return [n for n in self.nodes if n in self.inner and self.is_root(n)]

    def is_root(self, node: fx.Node) -> bool:
        """Whether an inner node has a result or an effect outside its lane."""
        return self.folds(node) or is_effect(node)

    def index_along(self, node: fx.Node) -> list[tuple[int, tuple[Any, ...]]]:
        """Return (host dim, index element) where an access walks along the axis."""
        elements: Any = node.args[1]
        indices = [e for e in elements if e[0] != "new"]
        return [(i, e) for i, e in enumerate(indices) if self._walks(e)]

    def _walks(self, element: tuple[Any, ...]) -> bool:
        kind, rest = element[0], element[1:]
        if kind == "full":
            return rest[0] == self.info.block_id
        if kind == "slice":
            return rest[2] == self.info.extent
        return kind == "tensor" and self.spans(rest[0])

    def _is_inner(self, node: fx.Node) -> bool:
        if self.spans(node) or self.info.extent in reduced_extents(node):
            return True
        if not self.is_access(node):
            return False
        inputs = [n for n in node.all_input_nodes if not is_symbol(n)]
        return bool(self.index_along(node)) or any(self.spans(n) for n in inputs)

    # -- checks ----------------------------------------------------------------------

    def check(self) -> None:
        """Raise NotRollable if something here needs the whole axis at once."""
        for node in self.graph.nodes:
            if node.op == "placeholder" and self.spans(node):
                raise NotRollable(f"{node.name} enters a graph with the whole axis")
        for node in self.graph.output_node().all_input_nodes:
            if self.spans(node):
                raise NotRollable(f"{node.name} leaves a graph with the whole axis")
        for node in self.nodes:
            if node in self.inner:
                self._check_inner(node)
            elif any(self.spans(n) for n in node.all_input_nodes if not is_symbol(n)):
                raise NotRollable(f"{_call(node)} needs the whole axis at once")

    def _check_inner(self, node: fx.Node) -> None:
        shapes = [*_shapes(node), self._selection(node)]
        if any(shape.count(self.info.extent) > 1 for shape in shapes):
            raise NotRollable(f"{node.name} has the axis in two dims")
        if node.target in CONTROL_FLOW:
            raise NotRollable(f"{_call(node)} produces the whole axis")
        if node.target in PRODUCTS:
            raise NotRollable(f"{_call(node)} multiplies along the axis")
        if is_reduction(node) and len(reduced_extents(node)) > 1:
            raise NotRollable(f"{_call(node)} folds several dims at once")
        if node.target in RESHAPES and not self._keeps(node):
            raise NotRollable(f"{_call(node)} moves elements across the axis")
        if not self._is_lanewise(node):
            raise NotRollable(f"{_call(node)} works across lanes of the axis")

    def _selection(self, node: fx.Node) -> tuple[int, ...]:
        """Return the axis as often as dims of an access walk along it."""
        if not self.is_access(node):
            return ()
        paths = [e for _, e in self.index_along(node)]
        # Index tensors of several dims walk together.
        joint = [e for e in paths if e[0] == "tensor" and len(shape_of(e[1])) > 1]
        return (self.info.extent,) * (len(paths) - len(joint) + bool(joint))

    def _keeps(self, node: fx.Node) -> bool:
        before = shape_of(operand_of(node))
        return keeps_dim(before, shape_of(node), self.info.extent)

    def _is_lanewise(self, node: fx.Node) -> bool:
        known = (VIEWS, RESHAPES, INDEX_LIKE, _LANEWISE)
        if self.is_access(node) or any(node.target in group for group in known):
            return True
        is_pointwise = isinstance(node.meta["lowering"], PointwiseLowering)
        return is_pointwise or is_reduction(node)


def _shapes(node: object) -> list[tuple[int, ...]]:
    value = node.meta.get("val") if isinstance(node, fx.Node) else None
    values = value if isinstance(value, (list, tuple)) else [value]
    return [tuple(v.shape) for v in values if isinstance(v, torch.Tensor)]


def _call(node: fx.Node) -> str:
    return f"{node.name} ({target_name(node)})"
