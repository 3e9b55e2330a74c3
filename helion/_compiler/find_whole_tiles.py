"""Finds the turns of a loop whose tiles need no mask, and those that do nothing.

A loop over keys that hides the future with ``torch.where(m >= n, scores, -inf)`` needs
the mask on the diagonal only: on tiles before it the comparison holds everywhere. And
where the whole body is one ``if tile_n.begin < tile_m.end``, the turns after the last
one that passes have no effect. Both follow from linear inequalities of tile indices;
nothing is assumed of what the masked values would do.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from .affine_index import CASTS, comparison, negated, relation
from .compiler_pass import compiler_pass
from .device_ir import ForLoopGraphInfo, _for_loop, _get_symnode, _if, _mask_to
from .node_args import int_arg, node_arg, raw_arg, shape_of
from .node_masking import PRODUCTS, RESHAPES, VIEWS
from .symbols import sym_expr
from .variable_origin import (
    BlockOrigin,
    BlockSizeOrigin,
    DeviceScalarOrigin,
    TileBeginOrigin,
)
from .whole_tiles import SHORTCUT, TAKEN, Limit, Shortcut, Turns

if TYPE_CHECKING:
    import sympy

    from .affine_index import Affine
    from .compile_environment import CompileEnvironment
    from .device_ir import DeviceIR, GraphInfo

aten = torch.ops.aten
_ANDS = (aten.bitwise_and.Tensor, aten.logical_and.default)
_ORS = (aten.bitwise_or.Tensor, aten.logical_or.default)
_NOTS = (aten.bitwise_not.default, aten.logical_not.default)
_SAME = (*VIEWS, *RESHAPES)
_CHOICES: dict[Any, tuple[int, tuple[tuple[int, bool], ...]]] = {
    aten.where.self: (0, ((1, True), (2, False))),
    aten.where.ScalarOther: (0, ((1, True),)),
    aten.where.ScalarSelf: (0, ((2, False),)),
    aten.masked_fill.Scalar: (1, ((0, False),)),
    aten.masked_fill.Tensor: (1, ((0, False),)),
}
"""Where each choice has its condition, and which argument it is where this is so."""


@compiler_pass("whole_tiles")
def find_whole_tiles(ir: DeviceIR, env: CompileEnvironment) -> DeviceIR:
    """Put ``Turns`` on every loop over one axis, and shortcuts on nodes in it."""
    known = env.config_spec.masked_loops
    for info in ir.graphs:
        if not isinstance(info, ForLoopGraphInfo) or len(info.block_ids) != 1:
            continue
        if any(step is not None for step in info.steps):
            continue
        info.turns = turns = _Body(ir, env, info).turns()
        if (turns.limits or turns.pays) and info.block_ids[0] not in known:
            known += info.block_ids
    return ir


class _Body:
    """The body of one loop: its graph, and the branches in it."""

    def __init__(
        self, ir: DeviceIR, env: CompileEnvironment, info: ForLoopGraphInfo
    ) -> None:
        self.ir, self.env, self.info = ir, env, info
        (self.block_id,) = info.block_ids
        self.inner = {b for g in self._loops_in(info) for b in g.block_ids}

    def turns(self) -> Turns:
        """Analyze the loop; mark its nodes."""
        found = Turns()
        self._clip(found)
        nodes = self._nodes(self.info)
        if not any(node.target in PRODUCTS for node in nodes):
            # Without a product the memory is the limit, and the masks are free.
            return found
        for node in nodes:
            shortcut = self._shortcut(node)
            if shortcut is not None:
                index, limits = shortcut
                node.meta[SHORTCUT] = Shortcut(self.block_id, index)
                found.limits += [n for n in limits if n not in found.limits]
            found.pays |= node.target is _mask_to and self._hides_tail(node)
        return found

    def _loops_in(self, info: GraphInfo) -> list[ForLoopGraphInfo]:
        graphs = dict(enumerate(self.ir.graphs))
        below = self.ir.reachable(info.graph_id, graphs)[1:]
        loops = [graphs[i] for i in below]
        return [g for g in loops if isinstance(g, ForLoopGraphInfo)]

    def _nodes(self, info: GraphInfo) -> list[fx.Node]:
        """Return the nodes of a graph and of the branches in it, not of its loops."""
        found: list[fx.Node] = []
        for node in info.graph.nodes:
            found.append(node)
            if node.target is _if:
                for index in (1, 2):
                    found += self._nodes(self.ir.graphs[int_arg(node, index)])
        return found

    def _hides_tail(self, mask: fx.Node) -> bool:
        return self.block_id in raw_arg(mask, 2) and len(mask.args) == 3

    # -- what whole tiles make simpler -------------------------------------------------

    def _shortcut(self, node: fx.Node) -> tuple[int, list[Limit]] | None:
        """Return which argument a node equals, and within which limits."""
        if node.target in _CHOICES:
            place, chosen = _CHOICES[node.target]
            for index, expected in chosen:
                limits = self._decided(node.args[place], expected)
                if limits is not None and _is_like(node, index):
                    return index, limits
            return None
        for targets, neutral in ((_ANDS, True), (_ORS, False)):
            if node.target in targets:
                for index in (0, 1):
                    limits = self._decided(node_arg(node, 1 - index), neutral)
                    if limits is not None and _is_like(node, index):
                        return index, limits
        return None

    def _decided(self, node: Any, value: bool) -> list[Limit] | None:
        """Return the limits within which all elements are ``value``."""
        if not isinstance(node, fx.Node):
            return None
        if node.target in _SAME:
            return self._decided(node.args[0], value)
        if node.target in CASTS and node.meta["val"].dtype == torch.bool:
            return self._decided(node.args[0], value)
        if node.target in _NOTS:
            return self._decided(node.args[0], not value)
        if node.target in (_ANDS if value else _ORS):
            sides = [self._decided(n, value) for n in node.args]
            return None if None in sides else [n for s in sides for n in s or []]
        if node.target in (_ORS if value else _ANDS):
            sides = [self._decided(n, value) for n in node.args]
            return next((s for s in sides if s is not None), None)
        form = comparison(node)
        if form is None:
            return None
        return self._limits(form if value else negated(form))

    def _limits(self, form: Affine) -> list[Limit] | None:
        side = form.factor(self.block_id)
        others = {b for b, _ in form.factors} - {self.block_id}
        if side not in (-1, 1) or others & self.inner or not self._is_fixed(form.rest):
            return None
        return [Limit(side, form)]

    def _is_fixed(self, expression: sympy.Expr) -> bool:
        """Whether a number is known before the loop begins."""
        for symbol in expression.free_symbols:
            origin = self.env.symbol_origins.get(symbol)
            if origin is None or isinstance(origin, DeviceScalarOrigin):
                return False
            if isinstance(origin, BlockOrigin):
                is_size = isinstance(origin, BlockSizeOrigin)
                if not is_size and origin.block_id in {self.block_id, *self.inner}:
                    return False
        return True

    # -- turns that do nothing ---------------------------------------------------------

    def _clip(self, found: Turns) -> None:
        branch = self._only_branch()
        if branch is None:
            return
        conditions = relation(_predicate(branch))
        bounds = [self._bound(form) for form in conditions or []]
        if not bounds or None in bounds:
            return
        for bound in bounds:
            assert bound is not None
            side, value = bound
            (found.stops if side < 0 else found.starts).append(value)
        branch.meta[SHORTCUT] = Shortcut(self.block_id, 1, TAKEN)

    def _only_branch(self) -> fx.Node | None:
        """Return the branch that is the body, if its other side changes nothing."""
        nodes = [n for n in self.info.graph.nodes if n.op == "call_function"]
        branches = [n for n in nodes if n.target is _if]
        idle = (_get_symnode, aten.full.default, operator.getitem)
        if len(branches) != 1 or any(
            n.target not in idle for n in nodes if n is not branches[0]
        ):
            return None
        (branch,) = branches
        other = self.ir.graphs[int_arg(branch, 2)]
        if any(n.op == "call_function" for n in other.graph.nodes):
            return None
        given = dict(zip(other.placeholders, raw_arg(branch, 4), strict=True))
        kept = [given[node] for node in other.outputs]
        carried = [self.info.placeholders[i] for i in self._carried()]
        for output, before in zip(self.info.outputs, carried, strict=True):
            if output.target is operator.getitem:
                output = kept[int_arg(output, 1)]
            if output is not before:
                return None
        return branch

    def _carried(self) -> list[int]:
        for info in self.ir.graphs:
            for node in info.graph.find_nodes(op="call_function", target=_for_loop):
                if node.args[0] == self.info.graph_id:
                    return list(raw_arg(node, 3))
        raise AssertionError(f"nothing runs graph {self.info.graph_id}")

    def _bound(self, form: sympy.Expr) -> tuple[int, sympy.Expr] | None:
        """Return side and bound of the turns' first index where ``0 <= form``."""
        begins = [
            s
            for s in form.free_symbols
            if isinstance(o := self.env.symbol_origins.get(s), TileBeginOrigin)
            and o.block_id == self.block_id
        ]
        if len(begins) != 1:
            return None
        (begin,) = begins
        side = form.coeff(begin)
        rest = form - side * begin
        if side not in (-1, 1) or not self._is_fixed(rest):
            return None
        # A stop is exclusive.
        return (-1, rest + 1) if side == -1 else (1, -rest)


def _predicate(branch: fx.Node) -> sympy.Basic:
    """Return the condition of a branch, false where it is not one of sizes."""
    test: Any = branch.args[0]
    if isinstance(test, fx.Node) and test.target is aten.full.default:
        test = test.args[1]
    is_symbol = isinstance(test, fx.Node) and test.target is _get_symnode
    return sym_expr(test.meta["val"] if is_symbol else False)


def _is_like(node: fx.Node, index: int) -> bool:
    """Whether an argument can stand for the node: the same dtype and dims."""
    argument = node.args[index]
    if not isinstance(argument, fx.Node) or shape_of(argument) != shape_of(node):
        return False
    return argument.meta["val"].dtype == node.meta["val"].dtype
