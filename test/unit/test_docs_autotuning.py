"""What docs/autotuning.md shows is true."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import re
import sys
from pathlib import Path

import helion
from helion import autotuner
from test import interpreter_worker

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "autotuning.md").read_text()
SETTINGS = {field.name for field in dataclasses.fields(helion.Settings)}


def run_page(path: str) -> None:
    """Import the code of the page from a file; its asserts are the test."""
    spec = importlib.util.spec_from_file_location("autotuning_page", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["autotuning_page"] = module
    spec.loader.exec_module(module)


def test_code_of_the_page_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    assert len(blocks) == 3
    path = tmp_path / "autotuning_page.py"
    path.write_text("\n".join(blocks))
    run_page(str(path))
    interpreter_worker.call(run_page, (str(path),))


def test_settings_and_names_of_the_page_exist() -> None:
    named = set(re.findall(r"\b(?:force_)?autotune\w+", PAGE))
    known = {*SETTINGS, "autotuner", "autotune_", "autotuning_page"}
    assert named <= known, named - known
    for name in re.findall(r"^\| `(\w+Search)` \|", PAGE, re.M):
        assert autotuner.search_named(name).name == name
    for name in ("NoConfigFound", "TritonUnrecoverableRuntimeError"):
        assert hasattr(helion.exc, name) and name in PAGE


def default_of(search: type, name: str) -> object:
    return inspect.signature(search).parameters[name].default


def test_numbers_of_the_page_are_those_of_the_searches() -> None:
    evolution = autotuner.DifferentialEvolutionSearch
    quick = evolution.efforts["quick"]
    words = (
        f"the best {default_of(evolution, 'population_size')} of",
        f"{default_of(evolution, 'max_generations')} generations",
        f'`"quick"` is {quick["population_size"]} and {quick["max_generations"]}',
        f"count={default_of(autotuner.RandomSearch, 'count')}",
    )
    for word in words:
        assert word in PAGE, word
