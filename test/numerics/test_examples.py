"""Every example kernel, in every way, under its default and some other Configs."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples._catalog import CASES, Case
from test.harness import check

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PROGRAMS = sorted(path.stem for path in EXAMPLES.glob("[a-z]*.py"))
KERNELS = {case.name: case for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_example_kernel_agrees_with_float64(case: Case, way: str) -> None:
    check(
        case.kernel,
        *case.make_args("cpu", True),
        way=way,
        reference=case.reference,
        configs=(None, *case.configs),
        tolerance=case.tolerance,
    )


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_example_kernel_is_right_at_real_size(case: Case) -> None:
    check(
        case.kernel,
        *case.make_args("cuda", False),
        way="compiled",
        reference=case.reference,
        tolerance=case.tolerance,
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_example_program_checks_itself(name: str) -> None:
    importlib.import_module(f"examples.{name}").main()


def test_example_runs_as_a_script() -> None:
    command = [sys.executable, str(EXAMPLES / "add.py")]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


DYNAMIC = ["add", "matmul", "softmax", "layer_norm", "attention", "embedding"]


@pytest.mark.parametrize("name", DYNAMIC)
def test_example_kernel_is_right_with_dynamic_shapes(name: str, way: str) -> None:
    case = KERNELS[name]
    check(
        case.kernel,
        *case.make_args("cpu", True),
        way=way,
        reference=case.reference,
        configs=(None, *case.configs[:1]),
        tolerance=case.tolerance,
        static_shapes=False,
    )
