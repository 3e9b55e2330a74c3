"""Traces the updates of accumulators as stores of one row per tile."""

from __future__ import annotations

import ast
import operator
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from ..language.creation_ops import full
from . import symbols
from .ast_extension import expr, facts
from .error_text import describe
from .grid_accumulators import Accumulator, Finder, Refused
from .inline_calls import InlineWalker
from .rewrite_accumulators import (
    StartPartial,
    StorePartial,
    UpdatePart,
    UpdatePartial,
    allocation,
    conclusion,
    name_partials,
    place_at,
    rewrite_body,
)
from .variable_origin import BlockSizeOrigin

if TYPE_CHECKING:
    from .compile_environment import CompileEnvironment
    from .graph_tracer import GraphTracer
    from .host_function import HostFunction
    from .loop_bounds import LoopBounds

# Stands for a block size in host code that is made; a Config puts a number there.
_BLOCK_SIZE = "_block_size"


class AccumulatorWalker(InlineWalker):
    """Device statements that stand for updates of host tensors."""

    def __init__(
        self, env: CompileEnvironment, host: HostFunction, tracer: GraphTracer
    ) -> None:
        super().__init__(env, host, tracer)
        # What host code needs before and after a loop, by the loop's node.
        self.around: dict[int, tuple[list[ast.stmt], list[ast.stmt]]] = {}
        self._rows: list[Any] = []

    def split_accumulators(
        self, node: ast.For, bounds: LoopBounds, blocks: list[int]
    ) -> tuple[list[ast.stmt], list[ast.stmt]]:
        """Rewrite a top-level loop; return the host code before and after it."""
        try:
            found = self._finder(node, bounds, blocks).find()
        except Refused as refused:
            raise refused.typed(self.host) from None
        if not found:
            return [], []
        name_partials(found, self.host)
        self.host_scope.setdefault("torch", torch)  # made code may name a dtype
        before: list[ast.stmt] = []
        after: list[ast.stmt] = []
        for item in found:
            counts = self._counts(node, bounds, blocks)
            axes = range(len(blocks)) if item.shared_axes is None else item.shared_axes
            before.append(allocation(item, [counts[axis] for axis in axes]))
            after.append(conclusion(item, len(axes)))
            place_at([before[-1], after[-1]], item.updates[0].node)
        node.body = rewrite_body(node.body, found)
        self.put_around(node, before, after)
        self._rows = self._tile_rows(bounds, blocks)
        return before, after

    def put_around(
        self, node: ast.stmt, before: list[ast.stmt], after: list[ast.stmt]
    ) -> None:
        """Add host code before and after a statement."""
        known = self.around.setdefault(id(node), ([], []))
        known[0].extend(before)
        known[1].extend(after)

    def _finder(self, node: ast.For, bounds: LoopBounds, blocks: list[int]) -> Finder:
        target = node.target
        items = target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]
        names = [n.id if isinstance(n, ast.Name) else "" for n in items]
        if len(names) != len(blocks):
            # One name for all tiles: what it indexes is not followed.
            names = names * len(blocks)
        return Finder(
            node.body,
            self.host_scope,
            self._function_of,
            self._decided,
            names,
            {axis for axis in range(len(blocks)) if _has_one_tile(bounds, axis)},
        )

    def _decided(self, test: ast.expr) -> bool | None:
        """Return the truth of a condition that is known before the loop runs."""
        try:
            return self.static_bool(self.evaluate(test))
        except exc.Base:
            return None

    def _function_of(self, node: ast.expr) -> Any:
        """Return the function of a call in the loop, None if it is not a plain one."""
        parts = (ast.Name, ast.Attribute, ast.Load)
        if not all(isinstance(n, parts) for n in ast.walk(node)):
            return None
        try:
            return self.evaluate(node)
        except exc.Base:
            return None

    # -- rows ----------------------------------------------------------------------

    def _tile_rows(self, bounds: LoopBounds, blocks: list[int]) -> list[Any]:
        """Return the number of the current tile along each axis, counted from 0."""
        variables = self.loop_variable(bounds, blocks)
        items = variables if bounds.is_list else [variables]
        rows = []
        for item, begin, size in zip(items, bounds.begins, bounds.sizes, strict=True):
            is_grid = bounds.kind == "grid"
            low = item if is_grid else item.begin
            step = (size or 1) if is_grid else item.block_size
            if symbols.static_int(begin) != 0:
                low = low - begin
                rows.append(low if symbols.static_int(step) == 1 else low // step)
            elif is_grid:
                rows.append(low if symbols.static_int(step) == 1 else low // step)
            else:
                rows.append(item.id)
        return rows

    def _counts(
        self, node: ast.For, bounds: LoopBounds, blocks: list[int]
    ) -> list[ast.expr]:
        """Return host code of the number of tiles along each axis."""
        call = node.iter
        assert isinstance(call, ast.Call)
        if any(isinstance(a, ast.Starred) for a in call.args):
            raise exc.StatementNotSupported(
                construct="an accumulator in a loop with * in its bounds"
            )
        is_range = len(call.args) > 1 and not _is_none(call.args[1])
        result = []
        for axis, block in enumerate(blocks):
            end = _of_axis(call.args[int(is_range)], bounds, axis)
            if is_range and symbols.static_int(bounds.begins[axis]) != 0:
                begin = _of_axis(call.args[0], bounds, axis)
                end = expr("{end} - {begin}", end=end, begin=begin)
            result.append(_rounded_up(end, self._size(call, bounds, axis, block)))
        return result

    def _size(
        self, call: ast.Call, bounds: LoopBounds, axis: int, block: int
    ) -> int | ast.expr:
        """Return the block size or step of an axis as host code."""
        size = bounds.sizes[axis]
        if bounds.kind == "grid" and size is None:
            return 1
        known = symbols.static_int(size)
        if known is not None:
            return known
        if size is None or self.env.registered_block(size) is not None:
            self.host_scope[_BLOCK_SIZE] = lambda b: self.env.block_sizes[b].var
            value = expr(f"{_BLOCK_SIZE}({block})")
            facts(value).replacement = BlockSizeOrigin(block)
            return value
        given = [k.value for k in call.keywords] + call.args[2:]
        return _of_axis(given[0], bounds, axis)

    # -- device statements -----------------------------------------------------------

    def device_StartPartial(self, node: StartPartial) -> None:
        found = node.accumulator
        shape = [*found.tensor.size()]
        value = self.call(full, [shape, found.fold.identity(found.dtype)], {})
        value = self.call(torch.Tensor.to, [value, found.dtype], {})
        self._bind(found.local, value)

    def device_UpdatePartial(self, node: UpdatePartial) -> None:
        found = node.accumulator
        value = self.evaluate(node.value)
        self._check_update(node, value)
        if found.is_direct:
            self._store_row(found, value)
            return
        if isinstance(value, torch.Tensor):
            value = self.call(torch.Tensor.to, [value, found.dtype], {})
        fold = operator.sub if node.term.is_negative else found.fold.on_device
        old = self.lookup(found.local)
        self._bind(found.local, self.call(fold, [old, value], {}))

    def device_UpdatePart(self, node: UpdatePart) -> None:
        found = node.accumulator
        rows = self.lookup(found.partials)
        index = self.evaluate_index(node.index)
        items = index if isinstance(index, tuple) else (index,)
        own = [self._rows[axis] for axis in found.shared_axes or []]
        place = (*own, *items)
        old = self.call(torch.Tensor.__getitem__, [rows, place], {})
        value = self.evaluate(node.value)
        fold = operator.sub if node.term.is_negative else found.fold.on_device
        new = self.call(fold, [old, value], {})
        self.set_item(rows, place, new)

    def device_StorePartial(self, node: StorePartial) -> None:
        found = node.accumulator
        self._store_row(found, self.lookup(found.local))

    def _store_row(self, found: Accumulator, value: Any) -> None:
        rows = self.lookup(found.partials)
        dims = [slice(None)] * found.tensor.dim()
        self.set_item(rows, (*self._rows, *dims), value)

    def _check_update(self, node: UpdatePartial, value: Any) -> None:
        """Hold a value to what torch accepts; its shape must not change the sum's."""
        found = node.accumulator
        why = ""
        if not isinstance(value, (torch.Tensor, int, float, *symbols.SymValue)):
            why = f"the value is {describe(value)}"
        elif isinstance(value, torch.Tensor) and not self._fits(found, value):
            shapes = [str([*t.size()]) for t in (found.tensor, value)]
            why = f"its shape is {shapes[0]}, but that of the value is {shapes[1]}"
        else:
            why = self._dtype_problem(found, value)
        if why:
            raise Refused(found.name, why, node).typed(self.host)

    def _fits(self, found: Accumulator, value: torch.Tensor) -> bool:
        with torch._C.DisableTorchFunction():
            have = [int(s) for s in value.size()]
            want = [self.env.extent_of(s) for s in found.tensor.size()]
        pairs = list(zip(have[::-1], want[::-1]))
        if len(have) <= len(want) and all(h in (1, w) for h, w in pairs):
            return True
        self.env.unify([*have, *want])
        return False

    def _dtype_problem(self, found: Accumulator, value: Any) -> str:
        own = found.tensor.dtype
        if isinstance(value, torch.SymInt):
            value = 1
        elif isinstance(value, torch.SymFloat):
            value = 1.0
        elif isinstance(value, torch.SymBool):
            value = True
        with self.tracer.paused():
            result = torch.result_type(found.tensor, value)
        if found.in_place and not torch.can_cast(result, own):
            return f"{result} values cannot be kept in a tensor of {own}"
        if not found.in_place and result != own:
            return f"its dtype changes from {own} to {result}; cast the value"
        return ""


def _has_one_tile(bounds: LoopBounds, axis: int) -> bool:
    """Whether an axis has no second tile under any Config."""
    numel = symbols.static_int(bounds.numel(axis))
    size = symbols.static_int(bounds.sizes[axis])
    return numel is not None and numel <= (1 if size is None else size)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _of_axis(node: ast.expr, bounds: LoopBounds, axis: int) -> ast.expr:
    """Return the host code of one axis of a loop's argument."""
    if not bounds.is_list:
        return node
    is_display = isinstance(node, (ast.List, ast.Tuple))
    if is_display and not any(isinstance(e, ast.Starred) for e in node.elts):
        return node.elts[axis]
    return expr(f"{{node}}[{axis}]", node=node)


def _rounded_up(length: ast.expr, size: int | ast.expr) -> ast.expr:
    """Return host code of ``length / size`` rounded up."""
    if size == 1:
        return length
    if isinstance(size, int):
        text = f"({{length}} + {size - 1}) // {size}"
        return expr(text, length=length)
    return expr("({length} + {size} - 1) // {size}", length=length, size=size)
