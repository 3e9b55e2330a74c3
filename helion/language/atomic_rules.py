"""How atomic updates are traced and emitted."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .._compiler.ast_extension import expr, statements
from . import _decorators
from .atomic_ops import (
    MEMORY_ORDERS,
    atomic_add,
    atomic_and,
    atomic_cas,
    atomic_max,
    atomic_min,
    atomic_or,
    atomic_xchg,
    atomic_xor,
)
from .memory_rules import stored_value, value_for
from .subscript_rules import read_subscript

if TYPE_CHECKING:
    from .._compiler.codegen_state import CodegenState
    from .._compiler.graph_tracer import GraphTracer
    from .._compiler.op_registry import Op

_INTEGERS = frozenset({torch.int32, torch.int64, torch.uint32, torch.uint64})
_FLOATS = frozenset({torch.float32, torch.float64})
_HALVES = frozenset({torch.float16, torch.bfloat16})
_EXTREMA = ("atomic_max", "atomic_min")
_SHORTS = frozenset({torch.int16, torch.uint16})
_BYTES = frozenset({torch.bool, torch.int8, torch.uint8})

# What the memory of a GPU updates in one step.
_DTYPES: dict[Op[..., Any], frozenset[torch.dtype]] = {
    atomic_add: _INTEGERS | _FLOATS | _HALVES,
    atomic_max: _INTEGERS | _FLOATS,
    atomic_min: _INTEGERS | _FLOATS,
    atomic_xchg: _INTEGERS | _FLOATS,
    atomic_cas: _INTEGERS | _FLOATS | _HALVES | _SHORTS,
    atomic_and: _INTEGERS | _SHORTS | _BYTES,
    atomic_or: _INTEGERS | _SHORTS | _BYTES,
    atomic_xor: _INTEGERS | _SHORTS | _BYTES,
}


def _atomic_rules(op: Op[..., Any]) -> None:
    @_decorators.type_propagation(op)
    def trace(
        tracer: GraphTracer, target: Any, index: Any, *values: Any, **options: Any
    ) -> torch.Tensor:
        bound = op.bind((target, index, *values), options)
        _check_target(tracer, op, target)
        sem = bound["sem"]
        if sem not in MEMORY_ORDERS:
            raise exc.InvalidAPIUsage(
                f"hl.{op.name}: sem is {sem!r}, but must be one of {MEMORY_ORDERS}"
            )
        access = tracer.nested.access(target, index)
        if access is not None:
            target, index = access.values, access.index
        elements, shape = read_subscript(tracer, target, index)
        given = [v for k, v in bound.items() if k in ("expected", "value")]
        given = given if access is None else [access.to_packed(v) for v in given]
        stored = [stored_value(tracer, v, shape) for v in given]
        lanes = tracer.jagged.update_lanes(target, shape, access)
        result = tracer.new_value(shape, target.dtype)
        tracer.emit(op, (tracer.host_node(target), elements, sem, *stored), result)
        tracer.jagged.attach(result, lanes)
        return result if access is None else access.to_dense(result)

    @_decorators.codegen(op)
    def codegen(state: CodegenState) -> ast.expr:
        sem = state.node.args[2]
        if sem in ("release", "acq_rel"):
            # The order holds for what any thread of the program did before.
            state.launch.emit(*statements("tl.debug_barrier()"))
        result = _update(state, op.name)
        if sem in ("acquire", "acq_rel"):
            result = state.lift(result, "old")
            state.launch.emit(*statements("tl.debug_barrier()"))
        return result


def _check_target(tracer: GraphTracer, op: Op[..., Any], target: Any) -> None:
    if tracer.env.host_origin(target) is None:
        raise exc.AtomicOnDeviceTensor(name=f"hl.{op.name}")
    if target.dtype not in _DTYPES[op]:
        names = sorted(str(d).removeprefix("torch.") for d in _DTYPES[op])
        raise exc.BackendUnsupported(
            backend=tracer.env.backend.name,
            detail=f"hl.{op.name} on a {target.dtype} tensor",
            hint=f"use a target of {', '.join(names)}",
        )


def _update(state: CodegenState, name: str) -> ast.expr:
    """Return the call that updates memory and gives what was there."""
    shape = list(state.value.shape)
    access = state.launch.access(state, shape)
    dtype = access.tensor.dtype
    indexing = state.launch.indexing(access)
    if indexing.can_update:
        value = value_for(state, 3, dtype, shape)
        state.launch.note_store(access)
        return indexing.update(access, value)
    pointer, mask = state.launch.pointer_and_mask(access)
    positions = range(3, len(state.node.args))
    values = [value_for(state, i, dtype, shape) for i in positions]
    values = [_as_block(state, v, shape) for v in values]
    state.launch.note_store(access)
    if name == "atomic_cas":
        return _swap(state, (pointer, mask), values)
    if name in _EXTREMA and dtype.is_floating_point:
        return _float_extremum(state, name, (pointer, mask), values[0])
    if name == "atomic_xchg" and dtype.is_floating_point:
        return _exchange_bits(state, (pointer, mask), values[0])
    if dtype.itemsize < 4 and dtype not in _HALVES:
        return _update_in_word(state, name, (pointer, mask), values[0])
    return _call(name, state, [pointer, *values], mask)


def _call(
    name: str, state: CodegenState, args: list[ast.expr], mask: ast.expr | None
) -> ast.expr:
    holes: dict[str, Any] = {f"a{i}": arg for i, arg in enumerate(args)}
    texts = ", ".join(f"{{{hole}}}" for hole in holes)
    if mask is not None:
        holes["m"] = mask
        texts += ", mask={m}"
    return expr(f"tl.{name}({texts}, sem={state.node.args[2]!r})", **holes)


def _as_block(state: CodegenState, value: ast.expr, shape: list[int]) -> ast.expr:
    if not shape:
        return value
    return expr("tl.broadcast_to({v}, {s})", v=value, s=state.shape_expr(shape))


def _swap(
    state: CodegenState,
    place: tuple[ast.expr, ast.expr | None],
    values: list[ast.expr],
) -> ast.expr:
    """Compare and swap; padded lanes swap the first element for itself, if at all.

    Triton has no mask for it. A swap of a value for the same value changes nothing,
    whatever other programs do meanwhile.
    """
    pointer, mask = place
    if mask is None:
        return _call("atomic_cas", state, [pointer, *values], None)
    expected, value = (state.lift(v, "swap") for v in values)
    if isinstance(pointer, ast.BinOp):
        # AMD's compiler selects no pointers, but offsets.
        base, offsets = pointer.left, pointer.right
        pointer = expr("{b} + tl.where({m}, {o}, 0)", b=base, m=mask, o=offsets)
    expected = expr("tl.where({m}, {e}, {v})", m=mask, e=expected, v=value)
    old = _call("atomic_cas", state, [pointer, expected, value], None)
    old = state.lift(old, "old")
    zero = state.env.backend.literal(0, state.value.dtype)
    return expr(f"tl.where({{m}}, {{o}}, {zero})", m=mask, o=old)


def _float_extremum(
    state: CodegenState,
    name: str,
    place: tuple[ast.expr, ast.expr | None],
    value: ast.expr,
) -> ast.expr:
    """Compare floats by their bits: as signed ints, or unsigned ones the other way.

    The bits of negative floats grow as these fall. NaN is given the sign with which it
    wins, as in torch.
    """
    bits = 8 * state.value.dtype.itemsize
    pointer, mask = place
    value = state.lift(value, "value")
    raw = expr(f"({{v}}).to(tl.int{bits}, bitcast=True)", v=value)
    raw = state.lift(raw, "bits")
    nan = -1 if name == "atomic_min" else (1 << (bits - 1)) - 1
    signed = expr(f"tl.where({{v}} != {{v}}, {nan}, {{b}})", v=value, b=raw)
    signed = state.lift(signed, "bits")
    olds = []
    other = "atomic_max" if name == "atomic_min" else "atomic_min"
    for op, kind, test in ((name, "int", ">= 0"), (other, "uint", "< 0")):
        where = expr(f"({{b}} {test})", b=signed)
        lanes = where if mask is None else expr("{w} & {m}", w=where, m=mask)
        cast = f"tl.pointer_type(tl.{kind}{bits})"
        at = expr(f"({{p}}).to({cast}, bitcast=True)", p=pointer)
        part = expr(f"{{b}}.to(tl.{kind}{bits}, bitcast=True)", b=signed)
        old = state.lift(_call(op, state, [at, part], lanes), "old")
        olds.append(expr(f"{{o}}.to(tl.int{bits}, bitcast=True)", o=old))
    result = expr("tl.where({b} >= 0, {p}, {n})", b=signed, p=olds[0], n=olds[1])
    result = state.lift(result, "old")
    return expr("{o}.to({d}, bitcast=True)", o=result, d=state.dtype_expr())


def _exchange_bits(
    state: CodegenState, place: tuple[ast.expr, ast.expr | None], value: ast.expr
) -> ast.expr:
    """Exchange floats as integers of their size, which all targets can do."""
    kind = f"tl.int{8 * state.value.dtype.itemsize}"
    pointer, mask = place
    pointer = expr(f"({{p}}).to(tl.pointer_type({kind}), bitcast=True)", p=pointer)
    value = expr(f"({{v}}).to({kind}, bitcast=True)", v=value)
    old = state.lift(_call("atomic_xchg", state, [pointer, value], mask), "old")
    return expr("{o}.to({d}, bitcast=True)", o=old, d=state.dtype_expr())


def _update_in_word(
    state: CodegenState,
    name: str,
    place: tuple[ast.expr, ast.expr | None],
    value: ast.expr,
) -> ast.expr:
    """Do a bitwise update of a byte or two in the aligned 32-bit word around them."""
    dtype = state.value.dtype
    bits = 8 * dtype.itemsize
    ones = (1 << bits) - 1
    pointer, mask = place
    address = state.lift(expr("({p}).to(tl.int64)", p=pointer), "address")
    shift = expr("(({a} & 3) * 8).to(tl.uint32)", a=address)
    shift = state.lift(shift, "shift")
    word = expr("({a} & -4).to(tl.pointer_type(tl.uint32))", a=address)
    part = expr(f"({{v}}.to(tl.uint32) & {ones}) << {{s}}", v=value, s=shift)
    if name == "atomic_and":
        # The bits around stay: they meet ones.
        around = expr(
            f"(tl.full([], {ones}, tl.uint32) << {{s}}) ^ "
            "tl.full([], 4294967295, tl.uint32)",
            s=shift,
        )
        part = expr("({p}) | ({a})", p=part, a=around)
    old = state.lift(_call(name, state, [word, part], mask), "old")
    old = expr(f"(({{o}} >> {{s}}) & {ones})", o=old, s=shift)
    if dtype == torch.bool:
        return expr("({o} != 0)", o=old)
    return expr("{o}.to({d})", o=old, d=state.dtype_expr())


for _op in _DTYPES:
    _atomic_rules(_op)
