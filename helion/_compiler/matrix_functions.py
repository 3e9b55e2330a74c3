"""torch's matrix and vector products in device code, for operands of any rank.

They become products of matrices where there are some, and sums of products of elements
(float32 where the operands are narrower) where one side is a vector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from ..language.matmul_ops import OPERAND_DTYPES, dot
from ..language.product_dtypes import addmm_dtype
from .aten_decompositions import compute_dtype, decomposes
from .function_modes import DEVICE_HANDLERS, handles

if TYPE_CHECKING:
    from .graph_tracer import GraphTracer

aten = torch.ops.aten


# -- products of matrices ------------------------------------------------------------


@decomposes(aten.mm.default, aten.bmm.default)
def matrix_product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Matrices of integers, which no matrix unit takes, are multiplied by elements."""
    if {a.dtype, b.dtype} <= set(OPERAND_DTYPES):
        return NotImplemented
    return _summed(a.unsqueeze(-1), b.unsqueeze(-3), -2)


@decomposes(aten.addmm.default, aten.baddbmm.default)
def scaled_addmm(
    acc: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    *,
    beta: Any = 1,
    alpha: Any = 1,
) -> torch.Tensor:
    """Take products with factors other than 1 apart; nothing is rounded in between."""
    is_matrix = {a.dtype, b.dtype} <= set(OPERAND_DTYPES)
    if beta == 1 and alpha == 1 and is_matrix:
        return NotImplemented
    dtype = addmm_dtype(acc.dtype, a.dtype, b.dtype)
    if not is_matrix:
        total = matrix_product(a, b) * alpha
        return (total if beta == 0 else acc * beta + total).to(dtype)
    return _scaled_sum(acc, dot(a, b), beta, alpha).to(dtype)


def _scaled_sum(acc: torch.Tensor, value: Any, beta: Any, alpha: Any) -> torch.Tensor:
    """Return ``acc * beta + value * alpha``; a factor 0 hides NaN in ``acc``."""
    value = value if alpha == 1 else value * alpha
    if beta == 0:
        return value
    wide = torch.promote_types(acc.dtype, value.dtype)
    acc = acc.to(wide)
    return (acc if beta == 1 else acc * beta) + value


def _summed(a: torch.Tensor, b: torch.Tensor, dim: int) -> torch.Tensor:
    """Return the sum along a dim of products of elements, in the dtype of ``a``."""
    wide = compute_dtype(torch.promote_types(a.dtype, b.dtype))
    return (a.to(wide) * b.to(wide)).sum(dim).to(a.dtype)


@decomposes(aten.matmul.default)
def matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Multiply as ``torch.matmul``: vectors, matrices, and batches that broadcast."""
    if 0 in (a.dim(), b.dim()):
        raise exc.ShapeMismatch.from_text("matmul of a value without dims; use a * b")
    if a.shape[-1] != b.shape[max(b.dim() - 2, 0)]:
        raise RuntimeError(
            f"The size of {list(a.shape)} must match the size of {list(b.shape)}"
        )
    if a.dim() == b.dim() == 1:
        return _summed(a, b, 0)
    if b.dim() == 1:
        return _summed(a, b, -1)
    if a.dim() == 1:
        return _summed(a.unsqueeze(-1), b, -2)
    if a.dim() == b.dim() == 2:
        return aten.mm.default(a, b)
    return _batched(a, b)


def _batched(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Multiply stacks of matrices: dims of size 1 go, what is left is one dim."""
    batch = list(torch.broadcast_shapes(a.shape[:-2], b.shape[:-2]))
    shape = [*batch, a.shape[-2], b.shape[-1]]
    kept = [size for size in batch if size != 1]
    a, b = _stack(a, batch, kept), _stack(b, batch, kept)
    result = aten.mm.default(a, b) if a.dim() == 2 else aten.bmm.default(a, b)
    return (
        result if list(result.shape) == shape else aten.reshape.default(result, shape)
    )


def _stack(value: torch.Tensor, batch: list[int], kept: list[int]) -> torch.Tensor:
    sizes = list(value.shape[-2:])
    while value.dim() > len(kept) + 2 and 1 in value.shape[:-2]:
        value = value.squeeze(list(value.shape).index(1))
    if list(value.shape[:-2]) != kept:
        whole = [*batch, *sizes]
        value = aten.reshape.default(value.expand(whole), [*kept, *sizes])
    if len(kept) > 1:
        merged = 1
        for size in kept:
            merged = merged * size
        value = aten.reshape.default(value, [merged, *sizes])
    return value


# -- torch functions -----------------------------------------------------------------


@handles(
    DEVICE_HANDLERS,
    torch.matmul,
    torch.linalg.matmul,
    torch.Tensor.matmul,
    torch.Tensor.__matmul__,
)
def device_matmul(tracer: GraphTracer, a: torch.Tensor, b: torch.Tensor) -> Any:
    return matmul(a, b)


def _ranks(name: str, a: torch.Tensor, b: torch.Tensor, *wanted: int) -> None:
    if (a.dim(), b.dim()) != wanted:
        raise exc.ShapeMismatch.from_text(
            f"torch.{name} takes a {wanted[0]}-D and a {wanted[1]}-D value, not "
            f"{a.dim()}-D and {b.dim()}-D"
        )


@handles(DEVICE_HANDLERS, torch.mv, torch.Tensor.mv)
def device_mv(tracer: GraphTracer, a: torch.Tensor, vec: torch.Tensor) -> Any:
    _ranks("mv", a, vec, 2, 1)
    return matmul(a, vec)


@handles(DEVICE_HANDLERS, torch.dot, torch.vdot, torch.Tensor.dot, torch.Tensor.vdot)
def device_dot(tracer: GraphTracer, a: torch.Tensor, other: torch.Tensor) -> Any:
    _ranks("dot", a, other, 1, 1)
    return matmul(a, other)


@handles(DEVICE_HANDLERS, torch.inner, torch.Tensor.inner)
def device_inner(tracer: GraphTracer, a: torch.Tensor, other: torch.Tensor) -> Any:
    if 0 in (a.dim(), other.dim()):
        return a * other
    if other.dim() == 1:
        return matmul(a, other)
    if other.dim() == 2:
        return matmul(a, other.t())
    raise exc.ShapeMismatch.from_text("torch.inner takes a 1-D or 2-D second value")


@handles(DEVICE_HANDLERS, torch.outer, torch.ger, torch.Tensor.outer, torch.Tensor.ger)
def device_outer(tracer: GraphTracer, a: torch.Tensor, vec2: torch.Tensor) -> Any:
    _ranks("outer", a, vec2, 1, 1)
    return a.unsqueeze(1) * vec2.unsqueeze(0)


@handles(DEVICE_HANDLERS, torch.nn.functional.linear)
def device_linear(
    tracer: GraphTracer,
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
) -> Any:
    turned = weight.t() if weight.dim() == 2 else weight
    if bias is None:
        return matmul(input, turned)
    if input.dim() == weight.dim() == 2:
        return torch.addmm(bias, input, turned).to(input.dtype)
    wide = compute_dtype(input.dtype)
    return (matmul(input.to(wide), turned.to(wide)) + bias.to(wide)).to(input.dtype)


@handles(DEVICE_HANDLERS, torch.addmv, torch.Tensor.addmv)
def device_addmv(
    tracer: GraphTracer, acc: Any, a: Any, vec: Any, *, beta: Any = 1, alpha: Any = 1
) -> Any:
    _ranks("addmv", a, vec, 2, 1)
    return _with_acc(acc, a, vec, lambda x, y: matmul(x, y), (beta, alpha))


@handles(DEVICE_HANDLERS, torch.addr, torch.Tensor.addr)
def device_addr(
    tracer: GraphTracer, acc: Any, a: Any, vec2: Any, *, beta: Any = 1, alpha: Any = 1
) -> Any:
    _ranks("addr", a, vec2, 1, 1)
    outer = lambda x, y: x.unsqueeze(1) * y.unsqueeze(0)  # noqa: E731
    return _with_acc(acc, a, vec2, outer, (beta, alpha))


@handles(DEVICE_HANDLERS, torch.addbmm, torch.Tensor.addbmm)
def device_addbmm(
    tracer: GraphTracer, acc: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1
) -> Any:
    _ranks("addbmm", a, b, 3, 3)
    return _with_acc(acc, a, b, lambda x, y: matmul(x, y).sum(0), (beta, alpha))


def _with_acc(acc: Any, a: Any, b: Any, multiply: Any, factors: Any) -> torch.Tensor:
    """Add a product that is computed wide; the result has the promoted dtype."""
    dtype = addmm_dtype(acc.dtype, a.dtype, b.dtype)
    wide = compute_dtype(dtype)
    value = multiply(a.to(wide), b.to(wide))
    return _scaled_sum(acc.to(wide), value, *factors).to(dtype)


@handles(DEVICE_HANDLERS, torch.linalg.multi_dot, torch.chain_matmul)
def device_multi_dot(tracer: GraphTracer, *matrices: Any, **options: Any) -> Any:
    given = matrices[0] if isinstance(matrices[0], (list, tuple)) else matrices
    result = given[0]
    for matrix in given[1:]:
        result = matmul(result, matrix)
    return result
