"""Generated folds are right, repeatable and sound; what they once found stays fixed."""

from __future__ import annotations

import pytest

import helion
from test import fold_kernels, interpreter_worker
from test.fold_fuzz import failure, unsound
from test.harness import check, randn

RUN = range(5000, 5008)
READ, GROUP = range(6000, 6010), 5


@pytest.mark.parametrize("seed", RUN)
def test_generated_folds_are_right(seed: int) -> None:
    found, _ = interpreter_worker.call(failure, (seed,))
    assert found is None


@pytest.mark.parametrize("first", READ[::GROUP])
def test_texts_of_generated_folds_are_sound(first: int) -> None:
    for seed in range(first, first + GROUP):
        assert unsound(seed, count=3) == [], seed


# -- found by other seeds --------------------------------------------------------------


def test_partial_folds_as_wide_as_another_axis(way: str) -> None:
    """The second launch of a split was not told how wide they are."""
    config = helion.Config(
        block_sizes=[1], reduction_loops=[None, 4], reduction_splits=[1, 4]
    )
    check(
        fold_kernels.item_statistics,
        randn(3, 5, 19),
        way=way,
        reference=lambda x: (x.mean((1, 2)), x.sum(-1).amax(-1)),
        configs=[config],
    )


@pytest.mark.parametrize("shape", [(3, 1, 9), (1, 3, 9), (3, 5, 9)], ids=str)
def test_flattened_tiles_beside_a_whole_axis(way: str, shape) -> None:
    """All elements of a [k, 1] tensor went to its first; rows got no legal index."""
    check(
        fold_kernels.halved_planes,
        randn(*shape),
        randn(*shape[:2]),
        way=way,
        reference=lambda x, y: (x / 2, y / 2),
        configs=[helion.Config(block_sizes=[2, 2], flatten_loops=[True])],
    )
