"""All cases of the benchmark by name and by family."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from benchmarks import (
    cases_attention,
    cases_jagged,
    cases_matmul,
    cases_other,
    cases_pointwise,
    cases_rows,
)
from benchmarks.case import BenchCase

CASES: dict[str, BenchCase] = {
    case.name: case
    for module in (
        cases_pointwise,
        cases_rows,
        cases_matmul,
        cases_attention,
        cases_jagged,
        cases_other,
    )
    for case in module.CASES
}
FAMILIES: dict[str, tuple[str, ...]] = {
    family: tuple(name for name, case in CASES.items() if case.family == family)
    for family in dict.fromkeys(case.family for case in CASES.values())
}


def case_of(name: str) -> BenchCase:
    """Return a case of the suite, or one of a random draw by its full name."""
    if name in CASES:
        return CASES[name]
    from benchmarks.draw import drawn_case

    return drawn_case(name)


def chosen_cases(words: Iterable[str]) -> tuple[str, ...]:
    """Return the cases that any of the words names, in the order of ``CASES``.

    A word is a family, a case, or a pattern of the names of cases. Raises ``KeyError``
    with the word that names nothing.
    """
    chosen: set[str] = set()
    for word in words:
        found = FAMILIES.get(word) or [n for n in CASES if fnmatchcase(n, word)]
        if not found:
            raise KeyError(word)
        chosen.update(found)
    return tuple(name for name in CASES if name in chosen)
