"""Dims whose size is computed from block sizes: what reshapes make of tiles.

Such a dim has no loop of its own. Which of its positions are real follows from the
dims that it was made of, so it is remembered which these are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from .. import exc
from . import symbols

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sympy
    import torch

    from .compile_environment import BlockSizeInfo, CompileEnvironment

Group = tuple[list[int], list[int]]

# Axis ids of derived dims, beyond those of loops.
_FIRST_ID = 1000


@dataclass(frozen=True)
class DerivedDim:
    """Position ``i`` is element ``i * inner`` of the ``sources`` in row-major order."""

    block_id: int
    extent: int
    sources: tuple[int, ...]
    inner: int


class DerivedDims:
    """The derived dims of one compile, by extent."""

    def __init__(self) -> None:
        self.by_extent: dict[int, DerivedDim] = {}
        self.ambiguous: set[int] = set()

    def add(self, extent: int, sources: tuple[int, ...], inner: int) -> DerivedDim:
        """Record what a dim is made of; the first account of it stays."""
        known = self.by_extent.get(extent)
        if known is None:
            block_id = _FIRST_ID + len(self.by_extent)
            known = DerivedDim(block_id, extent, sources, inner)
            self.by_extent[extent] = known
        elif (known.sources, known.inner) != (sources, inner):
            self.ambiguous.add(extent)
        return known


def reshape_groups(source: Sequence[int], target: Sequence[int]) -> list[Group]:
    """Pair runs of dims with equal numbers of elements; dims of size 1 are left out."""
    left = [s for s in source if s != 1]
    right = [s for s in target if s != 1]
    groups: list[Group] = []
    while left and right:
        mine, theirs = [left.pop(0)], [right.pop(0)]
        a, b = mine[0], theirs[0]
        while a != b:
            if a < b:
                mine.append(left.pop(0))
                a *= mine[-1]
            else:
                theirs.append(right.pop(0))
                b *= theirs[-1]
        groups.append((mine, theirs))
    return groups


def axis_info(
    env: CompileEnvironment, extent: int
) -> BlockSizeInfo | DerivedDim | None:
    """Return what has masks for a device dim: an axis or a derived dim."""
    return env.block_of(extent) or derived_dim(env, extent)


def axis_extent(env: CompileEnvironment, block_id: int) -> int:
    """Return the extent of an axis or derived dim."""
    if block_id < _FIRST_ID:
        return env.block_sizes[block_id].extent
    return list(env.derived_dims.by_extent)[block_id - _FIRST_ID]


def axis_parents(env: CompileEnvironment, block_id: int) -> tuple[int, ...]:
    """Return the extents that the length of an axis depends on (jagged tiles)."""
    return () if block_id >= _FIRST_ID else tuple(env.block_sizes[block_id].parents)


def derived_length(env: CompileEnvironment, made: DerivedDim) -> Any:
    """Return how many real elements a derived dim has, whole parts of ``inner``."""
    total = math.prod(env.true_length(source) for source in made.sources)
    return (total + made.inner - 1) // made.inner


def derived_dim(env: CompileEnvironment, extent: int) -> DerivedDim | None:
    """Return the record of a derived dim; None for axes, plain numbers and size 1."""
    if extent <= 1:
        return None
    known = env.derived_dims.by_extent.get(extent)
    if known is not None or env.block_of(extent) is not None:
        return known
    blocks, rest = _factors(env, extent)
    sources = [info.extent for info in blocks]
    if rest.numerator > 1:
        sources.append(rest.numerator)
    return _add(env, extent, tuple(sources), rest.denominator)


def _factors(
    env: CompileEnvironment, extent: int
) -> tuple[list[BlockSizeInfo], Fraction]:
    """Write an extent as a product of axes and a number."""
    blocks: list[BlockSizeInfo] = []
    rest = Fraction(extent)
    for info in env.block_sizes:
        prime = info.extent // env.extent_factor
        is_number = info.is_reduction and isinstance(info.numel, int)
        is_factor = rest and not is_number and prime > 1
        while is_factor and (rest / prime).denominator == 1:
            rest /= info.extent
            blocks.append(info)
            if rest.denominator > 1:
                break
    return blocks, rest


def _add(
    env: CompileEnvironment, extent: int, sources: tuple[int, ...], inner: int
) -> DerivedDim:
    blocks, rest = _factors(env, extent)
    if rest.denominator > 1:
        _require_multiple(blocks, rest.denominator)
    return env.derived_dims.add(extent, sources, inner)


def _require_multiple(blocks: list[BlockSizeInfo], factor: int) -> None:
    """Let Configs give the last tile of ``blocks`` multiples of a power of two."""
    tiles = [info for info in blocks if not info.is_reduction]
    if not tiles:
        return
    fixed = symbols.static_int(tiles[-1].fixed)
    if fixed is None:
        tiles[-1].min_size = max(tiles[-1].min_size, factor)
    elif fixed % factor:
        raise exc.ShapeMismatch.from_text(
            f"a tile of {fixed} does not divide into parts of {factor}",
            f"give the tile a block size that is a multiple of {factor}",
        )


def visible_size(env: CompileEnvironment, derived: sympy.Expr) -> Any:
    """Return what user code sees for a derived dim; whole dims have their length."""
    whole = {b.symbol: b.numel for b in env.block_sizes if b.is_reduction}
    names = {symbol: symbols.sym_expr(numel) for symbol, numel in whole.items()}
    return symbols.symint_of(env.shape_env, derived.xreplace(names))


# -- tracing ---------------------------------------------------------------------------


def note_reshape(
    env: CompileEnvironment, source: Sequence[int], target: Sequence[int]
) -> None:
    """Remember what the dims of a reshaped value are made of."""
    if 0 in source:
        return
    for mine, theirs in reshape_groups(source, target):
        _check_groups(env, mine, math.prod(theirs[1:]))
        for place, extent in enumerate(theirs):
            inner = math.prod(theirs[place + 1 :])
            parts = _suffix(mine, extent * inner)
            is_axis = env.block_of(extent) is not None
            if is_axis or parts is None or parts == [extent]:
                continue
            _add(env, extent, _expanded(env, parts), inner)


def _check_groups(env: CompileEnvironment, dims: list[int], size: int) -> None:
    """Refuse to cut a tile into groups of which the last one may not be full.

    Its padded lanes would take part in folds of the group, and torch has no such shape.
    """
    info = env.block_of(dims[0])
    if info is None or info.is_reduction or info.numel is None:
        return
    inner = math.prod(dims[1:])
    if _factors(env, inner)[0]:
        return  # several tiles: how long they are together, only the program knows
    names = symbols.sym_expr(info.numel).free_symbols
    if size == inner or any(symbols.is_unbacked(name) for name in names):
        return
    if bool(info.numel * inner % size != 0):
        raise exc.ShapeMismatch.from_text(
            f"a tile of a loop over {symbols.size_hint(info.numel) * inner} elements "
            f"does not divide into groups of {size}",
            "pad the tensor, or load each group with a mask: hl.load(x, [row, group * "
            f"{size} + hl.arange({size})], extra_mask=...)",
        )


def _suffix(dims: list[int], numel: int) -> list[int] | None:
    """Return the last dims that have so many elements together, if there are some."""
    for start in range(len(dims)):
        if math.prod(dims[start:]) == numel:
            return dims[start:]
    return None


def _expanded(env: CompileEnvironment, dims: list[int]) -> tuple[int, ...]:
    """Undo an earlier reshape: what was split and is merged again is one dim."""
    first = env.derived_dims.by_extent.get(dims[0])
    rest = math.prod(dims[1:])
    if first is not None and rest % first.inner == 0:
        left = rest // first.inner
        return (*first.sources, left) if left > 1 else first.sources
    return tuple(dims)


def derived_extent(
    env: CompileEnvironment, expression: sympy.Expr, extents: dict[Any, int]
) -> int:
    """Return the extent of a size computed from block sizes.

    Raises:
        exc.ShapeSpecializingAllocation: it is no multiple or part of a block size.
    """
    divisor = math.prod(_divisors(expression))
    if divisor & (divisor - 1):
        raise exc.ShapeSpecializingAllocation.from_text(
            f"a block size is a power of two, so {divisor} does not divide it",
            "divide block sizes by powers of two",
        )
    use_extent_factor(env, divisor)
    extent = int(expression.xreplace(extents))
    blocks, rest = _factors(env, extent)
    doubled = {symbol: 2 * value for symbol, value in extents.items()}
    wanted = rest * math.prod(2 * info.extent for info in blocks)
    if int(expression.xreplace(doubled)) != wanted:
        raise exc.ShapeSpecializingAllocation.from_text(
            "a size computed from block sizes is not a product of them",
            "use a block size times or divided by a power of two",
        )
    derived_dim(env, extent)
    return extent


def use_extent_factor(env: CompileEnvironment, factor: int) -> None:
    """Compile again if stand-in extents are no multiples of a power of two."""
    from .compile_environment import ExtentsMustDivide

    if env.extent_factor % factor:
        raise ExtentsMustDivide(factor)


def _divisors(expression: sympy.Expr) -> list[int]:
    from torch.utils._sympy.functions import FloorDiv

    divided = [node.args[1] for node in expression.atoms(FloorDiv)]
    return [int(d) for d in divided if d.is_Integer]


def divide_for_reshape(
    env: CompileEnvironment, value: torch.Tensor, sizes: Sequence[int]
) -> None:
    """Compile again if a reshape failed because extents do not divide evenly."""
    numel = math.prod(s for s in sizes if s > 0)
    given = math.prod(value.size())
    rest = Fraction(given, numel) if numel else Fraction(0)
    divisor = rest.denominator
    is_part = -1 in sizes and divisor & (divisor - 1) == 0
    if is_part and _factors(env, given)[0]:
        use_extent_factor(env, divisor * env.extent_factor)


def specialize_dims(env: CompileEnvironment, extents: Sequence[int]) -> None:
    """Compile again with numbers for the run-time sizes among whole dims."""
    from .compile_environment import SizesAreWorthNumbers

    names: set[str] = set()
    for extent in extents:
        info = env.block_of(extent)
        if info is not None and info.is_reduction:
            names |= {
                str(symbol)
                for symbol in symbols.sym_expr(info.numel).free_symbols
                if not symbols.is_unbacked(symbol)
            }
    if names:
        raise SizesAreWorthNumbers(names)
