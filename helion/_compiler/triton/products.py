"""Matrix products: ``tl.dot`` and what it needs around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ...language.memory_ops import load
from ...language.product_dtypes import product_dtype
from ..ast_extension import expr, text_of
from .dtypes import cast_text, triton_dtype

if TYPE_CHECKING:
    import ast

    from ..codegen_state import CodegenState

IMPRECISE_CHUNK = 128
"""The least number of 8-bit products in a sum that costs next to no time to add."""


def product(
    state: CodegenState,
    left: int,
    right: int,
    acc: int | None,
    out_dtype: torch.dtype,
) -> ast.expr:
    """Return ``acc + left @ right``; the arguments are positions in the node."""
    a, b = state.fake_arg(left), state.fake_arg(right)
    common = product_dtype(a.dtype, b.dtype)
    lhs = _cast(state, left, a.dtype, common)
    rhs = _cast(state, right, b.dtype, common)
    if a.dim() == 3 and a.shape[0] != b.shape[0]:
        lhs, a = _spread(state, lhs, a)
        rhs, b = _spread(state, rhs, b)
    accumulator = _accumulator_dtype(common)
    init = None if acc is None else state.expr_arg(acc)
    fake_acc = None if acc is None else state.fake_arg(acc)
    fuses = (
        fake_acc is not None
        and fake_acc.dtype == accumulator
        and list(fake_acc.shape) == list(state.value.shape)
        and out_dtype == accumulator
    )
    if common == torch.float32 and state.env.settings.dot_precision == "tf32":
        lhs = _in_registers(state, left, lhs, -1)
        rhs = _in_registers(state, right, rhs, -2)
    if common == torch.float64:
        lhs, rhs = (
            _settled(state, *pair) for pair in ((left, lhs, a), (right, rhs, b))
        )
    result = _dot(state, (lhs, rhs), (a, b), init if fuses else None, accumulator)
    if init is not None and not fuses:
        assert fake_acc is not None
        result = _added(state, result, accumulator, (init, fake_acc))
        accumulator = torch.promote_types(accumulator, fake_acc.dtype)
    if out_dtype == accumulator:
        return result
    value = state.lift(result, "product")
    return expr(cast_text(text_of(value), accumulator, out_dtype))


def _added(
    state: CodegenState,
    value: ast.expr,
    dtype: torch.dtype,
    acc: tuple[ast.expr, torch.Tensor],
) -> ast.expr:
    """Add a product of some dtype to another value, in the wider dtype of the two."""
    init, fake = acc
    wide = torch.promote_types(dtype, fake.dtype)
    total = state.lift(value, "product")
    total = cast_text(text_of(total), dtype, wide)
    init = state.launch.align(init, list(fake.shape), list(state.value.shape))
    init = state.lift(init, "acc")
    return expr(f"({total} + {cast_text(text_of(init), fake.dtype, wide)})")


def _accumulator_dtype(operand: torch.dtype) -> torch.dtype:
    if operand == torch.float64:
        return torch.float64
    integral = not operand.is_floating_point
    return torch.int32 if integral else torch.float32


def _cast(
    state: CodegenState, index: int, source: torch.dtype, target: torch.dtype
) -> ast.expr:
    value = state.expr_arg(index)
    if source == target:
        return value
    return state.lift(expr(cast_text(text_of(value), source, target)), "operand")


def _settled(
    state: CodegenState, index: int, value: ast.expr, fake: torch.Tensor
) -> ast.expr:
    """Keep Triton from looking for narrower numbers behind a float64 operand.

    It plans the layout by the narrowest load that it finds, and then fails.
    """
    node = state.node.args[index]
    rank = state.launch.rank(fake.shape)
    is_loaded = fake.dtype == torch.float64 and getattr(node, "target", None) is load
    if is_loaded or rank < 2:
        return value
    name = state.lift(value, "operand")
    place = ", ".join([":", *["None"] * (rank - 1)])
    rows = f"tl.broadcast_to(tl.arange(0, {{v}}.shape[0])[{place}], {{v}}.shape)"
    return state.lift(expr(f"tl.gather({{v}}, {rows}, 0)", v=name), "operand")


def _in_registers(
    state: CodegenState, index: int, value: ast.expr, summed: int
) -> ast.expr:
    """Bring an operand that does not lie along the sum through registers.

    A unit for tf32 reads along the sum only. Triton would turn such an operand around
    while it copies it, number by number. Reading the bits as another type and back
    changes nothing, but is work on values: these are copied in wide pieces then, and
    turned around on the way back to shared memory.
    """
    node: Any = state.node.args[index]
    if getattr(node, "target", None) is not load or state.fake_arg(index).dim() != 2:
        return value
    extent, tensor = state.fake_arg(index).shape[summed], node.args[0].meta["val"]
    indexed = [e for e in node.args[1] if e[0] != "new"]
    block = state.env.block_of(extent)
    for dim, element in enumerate(indexed):
        is_summed = block is not None and element[:2] == ("tile", block.block_id)
        if is_summed and tensor.stride(dim) != 1:
            bits = "tl.cast({v}, tl.int32, bitcast=True)"
            text = f"tl.cast({bits}, tl.float32, bitcast=True)"
            return state.lift(expr(text, v=value), "operand")
    return value


def _spread(
    state: CodegenState, value: ast.expr, fake: torch.Tensor
) -> tuple[ast.expr, torch.Tensor]:
    """Repeat the matrix of a batch of one for each of the result."""
    batch, shape = state.value.shape[0], list(fake.shape)
    if shape[0] == batch:
        return value, fake
    wide = [batch, *shape[1:]]
    if state.launch.is_single(batch):
        # Triton does not see such a dim.
        value = _drop_batch(state, value, fake)
    else:
        target = state.shape_expr(wide)
        value = expr(
            "tl.broadcast_to({v}, {s})", v=_whole(state, value, fake), s=target
        )
    return state.lift(value, "operand"), fake.new_empty(wide)


def _dot(
    state: CodegenState,
    values: tuple[ast.expr, ast.expr],
    fakes: tuple[torch.Tensor, torch.Tensor],
    acc: ast.expr | None,
    accumulator: torch.dtype,
) -> ast.expr:
    a, b = fakes
    sizes = [*a.shape[-2:], b.shape[-1]]
    if any(s == 1 or state.launch.is_single(s) for s in sizes):
        return _outer_sum(state, values, fakes, acc, accumulator)
    lhs, rhs = values
    is_single = a.dim() == 3 and a.shape[0] == 1
    if is_single:
        lhs, rhs = (
            _drop_batch(state, v, f) for v, f in zip(values, fakes, strict=True)
        )
        if acc is not None:
            acc = _drop_batch(state, acc, state.value)
    if state.node in state.launch.swapped:
        lhs, rhs = (expr("tl.trans({v})", v=v) for v in (rhs, lhs))
    precision = _precision(state, a.dtype) + _chunks(state, fakes, acc)
    text = f"tl.dot({{a}}, {{b}}{', acc={acc}' if acc is not None else ''}{precision}"
    text += f", out_dtype={triton_dtype(accumulator)})"
    holes = {"a": lhs, "b": rhs} | ({"acc": acc} if acc is not None else {})
    result = expr(text, **holes)
    if not is_single:
        return result
    return expr("{v}[None, :, :]", v=state.lift(result, "product"))


def _precision(state: CodegenState, dtype: torch.dtype) -> str:
    if dtype != torch.float32:
        return ""
    names = {"default": "tf32", "high": "tf32x3", "highest": "ieee"}
    chosen = state.env.settings.dot_precision
    return f", input_precision={names.get(chosen, chosen)!r}"


def _chunks(
    state: CodegenState,
    fakes: tuple[torch.Tensor, torch.Tensor],
    acc: ast.expr | None,
) -> str:
    """Return after how many products of 8-bit floats their sum is added to float32.

    Tensor cores of compute capability 9.0 keep 14 bits of a sum of such products.
    Triton lets them go on over all turns of a loop unless told otherwise, which costs
    percents of the result at thousands of elements.
    """
    is_8_bit = all(f.dtype.is_floating_point and f.dtype.itemsize == 1 for f in fakes)
    if not is_8_bit or state.env.settings.fp8_fast_accumulation:
        return ""
    depth = state.launch.dim_text([fakes[0].shape[-1]])
    constexpr = state.launch.constexprs.get(depth)
    known = depth if constexpr is None else constexpr.host
    # Triton refuses a chunk longer than the block.
    is_long = known.isdigit() and int(known) > IMPRECISE_CHUNK
    if acc is None and not is_long:
        return ""
    return f", max_num_imprecise_acc={IMPRECISE_CHUNK if is_long else depth}"


def _drop_batch(state: CodegenState, value: ast.expr, fake: torch.Tensor) -> ast.expr:
    shape = state.shape_expr(fake.shape[1:])
    return state.lift(expr("tl.reshape({v}, {s})", v=value, s=shape), "matrix")


def _outer_sum(
    state: CodegenState,
    values: tuple[ast.expr, ast.expr],
    fakes: tuple[torch.Tensor, torch.Tensor],
    acc: ast.expr | None,
    accumulator: torch.dtype,
) -> ast.expr:
    """A product with an extent of 1, which ``tl.dot`` does not take."""
    dtype = triton_dtype(accumulator)
    left, right = (_whole(state, v, f) for v, f in zip(values, fakes, strict=True))
    batch = ":, " * (fakes[0].dim() - 2)
    depth = fakes[0].shape[-1]
    if depth == 1 or state.launch.is_single(depth):
        # Triton's sum over a dim of size 1 may count copies in other threads.
        total = state.lift(
            expr(f"{{a}}.to({dtype}) * {{b}}.to({dtype})", a=left, b=right)
        )
    else:
        text = (
            f"{{a}}.to({dtype})[{batch}:, :, None] * "
            f"{{b}}.to({dtype})[{batch}None, :, :]"
        )
        total = expr(f"tl.sum({text}, {fakes[0].dim() - 1})", a=left, b=right)
        total = state.lift(total)
    shape = state.value.shape
    if not state.launch.rank(shape):
        result = expr("tl.sum({v}, 0)", v=expr("tl.reshape({v}, [1])", v=total))
    elif state.launch.rank(shape) < state.value.dim():
        result = expr("tl.reshape({v}, {s})", v=total, s=state.shape_expr(shape))
    else:
        result = total
    return result if acc is None else expr("({acc} + {r})", acc=acc, r=result)


def _whole(state: CodegenState, value: ast.expr, fake: torch.Tensor) -> ast.expr:
    """Return a value with every dim, also those that Triton does not see."""
    launch = state.launch
    if launch.rank(fake.shape) == fake.dim():
        return value
    sizes = ["1" if launch.is_single(e) else launch.dim_text([e]) for e in fake.shape]
    function = "reshape" if launch.rank(fake.shape) else "broadcast_to"
    return expr(f"tl.{function}({{v}}, [{', '.join(sizes)}])", v=value)
