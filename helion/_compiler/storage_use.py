"""Who reads and writes the memory behind a tensor in one launch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from ..language.memory_ops import load
from .device_ir import (
    ForLoopGraphInfo,
    ReductionLoopGraphInfo,
    _host_tensor,
    _partial_folds,
    _partial_loop,
    called_graphs,
)
from .node_args import int_arg
from .op_registry import Op

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .compile_environment import CompileEnvironment
    from .device_function import DeviceFunction
    from .device_ir import GraphInfo

# The loop of a node has no axis, so that each turn may reach the same elements.
ANY_TURN = -1


@dataclass
class StorageUse:
    """The accesses of one launch, by the memory that they reach.

    ``loops`` has the axes of the loops around each access.
    """

    reads: dict[int, list[fx.Node]] = field(default_factory=dict)
    writes: dict[int, list[fx.Node]] = field(default_factory=dict)
    loops: dict[fx.Node, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, roots: Sequence[GraphInfo], graphs: dict[int, GraphInfo]) -> StorageUse:
        """Look through the graphs of a launch and all that they call."""
        found = cls()
        for root in roots:
            found._visit(root, graphs, ())
        return found

    def _visit(
        self, info: GraphInfo, graphs: dict[int, GraphInfo], loops: tuple[int, ...]
    ) -> None:
        for node in info.graph.nodes:
            if node.op != "call_function":
                continue
            for child in _children(node):
                inner = graphs[child]
                self._visit(inner, graphs, (*loops, *_axes(inner)))
            if isinstance(node.target, Op):
                self._note(node, loops)

    def _note(self, node: fx.Node, loops: tuple[int, ...]) -> None:
        for source in node.all_input_nodes:
            if source.target is not _host_tensor:
                continue
            key = storage_key(source.meta["val"])
            self.loops[node] = loops
            name = getattr(node.target, "name", "")
            if name != "store" and not is_update(node):
                self.reads.setdefault(key, []).append(node)
            if node.target is not load:
                self.writes.setdefault(key, []).append(node)

    def trouble(
        self, node: fx.Node, tensor: torch.Tensor, env: CompileEnvironment
    ) -> str | None:
        """Say why a node must not go round the order of usual loads and stores."""
        key = storage_key(tensor)
        reads, writes = self.reads.get(key, []), self.writes.get(key, [])
        if node.target is load:
            return "the kernel writes to this memory too" if writes else None
        if reads:
            return "the kernel reads this memory too"
        if any(other is not node for other in writes):
            return "the kernel writes to this memory in several places"
        if is_update(node):
            return None
        if set(self.loops.get(node, ())) - _indexed(node, env):
            return "each turn of the loop around it may write the same elements"
        return None


def storage_use(launch: DeviceFunction) -> StorageUse:
    """Return which accesses of the launch being emitted reach the same memory."""
    record = launch.indexed
    if record.uses is None:
        assert launch.root is not None, "a launch has a root"
        roots: list[GraphInfo] = [launch.root]
        if launch.partials is not None:
            roots = [launch.partials.halves.first, launch.partials.halves.second]
        record.uses = StorageUse.of(roots, launch.graphs)
    return record.uses


def _children(node: fx.Node) -> list[int]:
    if node.target in (_partial_folds, _partial_loop):
        return [int_arg(node, 0)]
    return called_graphs(node)


def _axes(info: GraphInfo) -> tuple[int, ...]:
    if isinstance(info, ForLoopGraphInfo):
        return tuple(info.block_ids)
    if isinstance(info, ReductionLoopGraphInfo):
        return (info.block_id,)
    # A branch is taken once; its type has no axes and no turns.
    return (ANY_TURN,) if "While" in type(info).__name__ else ()


def is_update(node: fx.Node) -> bool:
    """Whether a node is an atomic whose old value nobody reads."""
    name = getattr(node.target, "name", "")
    return name.startswith("atomic_") and not node.users


def _indexed(node: fx.Node, env: CompileEnvironment) -> set[int]:
    """Return the axes that the subscript of a store names."""
    found: set[int] = set()
    elements: Any = node.args[1]
    for element in elements:
        if element[0] in ("tile", "full") and element[1] is not None:
            found.add(element[1])
        elif element[0] == "scalar":
            value = element[1]
            value = value.meta["val"] if isinstance(value, fx.Node) else value
            if isinstance(value, torch.SymInt):
                for symbol in value.node.expr.free_symbols:
                    origin = env.symbol_origins.get(symbol)
                    block = getattr(origin, "block_id", None)
                    found |= set() if block is None else {block}
    return found


def storage_key(tensor: torch.Tensor) -> int:
    """Return what two views of one buffer have in common."""
    return tensor.untyped_storage()._cdata
