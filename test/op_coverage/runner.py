"""Runs cases in groups, one kernel each, and says how each of them came out."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from helion import exc
from test.op_coverage import (
    activation_cases,
    pointwise_cases,
    reduction_cases,
    shape_cases,
    tensor_cases,
)
from test.op_coverage.case import COLUMNS, ROWS, Case, Job
from test.op_coverage.compare import difference
from test.op_coverage.write_kernels import Shape, run_group

CASES: list[Case] = [
    *pointwise_cases.CASES,
    *activation_cases.CASES,
    *reduction_cases.CASES,
    *shape_cases.CASES,
    *tensor_cases.CASES,
]
GROUP = 40
SHAPE = (ROWS, COLUMNS)
EAGER = ("plain", "eager")


@dataclass(frozen=True)
class Outcome:
    """How one case came out in one way: "yes", "differs", "refused" or "fails"."""

    job: Job
    way: str
    status: str
    detail: str = ""

    @property
    def is_expected(self) -> bool:
        """Whether it agrees with torch, or not and the table says so."""
        case = self.job.case
        if self.status == "refused":
            return bool(case.refused) and self.detail.startswith(case.refused)
        return self.status == "yes"

    def __str__(self) -> str:
        dtype = str(self.job.dtype).removeprefix("torch.")
        return f"{self.way} {self.job.case} {dtype}: {self.status} {self.detail}"


def jobs_of(
    cases: Iterable[Case], dtypes: Iterable[torch.dtype] | None = None
) -> list[Job]:
    """Return each case with each of its dtypes (or those given), where torch runs."""
    chosen = None if dtypes is None else set(dtypes)
    jobs = [Job(case, d) for case in cases for d in case.dtypes]
    return [job for job in jobs if chosen is None or job.dtype in chosen]


def rotated(cases: list[Case]) -> list[Job]:
    """Return each case with its first dtype, and with one that differs by case."""
    jobs = []
    for index, case in enumerate(cases):
        kinds = {case.dtypes[0], case.dtypes[index % len(case.dtypes)]}
        jobs += [Job(case, dtype) for dtype in sorted(kinds, key=str)]
    return jobs


def run(jobs: Iterable[Job], way: str, shape: Shape = SHAPE) -> list[Outcome]:
    """Run all jobs that torch itself can run on the CPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = [job for job in jobs if is_defined(job, way, shape)]
        groups = list(_groups(known, way))
        return [found for group in groups for found in _settle(group, way, shape)]


def is_defined(job: Job, way: str, shape: Shape = SHAPE) -> bool:
    """Whether torch computes the case for the dtype, in eager mode on the CPU."""
    try:
        job.on_cpu(shape) if way in EAGER else job.expected(shape)
    except (RuntimeError, TypeError, NotImplementedError, IndexError):
        return False
    return True


def _groups(jobs: list[Job], way: str) -> Iterator[list[Job]]:
    """Group jobs of one dtype and layout; what is refused goes alone."""
    groups: dict[Any, list[Job]] = {}
    for job in jobs:
        if job.case.refused and way not in EAGER:
            yield [job]
        else:
            groups.setdefault((job.dtype, job.case.layout), []).append(job)
    for group in groups.values():
        for start in range(0, len(group), GROUP):
            yield group[start : start + GROUP]


def _settle(jobs: list[Job], way: str, shape: Shape) -> list[Outcome]:
    """Run jobs together; where that fails, halves of them."""
    try:
        found = run_group(jobs, way, shape)
    except (ImportError, NameError):
        raise  # of a broken tree, not of a case
    except Exception as error:
        if len(jobs) == 1:
            return [Outcome(jobs[0], way, *_reason(error))]
        half = len(jobs) // 2
        return _settle(jobs[:half], way, shape) + _settle(jobs[half:], way, shape)
    if way == "assembled":
        return [Outcome(job, way, "yes") for job in jobs]
    return [_judge(job, way, parts, shape) for job, parts in zip(jobs, found)]


def _judge(job: Job, way: str, parts: list[torch.Tensor], shape: Shape) -> Outcome:
    text = difference(job, parts, shape)
    return Outcome(job, way, "differs" if text else "yes", text)


def _reason(error: Exception) -> tuple[str, str]:
    """Return the status and text of an error, be it from another process."""
    text = str(error).strip()
    remote = re.findall(r"^helion\.exc\.(\w+): (.*)$", text, re.MULTILINE)
    if remote:
        name, message = remote[-1]
        return _kind(getattr(exc, name)), f"{name}: {message}"
    name = type(error).__name__
    lines = [line for line in text.splitlines() if line.strip()]
    if isinstance(error, exc.Base):
        return _kind(type(error)), f"{name}: {lines[0] if lines else ''}"
    return "fails", f"{name}: {lines[-1] if lines else ''}"


def _kind(error: type[Exception]) -> str:
    """Errors that are our own mistakes refuse nothing."""
    ours = (exc.InternalError, exc.InductorLoweringError)
    return "fails" if issubclass(error, ours) else "refused"
