"""Which reshapes keep every element where torch puts it, tiles being padded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import exc

if TYPE_CHECKING:
    from ..device_function import DeviceFunction

Group = tuple[list[int], list[int]]


def reshape_groups(source: list[int], target: list[int]) -> list[Group]:
    """Pair runs of dims with equal numbers of elements; dims of size 1 are left out."""
    left = [s for s in source if s != 1]
    right = [s for s in target if s != 1]
    groups: list[Group] = []
    while left and right:
        mine, theirs = [left.pop(0)], [right.pop(0)]
        a, b = mine[0], theirs[0]
        while a != b:
            if a < b:
                mine.append(left.pop(0))
                a *= mine[-1]
            else:
                theirs.append(right.pop(0))
                b *= theirs[-1]
        groups.append((mine, theirs))
    return groups


def check_reshape(launch: DeviceFunction, source: list[int], target: list[int]) -> None:
    """Refuse to merge or split dims whose padding would come between elements.

    Only the outermost dim of a run may have padding, and only if it ends up at the end
    of the outermost dim of the other side, where that dim's own mask hides it.
    """
    if 0 in source:
        return
    for mine, theirs in reshape_groups(source, target):
        if len(mine) == len(theirs) == 1:
            continue
        inner = [*mine[1:], *theirs[1:]]
        outer = [_is_padded(launch, dims[0]) for dims in (mine, theirs)]
        is_hidden = outer == [False, False] or _is_whole(launch, theirs[0])
        if not is_hidden or any(_is_padded(launch, extent) for extent in inner):
            raise exc.BackendUnsupported(
                backend="triton",
                detail=f"a reshape of {_text(launch, mine)} to {_text(launch, theirs)} "
                "under this config: a tile or dim is padded to a power of two",
                hint="use sizes that are powers of two and block sizes that divide the "
                "dimension, or load the block in its final shape",
            )


def _is_padded(launch: DeviceFunction, extent: int) -> bool:
    axis = launch.axis_of(extent)
    return axis is not None and axis.mask is not None


def _is_whole(launch: DeviceFunction, extent: int) -> bool:
    axis = launch.axis_of(extent)
    return axis is not None and axis.is_whole


def _text(launch: DeviceFunction, dims: list[int]) -> str:
    return "[" + ", ".join(str(launch.env.size_of(e)) for e in dims) + "]"
