"""Kernels as plain Python: no flag, no decorator, and the same results as compiled.

Every interpreted run of ``test.harness`` also calls the undecorated function with the
tile sizes of the Config and compares, so each numerics test is a test of parity. Here
is shown that it does compare, and that it reaches every example and every test kernel.
"""

from __future__ import annotations

import collections
import importlib
import re
from pathlib import Path

import pytest
import torch

import helion
import helion.language as hl
from helion.language._eager import eager_block_sizes
from test import (
    fold_kernels,
    interpreter_worker,
    knob_kernels,
    reduction_kernels,
    specialize_kernels,
    split_kernels,
)
from test.harness import assert_alike, randn, run

TESTS = Path(__file__).resolve().parent.parent
EXAMPLES = TESTS.parent / "examples"
KERNEL_FILES = sorted(path.stem for path in TESTS.glob("*kernels.py"))
NAMES = [path.stem for path in EXAMPLES.glob("[a-z]*.py")]


@helion.kernel
def tile_lengths(x: torch.Tensor) -> torch.Tensor:
    """Give what depends on the tile sizes, so that parity needs those of the Config."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = x[tile] * 0 + x[tile].sum() + tile.block_size
    return out


@helion.kernel
def told_apart(x: torch.Tensor) -> torch.Tensor:
    """Give away whether it is compiled, as no kernel should."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = 1.0 if type(tile).__name__ == "EagerTile" else 2.0
    return out


def kernels_of(module: str) -> dict[str, helion.Kernel]:
    """Return the kernels that a module defines."""
    found = vars(importlib.import_module(module)).items()
    return {name: value for name, value in found if isinstance(value, helion.Kernel)}


def test_the_tile_sizes_are_those_of_the_config():
    x = randn(13)
    for block_size in (1, 4, 16):
        config = helion.Config(block_sizes=[block_size])
        found = run(tile_lengths, x, way="interpreted", config=config)
        with eager_block_sizes([block_size]):
            assert_alike(found, tile_lengths.fn(x))


def test_a_difference_is_an_error():
    with pytest.raises(interpreter_worker.InterpretedError, match="from eager"):
        run(told_apart, randn(5), way="interpreted")


OTHERS = [
    (fold_kernels.wide_column_sums, randn(5, 300)),
    (reduction_kernels.two_pass_variance, randn(7, 19), randn(7), 1),
    (specialize_kernels.default_full, randn(4), True),
    (specialize_kernels.default_full, randn(4), False),
    (specialize_kernels.full_of, randn(9), [4]),
    (specialize_kernels.two_dims, randn(3, 19)),
    (specialize_kernels.literal_rows, randn(2, 5632)),
    (split_kernels.decayed, randn(5, 70)),
    (split_kernels.scaled_by_before, randn(5, 70)),
    (knob_kernels.long_epilogue, randn(17, 9), randn(9, 33), randn(33), randn(17)),
    (knob_kernels.adds_in_place, randn(17, 9), randn(9, 33), randn(17, 33)),
]


@pytest.mark.parametrize("call", OTHERS, ids=lambda call: call[0].name)
def test_kernels_of_other_tests_are_alike(call):
    run(*call, way="interpreted")


def test_every_example_kernel_is_a_case():
    from examples._catalog import CASES

    cases = {case.kernel for case in CASES}
    kernels = {k for name in NAMES for k in kernels_of(f"examples.{name}").values()}
    assert not {kernel.name for kernel in kernels - cases}


@pytest.mark.parametrize("module", KERNEL_FILES)
def test_every_test_kernel_is_run(module):
    paths = [*(TESTS / "numerics").glob("*.py"), *TESTS.glob("*.py")]
    words = collections.Counter()
    for path in paths:
        words.update(re.findall(r"\w+", path.read_text()))
    # Once where it is defined, and where a test or a list of cases names it.
    kernels = kernels_of(f"test.{module}")
    assert not [name for name in kernels if words[name] < 2]
