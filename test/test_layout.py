"""Files and pages that the repository promises."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ["add", "matmul", "softmax", "layer_norm", "attention"]
MODULES = """
helion.runtime.kernel helion.runtime.settings helion.language
helion.language._decorators helion.language.constexpr helion.language.creation_ops
helion.language.memory_ops helion.language.reduce_ops helion.language.view_ops
helion.autotuner helion.autotuner.config_spec
helion._compiler.ast_extension helion._compiler.compile_environment
helion._compiler.device_function helion._compiler.device_ir
helion._compiler.generate_ast helion._compiler.host_function
helion._compiler.indexing_strategy helion._compiler.inductor_lowering
helion._compiler.reduction_strategy helion._compiler.tile_dispatch
helion._compiler.tile_strategy helion._compiler.type_propagation
""".split()


@pytest.mark.parametrize("name", MODULES)
def test_module_is_where_the_notes_say(name: str) -> None:
    command = [sys.executable, "-c", f"import {name}"] if name.count("_ir") else None
    if command is None:
        assert importlib.import_module(name).__doc__
    else:
        subprocess.run(command, cwd=ROOT, check=True)


@pytest.mark.parametrize("name", PROGRAMS)
def test_example_has_a_main_that_checks(name: str) -> None:
    text = (ROOT / "examples" / f"{name}.py").read_text()
    assert "def main() -> None:" in text and 'if __name__ == "__main__":' in text
    assert "_testing.main(CASES)" in text


def test_architecture_page_answers_and_names_its_tests() -> None:
    page = (ROOT / "docs" / "design.md").read_text()
    for words in (
        "Why host and device are split",
        "## Two stages",
        "Where a Config acts",
    ):
        assert words in page
    named = re.findall(r"test/[\w/]+\.py", page)
    assert len(named) >= 3 and all((ROOT / name).exists() for name in named)


def test_rejected_alternatives_are_recorded() -> None:
    page = (ROOT / "docs" / "design.md").read_text()
    section = page.split("## Alternatives rejected")[1].split("\n## ")[0]
    assert section.count("\n- **") >= 3
