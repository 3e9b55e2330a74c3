"""Rewrites the updates of accumulators: a row for each tile, folded on the host."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from .ast_extension import assign, expr
from .grid_accumulators import PRODUCT, Accumulator, Term, Update, target_of
from .host_function import RESERVED_NAMES

if TYPE_CHECKING:
    from .host_function import HostFunction


class StartPartial(ast.stmt):
    """Device code: begin the partial result of a tile."""

    _fields = ("target",)
    target: ast.Name
    accumulator: Accumulator


class UpdatePartial(ast.stmt):
    """Device code: add one term to the partial result, or store it if it is all."""

    _fields = ("value", "target")
    value: ast.expr
    target: ast.Name
    accumulator: Accumulator
    term: Term


class UpdatePart(ast.stmt):
    """Device code: update some elements of the row of a tile."""

    _fields = ("index", "value")
    index: ast.expr
    value: ast.expr
    term: Term
    accumulator: Accumulator


class StorePartial(ast.stmt):
    """Device code: store the partial result of a tile into its row."""

    accumulator: Accumulator


def rewrite_body(body: list[ast.stmt], found: list[Accumulator]) -> list[ast.stmt]:
    """Return the loop body with updates of rows in place of those of host tensors."""
    replacer = _Replacer(found)
    result = [s for node in body for s in replacer.replaced(node)]
    sums = [a for a in found if not a.is_direct and not a.by_parts]
    starts = [_made(StartPartial, a, a.updates[0].node) for a in sums]
    stores = [_made(StorePartial, a, a.updates[-1].node) for a in sums]
    return [*starts, *result, *stores]


class _Replacer(ast.NodeTransformer):
    def __init__(self, found: list[Accumulator]) -> None:
        self.updates = {id(u.node): (a, u) for a in found for u in a.updates}

    def replaced(self, node: ast.stmt) -> list[ast.stmt]:
        """Return the statements for one statement."""
        result = self.visit(node)
        return result if isinstance(result, list) else [result]

    def visit(self, node: ast.AST) -> Any:
        if id(node) not in self.updates:
            return self.generic_visit(node)
        accumulator, update = self.updates[id(node)]
        if accumulator.by_parts:
            return _part_updates(accumulator, update)
        result = []
        for term in update.terms:
            new = _made(UpdatePartial, accumulator, node)
            new.value, new.term = term.value, term
            result.append(new)
        return result


def _part_updates(accumulator: Accumulator, update: Update) -> list[UpdatePart]:
    results: list[UpdatePart] = []
    for term in update.terms:
        new = ast.copy_location(UpdatePart(), update.node)
        new.index, new.value = target_of(update.node).slice, term.value
        new.term, new.accumulator = term, accumulator
        results.append(new)
    return results


def _made(kind: type, accumulator: Accumulator, place: ast.AST) -> Any:
    node = ast.copy_location(kind(), place)
    node.accumulator = accumulator
    name = ast.Name(id=accumulator.local, ctx=ast.Store())
    node.target = ast.copy_location(name, place)
    return node


def name_partials(found: list[Accumulator], host: HostFunction) -> None:
    """Choose names for the rows and for the partial result of a tile."""
    for item in found:
        item.partials = new_name(host, f"{item.name}_partials")
        item.local = new_name(host, f"{item.name}_partial")


def new_name(host: HostFunction, stem: str) -> str:
    """Return a name that the user's function does not use, and reserve it."""
    taken = host.local_names | set(host.params) | host.closure.keys()
    taken |= host.namespace.keys() | RESERVED_NAMES
    serial = 1
    result = stem
    while result in taken:
        serial += 1
        result = f"{stem}_{serial}"
    host.local_names.add(result)
    return result


def allocation(found: Accumulator, counts: list[ast.expr]) -> ast.stmt:
    """Return host code that makes the rows, one per tile."""
    acc = expr(found.name)
    fold = found.fold
    if not fold.has_dtype:
        # torch has no extremum of nothing: one row more than there are tiles.
        counts = [expr("{count} + 1", count=count) for count in counts]
    sizes = list(counts)
    if found.tensor.dim():
        sizes.append(ast.Starred(expr("{acc}.size()", acc=acc), ast.Load()))
    shape = ast.List(elts=sizes, ctx=ast.Load())
    text = "{acc}.new_empty({shape})"
    if found.by_parts or not fold.has_dtype:
        text = "{acc}.new_full({shape}, {fill})"
    fill = ast.Constant(fold.identity(found.dtype))
    value = expr(text, acc=acc, shape=shape, fill=fill)
    if found.dtype != found.tensor.dtype:
        assert isinstance(value, ast.Call)
        value.keywords = [ast.keyword("dtype", expr(str(found.dtype)))]
    return assign(found.partials, value)


def conclusion(found: Accumulator, axes: int) -> ast.stmt:
    """Return host code that folds the rows into the accumulator."""
    total = _fold_rows(found, axes)
    update = found.updates[0]
    if not found.fold.has_dtype:
        assert update.function is not None
        call = "{function}({acc}, {total})"
        value = expr(call, function=update.function, acc=found.name, total=total)
        return assign(found.name, value)
    op: ast.operator = ast.Mult() if found.fold is PRODUCT else ast.Add()
    if found.is_direct and update.terms[0].is_negative:
        op = ast.Sub()
    if found.in_place:
        target = ast.Name(id=found.name, ctx=ast.Store())
        return ast.AugAssign(target, op, total, lineno=0, col_offset=0)
    value: ast.expr = ast.BinOp(expr(found.name), op, total)
    if found.dtype != found.tensor.dtype:
        value = expr("{value}.to({acc}.dtype)", value=value, acc=found.name)
    return assign(found.name, value)


def _fold_rows(found: Accumulator, axes: int) -> ast.expr:
    rows = expr(found.partials)
    dims = repr(tuple(range(axes))) if axes > 1 else "0"
    if found.fold is PRODUCT:  # torch takes one dim at a time
        for _ in range(axes - 1):
            rows = expr("{rows}.prod(0)", rows=rows)
        dims = "0"
    result = expr(f"{{rows}}.{found.fold.rows}({dims})", rows=rows)
    if found.fold.has_dtype and not found.tensor.dtype.is_floating_point:
        assert isinstance(result, ast.Call)
        result.keywords = [ast.keyword("dtype", expr(f"{found.name}.dtype"))]
    return result


def place_at(nodes: list[ast.stmt], place: ast.AST) -> None:
    """Give made nodes the line of what they stand for."""
    for node in nodes:
        for part in ast.walk(node):
            if not getattr(part, "lineno", 0):
                ast.copy_location(part, place)
