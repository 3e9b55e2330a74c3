"""Matrix multiplication of tiles: hl.dot."""

from __future__ import annotations

import torch

from .. import exc
from . import _decorators
from ._eager_matmul import compute_dtype, product

OPERAND_DTYPES = (
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.int8,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
)
ACC_DTYPES = (torch.float16, torch.float32, torch.float64, torch.int32)


@_decorators.api(is_device_only=True)
def dot(
    mat1: torch.Tensor,
    mat2: torch.Tensor,
    acc: torch.Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """Return ``acc + mat1 @ mat2``, summed in float32 (int8 in int32).

    Args:
        mat1: ``[M, K]`` or ``[B, M, K]``.
        mat2: ``[K, N]`` or ``[B, K, N]``; a batch of size 1 broadcasts. Different
            dtypes are promoted.
        acc: float16, float32 or int32 (for int8) of the result's shape; None counts
            as zero.
        out_dtype: the dtype of the result. If None that of ``acc``; without one int32
            for int8 operands and float32 for all others (float64 for float64).

    Raises:
        ValueError: the ranks or the K dims do not fit, or ``acc`` has another shape.
        TypeError: an unsupported dtype.
        exc.DotBatchDimensionMismatch: the batch sizes differ and none is 1.

    Example::

        acc = hl.dot(x[tile_m, tile_k], y[tile_k, tile_n], acc=acc)
    """
    check_dot(mat1, mat2, acc)
    wide = compute_dtype(mat1.dtype, mat2.dtype)
    result = product(mat1, mat2, wide)
    if acc is not None:
        result = acc.to(torch.promote_types(wide, acc.dtype)) + result
    return result.to(dot_dtype(mat1, mat2, acc, out_dtype))


def dot_dtype(
    mat1: torch.Tensor,
    mat2: torch.Tensor,
    acc: torch.Tensor | None,
    out_dtype: torch.dtype | None,
) -> torch.dtype:
    """Return the dtype of ``hl.dot`` with these arguments."""
    if out_dtype is not None:
        return out_dtype
    return compute_dtype(mat1.dtype, mat2.dtype) if acc is None else acc.dtype


def check_dot(mat1: torch.Tensor, mat2: torch.Tensor, acc: torch.Tensor | None) -> None:
    """Raise what :func:`dot` documents if the arguments do not fit together."""
    _check_shapes(mat1, mat2)
    for operand in (mat1, mat2):
        if operand.dtype not in OPERAND_DTYPES:
            raise TypeError(f"hl.dot does not multiply {operand.dtype}")
    if acc is None:
        return
    if acc.dtype not in ACC_DTYPES:
        raise TypeError(f"hl.dot does not accumulate in {acc.dtype}")
    is_integer = compute_dtype(mat1.dtype, mat2.dtype) == torch.int32
    if is_integer != (acc.dtype == torch.int32):
        raise TypeError(f"hl.dot of {mat1.dtype} does not accumulate in {acc.dtype}")
    expected = dot_shape(mat1, mat2)
    if list(acc.shape) != expected:
        raise ValueError(f"acc has shape {list(acc.shape)}, but the dot {expected}")


def dot_shape(mat1: torch.Tensor, mat2: torch.Tensor) -> list[int]:
    """Return the shape of ``mat1 @ mat2``."""
    batch = [] if mat1.ndim == 2 else [max(mat1.shape[0], mat2.shape[0])]
    return [*batch, mat1.shape[-2], mat2.shape[-1]]


def _check_shapes(mat1: torch.Tensor, mat2: torch.Tensor) -> None:
    if mat1.ndim != mat2.ndim or mat1.ndim not in (2, 3):
        raise ValueError(
            f"hl.dot needs two 2-D or two 3-D tensors, not {mat1.ndim}-D and "
            f"{mat2.ndim}-D"
        )
    if mat1.shape[-1] != mat2.shape[-2]:
        raise ValueError(
            f"hl.dot sums over {mat1.shape[-1]} columns of mat1, but mat2 has "
            f"{mat2.shape[-2]} rows"
        )
    batches = {mat1.shape[0], mat2.shape[0]} - {1}
    if mat1.ndim == 3 and len(batches) > 1:
        raise exc.DotBatchDimensionMismatch(left=mat1.shape[0], right=mat2.shape[0])
