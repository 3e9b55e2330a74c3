"""What docs/reductions.md names exists, and it answers the questions that were open."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

import helion
from helion.autotuner.config_knobs import KNOBS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reductions.md").read_text()
SETTINGS = {field.name for field in dataclasses.fields(helion.Settings)}


def test_knobs_and_settings_of_the_page_exist() -> None:
    assert set(re.findall(r"`(reduction_\w+)=", PAGE)) <= KNOBS.keys()
    named = {"max_triton_tensor_numel", "max_reduction_chunk"}
    assert named <= SETTINGS and all(name in PAGE for name in named)
    assert hasattr(helion.exc, "HelionReductionTooLarge")


def test_files_of_the_page_exist() -> None:
    names = re.findall(r"`([\w/]+\.py)`", PAGE)
    folders = (ROOT, ROOT / "helion" / "_compiler")
    assert names and all(any((f / n).exists() for f in folders) for n in names)


@pytest.mark.parametrize(
    "said",
    [
        "take a snapshot of",
        "cache of values to clear",
        "persistent form\nis used whenever it fits",
        "what was rejected",
    ],
)
def test_open_questions_are_answered(said: str) -> None:
    assert said in PAGE
