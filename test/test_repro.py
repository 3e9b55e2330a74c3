"""Programs that once showed a defect run to their end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("name", ["minimal_repro", "layer_norm_bwd_symbolic_mismatch"])
def test_repro_program_ends_well(name: str) -> None:
    command = [sys.executable, "-m", f"scripts.repro.{name}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{name}: right" in done.stdout


def test_debug_note_names_the_programs() -> None:
    note = (ROOT / "docs" / "layer_norm_bwd_debug.md").read_text()
    assert "minimal_repro.py" in note and "symbolic_mismatch.py" in note
