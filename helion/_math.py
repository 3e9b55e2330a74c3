"""Integer helpers that keep symbolic sizes symbolic."""

from __future__ import annotations

import math
from typing import overload

import torch


@overload
def cdiv(a: int, b: int) -> int: ...
@overload
def cdiv(a: int | torch.SymInt, b: int | torch.SymInt) -> int | torch.SymInt: ...
def cdiv(a: int | torch.SymInt, b: int | torch.SymInt) -> int | torch.SymInt:
    """Return ``a / b`` rounded up, for ``b > 0``."""
    return (a + b - 1) // b


@overload
def next_power_of_2(n: int) -> int: ...
@overload
def next_power_of_2(n: torch.SymInt) -> torch.SymInt: ...
def next_power_of_2(n: int | torch.SymInt) -> int | torch.SymInt:
    """Return the smallest power of two that is at least ``n`` (1 for ``n <= 1``)."""
    if isinstance(n, torch.SymInt):
        # bit_length() of a SymInt would fix its value; this expression does not.
        # torch has no public symbolic logarithm
        symbolic_log2 = torch._sym_log2  # pyright: ignore[reportAttributeAccessIssue]
        return 2 ** math.ceil(symbolic_log2(torch.sym_max(n, 1)))
    return 1 << max(n - 1, 0).bit_length()
