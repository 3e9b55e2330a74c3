"""Errors of results beside float64, added up over chunks."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.case import Args, BenchCase, tensors_in

# Largest error of a result, by its dtype, relative to the norm of the reference. Single
# elements, relative to their size plus the root mean square of all, may be off by more.
ERROR_LIMITS = {
    torch.bfloat16: 1e-2,
    torch.float16: 2e-3,
    torch.float32: 1e-4,
    torch.float64: 1e-9,
}
WORST_FACTOR = 3.0
# Of integers, how large a part may be off by one: quotients are not exact on a GPU.
OFF_BY_ONE = 1e-4
# Elements that are compared at once, in float64.
COMPARED_NUMEL = 1 << 26


class Error:
    """The error of one result, added up over chunks of it."""

    def __init__(self, dtype: torch.dtype, limit: float | None = None) -> None:
        self.is_exact = not dtype.is_floating_point
        self.limit = 0.0 if self.is_exact else limit or ERROR_LIMITS[dtype]
        self.squares = self.reference_squares = self.worst = 0.0
        self.numel = self.different = 0

    def add(self, found: torch.Tensor, right: torch.Tensor) -> None:
        """Take one chunk into account; what is not finite counts as infinitely off."""
        if found.shape != right.shape:
            raise ArithmeticError(f"size {found.shape}, not {right.shape}")
        right = right.double()
        delta = (found.double() - right).abs().nan_to_num(nan=float("inf"))
        self.numel += delta.numel()
        if self.is_exact:
            self.different += int((delta > 0).sum())
            self.worst = max(self.worst, delta.max().item())
            return
        scale = right.abs() + right.square().mean().sqrt().clamp(min=1e-300)
        self.worst = max(self.worst, (delta / scale).max().item())
        self.squares += delta.square().sum().item()
        self.reference_squares += right.square().sum().item()

    def report(self) -> dict[str, Any]:
        """Return both errors, and whether they are within the limit."""
        if self.is_exact:
            part = self.different / max(self.numel, 1)
            is_right = self.worst <= 1 and part <= OFF_BY_ONE
            return {"relative": part, "worst": self.worst, "is_right": is_right}
        relative = (self.squares / max(self.reference_squares, 1e-300)) ** 0.5
        is_right = relative <= self.limit and self.worst <= WORST_FACTOR * self.limit
        return {"relative": relative, "worst": self.worst, "is_right": is_right}


def errors_of(case: BenchCase, args: Args, found: Any) -> list[dict[str, Any]]:
    """Compare every result with the float64 reference."""
    results = tensors_in(found)
    errors = [Error(result.dtype, case.limit) for result in results]
    for part, expected in case.expected(args):
        if len(expected) != len(results):
            raise ArithmeticError(f"{len(results)} results, not {len(expected)}")
        for error, mine, right in zip(errors, results, expected):
            error.add(mine[part], right)
    return [error.report() for error in errors]


def agrees(found: Any, expected: Any, limit: float | None = None) -> bool:
    """Say whether results equal others of the same precision, within both errors."""
    mine, other = tensors_in(found), tensors_in(expected)
    if [t.numel() for t in mine] != [t.numel() for t in other]:
        return False
    for left, right in zip(mine, other):
        error = Error(left.dtype, limit)
        for a, b in zip(*(t.reshape(-1).split(COMPARED_NUMEL) for t in (left, right))):
            error.add(a, b)
        if not error.report()["is_right"]:
            return False
    return True
