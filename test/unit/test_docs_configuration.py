"""docs/configuration.md has every knob as it is declared."""

from __future__ import annotations

from helion.autotuner.config_knobs import KNOBS
from scripts import knob_table


def test_table_of_knobs_is_as_they_are_declared() -> None:
    text = knob_table.PAGE.read_text()
    assert knob_table.renewed(text) == text, "run python -m scripts.knob_table"


def test_every_knob_has_a_row() -> None:
    lines = knob_table.table().splitlines()
    assert [line.split("`")[1] for line in lines[2:]] == list(KNOBS)
    assert all(line.count("|") == 6 for line in lines)
