"""Folds what a loop gathers once, after the loop, and not in each of its turns.

``acc = acc + x[tile_k, tile_n].sum(0)`` in a loop over ``tile_k`` exchanges values
between threads every turn. With a tile for ``acc``, a turn adds element by element,
and the exchange happens once. Sums are then taken in another order, the same each run.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from .compiler_pass import compiler_pass
from .device_ir import ForLoopGraphInfo, _for_loop
from .lowering import lowering_of
from .node_args import int_arg, raw_arg
from .node_masking import IDENTITIES

if TYPE_CHECKING:
    from .compile_environment import CompileEnvironment
    from .device_ir import DeviceIR, GraphInfo

aten = torch.ops.aten

# What folds a tile, by what joins its results.
FOLDS: dict[Any, Any] = {
    aten.add.Tensor: aten.sum.dim_IntList,
    aten.maximum.default: aten.amax.default,
    aten.minimum.default: aten.amin.default,
}


@dataclass(frozen=True)
class Gathering:
    """One carried value that joins a fold of ``tile`` in each turn.

    ``folds`` lead from the tile to what is joined, in order.
    """

    start: fx.Node
    join: fx.Node
    tile: fx.Node
    folds: tuple[fx.Node, ...]


@compiler_pass("defer_folds")
def defer_folds(ir: DeviceIR, env: CompileEnvironment) -> DeviceIR:
    """Let loops gather tiles, and fold these behind the loop."""
    for parent in ir.graphs:
        for loop in list(parent.graph.nodes):
            if loop.target is _for_loop:
                body = ir.graphs[int_arg(loop, 0)]
                assert isinstance(body, ForLoopGraphInfo)
                _defer(parent, loop, body, env)
    return ir


def _defer(
    parent: GraphInfo, loop: fx.Node, body: ForLoopGraphInfo, env: CompileEnvironment
) -> None:
    if len(body.block_ids) != 1:
        return  # such a loop may be flattened, and has no tiles of its axes then
    inputs, carried = list(raw_arg(loop, 2)), list(raw_arg(loop, 3))
    starts = [body.placeholders[i] for i in carried]
    for place, (start, join) in enumerate(zip(starts, body.outputs, strict=True)):
        found = _gathering(start, join, set(body.block_ids), env)
        if found is None or body.outputs.count(join) > 1:
            continue
        before = inputs[carried[place]]
        inputs[carried[place]] = _identity(parent, loop, found, env)
        loop.update_arg(2, inputs)
        results = list(loop.meta["val"])
        results[place] = found.tile.meta["val"]
        loop.meta["val"] = results
        _gather_tiles(found)
        _fold_behind(loop, place, before, found, env)


def _gathering(
    start: fx.Node, join: fx.Node, block_ids: set[int], env: CompileEnvironment
) -> Gathering | None:
    """Return what a carried value gathers, None if it is no plain fold of the loop."""
    fold = FOLDS.get(join.target)
    sides = [n for n in join.args if isinstance(n, fx.Node)]
    if fold is None or len(sides) != 2 or join.kwargs or start not in sides:
        return None
    if len(start.users) != 1 or len(join.users) != 1 or sides[0] is sides[1]:
        return None
    node = sides[0] if sides[1] is start else sides[1]
    folds: list[fx.Node] = []
    while node.target is fold and len(node.users) == 1:
        folds.insert(0, node)
        (node,) = node.all_input_nodes
    if not folds or not _folds_loop_axes(node, folds, block_ids, env):
        return None
    dtypes = {n.meta["val"].dtype for n in (start, node, join)}
    same_shape = start.meta["val"].shape == join.meta["val"].shape
    if len(dtypes) != 1 or not same_shape:
        return None
    return Gathering(start, join, node, tuple(folds))


def _folds_loop_axes(
    tile: fx.Node, folds: list[fx.Node], block_ids: set[int], env: CompileEnvironment
) -> bool:
    """Whether only tiled axes of the loop are folded, and the dtype stays."""
    value = tile.meta["val"]
    for fold in folds:
        dims = raw_arg(fold, 1) if len(fold.args) > 1 else None
        if not dims or "dtype" in fold.kwargs:
            return False
        for dim in dims:
            block = env.block_of(value.shape[dim])
            if block is None or block.block_id not in block_ids:
                return False
        value = fold.meta["val"]
    return True


def _identity(
    parent: GraphInfo, loop: fx.Node, found: Gathering, env: CompileEnvironment
) -> fx.Node:
    """Put a tile that changes nothing before the loop."""
    value = found.tile.meta["val"]
    neutral = IDENTITIES[found.folds[0].target](value.dtype)
    with parent.graph.inserting_before(loop):
        node = parent.graph.call_function(
            aten.full.default, (list(value.shape), neutral)
        )
    return _described(node, value, loop, env)


def _gather_tiles(found: Gathering) -> None:
    """Let the body join the tile itself."""
    value = found.tile.meta["val"]
    found.start.meta["val"] = found.join.meta["val"] = value
    found.join.replace_input_with(found.folds[-1], found.tile)
    for fold in reversed(found.folds):
        fold.graph.erase_node(fold)


def _fold_behind(
    loop: fx.Node, place: int, before: Any, found: Gathering, env: CompileEnvironment
) -> None:
    """Fold what the loop gathered, and join it with what there was before."""
    join = found.join
    for result in list(loop.users):
        if result.target is not operator.getitem or int_arg(result, 1) != place:
            continue
        result.meta["val"] = found.tile.meta["val"]
        graph, node = loop.graph, result
        readers = list(result.users)
        for fold in found.folds:
            with graph.inserting_after(node):
                args = (node, *fold.args[1:])
                node = graph.create_node(fold.op, fold.target, args, dict(fold.kwargs))
            _described(node, fold.meta["val"], fold, env)
        with graph.inserting_after(node):
            node = graph.create_node(join.op, join.target, (before, node))
        _described(node, found.folds[-1].meta["val"], join, env)
        for reader in readers:
            reader.replace_input_with(result, node)


def _described(
    node: fx.Node, value: Any, like: fx.Node, env: CompileEnvironment
) -> fx.Node:
    node.meta["val"] = value
    node.meta["location"] = like.meta.get("location")
    node.meta["lowering"] = lowering_of(node, env)
    return node
