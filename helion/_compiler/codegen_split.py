"""Emits the two halves of a split reduction: partial folds, and folding these."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .ast_extension import expr, statements, text_of
from .codegen_control_flow import emits
from .codegen_state import CodegenState
from .codegen_text import expand
from .device_ir import ReductionLoopGraphInfo, _merged_folds, _partial_folds
from .node_args import first_value
from .reduction_strategy import LoopedReductionStrategy, Span, emit_reduction_loop
from .variable_origin import ExprOrigin

if TYPE_CHECKING:
    import ast

    import torch
    from torch import fx

    from .compile_environment import BlockSizeInfo
    from .device_function import DeviceFunction
    from .program_id import GridAxis
    from .reduction_strategy_base import Chunk, Fold
    from .tile_strategy import DeviceLoopState


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


@dataclass
class Partials:
    """What the two launches of a split reduction share."""

    splits: int
    prefix: str
    axes: list[GridAxis] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)

    def host_code(self, device: str) -> list[ast.stmt]:
        """Return the statements that make the buffers."""
        code: list[ast.stmt] = []
        tiles = [f"({axis.host_count})" for axis in self.axes]
        for buffer in self.buffers:
            sizes = ", ".join([str(self.splits), " * ".join(tiles), *buffer.dims])
            code += statements(
                f"{buffer.name} = torch.empty([{sizes}], dtype={buffer.dtype}, "
                f"device={device})"
            )
        return code

    # -- device code -----------------------------------------------------------------

    def pointers(
        self, fn: DeviceFunction, buffer: Buffer, split: str | None = None
    ) -> ast.expr:
        """Return the addresses of the block of a split; None: of all, as a row."""
        name = fn.tensor_arg(buffer.name, ExprOrigin(buffer.name))
        # Each of the launches has to be given the sizes.
        dims = [fn.dim_text(group) for group in buffer.groups]
        number = self.row(len(dims)) if split is None else expr(split)
        tiles, tile = self._tile(fn)
        text = "({s}).to(tl.int64) * {n} + {t}"
        blocks = expr(text, s=number, n=tiles, t=tile)
        if dims:
            local = _local_places(dims, is_row=split is None)
            blocks = expr(f"({{b}}) * ({' * '.join(dims)}){local}", b=blocks)
        place = fn.share(blocks, "places" if split is None else "place")
        return expr(f"{name} + {{p}}", p=place)

    def row(self, rank: int) -> ast.expr:
        """Return the numbers of all splits, as the first dim before ``rank`` others."""
        return expand(expr(f"tl.arange(0, {self.splits})"), 0, rank + 1)

    def _tile(self, fn: DeviceFunction) -> tuple[ast.expr, ast.expr]:
        """Return how many tiles the launch has, and the number of this one."""
        first, *rest = self.axes
        number: ast.expr = expr(first.pid)
        total = first.device_count
        for axis in rest:
            number = expr(f"{{t}} + {axis.pid} * ({{n}})", t=number, n=total)
            total = expr("{n} * {c}", n=total, c=axis.device_count)
        return fn.share(total, "num_tiles"), fn.share(number, "tile")


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
    split = text_of(fn.lift(expr("tl.program_id(1)"), "split"))
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
            number = len(partials.buffers)
            buffer = Buffer.of(fn, f"{partials.prefix}_{number}", dtype, shape)
            partials.buffers.append(buffer)
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
            stacks.append(fn.lift(expr("tl.load({p})", p=pointers), "partials"))
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
