"""How far loops walk: from their bounds, else guessed from the tensors indexed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from . import symbols
from .variable_origin import TileBeginOrigin, TileEndOrigin

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .compile_environment import CompileEnvironment
    from .kernel_facts import Access, Launch


def loop_lengths(
    env: CompileEnvironment, info: Any, bounds: Any
) -> tuple[int | None, ...]:
    """Return the lengths that a loop walks, None where only the device knows."""
    return tuple(
        _length(env, block, begin, end)
        for block, (begin, end) in zip(info.block_ids, bounds, strict=True)
    )


def _length(env: CompileEnvironment, block_id: int, begin: Any, end: Any) -> int | None:
    """Return what a loop walks of an axis, None where only the device knows."""
    first, last = bound_value(begin), bound_value(end)
    if symbols.static_int(first) == 0:
        most = upper_bound(last, env)
        return _hint(last) if most is None else most
    if env.block_sizes[block_id].bounded_by is not None:
        return None
    if not all(isinstance(v, (int, torch.SymInt)) for v in (first, last)):
        return None
    own = env.block_sizes[block_id].symbol
    length = symbols.sym_expr(last) - symbols.sym_expr(first)
    ends = getattr(symbols.sym_expr(last), "args", ())
    if any(arg - symbols.sym_expr(first) == own for arg in ends):
        return 1  # the tile that an outer loop made
    return int(length) if length.is_Integer else None


def upper_bound(numel: Any, env: CompileEnvironment) -> int | None:
    """Return the number that a length which varies on the device stays below."""
    known = symbols.static_int(numel)
    if known is not None or not isinstance(numel, torch.SymInt):
        return known
    expression = symbols.sym_expr(numel)
    origin = env.symbol_origins.get(expression)
    if isinstance(origin, (TileBeginOrigin, TileEndOrigin)):
        return upper_bound(env.block_sizes[origin.block_id].numel, env)
    if type(expression).__name__ != "Min":
        return None
    return min((int(a) for a in expression.args if a.is_Integer), default=None)


def bound_value(bound: Any) -> Any:
    """Return the value of a bound of a loop: an int, a SymInt, or a tensor."""
    return bound.meta.get("val") if isinstance(bound, fx.Node) else bound


def _hint(value: Any) -> int | None:
    """Return the number of a size in the example call, None if a call has none."""
    if isinstance(value, int):
        return value
    if not isinstance(value, torch.SymInt):
        return None
    return symbols.size_hint(value, fallback=0) or None


@dataclass
class WalkedLengths:
    """The lengths of axes, and for those that are guesses the axes that share them."""

    known: dict[int, int] = field(default_factory=dict)
    dealt_by: dict[int, tuple[int, ...]] = field(default_factory=dict)


def walked_lengths(infos: list[Any], launches: Iterable[Launch]) -> WalkedLengths:
    """Return the length of every axis that a loop walks, as the longest of its loops.

    Where none tells (rows of unequal length, shares of a cache), it is an even share of
    the dim that the axis indexes, among the tiles that do not index it otherwise.
    """
    result = WalkedLengths()
    found = result.known
    launches = list(launches)
    for launch in launches:
        for body in launch.body.walk():
            for block, length in zip(body.block_ids, body.lengths):
                if length is not None and infos[block].bounded_by is None:
                    found[block] = max(found.get(block, 0), length)
    for launch in launches:
        for access in launch.accesses():
            for entry in access.index:
                block = entry.block_id
                if block is None or entry.gathered or block in found:
                    continue
                if symbols.static_int(infos[block].numel) is None:
                    others = _sharers(launch, access, block)
                    parts = math.prod(found.get(b, 1) for b in others)
                    found[block] = max(entry.size // max(parts, 1), 1)
                    result.dealt_by[block] = others
    return result


def _sharers(launch: Launch, access: Access, block_id: int) -> tuple[int, ...]:
    """Return the axes of the grid whose tiles deal out a dim among them."""
    apart = {e.block_id for e in access.index if not e.gathered}
    return tuple(b for b in launch.grid if b != block_id and b not in apart)


def counted_axis(env: CompileEnvironment, numel: Any) -> tuple[int, int] | None:
    """Return the axis whose tiles a length counts, and its elements; None: it is none.

    Such a length is ``cdiv(elements, block size)``: with blocks of 1 it is all of them.
    """
    if not isinstance(numel, torch.SymInt):
        return None
    expression = symbols.sym_expr(numel)
    blocks = {info.symbol: info.block_id for info in env.block_sizes}
    own = expression.free_symbols
    if len(own) != 1 or not own <= blocks.keys():
        return None
    (symbol,) = own
    count = expression.subs(symbol, 1)
    return (blocks[symbol], int(count)) if count.is_Integer else None
