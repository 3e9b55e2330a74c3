"""The accuracy harness prints a verdict for each case and tells failures apart."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import accuracy

ROOT = Path(__file__).resolve().parent.parent
DIRECTIONS = {"forward": [], "backward": ["--bwd"]}


def run_quietly(*arguments: str) -> int:
    """Run on the CPU with few rows."""
    return accuracy.main(["--rows", "5", "--device", "cpu", *arguments])


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op", accuracy.OPERATORS)
def test_every_op_passes(op: str, direction: str, capsys) -> None:
    options = ["--op", op, *DIRECTIONS[direction], "--widths", "1", "17", "1000"]
    assert run_quietly(*options) == 0
    out = capsys.readouterr().out
    assert out.count("pass") == 10 and "9 of 9 cases pass" in out


@pytest.mark.parametrize(
    "way", [["benchmarks/accuracy.py"], ["-m", "benchmarks.accuracy"]]
)
def test_harness_is_a_program(way: list[str]) -> None:
    options = ["--op", "layer_norm", "--bwd", "--widths", "3", "5632", "--rows", "4"]
    command = [sys.executable, *way, *options, "--dtypes", "fp16"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "4 x 5632" in done.stdout and "2 of 2 cases pass" in done.stdout


@pytest.mark.parametrize(
    "broken, text",
    [
        (lambda x: torch.softmax(x, 1) * 1.01, "FAIL"),
        (lambda x: torch.softmax(x, 1) * float("nan"), "FAIL"),
        (lambda x: torch.softmax(x, 1)[:-1], "AssertionError: shape"),
    ],
    ids=["inexact", "nan", "shape"],
)
def test_harness_fails(broken, text: str, monkeypatch, capsys) -> None:
    wrong = dataclasses.replace(accuracy.OPERATORS["softmax"], forward=broken)
    monkeypatch.setitem(accuracy.OPERATORS, "softmax", wrong)
    assert run_quietly("--op", "softmax", "--widths", "100", "--dtypes", "fp32") == 1
    out = capsys.readouterr().out
    assert text in out and "0 of 1 cases pass" in out


@pytest.mark.gpu
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op", accuracy.OPERATORS)
def test_every_op_passes_at_all_widths(op: str, direction: str, capsys) -> None:
    code = accuracy.main(["--op", op, *DIRECTIONS[direction], "--device", "cuda"])
    assert code == 0, capsys.readouterr().out
