"""The dtypes of matrix products."""

from __future__ import annotations

import torch

FLOAT8_DTYPES = (torch.float8_e4m3fn, torch.float8_e5m2)


def product_dtype(*dtypes: torch.dtype) -> torch.dtype:
    """Return the dtype in which all operands are exact; torch promotes no 8-bit float.

    Two kinds of 8-bit floats meet in float16, which holds both.
    """
    result = dtypes[0]
    for dtype in dtypes[1:]:
        narrow = [d for d in (result, dtype) if d in FLOAT8_DTYPES]
        others = [d for d in (result, dtype) if d not in FLOAT8_DTYPES]
        if result == dtype or not narrow:
            result = torch.promote_types(result, dtype)
        elif others and others[0].is_floating_point:
            result = others[0]
        else:
            result = torch.float16
    return result


def addmm_dtype(acc: torch.dtype, *factors: torch.dtype) -> torch.dtype:
    """Return the dtype of ``acc + a @ b``: that of a wide acc, or the promoted one."""
    if acc in (torch.float32, torch.float64):
        return acc
    return product_dtype(acc, *factors)
