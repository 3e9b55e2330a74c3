"""What is proven of the turns of a loop, and what nodes then are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sympy
    from torch import fx

    from .affine_index import Affine
    from .device_function import DeviceFunction

SHORTCUT = "shortcut"
"""Key of ``node.meta``: a ``Shortcut`` of the node."""
WHOLE_TILES = "whole tiles"
"""Proven of a part of a loop: no tile needs a mask, and all limits hold."""
TAKEN = "taken"
"""Proven of a part of a loop: every turn takes the branch that is its body."""


@dataclass(frozen=True)
class Limit:
    """Where ``0 <= form`` holds for all indices of a tile, whatever else varies.

    ``side`` is the factor of the loop's axis: -1 bounds the end of the tile from above,
    1 its begin from below.
    """

    side: int
    form: Affine


@dataclass(frozen=True)
class Shortcut:
    """Where ``needs`` is proven, a node equals the argument at ``index``.

    Of a branch this is the id of the graph that alone is run.
    """

    block_id: int
    index: int
    needs: str = WHOLE_TILES


@dataclass
class Turns:
    """What is known of the turns of a loop over one axis.

    ``limits``: within all of them the shortcuts hold. ``starts`` and ``stops``: a turn
    that begins before a start, or not before a stop, does nothing. ``pays``: the body
    has a product, and masks that only the last tile of the axis needs.
    """

    limits: list[Limit] = field(default_factory=list)
    starts: list[sympy.Expr] = field(default_factory=list)
    stops: list[sympy.Expr] = field(default_factory=list)
    pays: bool = False

    def __bool__(self) -> bool:
        return bool(self.limits or self.starts or self.stops or self.pays)


def shortcut(fn: DeviceFunction, node: fx.Node) -> Any:
    """Return the argument that a node equals here, None if it is to be emitted."""
    found = node.meta.get(SHORTCUT)
    if not isinstance(found, Shortcut):
        return None
    axis = fn.axes.get(found.block_id)
    is_proven = axis is not None and found.needs in axis.proven
    return node.args[found.index] if is_proven else None
