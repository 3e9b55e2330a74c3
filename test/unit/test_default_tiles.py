"""The tile of a matrix product: any sizes have one, and it suits them."""

from __future__ import annotations

import random

import pytest

from helion._compiler.default_tiles import Problem


def problem(m: int, n: int, k: int, **options: int) -> Problem:
    return Problem(m, n, k, batch=1, itemsize=2, sms=132, **options)


@pytest.mark.parametrize("itemsize", [1, 2, 4])
def test_any_sizes_have_a_tile(itemsize: int) -> None:
    rng = random.Random(20261121)
    for _ in range(300):
        sizes = [rng.choice([0, 1, rng.randrange(9), 2 ** rng.randrange(15)])]
        m, n, k = (rng.choice([*sizes, rng.randrange(5000)]) for _ in range(3))
        accumulators = rng.choice([1, 2, 3])
        case = Problem(m, n, k, 1, itemsize, 132, accumulators, rng.random() < 0.5)
        shape, splits = case.best()
        assert shape.m >= 16
        assert shape.n >= 16
        assert 1 <= splits <= 32
        assert case.depth(shape) >= 16


def test_large_products_fill_the_registers() -> None:
    shape, splits = problem(4096, 4096, 4096).best()
    assert {shape.m, shape.n} == {128, 256}
    assert splits == 1


def test_few_rows_get_a_program_for_every_multiprocessor() -> None:
    case = problem(16, 8192, 8192)
    shape, _ = case.best()
    assert shape.m == 16
    assert case.tiles(shape) >= 128


def test_a_long_sum_of_few_tiles_is_shared() -> None:
    case = problem(128, 128, 65536, splits=True)
    shape, splits = case.best()
    assert case.tiles(shape) * splits >= 64
    assert problem(128, 128, 65536).best()[1] == 1


def test_several_accumulators_make_room_for_each_other() -> None:
    shape, _ = problem(4096, 4096, 4096, accumulators=2).best()
    assert shape.m * shape.n * 2 <= 32768
