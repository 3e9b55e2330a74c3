"""Emits the two halves of a split launch: partial folds, and folding these."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from .ast_extension import assign, expr, for_loop, if_else, statements, text_of
from .codegen_control_flow import emits
from .codegen_state import CodegenState
from .codegen_text import expand
from .device_ir import ReductionLoopGraphInfo, _merged_folds, _partial_folds
from .node_args import first_value
from .reduction_strategy import LoopedReductionStrategy, Span, emit_reduction_loop
from .tile_dispatch import split_program_ids
from .variable_origin import ExprOrigin

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable

    from torch import fx

    from .compile_environment import BlockSizeInfo
    from .device_function import DeviceFunction
    from .device_ir import RootGraphInfo, SplitLaunch
    from .program_id import GridAxis, ProgramIds
    from .reduction_strategy_base import Chunk, Fold
    from .tile_strategy import DeviceLoopState


BARRIER = "tl.debug_barrier()"
UNROLLED_SPLITS = 16
"""Up to so many partial results are loaded at once, not one after the other."""

JOINS = {
    "sum": "{a} + {b}",
    "max": "tl.maximum({a}, {b}, propagate_nan=tl.PropagateNan.ALL)",
    "min": "tl.minimum({a}, {b}, propagate_nan=tl.PropagateNan.ALL)",
}


@dataclass
class Buffer:
    """One accumulator of every split of every tile, as blocks side by side.

    ``dims`` are the texts of ``groups``, the extents that a block has in Triton.
    """

    name: str
    dtype: torch.dtype
    groups: list[list[int]]
    dims: list[str]

    @classmethod
    def of(
        cls, fn: DeviceFunction, name: str, dtype: torch.dtype, shape: list[int]
    ) -> Buffer:
        """Return the buffer for accumulators of a shape."""
        groups = fn.merged_dims(shape)
        return cls(name, dtype, groups, [fn.dim_text(group) for group in groups])

    @property
    def numel(self) -> str:
        """Device code of the number of elements of a block."""
        return " * ".join(self.dims) or "1"


@dataclass
class Join:
    """How the parts of one accumulator become ``name``.

    Sums in half precision are rounded once, at the end.
    """

    name: str
    kind: str
    dtype: torch.dtype
    cast_text: Callable[[str, torch.dtype, torch.dtype], str]

    @property
    def wide(self) -> torch.dtype:
        """The dtype in which parts are joined."""
        is_half = self.dtype in (torch.bfloat16, torch.float16)
        return torch.float32 if is_half else self.dtype

    def begin(self, fn: DeviceFunction, part: ast.expr) -> None:
        """Let the result be its first part."""
        fn.variables.add(self.name)
        fn.emit(assign(self.name, self._wide(fn, part)))

    def add(self, fn: DeviceFunction, part: ast.expr) -> None:
        """Add another part, or keep the larger of the two."""
        total = expr(JOINS[self.kind], a=expr(self.name), b=self._wide(fn, part))
        fn.emit(assign(self.name, total))

    def end(self, fn: DeviceFunction) -> None:
        """Bring the result to its dtype."""
        if self.wide is not self.dtype:
            text = self.cast_text(self.name, self.wide, self.dtype)
            fn.emit(assign(self.name, expr(text)))

    def _wide(self, fn: DeviceFunction, part: ast.expr) -> ast.expr:
        name = text_of(fn.lift(part, "part"))
        return expr(self.cast_text(name, self.dtype, self.wide))


@dataclass
class Partials:
    """What the two halves of a split launch share; each half is a launch of its own.

    ``split`` is the device code of the number of a program among those of its tile.
    """

    halves: SplitLaunch
    splits: int
    prefix: str
    split: str = ""
    axes: list[GridAxis] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)

    is_joint: ClassVar[bool] = False
    """Whether one launch runs both halves."""

    @property
    def host_tiles(self) -> str:
        """Host code of the number of tiles."""
        return " * ".join(f"({axis.host_count})" for axis in self.axes)

    @property
    def host_blocks(self) -> str:
        """Host code of the number of blocks in a buffer."""
        return f"{self.host_tiles}, {self.splits}"

    def host_code(self, device: str) -> list[ast.stmt]:
        """Return the statements that make the buffers."""
        code: list[ast.stmt] = []
        for buffer in self.buffers:
            sizes = ", ".join([self.host_blocks, *buffer.dims])
            code += statements(
                f"{buffer.name} = torch.empty({sizes}, dtype={buffer.dtype}, "
                f"device={device})"
            )
        return code

    # -- device code -----------------------------------------------------------------

    def program_ids(self, tiles: ProgramIds, half: RootGraphInfo) -> ProgramIds:
        """Return the map of the launch that runs a half, by that of its tiles."""
        self.axes = tiles.axes
        if half is self.halves.second:
            return tiles
        ids, self.split = split_program_ids(tiles, self.splits)
        return ids

    def pointers(
        self, fn: DeviceFunction, buffer: Buffer, split: str | None = None
    ) -> ast.expr:
        """Return the addresses of the block of a split; None: of all, as a row."""
        name = fn.tensor_arg(buffer.name, ExprOrigin(buffer.name))
        # Each of the launches has to be given the sizes.
        dims = [fn.dim_text(group) for group in buffer.groups]
        number = self.row(len(dims)) if split is None else expr(split)
        blocks = self.block(fn, number)
        if dims:
            local = _local_places(dims, is_row=split is None)
            blocks = expr(f"({{b}}) * ({' * '.join(dims)}){local}", b=blocks)
        place = fn.share(blocks, "places" if split is None else "place")
        return expr(f"{name} + {{p}}", p=place)

    def block(self, fn: DeviceFunction, number: ast.expr) -> ast.expr:
        """Return which block of a buffer belongs to some splits of this tile."""
        text = f"({{t}}).to(tl.int64) * {self.splits}"
        text += "" if text_of(number) == "0" else " + {s}"
        return expr(text, s=number, t=self.tile(fn))

    def add_buffer(
        self, fn: DeviceFunction, dtype: torch.dtype, shape: list[int]
    ) -> Buffer:
        """Return a new buffer for accumulators of a shape."""
        name = f"{self.prefix}_{len(self.buffers)}"
        self.buffers.append(Buffer.of(fn, name, dtype, shape))
        return self.buffers[-1]

    def load(self, pointers: ast.expr) -> ast.expr:
        """Return what other programs stored at some addresses."""
        return expr("tl.load({p})", p=pointers)

    def share(self, fn: DeviceFunction, turns: ast.expr) -> tuple[ast.expr, ast.expr]:
        """Return the first turn of a loop that this program does, and its first not."""
        split = text_of(fn.share(expr(self.split), "split"))
        first = expr(f"{{t}} * {split} // {self.splits}", t=turns)
        return first, expr(f"{{t}} * ({split} + 1) // {self.splits}", t=turns)

    def is_first(self, fn: DeviceFunction) -> ast.expr:
        """Return whether this program does the first turns of its tile."""
        return expr("{s} == 0", s=fn.share(expr(self.split), "split"))

    def emit_stores(self, fn: DeviceFunction, names: list[str]) -> None:
        """Keep the accumulators of this program."""
        split = text_of(fn.share(expr(self.split), "split"))
        for buffer, name in zip(self.buffers, names, strict=True):
            pointers = self.pointers(fn, buffer, split)
            fn.emit(*statements("tl.store({p}, {v})", p=pointers, v=name))

    def emit_join(self, fn: DeviceFunction, joins: list[Join]) -> None:
        """Join what the programs of this tile kept, from the first to the last."""
        for buffer, join in zip(self.buffers, joins, strict=True):
            first = self.pointers(fn, buffer, "0")
            join.begin(fn, self.load(first))
            number = fn.new_var("number")
            with fn.into([]) as body:
                other = expr(f"{{p}} + {number} * ({buffer.numel})", p=first)
                join.add(fn, self.load(other))
            is_short = self.splits <= UNROLLED_SPLITS
            kind = "static_range" if is_short else "range"
            iterable = expr(f"tl.{kind}(1, {self.splits})")
            fn.emit(for_loop(number, iterable, body))
            join.end(fn)

    def emit_rest(self, fn: DeviceFunction) -> None:
        """Emit what a launch does once its half is done."""

    def row(self, rank: int) -> ast.expr:
        """Return the numbers of all splits, as the first dim before ``rank`` others."""
        return expand(expr(f"tl.arange(0, {self.splits})"), 0, rank + 1)

    def tile(self, fn: DeviceFunction) -> ast.expr:
        """Return the number of this tile."""
        *faster, slowest = self.axes
        number = expr(slowest.pid)
        for axis in reversed(faster):
            number = expr(f"{{t}} * {{n}} + {axis.pid}", t=number, n=axis.count(fn))
        return fn.share(number, "tile")


class SemaphorePartials(Partials):
    """One launch: the program of a tile that arrives last runs the second half."""

    is_joint: ClassVar[bool] = True

    @property
    def arrivals(self) -> str:
        """The name of the counters, one for each tile."""
        return f"{self.prefix}_arrivals"

    def host_code(self, device: str) -> list[ast.stmt]:
        code = super().host_code(device)
        made = f"_arrival_counters({self.host_tiles}, {device})"
        return [*code, *statements(f"{self.arrivals} = {made}")]

    def load(self, pointers: ast.expr) -> ast.expr:
        # What the cache of one multiprocessor holds may be from before the stores.
        return expr("tl.load({p}, cache_modifier='.cg')", p=pointers)

    def arrive(self, fn: DeviceFunction) -> ast.expr:
        """Return how many programs of this tile had arrived before this one did."""
        # All threads have stored before one of them says so.
        fn.emit(*statements(BARRIER))
        add = expr("tl.atomic_add({c}, 1, sem='acq_rel')", c=self.counter(fn))
        return fn.lift(add, "arrived_before")

    def counter(self, fn: DeviceFunction) -> ast.expr:
        """Return the address of the counter of this tile."""
        name = fn.tensor_arg(self.arrivals, ExprOrigin(self.arrivals))
        return expr(f"{name} + {{t}}", t=self.tile(fn))

    def settle(self, fn: DeviceFunction) -> None:
        """Make ready for what the programs of this tile kept, as the last of them."""
        # No thread loads before one of them heard of all stores. The next launch
        # wants the counter as this one found it.
        fn.emit(*statements(BARRIER))
        fn.emit(*statements("tl.store({c}, 0)", c=self.counter(fn)))

    def emit_rest(self, fn: DeviceFunction) -> None:
        before = self.arrive(fn)
        with fn.into([]) as body:
            self.settle(fn)
            fn.interpret(self.halves.second, [])
        is_last = expr(f"{{b}} == {self.splits - 1}", b=before)
        fn.emit(if_else(is_last, body, []))


def _local_places(dims: list[str], is_row: bool) -> str:
    """Return the text of positions in a block, with a dim before them for a row."""
    text = ""
    for position, dim in enumerate(dims):
        index = expr(f"tl.arange(0, {dim})")
        index = expand(index, position + is_row, len(dims) + is_row)
        stride = " * ".join(dims[position + 1 :])
        text += f" + {text_of(index)}" + (f" * ({stride})" if stride else "")
    return text


# -- the first launch ------------------------------------------------------------------


@dataclass
class PartialReductionStrategy(LoopedReductionStrategy):
    """Folds chunks and leaves the accumulators as they are."""

    found: dict[fx.Node, list[str]] = field(default_factory=dict)

    def codegen_reduction(self, state: CodegenState, fold: Fold) -> Any:
        self.found[state.node] = self.accumulate(state, fold)
        return expr("None")


@emits(_partial_folds)
def partial_folds_codegen(state: CodegenState) -> ast.expr:
    fn, info = state.launch, _body(state)
    partials: Partials = fn.partials
    block = state.env.block_sizes[info.block_id]
    share = _share(fn, block, partials)
    split = text_of(fn.lift(expr(partials.split), "split"))
    end = fn.size_expr(block.numel)
    begin = fn.lift(expr(f"{split} * {{n}}", n=share), "begin")
    stop = expr("tl.minimum({b} + {n}, {end})", b=begin, n=share, end=end)
    found: dict[fx.Node, list[str]] = {}

    def interpret(loop: DeviceLoopState, chunk: Chunk) -> list[Any]:
        strategy = PartialReductionStrategy(loop, chunk, found)
        with fn.reducing(info.block_id, strategy):
            return fn.interpret(info, state.arg(1))

    span = Span(begin, fn.lift(stop, "stop"))
    emit_reduction_loop(fn, block, interpret, span)
    for node in info.outputs:
        inner = _state_of(state, node)
        shape = list(first_value(node).shape)
        dtypes = state.env.backend.fold_of(node).dtypes(inner)
        for name, dtype in zip(found[node], dtypes, strict=True):
            buffer = partials.add_buffer(fn, dtype, shape)
            pointers = partials.pointers(fn, buffer, split)
            store = expr("tl.store({p}, {v})", p=pointers, v=name)
            fn.emit(*statements(text_of(store)))
    return expr("None")


# -- the second launch -----------------------------------------------------------------


@emits(_merged_folds)
def merged_folds_codegen(state: CodegenState) -> list[Any]:
    fn, info = state.launch, _body(state)
    partials: Partials = fn.partials
    block = state.env.block_sizes[info.block_id]
    buffers = iter(partials.buffers)
    results = []
    for node in info.outputs:
        inner, fold = _state_of(state, node), state.env.backend.fold_of(node)
        stacks, rank = [], 0
        for _ in fold.dtypes(inner):
            buffer = next(buffers)
            rank = len(buffer.dims)
            pointers = partials.pointers(fn, buffer)
            stacks.append(fn.lift(partials.load(pointers), "partials"))
        counts = _counts(fn, block, partials, rank)
        parts = [fn.lift(p, "merged") for p in fold.merge(inner, stacks, counts)]
        results.append(fold.finish(inner, parts))
    return results


def _counts(
    fn: DeviceFunction, block: BlockSizeInfo, partials: Partials, rank: int
) -> ast.expr:
    """Return how many elements each split folded."""
    share = _share(fn, block, partials)
    row, end = partials.row(rank), fn.size_expr(block.numel)
    left = expr("tl.maximum({end} - {row} * {n}, 0)", end=end, row=row, n=share)
    return expr("tl.minimum({left}, {n})", left=left, n=share)


# -- both ------------------------------------------------------------------------------


def _share(fn: DeviceFunction, block: BlockSizeInfo, partials: Partials) -> ast.expr:
    """Return how many elements a split walks: whole chunks, but for the last one."""
    chunk = fn.reduction_chunk(block.block_id)
    size = fn.constexpr_arg(f"_REDUCTION_BLOCK_{block.block_id}", str(chunk))
    end = fn.size_expr(block.numel)
    share = expr(
        f"tl.cdiv(tl.cdiv({{end}}, {size}), {partials.splits}) * {size}", end=end
    )
    return fn.share(share, "share")


def _body(state: CodegenState) -> ReductionLoopGraphInfo:
    info = state.launch.graphs[state.int_arg(0)]
    assert isinstance(info, ReductionLoopGraphInfo)
    return info


def _state_of(state: CodegenState, node: fx.Node) -> CodegenState:
    return CodegenState(state.env, state.config, state.launch, node, {})
