"""Chooses strategy objects from a Config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import symbols
from .ast_extension import literal
from .program_id import (
    PROGRAM_IDS,
    FlatProgramIds,
    GridAxis,
    ProgramIds,
    SplitProgramIds,
    XYZProgramIds,
)
from .tile_strategy import FlattenedTileStrategy, LoopDim, NDTileStrategy, TileStrategy

if TYPE_CHECKING:
    from ..runtime.config import Config
    from .compile_environment import CompileEnvironment
    from .device_function import DeviceFunction


def block_values(env: CompileEnvironment, config: Config) -> dict[int, Any]:
    """Return the tile extent of every tiled axis: an int, or host code's SymInt."""
    chosen = {
        spec.block_id: size
        for spec, size in zip(
            env.config_spec.block_sizes, config.block_sizes, strict=True
        )
    }
    for entry, chunk in zip(
        env.config_spec.reduction_loops, config.reduction_loops, strict=True
    ):
        size = entry.padded if chunk is None else chunk
        chosen[entry.block_id] = max(size, env.block_sizes[entry.block_id].min_size)
    values: dict[int, Any] = {}
    for info in env.block_sizes:
        if info.is_reduction:
            continue
        if info.block_id in chosen:
            values[info.block_id] = chosen[info.block_id]
        elif info.fixed is not None:
            known = symbols.static_int(info.fixed)
            values[info.block_id] = info.fixed if known is None else known
        else:
            values[info.block_id] = 1
    return values


def tile_strategy(fn: DeviceFunction, dims: list[LoopDim]) -> TileStrategy:
    """Return the strategy of a loop over ``dims`` under the launch's Config."""
    blocks = tuple(dim.block_id for dim in dims)
    spec, config = fn.env.config_spec, fn.config
    for index, flat in enumerate(spec.flatten_loops):
        if tuple(flat.block_ids) == blocks and config.flatten_loops[index]:
            return FlattenedTileStrategy(fn, dims, list(range(len(dims))))
    order = list(range(len(dims)))
    for index, loop in enumerate(spec.loop_orders):
        if tuple(loop.block_ids) == blocks:
            order = list(config.loop_orders[index])
    return NDTileStrategy(fn, dims, order)


def program_ids(fn: DeviceFunction, strategy: TileStrategy) -> ProgramIds:
    """Return the program-id map of a launch with one program for each tile."""
    group = 1
    for index, spec in enumerate(fn.env.config_spec.l2_groupings):
        if list(spec.block_ids) == strategy.block_ids:
            group = fn.config.l2_groupings[index]
    axes = strategy.grid_axes()
    name = fn.config.pid_type
    return PROGRAM_IDS[name](fn, axes, group if len(axes) > 1 else 1)


def split_program_ids(ids: ProgramIds, splits: int) -> tuple[ProgramIds, str]:
    """Return the map of a launch with ``splits`` programs for each tile of ``ids``.

    The text is the device code of the number of a program among these.
    """
    if type(ids) is FlatProgramIds:
        split = SplitProgramIds(ids.fn, ids.axes, ids.group, splits)
        return split, "tl.program_id(1)"
    axes = [*ids.axes, GridAxis("pid_split", str(splits), literal(splits))]
    is_plain = type(ids) is not XYZProgramIds or len(axes) <= 3
    kind = type(ids) if is_plain else FlatProgramIds
    return kind(ids.fn, axes, ids.group), "pid_split"
