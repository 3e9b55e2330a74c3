"""Replaces two folds of which the second waits for the first by one that need not.

``sum(exp(v - b))`` with ``b`` made of ``max(v)`` follows from the sum with the running
maximum in place of ``b`` (the online softmax of Milakov and Gimelshein, 2018);
``sum((v - b) ** 2)`` with ``b`` made of ``sum(v)`` follows from the squares about the
mean, which chunks combine without cancellation (Chan, Golub and LeVeque, 1983). An
axis that is walked in chunks is then read once. Both identities hold for any ``b``.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from .clean_graphs import merge_pure
from .device_ir import _get_symnode, _mask_to, _max_and_sum_exp, _sum_and_squares
from .lowering import lowering_of
from .node_args import shape_of
from .node_masking import operand_of, reduced_extents

if TYPE_CHECKING:
    from .compile_environment import BlockSizeInfo, CompileEnvironment

aten = torch.ops.aten
_EXPONENTIALS = (aten.exp.default, aten.exp2.default)


def fuse_reductions(
    graph: fx.Graph, info: BlockSizeInfo, env: CompileEnvironment
) -> fx.Graph:
    """Return the graph, or a copy of it in which pairs of folds over the axis are one.

    Only for graphs in which the axis is walked in chunks: a tile that holds the whole
    axis computes two folds faster than one that rescales.
    """
    if info.size_hint() == 0 or not _Fusion(graph, info, env).pairs():
        return graph
    copy = fx.Graph()
    copy.output(copy.graph_copy(graph, {}))
    fusion = _Fusion(copy, info, env)
    while pairs := fusion.pairs():
        fusion.fuse(*pairs[0])
    merge_pure(copy)
    return copy


class _Fusion:
    """Finds and rewrites the pairs of one graph along one axis."""

    def __init__(
        self, graph: fx.Graph, info: BlockSizeInfo, env: CompileEnvironment
    ) -> None:
        self.graph = graph
        self.info = info
        self.env = env

    # -- finding ---------------------------------------------------------------------

    def pairs(self) -> list[tuple[fx.Node, fx.Node]]:
        """Return (first fold, second fold) of each pair, no fold twice as a second."""
        folds = [n for n in self.graph.nodes if self._folds(n)]
        found = []
        for second in folds:
            parts = self._parts(second)
            if parts is None:
                continue
            kind, value, shift = parts
            sources = _ancestors(shift)
            for first in folds:
                is_kind = first.target is kind and first in sources
                if is_kind and _unmasked(operand_of(first)) is value:
                    found.append((first, second))
                    break
        return found

    def _folds(self, node: fx.Node) -> bool:
        return self.info.extent in reduced_extents(node)

    def _parts(self, second: fx.Node) -> tuple[Any, fx.Node, fx.Node] | None:
        """Return (first fold's operator, v, b) of ``sum(exp(v - b))`` and the like."""
        if second.target is not aten.sum.dim_IntList:
            return None
        term = _unmasked(operand_of(second))
        if term.target in _EXPONENTIALS:
            kind, difference = aten.amax.default, operand_of(term)
        elif _is_square(term):
            kind, difference = aten.sum.dim_IntList, operand_of(term)
        else:
            return None
        if difference.target is not aten.sub.Tensor or difference.kwargs:
            return None
        value, shift = difference.args
        if not isinstance(value, fx.Node) or not isinstance(shift, fx.Node):
            return None
        dtype = second.meta["val"].dtype
        if any(n.meta["val"].dtype != dtype for n in (value, term, shift)):
            return None
        if not dtype.is_floating_point or shape_of(value) != shape_of(term):
            return None
        if self.info.extent in shape_of(shift) or not shape_of(shift):
            return None
        return kind, value, shift

    # -- rewriting -------------------------------------------------------------------

    def fuse(self, first: fx.Node, second: fx.Node) -> None:
        """Let one fold stand for ``first``, an expression of it for ``second``."""
        term = _unmasked(operand_of(second))
        like = second.meta["val"]
        is_square = term.target not in _EXPONENTIALS
        target = _sum_and_squares if is_square else _max_and_sum_exp
        with self.graph.inserting_before(first):
            args = (first.args[0], first.args[1])
            if not is_square:
                args = (*args, term.target is aten.exp2.default)
            values = (first.meta["val"], like, like)[: 2 + (not is_square)]
            pair = self._node(target, args, values, first)
            value = self._node(operator.getitem, (pair, 0), first.meta["val"], first)
            rest = self._node(operator.getitem, (pair, 1), like, second)
        _rename(first, value)
        parts = self._parts(second)  # its shift may be the first fold itself
        assert parts is not None
        with self.graph.inserting_before(second):
            offset = self._without_axis(parts[-1], second)
            if is_square:
                result = self._about(rest, value, offset, second)
            else:
                finite = self._node(operator.getitem, (pair, 2), like, second)
                result = self._rescaled(rest, finite, offset, second)
        _rename(second, result)
        self.graph.erase_node(second)
        self.graph.erase_node(first)

    def _rescaled(
        self, total: fx.Node, finite: fx.Node, offset: fx.Node, at: fx.Node
    ) -> fx.Node:
        """Return ``total * exp(finite peak - offset)``."""
        power = _unmasked(operand_of(at)).target
        step = self._pointwise(aten.sub.Tensor, finite, offset, at)
        factor = self._node(power, (step,), at.meta["val"], at)
        return self._pointwise(aten.mul.Tensor, total, factor, at)

    def _about(
        self, squares: fx.Node, total: fx.Node, offset: fx.Node, at: fx.Node
    ) -> fx.Node:
        """Return ``squares + n * (total / n - offset) ** 2``."""
        count = self._length(at)
        mean = self._pointwise(aten.div.Tensor, total, count, at)
        gap = self._pointwise(aten.sub.Tensor, mean, offset, at)
        square = self._pointwise(aten.mul.Tensor, gap, gap, at)
        term = self._pointwise(aten.mul.Tensor, square, count, at)
        return self._pointwise(aten.add.Tensor, squares, term, at)

    def _length(self, at: fx.Node) -> Any:
        numel = self.info.numel
        if isinstance(numel, int):
            return numel
        return self._node(_get_symnode, (str(numel),), numel, at)

    def _without_axis(self, shift: fx.Node, second: fx.Node) -> fx.Node:
        """Return ``b`` in the shape of the folded value."""
        like = second.meta["val"]
        if shift.target is aten.unsqueeze.default:
            source = operand_of(shift)
            if shape_of(source) == tuple(like.shape):
                return source
        source = operand_of(_unmasked(operand_of(second)))
        lead = len(shape_of(source)) - len(shape_of(shift))
        dims: Any = second.args[1]
        dim = dims[0] % len(shape_of(source)) - lead
        if dim < 0:
            return shift
        with self.env.fake_mode:
            value = shift.meta["val"].squeeze(dim)
        return self._node(aten.squeeze.dim, (shift, dim), value, second)

    def _pointwise(self, target: Any, a: Any, b: Any, at: fx.Node) -> fx.Node:
        return self._node(target, (a, b), at.meta["val"], at)

    def _node(
        self, target: Any, args: tuple[Any, ...], value: Any, source: fx.Node
    ) -> fx.Node:
        node = self.graph.call_function(target, args)
        node.meta["val"] = value
        node.meta["location"] = source.meta.get("location")
        node.meta["lowering"] = lowering_of(node, self.env)
        return node


def _rename(old: fx.Node, new: fx.Node) -> None:
    """Let ``new`` stand for ``old``, also in the emitted text."""
    if "name" in old.meta:
        new.meta["name"] = old.meta["name"]
    old.replace_all_uses_with(new)


def _unmasked(node: fx.Node) -> fx.Node:
    # Where lanes have lengths of their own, so have the folds: they stay as they are.
    is_plain = node.target is _mask_to and len(node.args) == 3
    return operand_of(node) if is_plain else node


def _is_square(node: fx.Node) -> bool:
    if node.target is aten.mul.Tensor:
        return bool(node.args[0] is node.args[1])
    return node.target is aten.pow.Tensor_Scalar and node.args[1] in (2, 2.0)


def _ancestors(node: fx.Node) -> set[fx.Node]:
    found: set[fx.Node] = set()
    pending = [node]
    while pending:
        current = pending.pop()
        if current not in found:
            found.add(current)
            pending += current.all_input_nodes
    return found
