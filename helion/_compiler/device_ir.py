"""Device IR: FX graphs of a launch, and the nodes that tie them together.

Values enter a graph through placeholders (device values of an outer graph) and
through ``_host_tensor`` / ``_get_symnode`` nodes. A loop node holds, for each carried
name, (initial value, body argument, body result, loop result), as MLIR's ``scf.for``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import fx

from .launch_overlap import LaunchOverlap
from .node_args import int_arg, raw_arg

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from .compile_environment import HostTensor
    from .source_location import SourceLocation
    from .whole_tiles import Turns


def _host_tensor(name: str) -> Any:
    """A tensor of the host function; ``name`` is its spelling there."""
    raise AssertionError("only a graph node")


def _get_symnode(name: str) -> Any:
    """A symbolic scalar; ``meta['val']`` holds it."""
    raise AssertionError("only a graph node")


def _for_loop(graph_id: int, bounds: Any, inputs: Any, carried: Any) -> Any:
    """Run a graph for each tile; ``bounds`` is a (begin, end) pair per axis.

    ``inputs`` are the values of the graph's placeholders on entry; ``carried`` tells
    which of them each result of the body replaces for the next turn.
    """
    raise AssertionError("only a graph node")


def _reduction_loop(graph_id: int, inputs: Any) -> Any:
    """Run a graph for each chunk of a reduced axis; returns the reductions."""
    raise AssertionError("only a graph node")


def _partial_folds(graph_id: int, inputs: Any) -> Any:
    """Run a reduction loop over one split of its axis; keep the accumulators."""
    raise AssertionError("only a graph node")


def _merged_folds(graph_id: int) -> Any:
    """Fold what the splits left; returns what the reduction loop would."""
    raise AssertionError("only a graph node")


def _partial_loop(
    graph_id: int, bounds: Any, inputs: Any, carried: Any, kinds: Any
) -> Any:
    """Run a share of the turns of a loop; keep what the carried values gather.

    ``kinds`` tells how each of them does: ``sum``, ``max`` or ``min``.
    """
    raise AssertionError("only a graph node")


def _merged_loop(graph_id: int, kinds: Any) -> Any:
    """Join what the shares gathered; returns what the loop would."""
    raise AssertionError("only a graph node")


def _if(predicate: Any, then_id: int, else_id: int, inputs: Any, others: Any) -> Any:
    """Run one of two graphs that return the same tuple."""
    raise AssertionError("only a graph node")


def _while_loop(
    cond_id: int, body_id: int, carried: Any, seen: Any, inputs: Any
) -> Any:
    """Run the body graph as long as the condition graph returns true.

    Both graphs take the carried values first, then ``seen`` / ``inputs``.
    """
    raise AssertionError("only a graph node")


def _mask_to(value: Any, other: Any, blocks: Any, lanes: Any = None) -> Any:
    """Replace padded lanes of the axes ``blocks`` by a constant, and not ``lanes``."""
    raise AssertionError("only a graph node")


def _max_and_sum_exp(value: Any, dims: Any, is_base_2: bool) -> Any:
    """Fold to (maximum, sum of exp(value - finite maximum), finite maximum).

    The finite maximum is 0 where the maximum is infinite.
    """
    raise AssertionError("only a graph node")


def _sum_and_squares(value: Any, dims: Any) -> Any:
    """Fold to (sum, sum of squared distances from the mean)."""
    raise AssertionError("only a graph node")


READ_ONLY = "read_only"
"""Key of ``node.meta``: nothing writes the tensor that a load reads."""
INVARIANT = "invariant"
"""Key of ``node.meta``: a load is the same in all turns of the loop around it."""

INTERNAL_FOLDS = (_max_and_sum_exp, _sum_and_squares)
CONTROL_FLOW = (_for_loop, _reduction_loop, _if, _while_loop)


@dataclass
class GraphInfo:
    """A graph of the device IR; its index in ``DeviceIR.graphs`` is ``graph_id``."""

    graph_id: int
    graph: fx.Graph

    @property
    def placeholders(self) -> list[fx.Node]:
        """The nodes through which values enter."""
        return [n for n in self.graph.nodes if n.op == "placeholder"]

    @property
    def outputs(self) -> list[fx.Node]:
        """The nodes that the graph returns."""
        return list(raw_arg(self.graph.output_node(), 0))

    def describe(self) -> str:
        """Return what stands after the kind in a dump."""
        return ""

    def __str__(self) -> str:
        lines = [f"graph {self.graph_id}: {type(self).__name__}{self.describe()}"]
        lines += [f"    {line}" for line in format_graph(self.graph)]
        return "\n".join(lines)


@dataclass
class RootGraphInfo(GraphInfo):
    """The body of one top-level tile loop: one launch.

    ``grows_along``: the axes whose later programs have more to do.
    """

    block_ids: list[int] = field(default_factory=list)
    bounds: list[tuple[Any, Any]] = field(default_factory=list)
    location: SourceLocation | None = None
    steps: list[Any] = field(default_factory=list)
    grows_along: frozenset[int] = frozenset()

    def describe(self) -> str:
        return f"(blocks={self.block_ids})"


@dataclass
class ForLoopGraphInfo(GraphInfo):
    """The body of a loop inside a launch."""

    block_ids: list[int] = field(default_factory=list)
    steps: list[Any] = field(default_factory=list)
    turns: Turns | None = None

    def describe(self) -> str:
        return f"(blocks={self.block_ids})"


@dataclass
class ReductionLoopGraphInfo(GraphInfo):
    """Work done per chunk of a reduced axis."""

    block_id: int = -1

    def describe(self) -> str:
        return f"(block={self.block_id})"


@dataclass
class IfGraphInfo(GraphInfo):
    """The body of one side of a branch."""


@dataclass
class ElseGraphInfo(IfGraphInfo):
    """The other side."""


@dataclass
class WhileConditionGraphInfo(GraphInfo):
    """The condition of a ``while``; same placeholders as the body."""


@dataclass
class WhileLoopGraphInfo(GraphInfo):
    """The body of a ``while``; the first placeholders are carried."""

    num_carried: int = 0


@dataclass
class HelperFunctionGraphInfo(GraphInfo):
    """A combine function of scalars: all left ones, then all right ones.

    ``function`` is what the user passed, ``dtypes`` are those of one side.
    """

    function: Any = None
    dtypes: tuple[torch.dtype, ...] = ()

    def describe(self) -> str:
        return f"({getattr(self.function, '__name__', self.function)})"


@dataclass
class SplitLaunch:
    """A launch in two halves: programs that walk a share each, and one per tile.

    ``shapes`` are the extents of each accumulator that the loop leaves.
    """

    first: RootGraphInfo
    second: RootGraphInfo
    loop_id: int
    shapes: list[list[int]]


@dataclass
class RolledReduction:
    """Clones of the graphs in which one axis is walked in chunks."""

    block_id: int
    graphs: dict[int, GraphInfo]
    loops: dict[int, ReductionLoopGraphInfo]
    splits: dict[int, SplitLaunch] = field(default_factory=dict)


@dataclass
class DeviceIR:
    """All graphs of one host function; ``loop_splits`` by the id of the loop."""

    graphs: list[GraphInfo] = field(default_factory=list)
    root_ids: list[int] = field(default_factory=list)
    rolled_reductions: dict[int, RolledReduction] = field(default_factory=dict)
    joint_rolls: dict[tuple[int, ...], dict[int, GraphInfo]] = field(
        default_factory=dict
    )
    loop_splits: dict[int, SplitLaunch] = field(default_factory=dict)
    host_tensors: dict[str, HostTensor] = field(default_factory=dict)
    overlap: LaunchOverlap = field(default_factory=LaunchOverlap)

    def add(self, info: GraphInfo) -> int:
        """Append a graph under the next id."""
        info.graph_id = len(self.graphs)
        self.graphs.append(info)
        return info.graph_id

    @property
    def roots(self) -> list[RootGraphInfo]:
        """The launches, in source order."""
        found = [self.graphs[i] for i in self.root_ids]
        return [g for g in found if isinstance(g, RootGraphInfo)]

    def are_apart(self, axes: Sequence[int]) -> bool:
        """Whether no graph works along two of the rolled axes."""
        ids = [i for axis in axes for i in self.rolled_reductions[axis].graphs]
        return len(ids) == len(set(ids))

    def can_roll(self, axes: Sequence[int]) -> bool:
        """Whether the axes, in order of their ids, can all be walked in chunks."""
        return self.are_apart(axes) or tuple(axes) in self.joint_rolls

    def graphs_for(self, rolled: Sequence[int]) -> dict[int, GraphInfo]:
        """Return id -> graph with the axes ``rolled`` walked in chunks."""
        chosen = {g.graph_id: g for g in self.graphs}
        if tuple(rolled) in self.joint_rolls:
            return self.joint_rolls[tuple(rolled)]
        for block_id in rolled:
            clone = self.rolled_reductions[block_id]
            chosen.update(clone.graphs)
            chosen.update(clone.loops)
        return chosen

    def all_versions(self) -> list[GraphInfo]:
        """Return the graphs and every clone of them."""
        found = list(self.graphs)
        for rolled in self.rolled_reductions.values():
            found += [*rolled.graphs.values(), *rolled.loops.values()]
            found += [g for s in rolled.splits.values() for g in (s.first, s.second)]
        found += [g for s in self.loop_splits.values() for g in (s.first, s.second)]
        for graphs in self.joint_rolls.values():
            found += graphs.values()
        return found

    def reachable(self, graph_id: int, chosen: dict[int, GraphInfo]) -> list[int]:
        """Return the ids of a graph and of those it calls, outer first."""
        found = [graph_id]
        for node in chosen[graph_id].graph.nodes:
            for child in called_graphs(node):
                found += self.reachable(child, chosen)
        return found

    def __str__(self) -> str:
        parts = [str(graph) for graph in self.graphs]
        for block_id, rolled in self.rolled_reductions.items():
            parts.append(f"axis {block_id} in chunks:")
            parts += map(str, (*rolled.graphs.values(), *rolled.loops.values()))
        for axes, graphs in self.joint_rolls.items():
            parts.append(f"axes {', '.join(map(str, axes))} in chunks:")
            parts += map(str, graphs.values())
        return "\n\n".join(parts)


def called_graphs(node: fx.Node) -> list[int]:
    """Return the graph ids that a control-flow node runs."""
    if node.target in (_for_loop, _reduction_loop):
        return [int_arg(node, 0)]
    if node.target is _if:
        return [int_arg(node, 1), int_arg(node, 2)]
    if node.target is _while_loop:
        return [int_arg(node, 0), int_arg(node, 1)]
    return []


def format_graph(graph: fx.Graph) -> list[str]:
    """Return one line per node, the same text each run."""
    lines = []
    for node in graph.nodes:
        shape = describe_value(node.meta.get("val"))
        suffix = f"  # {shape}" if shape else ""
        if node.op == "placeholder":
            lines.append(f"{node.name} = placeholder{suffix}")
        elif node.op == "output":
            lines.append(f"return {_format(node.args[0])}")
        else:
            args = [_format(a) for a in node.args]
            args += [f"{k}={_format(v)}" for k, v in node.kwargs.items()]
            call = f"{target_name(node)}({', '.join(args)})"
            lines.append(f"{node.name} = {call}{suffix}")
    return lines


def target_name(node: fx.Node) -> str:
    """Return a short name of what a node calls."""
    target = node.target
    if isinstance(target, str):
        return target
    name = getattr(target, "name", None)
    if callable(name):  # an OpOverload
        return str(target)
    return str(name or getattr(target, "__name__", target))


def describe_value(value: object) -> str:
    """Return dtype and shape of a tensor, the expression of a scalar."""
    import torch

    if isinstance(value, torch.Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        return f"{dtype}[{', '.join(str(s) for s in value.shape)}]"
    if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
        return str(value.node.expr)
    return ""


def _format(value: object) -> str:
    if isinstance(value, (list, tuple)):
        inner = ", ".join(_format(v) for v in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    if isinstance(value, fx.Node):
        return value.name
    return repr(value)
