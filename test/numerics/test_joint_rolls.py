"""Graphs that fold two axes: each one, both or none of them in chunks."""

from __future__ import annotations

import pytest

import helion
from test import fold_kernels
from test.codegen.emitted import bind, meta
from test.harness import check, randn

CHUNKS = [[None, None], [8, None], [None, 8], [8, 4]]


def configs() -> list[helion.Config]:
    return [helion.Config(block_sizes=[2], reduction_loops=c) for c in CHUNKS]


def test_folds_of_planes(way: str) -> None:
    check(
        fold_kernels.item_statistics,
        randn(5, 19, 37),
        way=way,
        reference=lambda x: (x.mean((1, 2)), x.sum(-1).amax(-1)),
        configs=configs(),
    )


@pytest.mark.parametrize("static", [True, False])
def test_folds_of_two_lengths(way: str, static: bool) -> None:
    check(
        fold_kernels.two_lengths,
        randn(5, 19),
        randn(5, 37),
        way=way,
        reference=lambda x, y: x.logsumexp(-1) + y.var(-1),
        configs=configs(),
        static_shapes=static,
    )


def test_both_axes_are_loops_of_one_text() -> None:
    planes = bind(fold_kernels.item_statistics, meta(5, 19, 37))
    text = planes.to_triton_code({"block_sizes": [2], "reduction_loops": [8, 4]})
    outer, inner = (text.index(f"for roffset_{axis}") for axis in (1, 2))
    assert outer < inner and text.count("tl.load(x") == 1
    rows = bind(fold_kernels.two_lengths, meta(5, 19), meta(5, 37))
    text = rows.to_triton_code({"block_sizes": [2], "reduction_loops": [8, 4]})
    assert text.count("for roffset_") == 2


def test_two_axes_beyond_the_cap_have_a_legal_default() -> None:
    bound = bind(fold_kernels.two_lengths, meta(3, 3_000_000), meta(3, 5_000_000))
    assert bound.to_triton_code().count("for roffset_") == 2
    planes = bind(fold_kernels.item_statistics, meta(3, 3000, 5000))
    assert "for roffset_" in planes.to_triton_code()
