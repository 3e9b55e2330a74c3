"""Finds the grid axes along which programs have more and more to do.

A causal product is the usual case: the loop of a tile ends with the tile. Where the
last programs of a launch are its longest, most of the GPU waits for them; so programs
count such an axis from its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import fx

from . import symbols
from .compiler_pass import compiler_pass
from .device_ir import ForLoopGraphInfo, _for_loop, _get_symnode
from .node_args import int_arg, raw_arg
from .variable_origin import BlockOrigin, BlockSizeOrigin

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sympy

    from .compile_environment import CompileEnvironment
    from .device_ir import DeviceIR, RootGraphInfo

# Numbers to see which way a bound goes; those between them do not matter.
EARLY, LATE, OTHER = 1024, 2048, 64


@compiler_pass("order")
def order_programs(ir: DeviceIR, env: CompileEnvironment) -> DeviceIR:
    """Note for each launch the axes along which its loops get longer."""
    graphs = {g.graph_id: g for g in ir.graphs}
    for root in ir.roots:
        bounds = [
            (list(_begins(node, body)), list(_ends(node, body)))
            for graph_id in ir.reachable(root.graph_id, graphs)
            for node in ir.graphs[graph_id].graph.nodes
            if node.target is _for_loop
            for body in [ir.graphs[int_arg(node, 0)]]
            if isinstance(body, ForLoopGraphInfo)
        ]
        root.grows_along = frozenset(_growing(root, bounds, env))
    return ir


def _growing(
    root: RootGraphInfo,
    bounds: list[tuple[list[sympy.Expr], list[sympy.Expr]]],
    env: CompileEnvironment,
) -> Iterator[int]:
    for block_id in root.block_ids:
        for begins, ends in bounds:
            moves = any(_steps(b, block_id, env) for b in begins)
            if not moves and any(_steps(e, block_id, env) > 0 for e in ends):
                yield block_id


def _steps(bound: sympy.Expr, block_id: int, env: CompileEnvironment) -> int:
    """Return 1 or -1 if a bound goes up or down along an axis, else 0."""
    early, late = {}, {}
    for symbol in bound.free_symbols:
        origin = env.symbol_origins.get(symbol)
        moves = (
            isinstance(origin, BlockOrigin)
            and not isinstance(origin, BlockSizeOrigin)
            and origin.block_id == block_id
        )
        early[symbol], late[symbol] = (EARLY, LATE) if moves else (OTHER, OTHER)
    gap: Any = bound.subs(late) - bound.subs(early)
    if not gap.is_number:
        return 0
    return int(bool(gap > 0)) - int(bool(gap < 0))


def _begins(loop: fx.Node, body: ForLoopGraphInfo) -> Iterator[sympy.Expr]:
    yield from _expressions(pair[0] for pair in raw_arg(loop, 1))
    yield from body.turns.starts if body.turns is not None else ()


def _ends(loop: fx.Node, body: ForLoopGraphInfo) -> Iterator[sympy.Expr]:
    yield from _expressions(pair[1] for pair in raw_arg(loop, 1))
    yield from body.turns.stops if body.turns is not None else ()


def _expressions(bounds: Any) -> Iterator[sympy.Expr]:
    for bound in bounds:
        if isinstance(bound, fx.Node) and bound.target is _get_symnode:
            yield symbols.sym_expr(bound.meta["val"])
