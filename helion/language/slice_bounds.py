"""Which positions a slice of a host tensor names, its bounds known or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .._compiler import symbols
from .._compiler.error_text import describe
from .._compiler.variable_origin import BlockOrigin, TileBeginOrigin, TileEndOrigin

if TYPE_CHECKING:
    import sympy

    from .._compiler.compile_environment import CompileEnvironment


@dataclass(frozen=True)
class SlicePlan:
    """``extent`` positions, ``step`` apart from ``start`` on.

    ``is_open``: some may be past the end of the tensor, which only a run will tell.
    """

    start: Any
    step: int
    extent: int
    is_open: bool = False

    def element(self) -> tuple[Any, ...]:
        """Return the index element of a node."""
        open_end = (True,) if self.is_open else ()
        return ("slice", self.start, self.step, self.extent, *open_end)


def plan_slice(env: CompileEnvironment, item: slice, size: Any) -> SlicePlan:
    """Read a slice of a dim of length ``size``.

    Raises:
        exc.InvalidSliceStep: the step is no positive constant.
        exc.InvalidIndexingType: the number of positions cannot be known.
    """
    step = 1 if item.step is None else symbols.static_int(item.step)
    if step is None or step <= 0:
        raise exc.InvalidSliceStep(step=item.step)
    for bound in (item.start, item.stop):
        is_number = isinstance(bound, (int, torch.SymInt)) and bound is not True
        if bound is not None and not is_number:
            raise exc.InvalidIndexingType(
                index=f"a slice with {describe(bound)} as a bound"
            )
    start = 0 if item.start is None else item.start
    stop = size if item.stop is None else item.stop
    if all(_is_known(env, bound) for bound in (start, stop, size)):
        return _closed(env, (_clipped(start, size), _clipped(stop, size)), step)
    return _open(env, start, stop, step, size)


def _is_known(env: CompileEnvironment, value: Any) -> bool:
    """Whether the host knows a size before the launch, so that a guard can hold it."""
    if symbols.static_int(value) is not None:
        return True
    names = symbols.sym_expr(value).free_symbols
    origins = [env.symbol_origins.get(name) for name in names]
    is_host = not any(o is None or isinstance(o, BlockOrigin) for o in origins)
    return is_host and not any(symbols.is_unbacked(name) for name in names)


def _clipped(bound: Any, size: Any) -> Any:
    """Return a bound counted from the beginning and moved into ``[0, size]``."""
    bound = bound + size if bound < 0 else bound
    if bound < 0:
        return 0
    return size if bound > size else bound


def _closed(env: CompileEnvironment, bounds: tuple[Any, Any], step: int) -> SlicePlan:
    start, stop = bounds
    # Rounded up; on symbols ``-(-a // b)`` is no size.
    length = 0 if stop <= start else (stop - start + step - 1) // step
    return SlicePlan(start, step, _extent(env, length))


def _extent(env: CompileEnvironment, length: Any) -> int:
    if bool(length == 1):
        return 1
    return env.reduction_dim(length).extent


def _open(
    env: CompileEnvironment, start: Any, stop: Any, step: int, size: Any
) -> SlicePlan:
    known = symbols.static_int(start)
    start = start + size if known is not None and known < 0 else start
    distance = _full_tiles(env, stop) - _full_tiles(env, start)
    length = symbols.symint_of(env.shape_env, distance.expand())
    blocks = {info.symbol for info in env.block_sizes}
    names = symbols.sym_expr(length).free_symbols
    if not names <= blocks and not _is_known(env, length):
        raise exc.InvalidIndexingType(
            index="a slice with run-time bounds",
            hint="let its length be a block size or a constant, as in "
            "x[begin : begin + 4], or use a tensor of positions",
        )
    if step > 1:
        length = (length + step - 1) // step
    count = symbols.static_int(length)
    extent = env.extent_of(length) if count is None else _extent(env, max(count, 0))
    return SlicePlan(start, step, extent, is_open=True)


def _full_tiles(env: CompileEnvironment, bound: Any) -> sympy.Expr:
    """Return a bound with the end of each tile as its begin plus the block size."""
    expression: Any = symbols.sym_expr(bound)
    for name in expression.free_symbols:
        origin = env.symbol_origins.get(name)
        if isinstance(origin, TileEndOrigin):
            block = origin.block_id
            size = env.block_sizes[block].symbol
            expression = expression.subs(name, _begin(env, block) + size)
    return expression


def _begin(env: CompileEnvironment, block_id: int) -> Any:
    return symbols.sym_expr(env.block_scalar(block_id, TileBeginOrigin))
