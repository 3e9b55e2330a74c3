"""Matrix products of block-scaled (microscaling) tiles: hl.dot_scaled."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .. import exc
from . import _decorators
from ._eager_indexing import native
from ._eager_low_bits import e2m1_pair, e8m0_to_float32
from .low_bit_ops import FLOAT4_X2

GROUP = 32  # numbers that share a scale
SCALE_DTYPES = (torch.uint8, torch.float8_e8m0fnu)
ACC_DTYPES = (torch.float16, torch.float32)
OUT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Format:
    """How the elements of an operand are stored; ``pack`` numbers in each."""

    dtypes: tuple[torch.dtype, ...]
    number: torch.dtype | None = None
    pack: int = 1


FORMATS = {
    "e2m1": Format((torch.uint8, FLOAT4_X2), pack=2),
    "e4m3": Format((torch.float8_e4m3fn, torch.uint8), torch.float8_e4m3fn),
    "e5m2": Format((torch.float8_e5m2, torch.uint8), torch.float8_e5m2),
    "bf16": Format((torch.bfloat16,), torch.bfloat16),
    "fp16": Format((torch.float16,), torch.float16),
}


@_decorators.api(is_device_only=True)
def dot_scaled(  # noqa: PLR0913 (two factors with a scale and a format each)
    mat1: torch.Tensor,
    mat1_scale: torch.Tensor | None,
    mat1_format: str,
    mat2: torch.Tensor,
    mat2_scale: torch.Tensor | None,
    mat2_format: str,
    acc: torch.Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """Return ``acc + (mat1 * scales) @ (mat2 * scales)``, summed in float32.

    Each 32 numbers along K share a scale ``2 ** (code - 127)``; code 255 is NaN.

    Args:
        mat1: ``[M, K]``, or ``[M, K / 2]`` in the format ``"e2m1"``: two 4-bit floats
            in a byte, the first in the low bits.
        mat1_scale: codes as uint8 (or ``torch.float8_e8m0fnu``), ``[M, K / 32]`` with
            K / 32 rounded up; None for no scales.
        mat1_format: ``"e2m1"``, ``"e4m3"``, ``"e5m2"``, ``"bf16"`` or ``"fp16"``; the
            8-bit ones as their torch dtypes or as uint8.
        mat2: ``[K, N]``, or ``[K / 2, N]`` in the format ``"e2m1"``.
        mat2_scale: ``[N, K / 32]``: one row for each column of ``mat2``.
        mat2_format: as ``mat1_format``; the two may differ.
        acc: float32 or float16 of shape ``[M, N]``; None counts as zero.
        out_dtype: the dtype of the result; if None that of ``acc``, else float32.

    Raises:
        exc.InvalidAPIUsage: an unknown format, or ranks, shapes or dtypes that do not
            fit.

    Example::

        for k in hl.tile(K):
            group = k.begin // 32 + hl.arange(k.block_size // 32)
            acc = hl.dot_scaled(x[m, k], xs[m, group], "e4m3",
                                y[k, n], ys[n, group], "e4m3", acc=acc)
    """
    check_dtypes(mat1, mat1_scale, mat1_format)
    check_dtypes(mat2, mat2_scale, mat2_format)
    check_acc(acc, out_dtype)
    with native():
        left = _numbers(mat1, mat1_scale, mat1_format)
        right = _numbers(mat2.t(), mat2_scale, mat2_format)
        if left.shape[1] != right.shape[1]:
            raise unequal_sums(left.shape[1], right.shape[1])
        result = left @ right.t()
        if acc is not None:
            check_acc_shape(acc, list(result.shape))
            result = acc.to(torch.float32) + result
        return result.to(scaled_dtype(acc, out_dtype))


def scaled_dtype(
    acc: torch.Tensor | None, out_dtype: torch.dtype | None
) -> torch.dtype:
    """Return the dtype of a product with these arguments."""
    if out_dtype is not None:
        return out_dtype
    return torch.float32 if acc is None else acc.dtype


def check_dtypes(
    value: torch.Tensor, scale: torch.Tensor | None, name: object
) -> Format:
    """Return the format of an operand; InvalidAPIUsage if it does not fit."""
    found = FORMATS.get(name) if isinstance(name, str) else None
    if found is None:
        raise _misuse(f"the format is {name!r}, but must be one of {list(FORMATS)}")
    if value.dtype not in found.dtypes:
        wanted = " or ".join(str(dtype) for dtype in found.dtypes)
        raise _misuse(f"{name!r} takes values of {wanted}, not {value.dtype}")
    if value.ndim != 2:
        raise _misuse(f"the factors must be 2-D, not {value.ndim}-D")
    if scale is None:
        return found
    if not isinstance(scale, torch.Tensor):
        raise _misuse(f"a scale is a tensor or None, not {scale!r}")
    if scale.dtype not in SCALE_DTYPES:
        wanted = " or ".join(str(dtype) for dtype in SCALE_DTYPES)
        raise _misuse(f"scales are of {wanted}, not {scale.dtype}")
    if scale.ndim != 2:
        raise _misuse(f"scales must be 2-D, not {scale.ndim}-D")
    return found


def check_acc(acc: torch.Tensor | None, out_dtype: torch.dtype | None) -> None:
    """Raise InvalidAPIUsage for an accumulator or result of an unsupported dtype."""
    if acc is not None and acc.dtype not in ACC_DTYPES:
        raise _misuse(f"acc is of {acc.dtype}, but must be float32 or float16")
    if out_dtype is not None and out_dtype not in OUT_DTYPES:
        raise _misuse(f"out_dtype is {out_dtype}, but must be a float dtype")


def check_acc_shape(acc: torch.Tensor, expected: list[int]) -> None:
    """Raise InvalidAPIUsage unless ``acc`` has the shape of the product."""
    if list(acc.shape) != expected:
        raise _misuse(f"acc has shape {list(acc.shape)}, but the product {expected}")


def unequal_sums(left: object, right: object) -> exc.Base:
    """Return the error of factors with different K."""
    return _misuse(
        f"mat1 has {left} numbers along K, but mat2 has {right}",
        hint='an "e2m1" factor holds two numbers in each byte along K',
    )


def _misuse(text: str, **options: str) -> exc.Base:
    return exc.InvalidAPIUsage(f"hl.dot_scaled: {text}", **options)


def _numbers(
    value: torch.Tensor, scale: torch.Tensor | None, name: str
) -> torch.Tensor:
    """Return rows of a factor along K as float32, scales multiplied in."""
    number = FORMATS[name].number
    if number is None:
        result = torch.stack(e2m1_pair(value), dim=-1).flatten(1)
    else:
        result = value.view(number).to(torch.float32)
    if scale is None:
        return result
    rows, length = result.shape
    groups = -(-length // GROUP)
    if scale.shape[0] != rows or scale.shape[1] < groups:
        raise _misuse(
            f"scales of shape {list(scale.shape)}, but {[rows, groups]} are needed"
        )
    factors = e8m0_to_float32(scale).repeat_interleave(GROUP, dim=1)
    return result * factors[:, :length]
