"""Which values are alive together in a graph, where that may be most."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..language.memory_ops import load, store
from .device_ir import INTERNAL_FOLDS, target_name
from .finalize_config import PRODUCTS
from .kernel_facts import LiveSet
from .node_args import raw_arg

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import fx

    from .device_ir import GraphInfo
    from .kernel_facts import Tile

# Sets of values that are kept: more tell nothing that a Config would bring out.
MOST_SETS = 12


@dataclass
class LiveTiles:
    """Finds the sets of tiles alive around what all lanes wait for.

    Between those places the compiler works element by element, and holds little beside
    what it loads ahead. Views are the value that they show.
    """

    info: GraphInfo
    tiles: Callable[[Any], list[Tile]]
    is_free: Callable[[fx.Node], bool]
    found: dict[LiveSet, None] = field(default_factory=dict)

    def sets(self) -> tuple[LiveSet, ...]:
        """Return the sets, none of which is part of another one."""
        self.owner = _owners(self.info)
        self.last = _last_uses(self.info, self.owner)
        self.order = {node: i for i, node in enumerate(self.info.graph.nodes)}
        values = {n for n in self.owner.values() if not self.is_free(n)}
        found = (n for n in values if self.tiles(n))
        self.values = sorted(found, key=lambda n: self.order[n])
        start = 0
        points = [n for n in self.order if _is_point(n)]
        for node in points:
            place = self.order[node]
            self._add(start, place, place, _streamed(node, self.owner))
            self._add(place, place + 1, place + 1)
            start = place
        self._add(start, len(self.order), len(self.order))
        return _largest(list(self.found))

    def _add(
        self, start: int, place: int, end: int, streamed: fx.Node | None = None
    ) -> None:
        """Note what is alive before the node at ``place``, and loaded since ``start``.

        ``streamed`` is folded while it is computed.
        """
        own = [
            n
            for n in self.values
            if self.order[n] < place <= self.last.get(n, -1)
            and not (n is streamed and self.last[n] == place)
        ]
        own = [n for n in own if not self._is_pending(n, place, own)]
        if start < end - 1:
            # What a segment loads is ahead of its use by a part of it.
            ahead = [
                n
                for n in self.values
                if start < self.order[n] < end and n.target is load and n not in own
            ]
        else:
            ahead = []
        self.found[LiveSet(self._tiles_of(own), self._tiles_of(ahead))] = None

    def _is_pending(self, node: fx.Node, place: int, own: list[fx.Node]) -> bool:
        """Whether a value can wait: not used yet, and what it is made of is kept."""
        if type(node.meta.get("lowering")).__name__ != "PointwiseLowering":
            return False
        if any(self.order.get(user, place) < place for user in node.users):
            return False
        sources = {self.owner.get(n) for n in node.all_input_nodes}
        wide = [n for n in sources if n is not None and self.tiles(n)]
        return bool(wide) and all(n in own or self.is_free(n) for n in wide)

    def _tiles_of(self, nodes: list[fx.Node]) -> tuple[Tile, ...]:
        return tuple(t for n in nodes for t in self.tiles(n))


def _owners(info: GraphInfo) -> dict[fx.Node, fx.Node]:
    """Return the node whose value each node shows."""
    owner: dict[fx.Node, fx.Node] = {}
    for node in info.graph.nodes:
        if node.op == "output":
            continue
        sources = [n for n in node.all_input_nodes if n in owner]
        is_view = _is_view(node) and bool(sources)
        owner[node] = owner[sources[0]] if is_view else node
    return owner


def _last_uses(info: GraphInfo, owner: dict[fx.Node, fx.Node]) -> dict[fx.Node, int]:
    last: dict[fx.Node, int] = {}
    for place, node in enumerate(info.graph.nodes):
        for source in node.all_input_nodes:
            last[owner[source]] = place
    # What is read in every turn is there at its end, too.
    replaced = len(info.outputs)
    for place, node in enumerate(info.placeholders):
        if place >= replaced:
            last[node] = len(owner)
    return last


def _is_view(node: fx.Node) -> bool:
    words = ("unsqueeze", "squeeze", "expand", "detach", "permute", "transpose")
    name = target_name(node)
    own = ("_mask_to", "getitem", "split")
    return any(word in name for word in words) or name in own


def _is_point(node: fx.Node) -> bool:
    """Whether something happens at a node that all lanes wait for."""
    if node.op != "call_function" or _is_view(node) or node.target in (load, store):
        return False
    name = target_name(node)
    if name.startswith(("aten.full", "aten.scalar", "_host", "_get", "tile_index")):
        return False
    return type(node.meta.get("lowering")).__name__ != "PointwiseLowering"


def _streamed(node: fx.Node, owner: dict[fx.Node, fx.Node]) -> fx.Node | None:
    """Return the value that a fold reads, if it is computed element by element."""
    if node.target in PRODUCTS:
        # The right side goes to shared memory piece by piece.
        right = raw_arg(node, PRODUCTS[node.target][1])
        source = owner.get(right)
        kind = "" if source is None else type(source.meta.get("lowering")).__name__
        return source if kind == "PointwiseLowering" else None
    is_fold = type(node.meta.get("lowering")).__name__ == "ReductionLowering"
    if not is_fold or node.target in INTERNAL_FOLDS:
        return None  # those of several passes read their value again
    source = owner.get(node.all_input_nodes[0])
    kind = "" if source is None else type(source.meta.get("lowering")).__name__
    return source if kind == "PointwiseLowering" else None


def _largest(found: list[LiveSet]) -> tuple[LiveSet, ...]:
    """Drop the sets that are part of another one."""
    kept = []
    counts = [(_count(s.held), _count(s.ahead)) for s in found]
    for i, one in enumerate(counts):
        others = (o for j, o in enumerate(counts) if j != i and o != one)
        if not any(_covers(o[0], one[0]) and _covers(o[1], one[1]) for o in others):
            kept.append(found[i])
    kept.sort(key=lambda s: len(s.held) + len(s.ahead), reverse=True)
    return tuple(kept[:MOST_SETS])


def _count(tiles: tuple[Tile, ...]) -> dict[Tile, int]:
    return {tile: tiles.count(tile) for tile in tiles}


def _covers(more: dict[Tile, int], less: dict[Tile, int]) -> bool:
    return all(more.get(tile, 0) >= count for tile, count in less.items())
