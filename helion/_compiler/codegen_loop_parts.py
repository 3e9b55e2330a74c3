"""Emits a loop in parts, so that turns over whole tiles do no work for masks."""

from __future__ import annotations

import ast
import dataclasses
from typing import TYPE_CHECKING, Any

from . import symbols
from .ast_extension import expr, literal
from .tile_strategy import LoopDim, bound_expr
from .variable_origin import BlockOrigin, SizeOrigin
from .whole_tiles import TAKEN, WHOLE_TILES

if TYPE_CHECKING:
    from collections.abc import Iterable

    import sympy

    from .device_function import DeviceFunction
    from .device_ir import ForLoopGraphInfo
    from .whole_tiles import Limit, Turns

Number = int | ast.expr
"""A bound under one Config: what is known is computed here, not in the kernel."""


def loop_parts(
    fn: DeviceFunction, info: ForLoopGraphInfo, dims: list[LoopDim]
) -> list[list[LoopDim]]:
    """Return the dims of each part of a loop, in order: together they do its turns."""
    if not info.turns:
        return [dims]
    (dim,) = dims
    parts = _Parts(fn, dim, info.turns)
    return [[part] for part in parts.split()]


class _Parts:
    """Where the parts of one loop begin and end."""

    def __init__(self, fn: DeviceFunction, dim: LoopDim, turns: Turns) -> None:
        self.fn, self.dim, self.turns = fn, dim, turns
        self.size = fn.block_size_var(dim.block_id)
        self.block = fn.block_values[dim.block_id]
        self.is_wide = False
        self.begin = self._named(self._number(dim.begin), "begin")
        self.end = self._number(dim.end)

    def split(self) -> list[LoopDim]:
        """Return the loop in up to three parts."""
        first, stop = self._clipped()
        limits = self.turns.limits if self._is_known() else []
        parts = [(first, stop, False)]
        if self._pays(limits):
            lows = [self._limit(n) for n in limits if n.side > 0]
            highs = [self._limit(n) for n in limits if n.side < 0]
            high = self._down(_least([*highs, stop]), first)
            high = self._named(high, "whole_end")
            low = first
            if lows:
                low = _least([self._up(_most(lows), first), high])
                low = self._named(low, "whole_begin")
            parts = [(first, low, False), (low, high, True), (high, stop, False)]
        return [self._part(*part) for part in parts if not _is_empty(*part[:2])]

    def _is_known(self) -> bool:
        """Whether the tiles of all axes in the limits are runs of indices."""
        blocks = {b for n in self.turns.limits for b, _ in n.form.factors}
        others = blocks - {self.dim.block_id}
        axes = [self.fn.axes.get(block) for block in others]
        return all(a is not None and not a.flat and a.offset for a in axes)

    def _pays(self, limits: list[Limit]) -> bool:
        if self.block == 1 or not (self.turns.limits or self.turns.pays):
            return False
        if not self._is_chosen():
            return False
        if limits:
            return True
        if not isinstance(self.begin, int) or not isinstance(self.end, int):
            return self.turns.pays
        length = self.end - self.begin
        return self.turns.pays and length > self.block and length % self.block != 0

    def _is_chosen(self) -> bool:
        loops = self.fn.env.config_spec.masked_loops
        return self.fn.config.peel_masks[loops.index(self.dim.block_id)]

    def _part(self, first: Number, stop: Number, is_whole: bool) -> LoopDim:
        proven = {WHOLE_TILES} if is_whole else set()
        if self.turns.starts or self.turns.stops:
            proven.add(TAKEN)
        begin, end = _as_expr(first), _as_expr(stop)
        kept = frozenset(proven)
        return dataclasses.replace(self.dim, first=begin, stop=end, proven=kept)

    def _clipped(self) -> tuple[Number, Number]:
        """Return the first turn, and the bound before which the last one begins."""
        first, stop = self.begin, self.end
        if self.turns.starts:
            start = _most([self._number(s) for s in self.turns.starts])
            first = self._named(self._up(start, first), "first")
        if self.turns.stops:
            stops = [self._number(s) for s in self.turns.stops]
            stop = self._named(_least([*stops, stop]), "stop")
        return first, stop

    def _limit(self, limit: Limit) -> Number:
        """Return the bound on the end (from above) or begin (from below) of a tile."""
        terms = [(-limit.side, self._number(limit.form.rest))]
        if limit.side < 0:
            terms.append((1, 1))
        for block, factor in limit.form.factors:
            if block == self.dim.block_id:
                continue
            axis, size = self.fn.axes[block], self.fn.block_values[block]
            least = [(1, expr(axis.offset))]
            if factor < 0 and size != 1:
                least += [(1, expr(axis.size_var)), (-1, 1)]
            terms += [(-limit.side * factor * sign, value) for sign, value in least]
        return _sum(terms)

    # -- arithmetic --------------------------------------------------------------------

    def _number(self, value: Any) -> Number:
        known = symbols.static_int(value)
        if known is not None:
            return known
        if isinstance(value, ast.Constant) and isinstance(value.value, int):
            return value.value
        if isinstance(value, ast.expr):
            return bound_expr(self.fn, value)
        return self._symbolic(symbols.sym_expr(value))

    def _symbolic(self, value: sympy.Basic) -> Number:
        if value.is_Integer:
            return int(value)  # pyright: ignore[reportArgumentType] an Integer
        return expr(self._text(value))

    def _text(self, value: sympy.Basic) -> str:
        """Print a size in 64 bits, unless the index dtype surely holds it."""
        fn = self.fn
        origins = [fn.env.symbol_origins[s] for s in value.free_symbols]
        if fn.is_wide or all(isinstance(o, (BlockOrigin, SizeOrigin)) for o in origins):
            return fn.device_text(value)
        self.is_wide = True

        def text(symbol: sympy.Symbol) -> str:
            return f"tl.cast({fn.device_text(symbol)}, tl.int64)"

        return fn.env.backend.print_expr(value, text)

    def _named(self, value: Number, hint: str) -> Number:
        if isinstance(value, int):
            return value
        if self.is_wide:
            value = expr("tl.cast({v}, tl.int32)", v=value)
        return self.fn.lift(value, f"{hint}_{self.dim.block_id}")

    def _down(self, value: Number, first: Number) -> Number:
        """Return the largest begin of a tile, counted from ``first``, up to a value."""
        length = _most([_sum([(1, value), (-1, first)]), 0])
        if isinstance(length, int) and isinstance(self.block, int):
            return _sum([(1, first), (1, length // self.block * self.block)])
        whole = expr(f"{{n}} // {self.size} * {self.size}", n=_as_expr(length))
        return _sum([(1, first), (1, whole)])

    def _up(self, value: Number, first: Number) -> Number:
        """Return the least begin of a tile, counted from ``first``, from a value on."""
        length = _most([_sum([(1, value), (-1, first)]), 0])
        if isinstance(length, int) and isinstance(self.block, int):
            return _sum([(1, first), (1, -(-length // self.block) * self.block)])
        whole = expr(f"tl.cdiv({{n}}, {self.size}) * {self.size}", n=_as_expr(length))
        return _sum([(1, first), (1, whole)])


def _as_expr(value: Number) -> ast.expr:
    return literal(value) if isinstance(value, int) else value


def _is_empty(first: Number, stop: Number) -> bool:
    if isinstance(first, int) and isinstance(stop, int):
        return first >= stop
    return ast.unparse(_as_expr(first)) == ast.unparse(_as_expr(stop))


def _sum(terms: list[tuple[int, Number]]) -> Number:
    """Return the sum of factors times values, numbers folded into one."""
    known = sum(f * v for f, v in terms if isinstance(v, int))
    rest = [(f, v) for f, v in terms if isinstance(v, ast.expr)]
    rest.sort(key=lambda term: term[0] < 0)  # what is added comes first
    total: ast.expr | None = None
    for factor, value in [*rest, (1 if known >= 0 else -1, literal(abs(known)))]:
        if isinstance(value, ast.Constant) and value.value == 0 and total is not None:
            continue
        if abs(factor) != 1:
            value = expr(f"{abs(factor)} * {{v}}", v=value)
        if total is None:
            total = value if factor > 0 else expr("-({v})", v=value)
        else:
            sign = "+" if factor > 0 else "-"
            total = expr(f"{{a}} {sign} {{b}}", a=total, b=value)
    assert total is not None
    return known if not rest else total


def _least(values: Iterable[Number]) -> Number:
    return _fold(values, min, "minimum")


def _most(values: Iterable[Number]) -> Number:
    return _fold(values, max, "maximum")


def _fold(values: Iterable[Number], function: Any, name: str) -> Number:
    """Return the extremum: of the known numbers now, of the rest in the kernel."""
    found = list(values)
    known = [v for v in found if isinstance(v, int)]
    total: Number | None = function(known) if known else None
    for value in found:
        if isinstance(value, int):
            continue
        if total is None:
            total = value
            continue
        holes = {"a": value, "b": _as_expr(total)}
        total = expr(f"tl.{name}({{a}}, {{b}})", **holes)
    assert total is not None
    return total
