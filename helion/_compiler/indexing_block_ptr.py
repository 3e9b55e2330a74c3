"""Block pointers: Triton knows the block of an access before it makes addresses."""

from __future__ import annotations

import ast
import functools
from typing import TYPE_CHECKING

import torch

from .. import exc
from . import symbols
from .ast_extension import expr, literal
from .indexing_strategy import IndexingStrategy, register_indexing
from .rectangular_access import NotRectangular, Rectangle, rectangle_of

if TYPE_CHECKING:
    from .indexing_strategy import Access


@register_indexing("block_ptr")
class BlockPointerIndexing(IndexingStrategy):
    """A block pointer for each access; checks only what may lie outside."""

    def refusal(self, access: Access) -> str | None:
        """Say why an access cannot go by a block pointer."""
        if not has_block_pointers():
            ignored = access.state.env.settings.ignore_warnings
            exc.warn(exc.BlockPtrIndexingUnavailable(), ignored)
            return "this Triton has no block pointers"
        if access.tensor.dtype == torch.bool:
            return "block pointers have no bool elements"
        try:
            rectangle = rectangle_of(access)
        except NotRectangular as found:
            return str(found)
        if not rectangle.rank:
            return "it selects a single element"
        if access.is_store and access.extra_mask is not None:
            return "a mask of its own chooses the lanes to store"
        if access.is_store and not rectangle.is_exact:
            return "a tile may end before the tensor does"
        return None

    def load(self, access: Access, options: str) -> ast.expr:
        launch, rectangle = access.state.launch, rectangle_of(access)
        pointer, checks = _pointer(access, rectangle)
        value = expr(f"tl.load({{p}}{checks}{options})", p=pointer)
        value = _reshaped(access, rectangle, value)
        other = access.state.node.meta.get("other", 0)
        if rectangle.is_exact and access.extra_mask is None and other == 0:
            return value
        mask = access.pointers.mask(access)
        if mask is None:
            return value
        fill = launch.env.backend.literal(other, access.tensor.dtype)
        value = launch.lift(value)
        return expr(f"tl.where({{m}}, {{v}}, {fill})", m=mask, v=value)

    def store(self, access: Access, value: ast.expr) -> ast.expr:
        launch, rectangle = access.state.launch, rectangle_of(access)
        pointer, checks = _pointer(access, rectangle)
        checks = checks.replace(", padding_option='zero'", "")
        if not access.fills_selection():
            shape = launch.shape_expr(access.shape)
            value = expr("tl.broadcast_to({v}, {s})", v=value, s=shape)
        if len(rectangle.kept) < rectangle.rank:
            inner = ", ".join(rectangle.dims[i].extent for i in rectangle.kept)
            value = expr(f"tl.reshape({{v}}, [{inner}])", v=value)
        dtype = launch.env.backend.dtype_text(access.tensor.dtype)
        value = expr(f"tl.cast({{v}}, {dtype})", v=value)
        hints = access.store_options
        return expr(f"tl.store({{p}}, {{v}}{checks}{hints})", p=pointer, v=value)


@functools.cache
def has_block_pointers() -> bool:
    """Whether the installed Triton has them; later ones do not."""
    import triton.language as tl

    return hasattr(tl, "make_block_ptr")


def _pointer(access: Access, rectangle: Rectangle) -> tuple[ast.expr, str]:
    """Return the block pointer of an access, and the options that check it."""
    launch, tensor, kept = access.state.launch, access.tensor, rectangle.kept
    base = expr(launch.tensor_arg(access.host, access.origin))
    strides = [
        launch.stride_text(access.host, access.origin, tensor, i)
        for i in range(tensor.dim())
    ]
    for index, dim in enumerate(rectangle.dims):
        if dim.place is None and not _is_zero(dim.offset):
            text = f"{{b}} + {{o}} * {strides[index]}"
            base = expr(text, b=base, o=dim.offset)
    blocks = [rectangle.dims[i].extent for i in kept]
    order = sorted(range(len(kept)), key=lambda p: _stride_hint(tensor, kept[p]))
    made = (
        f"tl.make_block_ptr({{b}}, {{n}}, [{', '.join(strides[i] for i in kept)}], "
        f"{{o}}, [{', '.join(blocks)}], {order})"
    )
    sizes = literal([launch.size_expr(tensor.size(i)) for i in kept])
    offsets = literal([rectangle.dims[i].offset for i in kept])
    checked = [p for p, i in enumerate(kept) if rectangle.dims[i].may_leave]
    checks = f", boundary_check={checked}, padding_option='zero'" if checked else ""
    return expr(made, b=base, n=sizes, o=offsets), checks


def _is_zero(offset: ast.expr) -> bool:
    return isinstance(offset, ast.Constant) and offset.value == 0


def _stride_hint(tensor: torch.Tensor, dim: int) -> tuple[int, int]:
    return symbols.size_hint(tensor.stride(dim)), -dim


def _reshaped(access: Access, rectangle: Rectangle, value: ast.expr) -> ast.expr:
    if len(rectangle.kept) == rectangle.rank:
        return value
    shape = access.state.launch.shape_expr(access.shape)
    return expr("tl.reshape({v}, {s})", v=value, s=shape)
