"""cdiv and next_power_of_2 on numbers and on symbolic sizes."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import (
    DimDynamic,
    ShapeEnv,
    StatelessSymbolicContext,
)

import helion


def symbolic_size(value: int) -> tuple[torch.SymInt, ShapeEnv]:
    """Return a backed symbolic size with the hint ``value``, and its ShapeEnv."""
    shape_env = ShapeEnv()
    mode = FakeTensorMode(shape_env=shape_env)
    context = StatelessSymbolicContext([DimDynamic.DYNAMIC])
    fake = mode.from_tensor(torch.empty(value), symbolic_context=context)
    size = fake.size(0)
    assert isinstance(size, torch.SymInt)
    return size, shape_env


@pytest.mark.parametrize(("a", "b", "expected"), [(0, 4, 0), (7, 2, 4), (8, 2, 4)])
def test_cdiv_rounds_up(a: int, b: int, expected: int) -> None:
    assert helion.cdiv(a, b) == expected


@pytest.mark.parametrize(
    ("n", "expected"),
    [(0, 1), (1, 1), (2, 2), (3, 4), (5632, 8192), (2**40 + 1, 2**41)],
)
def test_next_power_of_2(n: int, expected: int) -> None:
    assert helion.next_power_of_2(n) == expected


@pytest.mark.parametrize(("n", "power"), [(2, 2), (37, 64), (64, 64), (65, 128)])
def test_symbolic_sizes_stay_symbolic(n: int, power: int) -> None:
    size, shape_env = symbolic_size(n)
    rounded, blocks = helion.next_power_of_2(size), helion.cdiv(size, 16)
    assert rounded.node.hint == power
    assert blocks.node.hint == (n + 15) // 16
    assert shape_env.guards == []
