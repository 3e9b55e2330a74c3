"""Every example kernel, in every way, under its default and some other Configs."""

from __future__ import annotations

import dataclasses
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from examples._catalog import CASES, Case
from helion import _testing
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
    _testing.check(case, "cuda")


@pytest.mark.parametrize("name", PROGRAMS)
def test_example_program_checks_itself(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [name])
    importlib.import_module(f"examples.{name}").main()


def test_example_runs_as_a_script() -> None:
    command = [sys.executable, str(EXAMPLES / "add.py")]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_list_of_examples_names_every_file() -> None:
    text = (EXAMPLES / "README.md").read_text()
    listed = re.findall(r"^\| \[(\w+)\]\(\./(\w+)\.py\)", text, re.MULTILINE)
    assert listed == [(name, name) for name in PROGRAMS]


def test_there_are_forty_examples_whose_names_are_their_own() -> None:
    assert len(PROGRAMS) >= 40
    assert len(KERNELS) == len(CASES)


def test_case_that_is_wrong_is_found() -> None:
    wrong = dataclasses.replace(KERNELS["add"], reference=torch.sub)
    with pytest.raises(AssertionError, match="add: Tensor-likes are not close"):
        _testing.check(wrong, "cpu")


def test_program_chooses_cases_and_times_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["softmax", "softmax_parts", "--benchmark"])
    _testing.main([KERNELS["softmax"], KERNELS["softmax_parts"]])
    checked, header, timed = capsys.readouterr().out.splitlines()
    assert checked.startswith("softmax_parts: agrees with PyTorch on ")
    assert header.split()[:3] == ["case", "kernel", "ms"]
    assert timed.split()[0] == "softmax_parts"


def test_program_refuses_a_case_it_does_not_have(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["add", "subtract"])
    with pytest.raises(SystemExit):
        _testing.main([KERNELS["add"]])
    assert "no case is called subtract" in capsys.readouterr().err


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
