"""Every op of the coverage table agrees with torch, and the page says how each does."""

from __future__ import annotations

import functools

import pytest
import torch

from test.op_coverage import page
from test.op_coverage.case import COLUMNS, Case, Job
from test.op_coverage.compare import difference
from test.op_coverage.runner import CASES, SHAPE, Outcome, jobs_of, rotated
from test.op_coverage.runner import run as run_jobs

FAMILIES = list(dict.fromkeys(case.family for case in CASES))
WAYS = ["eager", "interpreted", pytest.param("compiled", marks=pytest.mark.gpu)]
WITHOUT_ROWS = (0, COLUMNS)
# Torch leaves the mean of no rows as it was in memory.
UNDEFINED_WITHOUT_ROWS = "F.multi_margin_loss(g, c)"


def unexpected(found: list[Outcome]) -> str:
    return "\n".join(str(outcome) for outcome in found if not outcome.is_expected)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", FAMILIES)
def test_ops_agree_with_torch(way: str, family: str) -> None:
    """In two dtypes of each row; scripts/op_coverage runs them in all."""
    cases = [case for case in CASES if case.family == family]
    found = run_jobs(rotated(cases), way)
    assert found and not unexpected(found), unexpected(found)


@pytest.mark.parametrize("layout", ["tile", "rows", "whole"])
def test_ops_of_tensors_without_rows(layout: str) -> None:
    cases = [case for case in CASES if case.layout == layout and not case.refused]
    cases = [case for case in cases if case.text != UNDEFINED_WITHOUT_ROWS]
    jobs = jobs_of(cases, [torch.float32])
    found = run_jobs(jobs, "interpreted", WITHOUT_ROWS)
    assert found and not unexpected(found), unexpected(found)


LIMITED = [case for case in CASES if case.limits]


def found_at_limits(case: Case, dtype: torch.dtype) -> torch.Tensor:
    """Return what torch gives, changed where the case has limits."""
    job = Job(case, dtype)
    x, found = job.tensors()["x"], job.expected()[0].clone()
    for value, result in case.limits:
        is_zero = x.signbit() if str(value) == "-0.0" else True
        found[(x == value) & is_zero] = result
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("case", LIMITED, ids=str)
def test_limits_of_a_case_hold_it_to_one_result(case: Case, dtype: torch.dtype) -> None:
    job, right = Job(case, dtype), found_at_limits(case, dtype)
    x = job.tensors()["x"]
    assert case.note
    assert not difference(job, [right], SHAPE)
    assert str(right.tolist()) != str(job.expected()[0].tolist())
    for place in (x == case.limits[0][0], x == 1.0, x.isnan()):
        assert difference(job, [torch.where(place, 7.5, right)], SHAPE)
    assert difference(job, [torch.where(x == 1.0, case.limits[0][1], right)], SHAPE)


def test_float64_is_looser_only_where_a_case_says_so() -> None:
    case = next(case for case in CASES if case.text == "torch.special.bessel_j0(x)")
    for dtype, error, is_close in (
        (torch.float64, 1e-9, True),
        (torch.float64, 1e-8, False),
        (torch.float32, 1e-4, False),
    ):
        job = Job(case, dtype)
        text = difference(job, [job.expected()[0] + error], SHAPE)
        assert (not text) == is_close, (dtype, error, text)


@functools.cache
def rows_of_page() -> list[str]:
    """Return the expressions of docs/op_coverage.md, each with its family."""
    headings = {f"## {name[0].upper()}{name[1:]}": name for name in FAMILIES}
    family, rows = "", []
    for line in page.PAGE.read_text().splitlines():
        if line.startswith("## "):
            family = headings.get(line, "")
        elif family and line.startswith("| `"):
            expression = line.split("` | ")[0].removeprefix("| `")
            rows.append(f"{family}: {expression}".replace("\\|", "|"))
    return rows


def test_page_has_a_row_for_every_case() -> None:
    names = [page.key(case) for case in CASES]
    assert len(set(names)) == len(names)
    assert rows_of_page() == names, "run scripts/op_coverage"


def test_page_is_what_the_recorded_outcomes_say() -> None:
    assert page.PAGE.read_text() == page.page(page.load()), "run scripts/op_coverage"


def test_page_shows_no_difference_without_a_reason() -> None:
    assert not page.unexplained(page.load())


@pytest.mark.parametrize("way", ["eager", "interpreted"])
def test_page_has_an_outcome_of_every_case(way: str) -> None:
    known = page.load()[way]["cases"]
    missing = [key for key in map(page.key, CASES) if not known.get(key)]
    assert not missing, "run scripts/op_coverage"
