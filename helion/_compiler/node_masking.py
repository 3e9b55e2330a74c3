"""Puts the identity into the padded lanes of values that are reduced or multiplied.

A tile may overhang its axis. What the overhanging lanes hold is tracked per node and
axis, and a ``_mask_to`` node goes in where it is not the identity already.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from .. import exc
from ..language.matmul_ops import dot
from ..language.memory_ops import load, subscript
from ..language.scaled_dot_ops import dot_scaled
from .compiler_pass import compiler_pass
from .derived_dims import axis_extent, axis_info, axis_parents
from .device_ir import _mask_to, _max_and_sum_exp, _sum_and_squares
from .lowering import lowering_of
from .lowering_kinds import PointwiseLowering, ReductionLowering
from .node_args import shape_of

if TYPE_CHECKING:
    from .compile_environment import CompileEnvironment
    from .device_ir import DeviceIR

Number = float | int | bool
aten = torch.ops.aten


def _zero(dtype: torch.dtype) -> Number:
    return 0


def _one(dtype: torch.dtype) -> Number:
    return 1


def _lowest(dtype: torch.dtype) -> Number:
    if dtype == torch.bool:
        return False
    return -math.inf if dtype.is_floating_point else torch.iinfo(dtype).min


def _highest(dtype: torch.dtype) -> Number:
    if dtype == torch.bool:
        return True
    return math.inf if dtype.is_floating_point else torch.iinfo(dtype).max


IDENTITIES: dict[Any, Callable[[torch.dtype], Number]] = {
    aten.sum.dim_IntList: _zero,
    aten.prod.dim_int: _one,
    aten.amax.default: _lowest,
    aten.argmax.default: _lowest,
    aten.amin.default: _highest,
    aten.argmin.default: _highest,
    _max_and_sum_exp: _lowest,
    _sum_and_squares: _zero,
}
"""Reductions over one dim, and the value that changes nothing in them."""

PRODUCTS: dict[Any, int] = {
    aten.mm.default: 0,
    aten.bmm.default: 0,
    aten.addmm.default: 1,
    aten.baddbmm.default: 1,
    dot: 0,
    dot_scaled: 0,
}
"""Matrix products, and the position of their first factor."""

SCALES: dict[Any, tuple[int, ...]] = {dot_scaled: (2, 3)}
"""The factors' scales, whose last dim goes along the summed one."""

VIEWS = frozenset(
    {
        aten.unsqueeze.default,
        aten.squeeze.default,
        aten.squeeze.dim,
        aten.squeeze.dims,
        aten.expand.default,
        aten.permute.default,
        aten.transpose.int,
        aten.t.default,
        aten.alias.default,
        subscript,
    }
)
"""Views that keep each dim whole."""

RESHAPES = frozenset(
    {aten.view.default, aten._unsafe_view.default, aten.reshape.default}
)
"""Views that may split and merge dims."""


def operand_of(node: fx.Node, index: int = 0) -> fx.Node:
    """Return an argument that must be a node."""
    found = node.args[index]
    assert isinstance(found, fx.Node), node.format_node()
    return found


def is_reduction(node: fx.Node) -> bool:
    """Whether a node folds whole dims of its first argument."""
    return node.target in IDENTITIES or isinstance(
        node.meta.get("lowering"), ReductionLowering
    )


def reduced_extents(node: fx.Node) -> list[int]:
    """Return the extents of the dims that a node folds, [] if it folds none."""
    if not is_reduction(node):
        return []
    source = list(shape_of(node.args[0]))
    if node.target in IDENTITIES:
        dim: Any = node.args[1]
        return [source[dim if isinstance(dim, int) else dim[0]]]
    kept = list(shape_of(node))
    return [s for s in source if s != 1 and s not in kept]


def keeps_dim(before: tuple[int, ...], after: tuple[int, ...], extent: int) -> bool:
    """Whether a reshape only moves things around a dim, not across it."""
    if before.count(extent) != 1 or after.count(extent) != 1:
        return False
    outer = [math.prod(shape[: shape.index(extent)]) for shape in (before, after)]
    inner = [math.prod(shape[shape.index(extent) + 1 :]) for shape in (before, after)]
    return outer[0] == outer[1] and inner[0] == inner[1]


class MaskedValues:
    """What the padded lanes of each node of a graph hold.

    A value without the axis is broadcast along it, so its real elements stand in the
    padded lanes of the result: it counts as unknown, unless it is one constant.
    """

    def __init__(self, graph: fx.Graph, env: CompileEnvironment) -> None:
        self.graph = graph
        self.env = env
        self._tables: dict[int | None, dict[fx.Node, Number | None]] = {}

    def masked_value(self, node: fx.Node, block_id: int | None) -> Number | None:
        """Return the constant in the lanes past the end of an axis, None if unknown.

        ``block_id`` None asks for the constant that all lanes hold.
        """
        return self._table(block_id).get(node)

    def _table(self, block_id: int | None) -> dict[fx.Node, Number | None]:
        if block_id not in self._tables:
            table: dict[fx.Node, Number | None] = {}
            # In graph order rather than by recursion: unrolled code gets deep.
            for node in self.graph.nodes:
                if node.op == "call_function":
                    table[node] = self._evaluate(node, block_id, table)
            self._tables[block_id] = table
        return self._tables[block_id]

    def _evaluate(
        self,
        node: fx.Node,
        block_id: int | None,
        table: dict[fx.Node, Number | None],
    ) -> Number | None:
        extent = None if block_id is None else axis_extent(self.env, block_id)
        has_axis = extent is not None and extent in shape_of(node)
        if block_id is not None and shape_of(node).count(extent) != 1:
            # Without the axis, real elements are spread into the padded lanes; with
            # the axis twice, an operand may be padded along one of the dims only.
            return self.masked_value(node, None)
        if node.target in _RULES:
            return _RULES[node.target](self, node, block_id, table)
        lowering = node.meta.get("lowering")
        if lowering is None or node.target is operator.getitem:
            return None
        if not has_axis and not isinstance(lowering, PointwiseLowering):
            return None
        return lowering.masked_value(node, lambda arg: _known(arg, table))


def _known(value: object, table: dict[fx.Node, Number | None]) -> Number | None:
    if isinstance(value, fx.Node):
        return table.get(value)
    return value if isinstance(value, (int, float)) else None


# -- nodes whose result depends on the axis --------------------------------------------

Table = dict[fx.Node, Number | None]
_Rule = Callable[[MaskedValues, fx.Node, "int | None", Table], "Number | None"]


def _load(
    values: MaskedValues, node: fx.Node, block_id: int | None, table: Table
) -> Number | None:
    if block_id is None:
        return None
    shape, parents = shape_of(node), axis_parents(values.env, block_id)
    # Without the dims of its lengths, a jagged tile has no end of its own.
    is_ended = set(parents) <= set(shape)
    return 0 if is_ended and axis_extent(values.env, block_id) in shape else None


def _full(
    values: MaskedValues, node: fx.Node, block_id: int | None, table: Table
) -> Number | None:
    value = node.args[1]
    if not isinstance(value, (int, float)):
        return None
    dtype = node.meta["val"].dtype
    if not dtype.is_floating_point:
        return bool(value) if dtype == torch.bool else int(value)
    # Other numbers may be rounded by the dtype.
    is_exact = math.isinf(value) or (float(value).is_integer() and abs(value) <= 16)
    return float(value) if is_exact else None


def _view(
    values: MaskedValues, node: fx.Node, block_id: int | None, table: Table
) -> Number | None:
    return table.get(operand_of(node))


def _reshape(
    values: MaskedValues, node: fx.Node, block_id: int | None, table: Table
) -> Number | None:
    source = operand_of(node)
    if block_id is None:
        return table.get(source)
    extent = axis_extent(values.env, block_id)
    if keeps_dim(shape_of(source), shape_of(node), extent):
        return table.get(source)
    return values.masked_value(source, None)


def _masked(
    values: MaskedValues, node: fx.Node, block_id: int | None, table: Table
) -> Number | None:
    source, other, blocks = node.args[:3]
    assert isinstance(other, (int, float)) and isinstance(blocks, (list, tuple))
    if block_id in blocks or _same(_known(source, table), other):
        return other
    return None


def _unknown(
    values: MaskedValues, node: fx.Node, block_id: int | None, table: Table
) -> Number | None:
    return None


def _reduction(
    values: MaskedValues, node: fx.Node, block_id: int | None, table: Table
) -> Number | None:
    source = operand_of(node)
    if source.target is _mask_to and len(source.args) == 3:
        # Lanes past the end of the reduced axis add nothing; look at the real ones.
        info = values.env.block_of(reduced_extents(node)[0])
        blocks: Any = source.args[2]
        if info is not None and list(blocks) == [info.block_id]:
            source = operand_of(source)
    value = table.get(source)
    if node.target in (aten.sum.dim_IntList, aten.prod.dim_int):
        identity = IDENTITIES[node.target](node.meta["val"].dtype)
        return value if _same(value, identity) else None
    return value


_RULES: dict[Any, _Rule] = {
    load: _load,
    aten.full.default: _full,
    _mask_to: _masked,
    **dict.fromkeys(VIEWS, _view),
    **dict.fromkeys(RESHAPES, _reshape),
    **dict.fromkeys(IDENTITIES, _reduction),
    aten.argmax.default: _unknown,
    aten.argmin.default: _unknown,
}


def _same(value: Number | None, other: Number) -> bool:
    return value is not None and value == other


# -- the pass --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Want:
    """An argument whose lanes past the end of an axis must hold a number."""

    user: fx.Node
    index: int
    other: Number
    block_id: int

    @property
    def value(self) -> fx.Node:
        return operand_of(self.user, self.index)


@compiler_pass("mask")
def mask_inputs(ir: DeviceIR, env: CompileEnvironment) -> DeviceIR:
    """Mask what is reduced, and the summed axis of what is multiplied.

    Masks go in whether or not a Config makes tiles overhang; one without a mask to
    apply emits nothing.
    """
    for info in ir.graphs:
        _mask_graph(info.graph, env)
    return ir


def _mask_graph(graph: fx.Graph, env: CompileEnvironment) -> None:
    values = MaskedValues(graph, env)
    wants = [want for node in graph.nodes for want in _wants(node, env)]
    needed = [
        want
        for want in wants
        if not _same(values.masked_value(want.value, want.block_id), want.other)
    ]
    masks: dict[tuple[fx.Node, str, int], fx.Node] = {}
    for want in needed:
        _check_lengths(want, env)
        key = (want.value, repr(want.other), want.block_id)
        if key not in masks:
            masks[key] = _insert_mask(want, env)
        want.user.update_arg(want.index, masks[key])


def _wants(node: fx.Node, env: CompileEnvironment) -> list[_Want]:
    if node.target in IDENTITIES:
        (extent,) = reduced_extents(node)
        other = IDENTITIES[node.target](operand_of(node).meta["val"].dtype)
        pairs = [(0, extent)]
    elif node.target in PRODUCTS:
        first, other = PRODUCTS[node.target], 0
        pairs = [
            (first, shape_of(operand_of(node, first))[-1]),
            (first + 1, shape_of(operand_of(node, first + 1))[-2]),
        ]
        scales = [i for i in SCALES.get(node.target, ()) if node.args[i] is not None]
        pairs += [(i, shape_of(operand_of(node, i))[-1]) for i in scales]
    else:
        return []
    found = [(index, axis_info(env, extent)) for index, extent in pairs]
    return [_Want(node, i, other, b.block_id) for i, b in found if b is not None]


def _check_lengths(want: _Want, env: CompileEnvironment) -> None:
    """Refuse a fold along a jagged tile of a value that does not know its lengths."""
    parents = axis_parents(env, want.block_id)
    if want.user.target in PRODUCTS or set(parents) <= set(shape_of(want.value)):
        return
    raise exc.InvalidJaggedTileUsage(
        reason="a value is folded along a jagged tile, but has no dims of its lengths",
        hint="combine it with a value of both tiles first, as in x[tile, jagged] * v",
    ).with_location(want.user.meta.get("location"))


def _insert_mask(want: _Want, env: CompileEnvironment) -> fx.Node:
    graph = want.user.graph
    with graph.inserting_before(want.user):
        node = graph.call_function(_mask_to, (want.value, want.other, [want.block_id]))
    node.meta["val"] = want.value.meta["val"]
    node.meta["location"] = want.user.meta.get("location")
    node.meta["lowering"] = lowering_of(node, env)
    return node
