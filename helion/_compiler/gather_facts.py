"""Reads the device IR once and returns what its launches do, as ``kernel_facts``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from torch import fx

from ..autotuner.config_knobs import KNOBS
from ..language.memory_ops import load, store
from . import symbols
from .device_ir import (
    CONTROL_FLOW,
    ForLoopGraphInfo,
    GraphInfo,
    RootGraphInfo,
    _for_loop,
    _if,
    _mask_to,
    _merged_folds,
    _merged_loop,
    _partial_folds,
    _partial_loop,
    _reduction_loop,
    called_graphs,
    target_name,
)
from .finalize_config import PRODUCTS
from .kernel_facts import (
    Access,
    AxisFacts,
    Body,
    Fold,
    KernelFacts,
    Launch,
    Operand,
    Product,
    Tile,
    Work,
)
from .live_tiles import LiveTiles
from .loop_lengths import (
    WalkedLengths,
    bound_value,
    counted_axis,
    loop_lengths,
    upper_bound,
    walked_lengths,
)
from .node_args import int_arg, raw_arg
from .node_uses import TURNS, VIEWS, is_free, loads_of
from .op_registry import Op
from .operation_costs import cost_of, fold_kind, is_counted, is_fold
from .read_accesses import AccessReader, is_column_major
from .whole_tiles import SHORTCUT

if TYPE_CHECKING:
    from .compile_environment import CompileEnvironment
    from .device_ir import DeviceIR

MERGED = (_merged_folds, _merged_loop)
PARTIAL = (_partial_folds, _partial_loop)
# A branch that depends on data is taken this often; a loop that stops at the tile of
# an outer axis makes half of its turns.
BRANCH_SHARE = 0.5
HALF = 0.5


def gather_facts(env: CompileEnvironment, ir: DeviceIR, name: str) -> KernelFacts:
    """Return the facts of every launch, for every choice of rolled axes."""
    reader = _Reader(env)
    versions: dict[tuple[int, ...], tuple[Launch, ...]] = {}
    for rolled in _choices(ir):
        graphs = ir.graphs_for(rolled)
        versions[rolled] = tuple(
            reader.launch(f"{name}_{i}" if i else name, graphs[root], graphs)
            for i, root in enumerate(ir.root_ids)
        )
    lengths = walked_lengths(env.block_sizes, versions[()])
    axes = tuple(_axis(info, env, lengths) for info in env.block_sizes)
    splits = _splits(reader, ir, name)
    return KernelFacts(name, axes, versions, splits, _knobs(env), _unknown(ir))


def _unknown(ir: DeviceIR) -> tuple[str, ...]:
    """Return the language operations whose work is not counted."""
    nodes = (node for info in ir.graphs for node in info.graph.nodes)
    ops = {n.target for n in nodes if isinstance(n.target, Op)}
    names = {op.name for op in ops if op not in PRODUCTS}
    return tuple(sorted(name for name in names if not is_counted(name)))


def _splits(
    reader: _Reader, ir: DeviceIR, name: str
) -> dict[tuple[str, int, str], tuple[Launch, Launch]]:
    """Return the halves of launches that a Config can split."""
    found = {}
    names = {r: f"{name}_{i}" if i else name for i, r in enumerate(ir.root_ids)}
    for axis, rolled in ir.rolled_reductions.items():
        graphs = ir.graphs_for([axis])
        for root, halves in rolled.splits.items():
            own = reader.halves(names[root], halves, graphs, axis)
            found["reduction", axis, names[root]] = own
    graphs = ir.graphs_for([])
    for place, entry in enumerate(reader.env.config_spec.split_loops):
        label, halves = names[entry.root_id], ir.loop_splits[entry.loop_id]
        own = reader.halves(label, halves, graphs, entry.block_id)
        found["loop", place, label] = own
    return found


def _knobs(env: CompileEnvironment) -> dict[str, tuple[tuple[int, ...], ...]]:
    spec = env.config_spec
    found = {}
    for unit in {knob.per for knob in KNOBS.values() if knob.per is not None}:
        entries = getattr(spec, unit)
        if not isinstance(entries, int):
            found[unit] = tuple(_block_ids(entry) for entry in entries)
    grid = [i for i, entry in enumerate(spec.ranges) if entry.is_grid]
    found["grid_range"] = tuple((i,) for i in grid)
    return found


def _block_ids(entry: Any) -> tuple[int, ...]:
    if isinstance(entry, int):
        return (entry,)
    own = getattr(entry, "block_ids", None)
    return (entry.block_id,) if own is None else tuple(own)


def _choices(ir: DeviceIR) -> list[tuple[int, ...]]:
    """Return the sets of axes that can be rolled together, all if they are few."""
    found: list[tuple[int, ...]] = [()]
    for axis in ir.rolled_reductions:
        more = [(*rolled, axis) for rolled in found[:8]]
        found += [rolled for rolled in more if ir.can_roll(list(rolled))]
    return found


def _axis(info: Any, env: CompileEnvironment, lengths: WalkedLengths) -> AxisFacts:
    block, fixed = info.block_id, info.fixed
    most = upper_bound(info.numel, env)
    counted = counted_axis(env, info.numel)
    numel = info.size_hint() if most is None else most
    return AxisFacts(
        block,
        lengths.known.get(block, numel) if counted is None else counted[1],
        most is not None,
        info.is_reduction,
        info.min_size,
        None if fixed is None else symbols.size_hint(fixed),
        info.bounded_by,
        None if counted is None else counted[0],
        lengths.dealt_by.get(block, ()),
    )


@dataclass
class _Scope:
    """One graph being read: what its nodes are, in order."""

    graphs: dict[int, GraphInfo]
    info: GraphInfo
    accesses: list[Access] = field(default_factory=list)
    places: dict[fx.Node, int] = field(default_factory=dict)
    products: list[Product] = field(default_factory=list)
    work: dict[Tile, list[float]] = field(default_factory=dict)
    folds: list[Fold] = field(default_factory=list)
    children: list[Body] = field(default_factory=list)


@dataclass
class _Reader(AccessReader):
    """Turns graphs into bodies."""

    def launch(
        self, name: str, root: Any, graphs: dict[int, Any], split: int | None = None
    ) -> Launch:
        assert isinstance(root, RootGraphInfo)
        lengths = loop_lengths(self.env, root, root.bounds)
        body = self.body("root", root, graphs, tuple(root.block_ids), lengths)
        merges = any(n.target in MERGED for n in root.graph.nodes)
        partials: list[Tile] = []
        for node in root.graph.nodes:
            if node.target in MERGED:
                partials += self.tiles(node)
        grid = tuple(root.block_ids)
        return Launch(name, grid, body, split, merges, tuple(partials))

    def halves(
        self, name: str, split: Any, graphs: dict[int, Any], block_id: int
    ) -> tuple[Launch, Launch]:
        first = self.launch(f"{name}_partial", split.first, graphs, block_id)
        return first, self.launch(name, split.second, graphs)

    def body(
        self,
        kind: str,
        info: GraphInfo,
        graphs: dict[int, Any],
        block_ids: tuple[int, ...],
        lengths: tuple[int | None, ...] = (),
    ) -> Body:
        scope = _Scope(graphs, info)
        for node in info.graph.nodes:
            if node.op == "call_function":
                self._visit(scope, node)
        carried = info.outputs if kind in ("loop", "chunks", "while") else []
        return Body(
            kind,
            block_ids,
            lengths,
            accesses=tuple(scope.accesses),
            products=tuple(scope.products),
            work=tuple(Work(tile, *cost) for tile, cost in scope.work.items()),
            folds=tuple(scope.folds),
            carried=tuple(t for n in carried for t in self.tiles(n)),
            live=LiveTiles(info, self.tiles, is_free).sets(),
            children=tuple(scope.children),
        )

    # -- nodes -----------------------------------------------------------------------

    def _visit(self, scope: _Scope, node: fx.Node) -> None:
        target = node.target
        name = target_name(node)
        if target is load or target is store or name.startswith("atomic_"):
            scope.places[node] = len(scope.accesses)
            scope.accesses.append(self.access(node, name))
        elif target in PRODUCTS:
            scope.products.append(self._product(scope, node))
        elif target in (*CONTROL_FLOW, *PARTIAL):
            scope.children += self._children(scope, node)
        elif is_fold(node):
            scope.folds.append(self._fold(node))
        elif type(node.meta.get("lowering")).__name__ == "PointwiseLowering":
            alu, special = cost_of(node)
            for tile in self.tiles(node):
                total = scope.work.setdefault(Tile(tile.dims, 4), [0.0, 0.0])
                total[0] += alu
                total[1] += special

    def _fold(self, node: fx.Node) -> Fold:
        source = next(n for n in node.all_input_nodes if self.tiles(n))
        (tile, *_) = self.tiles(source)
        rank = len(tile.dims)
        dims: Any = node.args[1] if len(node.args) > 1 else None
        if isinstance(dims, int) and not isinstance(dims, bool):
            dims = [dims]
        if not isinstance(dims, (list, tuple)) or not dims:
            is_aten = target_name(node).startswith("aten")
            dims = range(rank) if is_aten else [rank - 1]
        along = tuple(d % max(rank, 1) for d in dims if isinstance(d, int))
        kind, results = fold_kind(node)
        return Fold(kind, tile, along, results)

    def _product(self, scope: _Scope, node: fx.Node) -> Product:
        places = PRODUCTS[node.target]
        left, right = (self._operand(scope, raw_arg(node, i)) for i in places)
        rank = len(left.tile.dims)
        acc = 2 if places == (0, 1) else 0
        has_acc = len(node.args) > acc and isinstance(node.args[acc], fx.Node)
        (out, *_) = self.tiles(node)
        return Product(
            left.tile.dims[-2],
            right.tile.dims[-1],
            left.tile.dims[-1],
            left.tile.dims[0] if rank == 3 else None,
            left,
            right,
            out,
            has_acc and (acc == 2 or places == (1, 2)),
        )

    def _operand(self, scope: _Scope, node: fx.Node) -> Operand:
        (tile, *_) = self.tiles(node)
        is_float = node.meta["val"].dtype.is_floating_point
        masks: list[int] = []
        turns = 0
        source = node
        while source.target in VIEWS:
            if source.target is _mask_to:
                masks += [int(b) for b in raw_arg(source, 2)]
            turns += source.target in TURNS
            source = source.all_input_nodes[0]
        is_in = source.op == "placeholder"
        place = scope.places.get(source)
        row_major = turns % 2 == 0
        if place is not None:
            row_major ^= is_column_major(scope.accesses[place])
        made_of = [scope.places.get(n) for n in loads_of(source)]
        sources = () if None in made_of else tuple(p for p in made_of if p is not None)
        return Operand(tile, place, tuple(masks), is_float, is_in, row_major, sources)

    # -- control flow ----------------------------------------------------------------

    def _children(self, scope: _Scope, node: fx.Node) -> list[Body]:
        graphs = scope.graphs
        if node.target in (_for_loop, _partial_loop):
            return [self._loop(scope, node)]
        if node.target in (_reduction_loop, _partial_folds):
            info = graphs[int_arg(node, 0)]
            block = getattr(info, "block_id", -1)
            return [self.body("chunks", info, graphs, (block,))]
        taken = node.meta.get(SHORTCUT)
        if node.target is _if and taken is not None:
            info = graphs[int_arg(node, taken.index)]
            return [self.body("taken", info, graphs, ())]
        bodies = []
        for graph_id in called_graphs(node):
            info = graphs[graph_id]
            if not any(n.op == "call_function" for n in info.graph.nodes):
                continue
            kind = "branch" if node.target is _if else "while"
            body = self.body(kind, info, graphs, ())
            bodies.append(_shared(body, BRANCH_SHARE if kind == "branch" else 1.0))
        return bodies

    def _loop(self, scope: _Scope, node: fx.Node) -> Body:
        info = scope.graphs[int_arg(node, 0)]
        assert isinstance(info, ForLoopGraphInfo)
        bounds = raw_arg(node, 1)
        lengths = loop_lengths(self.env, info, bounds)
        body = self.body("loop", info, scope.graphs, tuple(info.block_ids), lengths)
        share = 1.0
        if info.turns is not None and (info.turns.starts or info.turns.stops):
            share = HALF
        for pair, length in zip(bounds, lengths, strict=True):
            if length is not None and length > 1 and self._follows_tile(pair[1]):
                share *= HALF
        is_known = all(
            symbols.static_int(bound_value(begin)) == 0
            and upper_bound(bound_value(end), self.env) is not None
            for begin, end in bounds
        )
        return replace(body, share=share, is_known=is_known)

    def _follows_tile(self, bound: Any) -> bool:
        """Whether a bound moves with the tile of an outer axis."""
        return bool(self.followed(bound_value(bound)))


def _shared(body: Body, share: float) -> Body:
    return body if share == 1.0 else replace(body, share=share)
