"""DeviceFunction: one Triton kernel being emitted for one launch and one Config."""

from __future__ import annotations

import ast
import contextlib
import keyword
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from . import symbols
from .access_options import load_options, store_options
from .ast_extension import assign, comment, expr, is_atom, literal, statements
from .choose_indexing import IndexingRecord, choose_indexing
from .codegen_text import conjunction, expand, padded_extent
from .derived_axes import derived_axis_parts
from .derived_dims import DerivedDim, derived_dim
from .graph_interpreter import interpret_graph
from .host_function import RESERVED_NAMES, read_names
from .indexing_strategy import Access, IndexingStrategy, align
from .loop_options import range_options
from .reduction_strategy_base import PersistentReductionStrategy, ReductionStrategy
from .storage_use import storage_key
from .variable_origin import (
    BlockOrigin,
    BlockSizeOrigin,
    DeviceScalarOrigin,
    ExprOrigin,
    GridIndexOrigin,
    Origin,
    StrideOrigin,
    TileBeginOrigin,
    TileCountOrigin,
    TileEndOrigin,
    TileIdOrigin,
    TunableOrigin,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import sympy

    from ..runtime.config import Config
    from .codegen_split import Partials
    from .codegen_state import CodegenState
    from .combine_functions import CombineFunctions
    from .compile_environment import BlockSizeInfo, CompileEnvironment
    from .device_ir import GraphInfo
    from .source_location import SourceLocation


@dataclass(frozen=True)
class KernelArg:
    """A parameter of the Triton kernel and the host code of its argument."""

    name: str
    host: str
    is_constexpr: bool = False


@dataclass
class Axis:
    """Names of one axis where it is being walked; ``mask`` None: nothing to hide."""

    block_id: int
    size_var: str
    index: str
    offset: str = ""
    mask: str | None = None
    begin: ast.expr | None = None
    end: ast.expr | None = None
    flat: tuple[int, ...] = ()
    flat_index: str = ""
    is_whole: bool = False
    proven: frozenset[str] = frozenset()


@dataclass
class DeviceFunction:
    """Names, parameters and statements of one kernel."""

    env: CompileEnvironment
    config: Config
    name: str
    graphs: dict[int, GraphInfo]
    block_values: dict[int, Any]
    args: dict[str, KernelArg] = field(default_factory=dict)
    axes: dict[int, Axis] = field(default_factory=dict)
    preamble: list[ast.stmt] = field(default_factory=list)
    helpers: CombineFunctions | None = None
    partials: Partials | None = None
    root: GraphInfo | None = None

    def __post_init__(self) -> None:
        self.indexed = IndexingRecord()
        self.body: list[ast.stmt] = []
        self.used_names: set[str] = set(RESERVED_NAMES) | {self.name}
        self.tensor_args: dict[str, str] = {}
        self.constexprs: dict[str, KernelArg] = {}
        self.stored, self.swapped = set[Any](), set[Any]()
        self.flattened: list[tuple[int, ...]] = []
        self.strategies: dict[int, ReductionStrategy] = {}
        self.unnamed = 0
        self.variables: set[str] = set()
        self.shared_values: dict[str, ast.expr] = {}
        self.origin: tuple[str, int] | None = None

    @property
    def is_wide(self) -> bool:
        """Whether offsets need 64 bits."""
        return self.env.index_dtype == torch.int64

    # -- graphs and loops ------------------------------------------------------------

    def interpret(self, info: GraphInfo, inputs: list[Any], known: Any = None) -> Any:
        """Emit a graph here, but for what is ``known``; return its outputs."""
        return interpret_graph(self, info, inputs, known)

    @contextlib.contextmanager
    def reducing(self, block_id: int, strategy: Any) -> Iterator[None]:
        """Fold an axis with another strategy for a while."""
        outer = self.strategies.get(block_id)
        self.strategies[block_id] = strategy
        try:
            yield
        finally:
            del self.strategies[block_id]
            if outer is not None:
                self.strategies[block_id] = outer

    def reduction_strategy(self, extent: int) -> ReductionStrategy:
        """Return how the axis of a device dim is folded here."""
        info = self.env.block_of(extent)
        found = None if info is None else self.strategies.get(info.block_id)
        return found if found is not None else PersistentReductionStrategy()

    def reduction_chunk(self, block_id: int) -> int:
        """Return the Config's chunk of a looped axis."""
        for index, spec in enumerate(self.env.config_spec.reduction_loops):
            if spec.block_id == block_id:
                chunk = self.config.reduction_loops[index]
                assert chunk is not None, f"axis {block_id} is not rolled"
                return chunk
        raise AssertionError(f"axis {block_id} is not rollable")

    def range_options(self, block_id: int | None, without: Sequence[str] = ()) -> str:
        """Return the ``tl.range`` options of a loop (None: the persistent grid)."""
        return range_options(self.env.config_spec, self.config, block_id, without)

    # -- statements ----------------------------------------------------------------

    def emit(self, *statements: ast.stmt) -> None:
        """Append statements where code is being emitted."""
        self.body.extend(statements)

    @contextlib.contextmanager
    def into(self, body: list[ast.stmt]) -> Iterator[list[ast.stmt]]:
        """Emit into another statement list for a while."""
        outer, self.body = self.body, body
        known, self.shared_values = self.shared_values, dict(self.shared_values)
        self.origin = None
        try:
            yield body
        finally:
            self.body, self.shared_values, self.origin = outer, known, None

    def new_var(self, hint: str) -> str:
        """Return a name that nothing uses yet, ``hint`` itself if it is free."""
        base = re.sub(r"\W", "_", hint) or "v"
        if keyword.iskeyword(base):
            base += "_"
        name, count = base, 1
        while name in self.used_names:
            name = f"{base}_{count}"
            count += 1
        self.used_names.add(name)
        return name

    def lift(self, value: ast.expr, hint: str = "v") -> ast.expr:
        """Assign a value to a fresh name and return that name."""
        if is_atom(value):
            return value
        if hint == "v":
            hint = f"v_{self.unnamed}"
            self.unnamed += 1
        name = self.new_var(hint)
        self.emit(assign(name, value))
        return expr(name)

    def share(self, value: ast.expr, hint: str) -> ast.expr:
        """Assign a pure value to a name, once where several nodes need it."""
        if is_atom(value):
            return value
        if self.variables & read_names(value):
            return self.lift(value, hint)
        key = ast.unparse(value)
        if key not in self.shared_values:
            self.shared_values[key] = self.lift(value, hint)
        return self.shared_values[key]

    def emit_origin(self, location: SourceLocation | None) -> None:
        """Emit a comment with the user's line, unless it is the last one's."""
        if location is None or not self.env.settings.output_origin_lines:
            return
        origin = (location.filename, location.lineno)
        if origin != self.origin:
            self.origin = origin
            self.emit(comment(f"src: {os.path.basename(origin[0])}:{origin[1]}"))

    # -- parameters ----------------------------------------------------------------

    def tensor_arg(self, host: str, origin: Origin, is_bytes: bool = False) -> str:
        """Return the pointer parameter of a host tensor."""
        if host not in self.tensor_args:
            known = host if host.isidentifier() else origin.suggest_name()
            name = self.new_var(known)
            self.tensor_args[host] = name
            given = f"{host}.view(torch.uint8)" if is_bytes else host
            self.args[name] = KernelArg(name, given)
        return self.tensor_args[host]

    def scalar_arg(self, origin: Origin, host: str | None = None) -> str:
        """Return the parameter of a host scalar."""
        host = origin.host_str() if host is None else host
        for arg in self.args.values():
            if arg.host == host and not arg.is_constexpr:
                return arg.name
        name = self.new_var(origin.suggest_name())
        self.args[name] = KernelArg(name, host)
        return name

    def constexpr_arg(self, name: str, host: str) -> str:
        """Return a compile-time parameter; ``host`` is its value's host code."""
        self.used_names.add(name)
        self.constexprs[name] = KernelArg(name, host, is_constexpr=True)
        return name

    def stride_text(self, host: str, origin: Origin, tensor: Any, dim: int) -> str:
        """Return the stride of a dim of the tensor that is ``host`` at the launch."""
        known = symbols.static_int(tensor.stride(dim))
        if known is not None:
            return str(known)
        return self.scalar_arg(StrideOrigin(origin, dim), f"{host}.stride({dim})")

    # -- axes and shapes -------------------------------------------------------------

    def block_size_var(self, block_id: int) -> str:
        """Return the constexpr parameter that holds a tile extent."""
        name = f"_BLOCK_SIZE_{block_id}"
        value = self.block_values[block_id]
        if isinstance(value, int):
            return self.constexpr_arg(name, str(value))
        return self.constexpr_arg(name, name)

    def axis_of(self, extent: int) -> Axis | None:
        """Return the axis being walked that a device dim belongs to."""
        info = self.env.block_of(extent)
        if info is None:
            made = derived_dim(self.env, extent)
            return None if made is None else self._derived_axis(made)
        return self.axis(info)

    def _derived_axis(self, made: DerivedDim) -> Axis:
        size, index, mask = derived_axis_parts(self, made)
        return Axis(made.block_id, size, index, mask=mask, is_whole=True)

    def axis(self, info: BlockSizeInfo) -> Axis:
        """Return the axis of a block id; whole dimensions are set up on first use."""
        if info.block_id not in self.axes:
            assert info.is_reduction, f"block {info.block_id} is not being walked"
            self.axes[info.block_id] = self._persistent_axis(info)
        return self.axes[info.block_id]

    def _persistent_axis(self, info: BlockSizeInfo) -> Axis:
        """One tile holds the whole dimension, padded to a power of two."""
        block_id = info.block_id
        size_var = f"_RDIM_SIZE_{block_id}"
        known = symbols.static_int(info.numel)
        if known is not None:
            padded = padded_extent(known, info.min_size)
            self.constexpr_arg(size_var, str(padded))
        else:
            host = self.host_text(symbols.sym_expr(info.numel))
            padding = f"triton.next_power_of_2({host})"
            self.constexpr_arg(size_var, f"max({padding}, {info.min_size})")
        index = self.new_var(f"rindex_{block_id}")
        dtype = self.env.backend.dtype_text(self.env.index_dtype)
        self.preamble.append(
            assign(index, expr(f"tl.arange(0, {size_var}).to({dtype})"))
        )
        mask = None
        if known is None or padded_extent(known, info.min_size) != known:
            mask = self.new_var(f"mask_{block_id}")
            end = self.size_expr(info.numel)
            self.preamble.append(assign(mask, expr("{i} < {end}", i=index, end=end)))
        return Axis(
            block_id, size_var, index, mask=mask, begin=literal(0), is_whole=True
        )

    def merged_dims(self, shape: list[int]) -> list[list[int]]:
        """Group extents as Triton sees them.

        Dims of a flattened loop are one; a dim tiled one by one is none at all.
        """
        groups: list[list[int]] = []
        position = 0
        while position < len(shape):
            count = self._flat_run(shape, position)
            if count > 1 or not self.is_single(shape[position]):
                groups.append(list(shape[position : position + count]))
            position += count
        return groups

    def is_single(self, extent: int) -> bool:
        """Whether a device dim is a tile of one index: Triton sees a scalar."""
        if extent == 1:
            return False
        info = self.env.block_of(extent)
        if info is None or info.is_reduction or self.block_values[info.block_id] != 1:
            return False
        return not any(info.block_id in blocks for blocks in self.flattened)

    def _flat_run(self, shape: list[int], position: int) -> int:
        for blocks in self.flattened:
            extents = [self.env.block_sizes[b].extent for b in blocks]
            if shape[position : position + len(blocks)] == extents:
                return len(blocks)
        return 1

    def rank(self, shape: Any) -> int:
        """Return the number of dims that Triton sees."""
        return len(self.merged_dims(list(shape)))

    def shape_expr(self, shape: list[int]) -> ast.expr:
        """Return the Triton shape of device extents."""
        items = [self.dim_text(group) for group in self.merged_dims(shape)]
        return expr(f"[{', '.join(items)}]")

    def dim_text(self, group: list[int]) -> str:
        """Return the Triton extent of one (merged) dim."""
        if len(group) > 1:
            axis = self.axis_of(group[0])
            assert axis is not None
            return axis.size_var
        extent = group[0]
        info = self.env.block_of(extent)
        if info is not None and not (info.is_reduction or info.block_id in self.axes):
            # A value that a loop takes or leaves, where its axis is not walked.
            return self.block_size_var(info.block_id)
        axis = self.axis_of(extent)
        return str(extent) if axis is None else axis.size_var

    def mask_expr(self, shape: list[int], blocks: list[int] | None = None) -> Any:
        """Return the mask of a value's padded lanes, None if it has none.

        ``blocks`` restricts it to those axes.
        """
        groups = self.merged_dims(shape)
        terms: list[ast.expr] = []
        for position, group in enumerate(groups):
            axis = self.axis_of(group[0])
            if axis is None or axis.mask is None:
                continue
            if blocks is None or axis.block_id in blocks:
                terms.append(expand(expr(axis.mask), position, len(groups)))
        return conjunction(terms)

    # -- accesses --------------------------------------------------------------------

    def access(self, state: CodegenState, shape: list[int]) -> Access:
        """Return the access of a load, store or atomic node."""
        return Access.of(state, shape)

    def indexing(self, access: Access) -> IndexingStrategy:
        """Return the indexing mode of an access: that of the Config, if it can be."""
        return choose_indexing(self, access)

    def load_options(self, state: CodegenState) -> str:
        """Return the cache hints of a load."""
        return load_options(state)

    def store_options(self, state: CodegenState) -> str:
        """Return the cache hints of a store."""
        return store_options(state)

    def pointer_and_mask(self, access: Access) -> tuple[ast.expr, ast.expr | None]:
        """Return the parts of an access that only pointers can express."""
        pointers = access.pointers
        return pointers.pointer(access), pointers.mask(access)

    def note_store(self, access: Access) -> None:
        """Remember that the storage of a tensor was written."""
        self.stored.add(storage_key(access.tensor))

    def order_after_store(self, access: Access) -> None:
        """Let the threads of the program see what others of them stored."""
        if storage_key(access.tensor) in self.stored:
            self.emit(*statements("tl.debug_barrier()"))
            self.stored.clear()

    def align(self, value: ast.expr, shape: list[int], target: list[int]) -> ast.expr:
        """Give a value the rank of a selection."""
        extra = len(shape) - len(target)
        if extra > 0 and self.rank(shape) > self.rank(target):
            shape = shape[extra:]
            reshaped = self.shape_expr(shape)
            value = self.share(expr("tl.reshape({v}, {s})", v=value, s=reshaped), "v")
        return align(value, shape, target, self)

    def local_index(self, extent: int) -> ast.expr:
        """Return 0, 1, 2... along a device dim."""
        axis = self.axis_of(extent)
        if axis is None:
            return expr("tl.arange(0, 1)")
        if self.is_single(extent):
            return expr("tl.full([], 0, tl.int32)")
        return expr(axis.index if axis.is_whole else f"tl.arange(0, {axis.size_var})")

    # -- symbolic expressions ----------------------------------------------------------

    def size_expr(self, value: Any) -> ast.expr:
        """Return device code of an int, symbolic scalar or expression."""
        if isinstance(value, ast.expr):
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return literal(value)
        return expr(self.device_text(symbols.sym_expr(value)))

    def device_text(self, expression: sympy.Basic) -> str:
        """Print an expression inside the kernel."""
        if _is_for_python(self.env, expression):
            return self.scalar_arg(ExprOrigin(self.host_text(expression), "number"))
        return self.env.backend.print_expr(expression, self._device_symbol)

    def _device_symbol(self, symbol: sympy.Symbol) -> str:
        origin = self.env.symbol_origins[symbol]
        block_id = getattr(origin, "block_id", None)
        if isinstance(origin, TunableOrigin):
            return repr(self.config[origin.name])
        if block_id is None:
            return self.scalar_arg(origin)
        if isinstance(origin, BlockSizeOrigin):
            info = self.env.block_sizes[block_id]
            return (
                self.axis(info).size_var
                if info.is_reduction
                else (self.block_size_var(block_id))
            )
        return self._tile_scalar(origin, self.axes[block_id])

    def _tile_scalar(self, origin: Origin, axis: Axis) -> str:
        size = axis.size_var
        if isinstance(origin, (TileBeginOrigin, GridIndexOrigin)):
            return axis.offset
        assert axis.begin is not None and axis.end is not None
        if isinstance(origin, TileEndOrigin):
            if axis.mask is None:
                return f"({axis.offset} + {size})"
            return f"tl.minimum({axis.offset} + {size}, {ast.unparse(axis.end)})"
        if isinstance(origin, TileIdOrigin):
            return f"({axis.offset} // {size})"
        assert isinstance(origin, TileCountOrigin)
        begin, end = ast.unparse(axis.begin), ast.unparse(axis.end)
        return f"tl.cdiv({end} - {begin}, {size})"

    def host_text(self, expression: sympy.Basic) -> str:
        """Print an expression in the wrapper."""

        def text(symbol: sympy.Symbol) -> str:
            origin = self.env.symbol_origins[symbol]
            if isinstance(origin, TunableOrigin):
                return repr(self.config[origin.name])
            if isinstance(origin, BlockSizeOrigin):
                value = self.block_values[origin.block_id]
                return str(value) if isinstance(value, int) else origin.host_str()
            return origin.host_str()

        return self.env.backend.print_host_expr(expression, text)


def _is_for_python(env: CompileEnvironment, expression: sympy.Basic) -> bool:
    """Whether an expression of host numbers has no form inside a kernel."""
    try:
        env.backend.print_expr(expression, str)
    except exc.BackendUnsupported:
        origins = [env.symbol_origins[s] for s in expression.free_symbols]
        on_device = (BlockOrigin, DeviceScalarOrigin)
        return not any(isinstance(o, on_device) for o in origins)
    return False
