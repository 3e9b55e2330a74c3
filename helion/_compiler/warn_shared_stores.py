"""Warns of stores in which several tiles write different values to one element."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import fx

from .._logging import log
from ..language.memory_ops import load, store
from ..language.tile import tile_index
from . import symbols
from .compiler_pass import compiler_pass
from .device_ir import CONTROL_FLOW, RootGraphInfo, _get_symnode
from .node_args import raw_arg
from .variable_origin import (
    BlockOrigin,
    BlockSizeOrigin,
    GridIndexOrigin,
    TileCountOrigin,
)

if TYPE_CHECKING:
    from .compile_environment import CompileEnvironment
    from .device_ir import DeviceIR
    from .variable_origin import Origin


@compiler_pass("warn")
def warn_shared_stores(ir: DeviceIR, env: CompileEnvironment) -> DeviceIR:
    """Name stores whose index leaves out an axis of the grid that the value needs.

    Only what is certain: no mask, no branch, an index of tiles and constants, and a
    value that is computed from the axis without a loop in between. It is no error, as
    the values may happen to be equal, or any of them may do.
    """
    for root_id in ir.root_ids:
        info = ir.graphs[root_id]
        assert isinstance(info, RootGraphInfo)
        for node in info.graph.nodes:
            if node.target is store and raw_arg(node, 3) is None:
                _check_store(env, info, node)
    return ir


def _check_store(env: CompileEnvironment, info: RootGraphInfo, node: fx.Node) -> None:
    own = _indexed_axes(env, raw_arg(node, 1))
    value, where = raw_arg(node, 2), node.meta.get("location")
    if own is None or where is None or not isinstance(value, fx.Node):
        return
    missed = [b for b in info.block_ids if b not in own and not _has_one_tile(env, b)]
    for block in missed:
        if _depends_on(env, value, block):
            log.warning(
                "%s:%d: tiles %sstore different values to the same elements; which of "
                "them stay is not defined. Index the tensor by the tile, too, walk the "
                "axis in an inner loop, or use hl.atomic_add\n    %s",
                where.filename,
                where.lineno,
                f"of {hint} " if (hint := env.block_sizes[block].hint) else "",
                where.line.strip(),
            )
            return


def _indexed_axes(env: CompileEnvironment, elements: Any) -> set[int] | None:
    """Return the axes that an index walks, None if it has parts of other kinds."""
    axes: set[int] = set()
    for kind, *rest in elements:
        if kind == "tile":
            axes.add(rest[0])
        elif kind == "scalar" and isinstance(rest[0], fx.Node):
            origins = _origins(env, rest[0])
            origin = origins[0] if len(origins) == 1 else None
            is_index = symbols.sym_expr(rest[0].meta["val"]).is_Symbol
            if not is_index or not isinstance(origin, GridIndexOrigin):
                return None
            axes.add(origin.block_id)
        elif kind not in ("full", "scalar", "new"):
            return None
    return axes


def _has_one_tile(env: CompileEnvironment, block: int) -> bool:
    info = env.block_sizes[block]
    numel, size = symbols.static_int(info.numel), symbols.static_int(info.fixed)
    return numel is not None and numel <= (1 if size is None else size)


def _depends_on(env: CompileEnvironment, value: fx.Node, block: int) -> bool:
    """Whether a value is computed from what is particular to a tile of an axis."""
    pending, seen = [value], {value}
    while pending:
        node = pending.pop()
        if node.target in CONTROL_FLOW:
            continue
        if _reads_tile(env, node, block):
            return True
        new = [n for n in node.all_input_nodes if n not in seen]
        seen.update(new)
        pending += new
    return False


def _reads_tile(env: CompileEnvironment, node: fx.Node, block: int) -> bool:
    if node.target is load:
        return any(list(e) == ["tile", block] for e in raw_arg(node, 1))
    if node.target is tile_index:
        return raw_arg(node, 0) == block
    if node.target is not _get_symnode:
        return False
    return any(
        isinstance(o, BlockOrigin)
        and not isinstance(o, (BlockSizeOrigin, TileCountOrigin))
        and o.block_id == block
        for o in _origins(env, node)
    )


def _origins(env: CompileEnvironment, node: fx.Node) -> list[Origin]:
    """Return where the symbols of a symbolic scalar come from."""
    used = symbols.sym_expr(node.meta["val"]).free_symbols
    known = env.symbol_origins
    return [origin for symbol, origin in known.items() if symbol in used]
