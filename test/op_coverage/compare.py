"""Compares the result of a case with torch's, and with what float64 says of it."""

from __future__ import annotations

import torch

from test.op_coverage.case import Job

TOLERANCES = {
    torch.float64: 1e-10,
    torch.float32: 2e-5,
    torch.float16: 4e-3,
    torch.bfloat16: 2e-2,
}
_SHOWN = 3


def difference(job: Job, found: list[torch.Tensor], shape: tuple[int, int]) -> str:
    """Return in what a result differs from torch's, '' if in nothing.

    A number may be off by the tolerance of its dtype from torch's own or from what
    float64 gives; exact cases from torch's alone, and by nothing. NaN, infinities and
    the signs of zeros must be torch's, or else what the limits of the case say.
    """
    wanted = job.expected(shape)
    precise = wanted if job.case.exact else job.precise(shape)
    for mine, theirs, exact in zip(found, wanted, precise, strict=True):
        if mine.dtype != theirs.dtype or mine.shape != theirs.shape:
            return f"{mine.dtype} {list(mine.shape)}, not {theirs.dtype}"
        wrong = ~(_agrees(job, mine, theirs, exact) | _at_limits(job, mine, shape))
        if wrong.any():
            return (
                f"{int(wrong.sum())} of {wrong.numel()} elements: "
                f"{mine[wrong][:_SHOWN].tolist()} for {theirs[wrong][:_SHOWN].tolist()}"
            )
    return ""


def _agrees(
    job: Job, mine: torch.Tensor, theirs: torch.Tensor, exact: torch.Tensor
) -> torch.Tensor:
    if not theirs.dtype.is_floating_point:
        return mine == theirs
    limit = 0.0 if job.case.exact else TOLERANCES.get(theirs.dtype, 0.0)
    limit *= job.case.scale
    if theirs.dtype == torch.float64:
        limit *= job.case.float64_scale
    rounded = exact.to(theirs.dtype).double()
    mine, theirs = mine.double(), theirs.double()
    close = _close(mine, theirs, limit) | _close(mine, rounded, limit)
    if job.case.any_zero:
        return close
    is_zero = (mine == 0) & (theirs == 0)
    return close & ~(is_zero & (mine.signbit() != theirs.signbit()))


def _at_limits(job: Job, mine: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """Where a result is what the limits of the case say for its ``x``."""
    found = torch.zeros_like(mine, dtype=torch.bool)
    for value, result in job.case.limits:
        found |= _is(job.tensors(shape)["x"], value) & _is(mine, result)
    return found


def _is(tensor: torch.Tensor, number: float) -> torch.Tensor:
    """Compare with a number; zeros of two signs differ."""
    wanted = torch.tensor(number, dtype=torch.float64)
    return (tensor.double() == wanted) & (tensor.signbit() == wanted.signbit())


def _close(mine: torch.Tensor, other: torch.Tensor, limit: float) -> torch.Tensor:
    return torch.isclose(mine, other, rtol=limit, atol=limit, equal_nan=True)
