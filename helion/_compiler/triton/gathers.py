"""``tl.gather`` along one dim, for every dtype and every length of the index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..ast_extension import expr
from ..backend import AtenRule
from ..codegen_text import expand
from ..derived_axes import Count, lane_count
from .dtypes import triton_dtype

if TYPE_CHECKING:
    import ast

    from ..codegen_state import CodegenState


def shape_text(counts: list[Count]) -> str:
    """Return a shape as Triton code."""
    return f"[{', '.join(map(str, counts))}]"


aten = torch.ops.aten


def gather(state: CodegenState) -> ast.expr:
    """Look up the elements of one dim; the other dims of value and index agree."""
    launch = state.launch
    shape, dim = list(state.fake_arg(0).shape), state.int_arg(1)
    want = list(state.value.shape)
    lanes = [
        [lane_count(launch, e) for e in run if not launch.is_single(e)]
        for run in (shape[:dim], shape[dim + 1 :])
    ]
    if launch.is_single(shape[dim]) or launch.is_single(want[dim]):
        return _of_single_tile(state, shape, want, dim)
    have = lane_count(launch, shape[dim])
    place = Gather(lanes[0], have, lanes[1], state.value.dtype)
    return place.code(
        state.expr_arg(0), state.expr_arg(2), lane_count(launch, want[dim])
    )


def _of_single_tile(
    state: CodegenState, shape: list[int], want: list[int], dim: int
) -> ast.expr:
    """Gather from or into a tile of one index, which Triton sees as no dim."""
    launch = state.launch
    lanes = [
        [lane_count(launch, e) for e in run if not launch.is_single(e)]
        for run in (shape[:dim], shape[dim + 1 :])
    ]
    have, length = lane_count(launch, shape[dim]), lane_count(launch, want[dim])
    place = Gather(lanes[0], have, lanes[1], state.value.dtype)
    value, index = (
        expr(f"tl.broadcast_to(tl.reshape({{v}}, {wide}), {wide})", v=v)
        if launch.rank(kept)
        else expr(f"tl.broadcast_to({{v}}, {wide})", v=v)
        for v, kept, wide in (
            (state.expr_arg(0), shape, shape_text([*lanes[0], have, *lanes[1]])),
            (state.expr_arg(2), want, shape_text([*lanes[0], length, *lanes[1]])),
        )
    )
    found = place.code(value, index, length)
    if launch.rank(want):
        return expr("tl.reshape({v}, {s})", v=found, s=state.shape_expr(want))
    return expr("device_folds.only(tl.reshape({v}, [1]))", v=found)


@dataclass(frozen=True)
class Gather:
    """The lanes before, along and after the dim of a block that is gathered from."""

    before: list[Count]
    have: Count
    after: list[Count]
    dtype: torch.dtype

    @property
    def rank(self) -> int:
        """The number of dims of source and index."""
        return len(self.before) + 1 + len(self.after)

    def spread(self, index: ast.expr, want: Count) -> ast.expr:
        """Give a 1-D index of ``want`` lanes the shape of the result."""
        if self.rank == 1:
            return index
        shape = shape_text([*self.before, want, *self.after])
        wide = expand(index, len(self.before), self.rank)
        return expr(f"tl.broadcast_to({{i}}, {shape})", i=wide)

    def code(self, value: ast.expr, index: ast.expr, want: Count) -> ast.expr:
        """Return the lanes of ``value`` that an index of the result's shape names."""
        lane = expr(f"(({{i}}) & ({self.have} - 1)).to(tl.int32)", i=index)
        dim = len(self.before)
        if self.dtype == torch.bool:
            value = expr("({v}).to(tl.int8)", v=value)
        elif self._is_small_float:
            value = expr("({v}).to(tl.int8, bitcast=True)", v=value)
        value = self._long_enough(value, want)
        moved = expr(f"tl.gather({{v}}, {{i}}, {dim})", v=value, i=lane)
        if self.dtype == torch.bool:
            return expr("({g} != 0)", g=moved)
        if self._is_small_float:
            dtype = triton_dtype(self.dtype)
            return expr(f"({{g}}).to({dtype}, bitcast=True)", g=moved)
        return moved

    @property
    def _is_small_float(self) -> bool:
        return self.dtype.is_floating_point and self.dtype.itemsize == 1

    def _long_enough(self, value: ast.expr, want: Count) -> ast.expr:
        """Repeat a source that is shorter than the index.

        Triton's choice of a layout fails where the index is the longer one.
        """
        if isinstance(want, int) and isinstance(self.have, int):
            if want <= self.have:
                return value
            times: Count = want // self.have
            total: Count = want
        else:
            times = f"(({want} + {self.have} - 1) // {self.have})"
            total = f"({times} * {self.have})"
        items = [":"] * self.rank
        items.insert(len(self.before), "None")
        shape = shape_text([*self.before, times, self.have, *self.after])
        wide = expr(f"{{v}}[{', '.join(items)}]", v=value)
        wide = expr(f"tl.broadcast_to({{v}}, {shape})", v=wide)
        flat = shape_text([*self.before, total, *self.after])
        return expr(f"tl.reshape({{v}}, {flat})", v=wide)


GATHERS = {aten.gather.default: AtenRule(gather, None, "simple")}
