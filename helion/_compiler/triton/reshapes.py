"""Reshapes that keep every element where torch puts it, tiles being padded.

Where padding would come between elements they are gathered: each lane of the result
looks up the lane that holds its element.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ast_extension import expr, text_of
from ..derived_axes import (
    Count,
    coordinate,
    is_dense,
    lane_count,
    linear,
    size_count,
    total_lanes,
)
from ..derived_dims import Group, reshape_groups
from .gathers import Gather, shape_text

if TYPE_CHECKING:
    import ast

    from ..codegen_state import CodegenState
    from ..device_function import DeviceFunction


def reshaped(
    state: CodegenState, value: ast.expr, source: list[int], target: list[int]
) -> ast.expr:
    """Return a block of extents ``source`` as one of extents ``target``."""
    launch = state.launch
    if 0 in source:
        # There is nothing to move, and the blocks may differ in their padding.
        dtype = state.dtype_expr(state.fake_arg(0).dtype)
        return expr("tl.full({s}, 0, {t})", s=state.shape_expr(target), t=dtype)
    groups = reshape_groups(source, target)
    for place, group in enumerate(groups):
        if not _is_in_place(launch, group):
            value = _gathered(state, value, groups, place)
    return expr("tl.reshape({v}, {s})", v=value, s=state.shape_expr(target))


def _is_in_place(launch: DeviceFunction, group: Group) -> bool:
    """Whether padding is only at the end of the outermost dims, on both sides."""
    mine, theirs = group
    if len(mine) == len(theirs) == 1:
        return True
    inner = [*mine[1:], *theirs[1:]]
    if not all(is_dense(launch, extent) for extent in inner):
        return False
    return total_lanes(launch, mine) == total_lanes(launch, theirs) or (
        is_dense(launch, mine[0]) and is_dense(launch, theirs[0])
    )


def _gathered(
    state: CodegenState, value: ast.expr, groups: list[Group], place: int
) -> ast.expr:
    """Move the elements of one group; those before it are done already."""
    launch = state.launch
    mine, theirs = groups[place]
    before = _lanes(launch, [e for _, done in groups[:place] for e in done])
    after = _lanes(launch, [e for left, _ in groups[place + 1 :] for e in left])
    have, want = total_lanes(launch, mine), total_lanes(launch, theirs)
    place_of = Gather(before, have, after, state.fake_arg(0).dtype)
    flat = expr(f"tl.reshape({{v}}, {shape_text([*before, have, *after])})", v=value)
    lane = launch.share(expr(f"tl.arange(0, {want})"), "lane")
    source = _source_lane(launch, groups[place], text_of(lane))
    index = place_of.spread(launch.share(expr(source), "source"), want)
    return state.lift(place_of.code(flat, index, want), "moved")


def _lanes(launch: DeviceFunction, dims: list[int]) -> list[Count]:
    return [lane_count(launch, e) for e in dims if not launch.is_single(e)]


def _source_lane(launch: DeviceFunction, group: Group, lane: str) -> str:
    """Return where the element of a lane of the result is."""
    mine, theirs = group
    lanes = [lane_count(launch, extent) for extent in theirs]
    sizes = [size_count(launch, extent) for extent in theirs]
    at = [coordinate(lanes, place, lane) for place in range(len(theirs))]
    element = linear(at, sizes)
    sizes = [size_count(launch, extent) for extent in mine]
    at = [coordinate(sizes, place, element) for place in range(len(mine))]
    return linear(at, [lane_count(launch, extent) for extent in mine])
