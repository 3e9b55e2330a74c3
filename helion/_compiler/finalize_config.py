"""Describes the space of Configs of a kernel, once its graphs are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from ..autotuner.config_fragment import EnumFragment
from ..autotuner.config_spec import (
    BlockSizeSpec,
    FlattenLoopSpec,
    L2GroupingSpec,
    LoopOrderSpec,
    ReductionLoopSpec,
    SplitReductionSpec,
)
from ..language.matmul_ops import dot
from ..language.memory_ops import load, store
from ..language.scaled_dot_ops import FORMATS, GROUP, dot_scaled
from ..language.tile import tile_index
from . import symbols
from .device_ir import ForLoopGraphInfo, RootGraphInfo
from .list_indexing_modes import list_indexing_modes
from .node_args import fake_arg, int_arg
from .split_loops import split_entry
from .variable_origin import BlockOrigin, BlockSizeOrigin

if TYPE_CHECKING:
    from .compile_environment import BlockSizeInfo, CompileEnvironment
    from .device_ir import DeviceIR

aten = torch.ops.aten
PRODUCTS: dict[Any, tuple[int, int]] = {
    aten.mm.default: (0, 1),
    aten.bmm.default: (0, 1),
    aten.addmm.default: (1, 2),
    aten.baddbmm.default: (1, 2),
    dot: (0, 1),
    dot_scaled: (0, 1),
}
MIN_DOT_SIZE = 16
MIN_DOT_SIZE_8BIT = 32


def finalize(env: CompileEnvironment, ir: DeviceIR) -> None:
    """Fill ``env.config_spec``."""
    spec = env.config_spec
    spec.max_tensor_numel = env.settings.max_triton_tensor_numel
    spec.max_reduction_chunk = env.settings.max_reduction_chunk
    _product_minimums(env, ir)
    chunked = []
    for info in env.block_sizes:
        if info.kind == "tile" and info.is_chunked:
            chunked.append(info)
        elif info.kind == "tile" and info.fixed is None:
            spec.block_sizes.append(_block_spec(info))
        elif info.kind != "reduction":
            spec.fixed_block_sizes[info.block_id] = symbols.static_int(info.fixed) or 1
    rolled = [env.block_sizes[block_id] for block_id in ir.rolled_reductions]
    for info in [*rolled, *chunked]:
        spec.reduction_loops.append(ReductionLoopSpec(info.block_id, info.size_hint()))
    for info in rolled:
        splits = ir.rolled_reductions[info.block_id].splits.values()
        shapes = [s for split in splits for s in split.shapes]
        if shapes:
            rollable = {entry.block_id for entry in spec.reduction_loops}
            entries = [_shape_entry(env, shape, rollable) for shape in shapes]
            spec.split_reductions.append(
                SplitReductionSpec(info.block_id, info.size_hint(), entries)
            )
    spec.split_loops += [split_entry(ir, env, s) for s in ir.loop_splits.values()]
    if spec.split_loops or spec.split_reductions:
        streams = spec.split_loops and all(e.can_stream for e in spec.split_loops)
        modes = ("partials", "semaphore", *(["stream"] if streams else []))
        spec.opened["split_mode"] = EnumFragment(modes)
    _loop_specs(env, ir)
    _tensor_shapes(env, ir)
    list_indexing_modes(env, ir)


def _block_spec(info: BlockSizeInfo) -> BlockSizeSpec:
    spec = BlockSizeSpec(info.block_id, info.size_hint(), bounded_by=info.bounded_by)
    spec.update_min(info.min_size)
    if info.max_size is not None:
        spec.update_max(info.max_size)
    return spec


def _product_minimums(env: CompileEnvironment, ir: DeviceIR) -> None:
    """Raise the axes of products to what ``tl.dot`` takes."""
    for node in all_nodes(ir):
        places = PRODUCTS.get(node.target)
        if places is None:
            continue
        left, right = (fake_arg(node, i) for i in places)
        small = left.dtype.itemsize == 1 or right.dtype.itemsize == 1
        _raise_min(env, left.shape[-2], MIN_DOT_SIZE)
        _raise_min(env, right.shape[-1], MIN_DOT_SIZE)
        if node.target is dot_scaled:
            packs = [FORMATS[str(name)].pack for name in node.args[4:6]]
            _raise_min(env, left.shape[-1], GROUP // packs[0])
            _raise_min(env, right.shape[-2], GROUP // packs[1])
            continue
        _raise_min(env, left.shape[-1], MIN_DOT_SIZE_8BIT if small else MIN_DOT_SIZE)


def _raise_min(env: CompileEnvironment, extent: int, size: int) -> None:
    info = env.block_of(extent)
    if info is not None:
        info.min_size = max(info.min_size, size)


def all_nodes(ir: DeviceIR) -> list[fx.Node]:
    """Return the call nodes of all graphs."""
    return [n for g in ir.graphs for n in g.graph.nodes if n.op == "call_function"]


def _loop_specs(env: CompileEnvironment, ir: DeviceIR) -> None:
    spec = env.config_spec
    plain_use = _flattenable(env, ir)
    for info in ir.graphs:
        if not isinstance(info, (RootGraphInfo, ForLoopGraphInfo)):
            continue
        blocks = tuple(info.block_ids)
        is_root = isinstance(info, RootGraphInfo)
        if len(blocks) > 1:
            _add_once(spec.loop_orders, LoopOrderSpec(blocks))
            if is_root:
                _add_once(spec.l2_groupings, L2GroupingSpec(blocks))
            if is_root and plain_use(blocks, info):
                _add_once(spec.flatten_loops, FlattenLoopSpec(blocks))
        if not is_root:
            for block in blocks:
                spec.add_range([block])
    spec.add_range(ir.roots[0].block_ids, is_grid=True)
    for block_id in ir.rolled_reductions:
        spec.add_range([block_id])
    _restrict_pid_types(env, ir)


def _add_once(specs: list[Any], item: Any) -> None:
    if item not in specs:
        specs.append(item)


def _restrict_pid_types(env: CompileEnvironment, ir: DeviceIR) -> None:
    spec = env.config_spec
    for root in ir.roots:
        if not 2 <= len(root.block_ids) <= 3:
            spec.disallow_pid_type("xyz", "it needs a grid of 2 or 3 dimensions")
            return
        hints = [env.block_sizes[b].size_hint() for b in root.block_ids]
        if any(h >= 65535 for h in hints):
            spec.disallow_pid_type("xyz", "a grid dimension may have 65535 programs")
            return


def _flattenable(env: CompileEnvironment, ir: DeviceIR) -> Any:
    """Return a check whether the axes of a loop can share one linear index."""
    used = {
        origin.block_id
        for node in all_nodes(ir)
        if isinstance(node.meta.get("val"), (torch.SymInt, torch.SymBool))
        for symbol in node.meta["val"].node.expr.free_symbols
        if isinstance(origin := env.symbol_origins.get(symbol), BlockOrigin)
        and not isinstance(origin, BlockSizeOrigin)
    }
    used |= {int_arg(n, 0) for n in all_nodes(ir) if n.target is tile_index}

    def check(blocks: tuple[int, ...], info: Any) -> bool:
        infos = [env.block_sizes[b] for b in blocks]
        if used & set(blocks) or any(i.kind != "tile" for i in infos):
            return False
        if any(i.fixed is not None or i.min_size > 1 for i in infos):
            return False
        if any(symbols.static_int(b) != 0 for b, _ in info.bounds):
            return False
        extents = [i.extent for i in infos]
        nodes = nodes_under(ir, info.graph_id)
        return all(_is_plain(n, extents, blocks) for n in nodes)

    return check


def nodes_under(ir: DeviceIR, graph_id: int) -> list[fx.Node]:
    """Return the nodes of a graph and of all that it calls."""
    chosen = {g.graph_id: g for g in ir.graphs}
    ids = ir.reachable(graph_id, chosen)
    return [n for i in ids for n in chosen[i].graph.nodes]


def _is_plain(node: fx.Node, extents: list[int], blocks: tuple[int, ...]) -> bool:
    """Whether a node treats the axes as one run of dims side by side, or not at all."""
    if _is_host(node):
        return True
    value = node.meta.get("val")
    values = value if isinstance(value, (list, tuple)) else [value]
    for item in values:
        if isinstance(item, torch.Tensor) and not _has_run(list(item.shape), extents):
            return False
    if node.op != "call_function":
        return True
    lowering = node.meta.get("lowering")
    if type(lowering).__name__ == "PointwiseLowering" or node.target in (load, store):
        return True
    return not any(_mentions(n, extents) for n in [node, *node.all_input_nodes])


def _is_host(node: fx.Node) -> bool:
    return getattr(node.target, "__name__", "") == "_host_tensor"


def _mentions(node: fx.Node, extents: list[int]) -> bool:
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor) or _is_host(node):
        return False
    full = getattr(node.target, "__name__", "") == "full.default"
    return not full and bool(set(value.shape) & set(extents))


def _has_run(shape: list[int], extents: list[int]) -> bool:
    """Whether all axes stand side by side in order, or none is there."""
    if not set(shape) & set(extents):
        return True
    count = len(extents)
    runs = [i for i in range(len(shape) - count + 1) if shape[i : i + count] == extents]
    rest = [s for s in shape if s in extents]
    return len(runs) == 1 and len(rest) == count


def _tensor_shapes(env: CompileEnvironment, ir: DeviceIR) -> None:
    """Record the shapes of all blocks, whose size Triton caps."""
    rollable = {entry.block_id for entry in env.config_spec.reduction_loops}
    found: dict[tuple[Any, ...], None] = {}
    for node in all_nodes(ir):
        value = node.meta.get("val")
        values = value if isinstance(value, (list, tuple)) else [value]
        for item in values:
            if isinstance(item, torch.Tensor) and not _is_host(node):
                found[_shape_entry(env, list(item.shape), rollable)] = None
    env.config_spec.tensor_shapes = [shape for shape in found if shape]


def _shape_entry(
    env: CompileEnvironment, shape: list[int], rollable: set[int]
) -> tuple[Any, ...]:
    items: list[Any] = []
    for extent in shape:
        info = env.block_of(extent)
        if info is None:
            if extent != 1:
                items.append(1)
        elif info.block_id in rollable:
            items.append(("reduction", info.block_id))
        elif info.is_reduction:
            items.append(1 << max(info.size_hint() - 1, 0).bit_length())
        else:
            items.append(("block", info.block_id))
    return tuple(items)
