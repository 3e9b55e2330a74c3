"""Moves constant factors of scores to where they cost nothing.

Attention multiplies every score by a constant, finds the largest of a row, subtracts it
and takes the exponential. A positive factor goes past selects and maxima without any
change of the result: rounding is monotone, so the largest product is the product of the
largest. What is left is ``x * c - m``, one instruction. The natural exponential becomes
``exp2(x * (c * log2(e)) - m * log2(e))``, where ``m * log2(e)`` is computed once a row.

Only for what comes out of a matrix product: its own rounding exceeds that of a factor.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from .clean_graphs import merge_pure
from .compiler_pass import compiler_pass
from .node_args import shape_of
from .node_masking import PRODUCTS, VIEWS, operand_of

if TYPE_CHECKING:
    from .compile_environment import CompileEnvironment
    from .device_ir import DeviceIR

aten = torch.ops.aten
LOG2_E = math.log2(math.e)
_FILLS = (0.0, math.inf, -math.inf)
_SELECTS: dict[Any, tuple[int, int]] = {
    aten.where.self: (1, 2),
    aten.masked_fill.Scalar: (0, 2),
    aten.masked_fill.Tensor: (0, 2),
}
"""Where a select has the value that it keeps, and the one that it puts in."""


@compiler_pass("fold_scales")
def fold_scales(ir: DeviceIR, env: CompileEnvironment) -> DeviceIR:
    """Let scores be scaled where their maximum is subtracted, and use ``exp2``."""
    for info in ir.graphs:
        graph = info.graph
        changed = [_move_past_maximum(n) for n in _calls(graph, aten.amax.default)]
        changed += [_to_base_2(n) for n in _calls(graph, aten.exp.default)]
        if any(changed):
            merge_pure(graph)
    return ir


def _calls(graph: fx.Graph, target: Any) -> list[fx.Node]:
    return list(graph.find_nodes(op="call_function", target=target))


def _move_past_maximum(maximum: fx.Node) -> bool:
    """Scale after a maximum, and after the selects before it."""
    selects: list[fx.Node] = []
    node = scaled = operand_of(maximum)
    while _is_select(node):
        selects.append(node)
        node = operand_of(node, _SELECTS[node.target][0])
    factor = _factor(node)
    if factor is None:
        return False
    plain = operand_of(node)
    for select in reversed(selects):
        plain = _copy(select, select, {_SELECTS[select.target][0]: plain})
    if selects:
        _replace(scaled, _times(plain, factor, scaled))
    peak = _copy(maximum, maximum, {0: plain})
    _replace(maximum, _times(peak, factor, maximum))
    return True


def _to_base_2(exponential: fx.Node) -> bool:
    """Turn ``exp(x * c - m)``, ``m`` the same along a dim, into a power of two."""
    difference = operand_of(exponential)
    if difference.target is not aten.sub.Tensor or difference.kwargs:
        return False
    value, shift = difference.args
    if not isinstance(value, fx.Node) or not isinstance(shift, fx.Node):
        return False
    if exponential.meta["val"].dtype != torch.float32:
        return False
    if any(n.meta["val"].dtype != torch.float32 for n in difference.all_input_nodes):
        return False
    is_row = math.prod(shape_of(shift)) < math.prod(shape_of(value))
    if not is_row or shape_of(value) != shape_of(exponential):
        return False
    plain, factor = value, 1.0
    known = _factor(value)
    if known is not None:
        plain, factor = operand_of(value), known
    elif not _is_product(value):
        return False
    scaled = _times(plain, factor * LOG2_E, exponential)
    moved = _times(_row(shift), LOG2_E, exponential)
    for view in _views(shift):
        moved = _copy(view, exponential, {0: moved})
    power = _new(aten.sub.Tensor, (scaled, moved), difference, exponential)
    _replace(exponential, _new(aten.exp2.default, (power,), exponential, exponential))
    return True


def _views(node: fx.Node) -> list[fx.Node]:
    """Return the views that a value is seen through, innermost first."""
    found: list[fx.Node] = []
    while node.target in VIEWS:
        found.insert(0, node)
        node = operand_of(node)
    return found


def _row(node: fx.Node) -> fx.Node:
    views = _views(node)
    return operand_of(views[0]) if views else node


# -- what may be moved -----------------------------------------------------------------


def _factor(node: fx.Node) -> float | None:
    """Return ``c`` of ``product * c``, where ``c`` is a positive constant."""
    if node.target is not aten.mul.Tensor or node.kwargs:
        return None
    value, factor = node.args
    if not isinstance(factor, (int, float)) or not isinstance(value, fx.Node):
        return None
    is_same = value.meta["val"].dtype == node.meta["val"].dtype
    if not is_same or not _is_product(value):
        return None
    return float(factor) if 0 < factor < math.inf else None


def _is_product(node: fx.Node) -> bool:
    while _is_select(node):
        node = operand_of(node, _SELECTS[node.target][0])
    return node.target in PRODUCTS


def _is_select(node: fx.Node) -> bool:
    """Whether a node puts a number that scales to itself into some lanes of another."""
    if node.target not in _SELECTS:
        return False
    place, other = _SELECTS[node.target]
    value = node.args[place]
    if not isinstance(value, fx.Node) or not _is_fill(node.args[other]):
        return False
    is_like = value.meta["val"].dtype == node.meta["val"].dtype
    return is_like and shape_of(value) == shape_of(node)


def _is_fill(value: Any) -> bool:
    if not isinstance(value, fx.Node):
        return value in _FILLS
    if value.target is aten.full.default:
        return value.args[1] in _FILLS
    return value.target is aten.scalar_tensor.default and value.args[0] in _FILLS


# -- new nodes -------------------------------------------------------------------------


def _new(target: Any, args: tuple[Any, ...], like: fx.Node, place: fx.Node) -> fx.Node:
    with place.graph.inserting_before(place):
        node = place.graph.call_function(target, args)
    node.meta["val"] = like.meta["val"]
    if "location" in like.meta:
        node.meta["location"] = like.meta["location"]
    return node


def _times(value: fx.Node, factor: float, place: fx.Node) -> fx.Node:
    """Scale a value before ``place``, whose line it gets."""
    product = _new(aten.mul.Tensor, (value, factor), value, place)
    if "location" in place.meta:
        product.meta["location"] = place.meta["location"]
    return product


def _copy(node: fx.Node, place: fx.Node, changes: dict[int, fx.Node]) -> fx.Node:
    """Return a node like another one, with some arguments changed."""
    args = tuple(changes.get(i, arg) for i, arg in enumerate(node.args))
    copy = _new(node.target, args, node, place)
    copy.kwargs = node.kwargs
    return copy


def _replace(old: fx.Node, new: fx.Node) -> None:
    if "name" in old.meta:
        new.meta["name"] = old.meta["name"]
    old.replace_all_uses_with(new)
