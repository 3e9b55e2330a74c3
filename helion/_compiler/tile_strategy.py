"""Tile strategies: how the axes of a tile loop become offsets, indices and masks."""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sympy

from . import symbols
from .ast_extension import assign, expr, literal, text_of
from .device_function import Axis
from .device_ir import RootGraphInfo
from .loop_options import emit_loop, is_static_range, static_range, tl_range
from .program_id import GridAxis
from .whole_tiles import WHOLE_TILES

if TYPE_CHECKING:
    from collections.abc import Callable

    from .device_function import DeviceFunction


@dataclass
class LoopDim:
    """One axis of a loop: where it begins and ends, in device code and as values.

    The loop may be walked in parts: turns from ``first`` to before ``stop`` (None: the
    bounds). ``proven`` is what holds for them: see ``whole_tiles``.
    """

    block_id: int
    begin: Any
    end: Any
    step: Any = None
    first: ast.expr | None = None
    stop: ast.expr | None = None
    proven: frozenset[str] = frozenset()


@dataclass
class DeviceLoopState:
    """A loop being emitted: statements before it, in it, and after it."""

    outer_prefix: list[ast.stmt] = field(default_factory=list)
    inner_statements: list[ast.stmt] = field(default_factory=list)
    outer_suffix: list[ast.stmt] = field(default_factory=list)
    folds_blocks: bool = False


@dataclass
class TileStrategy:
    """Base: owns the names of the axes of one loop."""

    fn: DeviceFunction
    dims: list[LoopDim]

    @property
    def block_ids(self) -> list[int]:
        """The axes of the loop, outermost first."""
        return [dim.block_id for dim in self.dims]

    def offset_var(self, block_id: int) -> str:
        """Return the name of the first index of the tile."""
        return self.fn.axes[block_id].offset

    def index_var(self, block_id: int) -> str:
        """Return the name of the index vector of the tile."""
        return self.fn.axes[block_id].index

    def mask_var(self, block_id: int) -> str | None:
        """Return the name of the mask of the tile, None if nothing is hidden."""
        return self.fn.axes[block_id].mask

    def block_size_var(self, block_id: int) -> str:
        """Return the name of the tile extent."""
        return self.fn.axes[block_id].size_var

    def grid_axes(self) -> list[GridAxis]:
        """Return the axes of the launch grid, fastest first."""
        raise NotImplementedError

    def codegen_grid(self) -> None:
        """Emit offsets, indices and masks from the program ids."""
        raise NotImplementedError

    def codegen_device_loop(self, emit_body: Callable[[], None]) -> None:
        """Emit the loop nest around ``emit_body``."""
        raise NotImplementedError

    def leave(self) -> None:
        """Forget the axes once the loop is done."""
        for block_id in self.block_ids:
            self.fn.axes.pop(block_id, None)


@dataclass
class NDTileStrategy(TileStrategy):
    """Every axis has its own tile; ``order`` lists positions, fastest first."""

    order: list[int] = field(default_factory=list)

    def grid_axes(self) -> list[GridAxis]:
        return [self._grid_axis(self.dims[position]) for position in self.order]

    def _grid_axis(self, dim: LoopDim) -> GridAxis:
        fn = self.fn
        size = fn.block_size_var(dim.block_id)
        host_size = fn.constexprs[size].host
        per_tile = size
        if dim.step is not None:
            size = text_of(fn.size_expr(dim.step))
            host_size = fn.host_text(symbols.sym_expr(dim.step))
            per_tile = f"({host_size})"
        numel = dim.end if symbols.static_int(dim.begin) == 0 else dim.end - dim.begin
        host = fn.host_text(symbols.sym_expr(numel))
        # An empty range has no programs; a negative length could ask for some.
        count = host if host_size == "1" else _host_cdiv(host, per_tile)
        if symbols.static_int(dim.begin) != 0:
            count = f"max({count}, 0)"
        length = fn.size_expr(numel)
        device = length
        if host_size != "1":
            device = expr(f"tl.cdiv({{n}}, {size})", n=length)
        return GridAxis(self._pid(str(dim.block_id)), count, device)

    def _pid(self, axis: str) -> str:
        """Return the name of a tile number, which no value of the user may take."""
        name = f"pid_{axis}"
        self.fn.used_names.add(name)
        return name

    def codegen_grid(self) -> None:
        for dim in self.dims:
            pid = expr(f"pid_{dim.block_id}")
            root = self.fn.root
            if isinstance(root, RootGraphInfo) and dim.block_id in root.grows_along:
                count = self._grid_axis(dim).count(self.fn)
                pid = expr("({n} - 1 - {pid})", n=count, pid=pid)
            if self.fn.is_wide:
                pid = expr("{pid}.to(tl.int64)", pid=pid)
            size = expr(self.fn.block_size_var(dim.block_id))
            if dim.step is not None:
                size = self.fn.size_expr(dim.step)
            value = expr("{pid} * {size}", pid=pid, size=size)
            if symbols.static_int(dim.begin) != 0:
                value = expr("{b} + {v}", b=self.fn.size_expr(dim.begin), v=value)
            offset = self.fn.new_var(f"offset_{dim.block_id}")
            self.fn.emit(assign(offset, value))
            self.enter(dim, offset)

    def enter(self, dim: LoopDim, offset: str) -> None:
        """Define index and mask of an axis whose offset is known."""
        fn, block = self.fn, dim.block_id
        info = fn.env.block_sizes[block]
        size = fn.block_size_var(block)
        begin, end = fn.size_expr(dim.begin), fn.size_expr(dim.end)
        if info.kind == "grid":
            fn.axes[block] = Axis(block, size, offset, offset, None, begin, end)
            return
        if fn.block_values[block] == 1:
            fn.axes[block] = Axis(block, size, offset, offset, None, begin, end)
            return
        index = fn.new_var(f"indices_{block}")
        dtype = fn.env.backend.dtype_text(fn.env.index_dtype)
        fn.emit(assign(index, expr(f"({offset} + tl.arange(0, {size})).to({dtype})")))
        mask = None
        if self._needs_mask(dim):
            mask = fn.new_var(f"mask_{block}")
            fn.emit(assign(mask, expr("{i} < {end}", i=index, end=end)))
        fn.axes[block] = Axis(block, size, index, offset, mask, begin, end)
        fn.axes[block].proven = dim.proven

    def _needs_mask(self, dim: LoopDim) -> bool:
        size = self.fn.block_values[dim.block_id]
        begin, end = symbols.static_int(dim.begin), symbols.static_int(dim.end)
        if size == 1 or WHOLE_TILES in dim.proven:
            return False
        if isinstance(dim.begin, ast.expr) or isinstance(dim.end, ast.expr):
            return True
        if begin is None or end is None or not isinstance(size, int):
            return True
        return (end - begin) % size != 0

    def codegen_device_loop(self, emit_body: Callable[[], None]) -> None:
        self._nest([self.dims[p] for p in reversed(self.order)], emit_body)
        self.leave()

    def _nest(self, dims: list[LoopDim], emit_body: Callable[[], None]) -> None:
        if not dims:
            emit_body()
            return
        dim, fn = dims[0], self.fn
        offset = fn.new_var(f"offset_{dim.block_id}")
        step = (
            text_of(fn.size_expr(dim.step))
            if dim.step is not None
            else (fn.block_size_var(dim.block_id))
        )
        begin = bound_expr(fn, dim.begin) if dim.first is None else dim.first
        end = bound_expr(fn, dim.end) if dim.stop is None else dim.stop
        is_whole = dim.first is None and dim.stop is None
        is_static = is_whole and is_static_range(fn, dim.block_id)
        variable, iterable = offset, static_range(begin, end, step)
        if is_static:
            # As a variable of the loop itself it would be a constexpr, and no tensor.
            variable = fn.new_var(f"turn_{dim.block_id}")
        else:
            iterable = tl_range(begin, end, step, fn.range_options(dim.block_id))
        with fn.into([]) as body:
            if is_static:
                fn.emit(assign(offset, expr(variable)))
            self.enter(dim, offset)
            self._nest(dims[1:], emit_body)
        emit_loop(fn, variable, iterable, body)


class FlattenedTileStrategy(NDTileStrategy):
    """All axes share one linear index, split by ``//`` and ``%``."""

    @property
    def _size_var(self) -> str:
        return "_BLOCK_SIZE_" + "_".join(str(b) for b in self.block_ids)

    def _declare_size(self) -> str:
        product = 1
        for block_id in self.block_ids:
            product *= self.fn.block_values[block_id]
        return self.fn.constexpr_arg(self._size_var, str(product))

    def grid_axes(self) -> list[GridAxis]:
        size = self._declare_size()
        numel = sympy.Mul(*(symbols.sym_expr(dim.end) for dim in self.dims))
        host = self.fn.host_text(numel)
        device = expr(f"tl.cdiv({{n}}, {size})", n=self._total())
        return [GridAxis(self._pid("flat"), _host_cdiv(host, size), device)]

    def _total(self) -> ast.expr:
        known = [symbols.static_int(dim.end) for dim in self.dims]
        if None not in known:
            return literal(math.prod(n for n in known if n is not None))
        total = self.fn.size_expr(self.dims[0].end)
        for dim in self.dims[1:]:
            total = expr("{a} * {b}", a=total, b=self.fn.size_expr(dim.end))
        return total

    def codegen_grid(self) -> None:
        pid = "pid_flat.to(tl.int64)" if self.fn.is_wide else "pid_flat"
        self._enter_flat(expr(f"{pid} * {self._declare_size()}"))

    def _enter_flat(self, first: ast.expr) -> None:
        fn, size = self.fn, self._declare_size()
        dtype = fn.env.backend.dtype_text(fn.env.index_dtype)
        offset = text_of(fn.lift(first, "offset_flat"))
        flat = text_of(
            fn.lift(
                expr(f"({offset} + tl.arange(0, {size})).to({dtype})"), "indices_flat"
            )
        )
        mask = None
        if self._flat_mask_needed():
            total = self._total()
            mask = text_of(fn.lift(expr(f"{flat} < ({{n}})", n=total), "mask_flat"))
        fn.flattened.append(tuple(self.block_ids))
        rest = flat
        for position in range(len(self.dims) - 1, -1, -1):
            rest = self._split(position, rest, (offset, flat, size), mask)

    def _split(
        self, position: int, rest: str, names: tuple[str, str, str], mask: str | None
    ) -> str:
        """Define the index of one axis; return what is left for the outer ones."""
        fn, dim = self.fn, self.dims[position]
        offset, flat, size = names
        end = fn.size_expr(dim.end)
        index = fn.new_var(f"indices_{dim.block_id}")
        text = f"{rest} % ({{n}})" if position else rest
        fn.emit(assign(index, expr(text, n=end)))
        axis = Axis(dim.block_id, size, index, offset, mask, literal(0), end)
        axis.flat, axis.flat_index = tuple(self.block_ids), flat
        fn.axes[dim.block_id] = axis
        if not position:
            return rest
        return text_of(fn.lift(expr(f"{rest} // ({{n}})", n=end), "indices_rest"))

    def _flat_mask_needed(self) -> bool:
        total = 1
        size = 1
        for dim in self.dims:
            known = symbols.static_int(dim.end)
            if known is None:
                return True
            total *= known
            size *= self.fn.block_values[dim.block_id]
        return total % size != 0

    def codegen_device_loop(self, emit_body: Callable[[], None]) -> None:
        fn, size = self.fn, self._declare_size()
        offset = fn.new_var("loop_flat")
        options = fn.range_options(self.block_ids[0])
        iterable = expr(f"tl.range(0, {{n}}, {size}{options})", n=self._total())
        with fn.into([]) as body:
            self._enter_flat(expr(offset))
            emit_body()
        emit_loop(fn, offset, iterable, body)
        self.leave()

    def leave(self) -> None:
        super().leave()
        if tuple(self.block_ids) in self.fn.flattened:
            self.fn.flattened.remove(tuple(self.block_ids))


def _host_cdiv(numel: str, size: str) -> str:
    """Return host code of a number of tiles: bare arithmetic, run by each call."""
    return f"(({numel}) + {size} - 1) // {size}"


def bound_expr(fn: DeviceFunction, value: Any) -> ast.expr:
    """Return a loop bound; one read from memory is brought to the index dtype."""
    if isinstance(value, ast.expr) and not isinstance(value, ast.Constant):
        dtype = fn.env.backend.dtype_text(fn.env.index_dtype)
        return expr(f"tl.cast({{v}}, {dtype})", v=value)
    return fn.size_expr(value)
