"""Random small reductions compile, whatever mix of sizes names their axes."""

from __future__ import annotations

import re

import pytest

from test import interpreter_worker
from test.harness import fake_cuda
from test.reduction_generator import arguments, compare, generate

COUNT, GROUP = 200, 20
# What reductions once failed with: a number beside a fresh symbol, a lost dim.
OLD_MESSAGES = ("must match the size of tensor", "ndim=")
FRESH_SYMBOL = re.compile(r"\bu\d+\b")


@pytest.mark.parametrize("first", range(0, COUNT, GROUP))
def test_random_reductions_compile(
    first: int, capfd: pytest.CaptureFixture[str]
) -> None:
    for seed in range(first, first + GROUP):
        bound = generate(seed).bind(fake_cuda(arguments(seed, 9000)))
        code = bound.to_triton_code()
        assert "@triton.jit" in code and not FRESH_SYMBOL.search(code)
    logged = "".join(capfd.readouterr())
    assert not any(message in logged for message in OLD_MESSAGES), logged


@pytest.mark.parametrize("seed", range(COUNT, COUNT + 12))
def test_random_reductions_are_right(seed: int) -> None:
    interpreter_worker.call(compare, (seed, 40))
