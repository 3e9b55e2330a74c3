"""Every op of the coverage table agrees with torch, and the page says how each does."""

from __future__ import annotations

import functools

import pytest
import torch

from test.op_coverage import page
from test.op_coverage.case import COLUMNS
from test.op_coverage.runner import CASES, Outcome, jobs_of, rotated
from test.op_coverage.runner import run as run_jobs

FAMILIES = list(dict.fromkeys(case.family for case in CASES))
WAYS = ["eager", "interpreted", pytest.param("compiled", marks=pytest.mark.gpu)]
WITHOUT_ROWS = (0, COLUMNS)


def unexpected(found: list[Outcome]) -> str:
    return "\n".join(str(outcome) for outcome in found if not outcome.is_expected)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", FAMILIES)
def test_ops_agree_with_torch(way: str, family: str) -> None:
    """In two dtypes of each row; scripts/op_coverage runs them in all."""
    cases = [case for case in CASES if case.family == family]
    found = run_jobs(rotated(cases), way)
    assert found and not unexpected(found), unexpected(found)


@pytest.mark.parametrize("layout", ["tile", "rows"])
def test_ops_of_tensors_without_rows(layout: str) -> None:
    cases = [case for case in CASES if case.layout == layout and not case.refused]
    jobs = jobs_of(cases, [torch.float32])
    found = run_jobs(jobs, "interpreted", WITHOUT_ROWS)
    assert found and not unexpected(found), unexpected(found)


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
