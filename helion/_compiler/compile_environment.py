"""Facts of one compile: fake mode, ShapeEnv, axes (block ids), origins, errors."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sympy
import torch

from .. import exc
from ..autotuner.config_spec import ConfigSpec
from . import fake_arguments, symbols
from .derived_dims import (
    DerivedDims,
    derived_dim,
    derived_extent,
    derived_length,
    visible_size,
)
from .specialized_symbols import SpecializedSymbols
from .variable_origin import (
    BlockOrigin,
    BlockSizeOrigin,
    DeviceScalarOrigin,
    GridIndexOrigin,
    Origin,
    TileBeginOrigin,
    TileEndOrigin,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..runtime.settings import Settings
    from .backend import Backend

# Device tensors carry plain ints as sizes. A tiled axis is given an extent that no
# real tensor has (a prime times a power of two, so that it can be split in halves),
# which keeps shape inference at the speed of static shapes.
EXTENT_FACTOR = 16
_FIRST_PRIME = 1009


@dataclass
class BlockSizeInfo:
    """One axis: a tiled, gridded or reduced dimension of the iteration space.

    ``numel`` is its length (None: known only on the device), ``extent`` the size it
    has in traced device tensors, ``fixed`` the block size the user pinned. The tile of
    an axis that ``is_chunked`` is a chunk of ``reduction_loops``; ``parents`` are the
    extents over which the lengths of a jagged tile go.
    """

    block_id: int
    numel: int | torch.SymInt | None
    extent: int
    var: torch.SymInt
    kind: str
    fixed: int | torch.SymInt | None = None
    hint: str = ""
    bounded_by: int | None = None
    min_size: int = 1
    max_size: int | None = None
    loop_end: Any = None
    is_chunked: bool = False
    parents: tuple[int, ...] = ()

    @property
    def symbol(self) -> sympy.Symbol:
        """The ShapeEnv symbol of the axis' block size."""
        symbol = self.var.node.expr
        assert isinstance(symbol, sympy.Symbol)
        return symbol

    @property
    def is_reduction(self) -> bool:
        """Whether the axis is a whole dimension rather than a tile of one."""
        return self.kind == "reduction"

    def size_hint(self) -> int:
        """Return a length to plan with."""
        return symbols.size_hint(self.numel)


@dataclass
class HostTensor:
    """A tensor of the host function and how host code spells it."""

    value: torch.Tensor
    origin: Origin


@dataclass
class CompileEnvironment:
    """Facts of one compile; made by the bound kernel, passed along explicitly."""

    device: torch.device
    settings: Settings
    backend: Backend
    errors: list[exc.Base] = field(default_factory=list)
    warnings: dict[Any, exc.BaseWarning] = field(default_factory=dict)
    device_text: str = ""

    def __post_init__(self) -> None:
        self.shape_env = symbols.new_shape_env()
        self.fake_mode = symbols.new_fake_mode(self.shape_env)
        self.block_sizes: list[BlockSizeInfo] = []
        self.config_spec = ConfigSpec()
        self.symbol_origins: dict[sympy.Symbol, Origin] = {}
        self.host_tensors: dict[int, HostTensor] = {}
        # Dense faces of nested tensors, with what is behind them.
        self.jagged: dict[int, tuple[torch.Tensor, Any]] = {}
        self.index_dtype = self.settings.index_dtype or torch.int32
        self.constants: set[int] = set()
        self.extent_factor = EXTENT_FACTOR
        self.derived_dims = DerivedDims()
        self._by_extent: dict[int, BlockSizeInfo] = {}
        self._block_scalars: dict[tuple[int, type[BlockOrigin]], torch.SymInt] = {}
        self._reductions: dict[object, BlockSizeInfo] = {}
        self._agreements: dict[str, str] = {}
        self._primes = _primes(_FIRST_PRIME)
        self._add_registry()

    def _add_registry(self) -> None:
        """Make the registry of specialized sizes, and what it offers under our name."""
        known = self.specialized = SpecializedSymbols(
            self.shape_env,
            self.symbol_origins,
            self.host_origin,
            self.settings.specialize_provenance,
        )
        self.specialized_symbol_registry = known.specialized_symbol_registry
        self.specialized_concrete_values = known.specialized_concrete_values
        self.specialized_vars = known.specialized_vars
        self.register_specialized_value = known.register_specialized_value
        self.get_specialized_symbol = known.get_specialized_symbol
        self.create_symint_for_dimension = known.create_symint_for_dimension
        self.provenance = known.provenance
        self.validate_specialized_symbols = known.validate_specialized_symbols
        self.dump_symbol_info = known.dump_symbol_info
        self._ensure_specialized_symbols = known.ensure_specialized_symbols

    def check_device(self, device: Any) -> None:
        """Refuse values on another device than that of the kernel; None is its own."""
        own = self.device.type
        if device is None or torch.device(device).type == own:
            return
        raise exc.NotAllowedOnDevice(
            construct=f"a value on {device} (the kernel runs on {own})",
            hint="leave device= out",
        )

    # -- symbols -----------------------------------------------------------------

    def new_scalar(self, kind: type, origin: Origin) -> object:
        """Return a symbolic scalar that no Python branch can be decided on."""
        value: torch.SymInt | torch.SymFloat | torch.SymBool
        if kind is float:
            value = symbols.unbacked_symfloat(self.shape_env)
            self.symbol_origins[value.node.expr] = origin
            return value
        value = symbols.unbacked_symint(self.shape_env)
        self.symbol_origins[value.node.expr] = origin
        return value == 1 if kind is bool else value

    def new_size(self, hint: int, origin: Origin, is_size: bool = True) -> torch.SymInt:
        """Return a SymInt for a host integer; comparisons on it become guards."""
        label = origin.host_str()
        value = symbols.backed_symint(self.shape_env, label, hint, is_size)
        self.symbol_origins[value.node.expr] = origin
        return value

    def block_scalar(self, block_id: int, origin: type[BlockOrigin]) -> torch.SymInt:
        """Return the symbol of ``tile.begin``, ``tile.end``... of an axis."""
        key = (block_id, origin)
        if key not in self._block_scalars:
            value = symbols.unbacked_symint(self.shape_env)
            self.symbol_origins[value.node.expr] = origin(block_id)
            self._block_scalars[key] = value
        return self._block_scalars[key]

    def true_length(self, extent: int) -> int | torch.SymInt:
        """Return how many real elements a device dim has (a last tile is short)."""
        found = self._by_extent.get(extent)
        made = derived_dim(self, extent) if found is None else None
        if made is not None:
            return derived_length(self, made)
        if found is None or found.is_reduction:
            return self.size_of(extent)
        begin = self.block_scalar(found.block_id, TileBeginOrigin)
        return self.block_scalar(found.block_id, TileEndOrigin) - begin

    # -- axes --------------------------------------------------------------------

    def allocate_block_size(
        self,
        numel: int | torch.SymInt | None,
        *,
        kind: str = "tile",
        fixed: int | torch.SymInt | None = None,
        hint: str = "",
    ) -> BlockSizeInfo:
        """Make a new axis and return its record (``block_id`` and ``symbol``)."""
        block_id = len(self.block_sizes)
        known = symbols.static_int(numel)
        numel = numel if known is None else known
        keeps_size = kind == "reduction" and known is not None
        extent = known if keeps_size and known is not None else self._new_extent()
        label = f"block_size_{block_id}"
        var = symbols.backed_symint(self.shape_env, label, self._block_hint(numel))
        info = BlockSizeInfo(block_id, numel, extent, var, kind, fixed, hint)
        self.block_sizes.append(info)
        self.symbol_origins[info.symbol] = BlockSizeOrigin(block_id)
        self._by_extent[extent] = info
        return info

    def _block_hint(self, numel: int | torch.SymInt | None) -> int:
        """Return a size that no block has by chance, with several tiles in a range.

        Host code computes sizes from block sizes, cdiv(n, block) for example, and torch
        asks whether such a size is 1. What it then assumes must be the general case.
        """
        hint = max(symbols.size_hint(numel), 0) // 4 | 1
        taken = {info.var.node.hint for info in self.block_sizes}
        while hint in taken:
            hint += 2
        return hint

    def _new_extent(self) -> int:
        for prime in self._primes:
            if all(constant % prime for constant in self.constants if constant):
                return prime * self.extent_factor
        raise AssertionError("primes do not end")

    def reduction_dim(self, numel: int | torch.SymInt) -> BlockSizeInfo:
        """Return the axis that stands for a whole dimension of length ``numel``."""
        agreed = self._agreed(str(symbols.sym_expr(numel)))
        numel = int(agreed) if agreed.isdigit() else numel
        known = symbols.static_int(numel)
        key = known if known is not None else agreed
        self.specialized.count_dimension(known)
        found = self._reductions.get(key)
        if found is None:
            if known is not None:
                self.note_constant(known)
            found = self.allocate_block_size(numel, kind="reduction")
            self._reductions[key] = found
        return found

    def note_constant(self, value: int) -> None:
        """Remember a literal size, so that no axis is given an extent like it."""
        if value in self._by_extent and value not in self._reductions:
            raise ExtentCollision(value)
        self.constants.add(value)

    def extent_of(self, size: object) -> int:
        """Return the device extent of a size: int, SymInt over sizes and blocks."""
        known = symbols.static_int(size)
        if known is not None:
            self.specialized.count_dimension(known)
            self.note_constant(known)
            return known
        expression = symbols.sym_expr(size)
        by_symbol = {info.symbol: info.extent for info in self.block_sizes}
        if expression.free_symbols <= by_symbol.keys():
            return derived_extent(self, expression, by_symbol)
        if expression.free_symbols & by_symbol.keys():
            raise exc.ShapeSpecializingAllocation(
                f"size {expression} mixes block sizes and run-time sizes"
            )
        if not isinstance(size, torch.SymInt):
            raise exc.ShapeSpecializingAllocation(f"{size!r} is not a size")
        origins = [self.symbol_origins.get(s) for s in expression.free_symbols]
        if any(isinstance(o, (BlockOrigin, DeviceScalarOrigin)) for o in origins):
            raise exc.ShapeSpecializingAllocation(f"{expression} varies on the device")
        return self.reduction_dim(size).extent

    def block_of(self, extent: int) -> BlockSizeInfo | None:
        """Return the axis of a device dim; None for size 1 and derived sizes."""
        if extent == 1:
            return None
        found = self._by_extent.get(extent)
        if found is None and self.derived_size(extent) is None:
            found = self.reduction_dim(extent)
        return found

    def unify(self, extents: list[int]) -> None:
        """Compile again if two sizes are equal here, but were not known to be.

        The new compile takes it as given, with a guard on later calls.
        """
        infos = [self.block_of(e) for e in set(extents)]
        whole = [i for i in infos if i is not None and i.is_reduction]
        for index, left in enumerate(whole):
            for right in whole[index + 1 :]:
                is_open = not (
                    isinstance(left.numel, int) and isinstance(right.numel, int)
                )
                if is_open and left.size_hint() == right.size_hint():
                    raise SizesMustAgree(
                        symbols.given_expr(left.numel), symbols.given_expr(right.numel)
                    )

    def specialize_sizes(self, names: set[str]) -> None:
        """Make sizes numbers that an earlier attempt picked; calls are guarded."""
        known = {str(s): s for s in self.symbol_origins}
        for name in sorted(names):
            value = symbols.symint_of(self.shape_env, known[name])
            if isinstance(value, torch.SymInt):
                self.specialized.specialize_symint(value)

    def assume_equal(self, pairs: set[tuple[str, str]]) -> None:
        """Record guards for sizes that another attempt found to be needed."""
        known = {str(s): s for s in self.symbol_origins}
        for pair in sorted(pairs):
            values = [sympy.sympify(text, locals=known) for text in pair]
            sizes = [symbols.symint_of(self.shape_env, v) for v in values]
            assert bool(sizes[0] == sizes[1]), pair
            # Symbols are replaced by the ShapeEnv; larger terms are not.
            left, right = sorted(map(self._agreed, pair), key=str.isdigit)
            if left != right:
                self._agreements[left] = right

    def _agreed(self, text: str) -> str:
        """Return the size that another one is known to be equal to, or itself."""
        while text in self._agreements:
            text = self._agreements[text]
        return text

    def derived_size(self, extent: int) -> sympy.Expr | None:
        """Return a size computed from block sizes (``b0 * 2``), None if it is not."""
        if extent == 0:
            return None
        expression: sympy.Expr | None = None
        rest = sympy.Integer(extent)
        for info in self.block_sizes:
            if info.extent not in self._by_extent or info.extent in self.constants:
                continue
            prime = info.extent // self.extent_factor
            while prime > 1 and rest % prime == 0:
                rest = rest / info.extent
                factor = info.symbol
                expression = factor if expression is None else expression * factor
        if expression is None:
            return None
        if rest.is_Integer:
            return expression * rest
        return sympy.floor(expression * rest.p / rest.q)

    def size_of(self, extent: int) -> int | torch.SymInt:
        """Return what user code sees for a device dim: an int or a SymInt."""
        found = self._by_extent.get(extent)
        if found is not None and not found.is_reduction:
            return found.var
        if found is not None:
            assert found.numel is not None, f"axis {found.block_id} has no length"
            return found.numel
        derived = self.derived_size(extent)
        if derived is None:
            return extent
        return visible_size(self, derived)

    def registered_block(self, size: torch.SymInt) -> BlockSizeInfo | None:
        """Return the axis whose block size a SymInt is (``register_block_size``)."""
        expression = symbols.sym_expr(size)
        return next((b for b in self.block_sizes if b.symbol == expression), None)

    def grid_index(self, block_id: int) -> torch.SymInt:
        """Return the scalar index of an ``hl.grid`` loop."""
        return self.block_scalar(block_id, GridIndexOrigin)

    def enclosing_tile(self, begin: object, end: object) -> int | None:
        """Return the axis whose tile is the range from ``begin`` to ``end``."""
        if not isinstance(begin, torch.SymInt) or not isinstance(end, torch.SymInt):
            return None
        low = self.symbol_origins.get(symbols.sym_expr(begin))
        high = self.symbol_origins.get(symbols.sym_expr(end))
        if isinstance(low, TileBeginOrigin) and isinstance(high, TileEndOrigin):
            return low.block_id if low.block_id == high.block_id else None
        return None

    # -- tensors -----------------------------------------------------------------

    def add_host_tensor(self, value: torch.Tensor, origin: Origin) -> None:
        """Record (or correct) how host code spells a tensor."""
        self.host_tensors[id(value)] = HostTensor(value, origin)
        self.add_kernel_tensor_size(value.shape)

    def add_kernel_tensor_size(self, sizes: Sequence[int | torch.SymInt]) -> list[Any]:
        """Note the sizes of a host tensor; return them, specialized ones as numbers."""
        resolved = self.specialized.resolve(sizes)
        for size in resolved:
            if isinstance(size, int) and size > 1:
                self.note_constant(size)
        return resolved

    def check_reach(self, value: torch.Tensor) -> None:
        """Make offsets 64-bit if an element of a host tensor is out of 32-bit reach."""
        if self.index_dtype == torch.int64:
            return
        last = reach(value)
        blocks = {info.symbol for info in self.block_sizes}
        if symbols.sym_expr(last).free_symbols & blocks:
            return  # one entry per tile: small, and different for each Config
        if last <= INT32_MAX:
            return
        if self.settings.index_dtype is not None:
            raise exc.IndexOffsetOutOfRangeForInt32(self.settings.index_dtype)
        raise OffsetsAreWide

    def host_origin(self, value: torch.Tensor) -> Origin | None:
        """Return the host spelling of a tensor, None if it is a device value."""
        found = self.host_tensors.get(id(value))
        return found.origin if found is not None else None

    def ensure_tensor_within_triton_limit(
        self, shape: Sequence[int], axis: str | None = None
    ) -> None:
        """Raise HelionReductionTooLarge if a block has more elements than allowed.

        The error names ``axis`` as the culprit; None: the longest dim of ``shape``.
        """
        cap, size = self.settings.max_triton_tensor_numel, math.prod(shape)
        if size > cap:
            longest = f"of {max(shape)} elements"
            raise exc.HelionReductionTooLarge(axis=axis or longest, size=size, cap=cap)

    def to_fake(self, value: object, origin: Origin) -> Any:
        """Return what stands for an argument or global while compiling."""
        return fake_arguments.to_fake(self, value, origin)

    def fake_function(self, fn: Any, origin: Origin | None) -> Any:
        """Return a function whose captured tensors are fakes."""
        return fake_arguments.fake_function(self, fn, origin)

    def report(self, error: exc.Base) -> None:
        """Collect an error; the pipeline raises all of them together."""
        self.errors.append(error)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Run user code on fake tensors, with torch's own error log held back."""
        log = logging.getLogger("torch._subclasses.fake_tensor")
        level = log.level
        log.setLevel(logging.CRITICAL)
        try:
            with self.fake_mode:
                yield
        finally:
            log.setLevel(level)


class CompileAgain(Exception):
    """Something was learned that must be known from the beginning."""


class ExtentCollision(CompileAgain):
    """A literal size equals the stand-in extent of an axis."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value


class ExtentsMustDivide(CompileAgain):
    """Stand-in extents have to be multiples of a larger power of two."""

    def __init__(self, factor: int) -> None:
        super().__init__(factor)
        self.factor = factor


class OffsetsAreWide(CompileAgain):
    """A tensor of the host function is too large for 32-bit offsets."""


class SizesAreWorthNumbers(CompileAgain):
    """Sizes, by the names of their symbols, that ``auto_specialize`` picked."""

    def __init__(self, names: set[str]) -> None:
        super().__init__(names)
        self.names = names


class SizesMustAgree(CompileAgain):
    """An operation needs two sizes, equal in this call, to be equal in all."""

    def __init__(self, left: object, right: object) -> None:
        super().__init__(left, right)
        self.pair = (str(left), str(right))


INT32_MAX = 2**31 - 1


def reach(tensor: torch.Tensor) -> Any:
    """Return the largest element offset that indexing a tensor can give."""
    total: Any = 0
    for size, stride in zip(tensor.size(), tensor.stride(), strict=True):
        if symbols.static_int(size) == 0:
            return 0
        total = total + (size - 1) * stride
    return total


_prime_cache: list[int] = []
_prime_lock = threading.Lock()


def _primes(start: int) -> Iterator[int]:
    index = 0
    while True:
        with _prime_lock:
            if index == len(_prime_cache):
                candidate = _prime_cache[-1] + 2 if _prime_cache else start
                while any(candidate % d == 0 for d in range(3, 200, 2)):
                    candidate += 2
                _prime_cache.append(candidate)
            prime = _prime_cache[index]
        yield prime
        index += 1
