"""Pieces of Markdown for the measured tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MISSING = "not measured yet"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rows))


def number(value: float | None, spec: str) -> str:
    """Return a formatted number, or say that there is none."""
    return MISSING if value is None else format(value, spec)


def text_of(value: float | None, spec: str) -> str:
    """Return a formatted number, empty if there is none."""
    return "" if value is None else format(value, spec)


def described(found: Mapping[str, Any]) -> str:
    """Return one line on when and with what a file was measured."""
    versions = ", ".join(f"{name} {text}" for name, text in found["versions"].items())
    return f"Commit {found['commit']}, {found['date']}; {versions}.\n\n"
