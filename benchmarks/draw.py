"""Shapes that nothing was fitted to: a seeded random draw from stated ranges."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable, Sequence

from benchmarks import (
    cases_attention,
    cases_jagged,
    cases_matmul,
    cases_pointwise,
    cases_rows,
)
from benchmarks.case import BenchCase

PREFIX = "draw"
Shape = tuple[int, ...]
Draw = Callable[[random.Random], Shape]


def size(rng: random.Random, low: int, high: int, step: int | None = None) -> int:
    """Return a size from ``[low, high]``, uniform in its logarithm.

    Without a ``step`` half of the sizes are multiples of 64 if that is in reach, a
    quarter of 8, and a quarter are odd.
    """
    value = round(math.exp(rng.uniform(math.log(low), math.log(high))))
    step = step or rng.choice((64, 64, 8, 0))
    if not step:
        return min(value | 1, high - 1 | 1)
    return max(step, value // step * step) if value >= step else value


def rows_shape(rng: random.Random) -> Shape:
    """Return rows of 64 to 32768 elements, 2^20 to 2^27 of them together."""
    n = size(rng, 64, 32768)
    return max(1, size(rng, 1 << 20, 1 << 27, 1) // n), n


def vector_shape(rng: random.Random) -> Shape:
    """Return 2^20 to 2^27 elements."""
    return (size(rng, 1 << 20, 1 << 27),)


def limited(draw: Draw, low: int, high: int) -> Draw:
    """Return a draw that is repeated until the product of its sizes fits."""

    def drawn(rng: random.Random) -> Shape:
        while not low <= math.prod(shape := draw(rng)) <= high:
            pass
        return shape

    return drawn


def product_shape(rng: random.Random) -> Shape:
    """Return M, K and N of 16 to 16384."""
    return tuple(size(rng, 16, 16384) for _ in range(3))


def fp8_shape(rng: random.Random) -> Shape:
    """Return M, K and N; the library wants multiples of 16 for the last two."""
    return size(rng, 16, 16384), *(size(rng, 64, 16384, 16) for _ in range(2))


def batch_shape(rng: random.Random) -> Shape:
    """Return a batch of 2 to 256, and M, K and N of 16 to 2048."""
    return size(rng, 2, 256, 1), *(size(rng, 16, 2048) for _ in range(3))


def attention_shape(rng: random.Random) -> Shape:
    """Return heads, length, head 64 or 128, and whether it is causal."""
    while True:
        heads, length = size(rng, 4, 128, 1), size(rng, 128, 16384)
        if 1 << 22 <= heads * length * length <= 1 << 31:
            return heads, length, rng.choice((64, 128)), rng.choice((0, 1))


def jagged_shape(rng: random.Random) -> Shape:
    """Return a number of samples, the longest, and the width."""
    while True:
        shape = size(rng, 8, 2048, 1), size(rng, 16, 8192, 1), size(rng, 16, 512)
        if 1 << 20 <= math.prod(shape) <= 1 << 27:
            return shape


def attention_case(heads: int, length: int, head: int, is_causal: int) -> BenchCase:
    """Return attention for a drawn shape, all of which are integers."""
    return cases_attention.attention_case(heads, length, head, bool(is_causal))


# Of a family: how a shape is drawn, and what makes the case for it.
DRAWS: dict[str, tuple[Draw, Callable[..., BenchCase]]] = {
    "add": (vector_shape, cases_pointwise.add_case),
    "swiglu": (rows_shape, cases_pointwise.swiglu_case),
    "softmax": (rows_shape, cases_rows.softmax_case),
    "rms_norm": (rows_shape, cases_rows.rms_norm_case),
    "layer_norm": (rows_shape, cases_rows.layer_norm_case),
    "layer_norm_dx": (rows_shape, cases_rows.dx_case),
    "layer_norm_dwdb": (rows_shape, cases_rows.dwdb_case),
    "reduction": (rows_shape, cases_rows.row_sum_case),
    "matmul": (
        limited(product_shape, 1 << 26, 1 << 37),
        cases_matmul.matmul_case,
    ),
    "fp8_matmul": (
        limited(fp8_shape, 1 << 26, 1 << 38),
        cases_matmul.fp8_tensor_case,
    ),
    "bmm": (limited(batch_shape, 1 << 26, 1 << 36), cases_matmul.bmm_case),
    "attention": (attention_shape, attention_case),
    "jagged_sum": (jagged_shape, cases_jagged.sum_case),
    "jagged_softmax": (jagged_shape, cases_jagged.softmax_case),
}


def drawn_names(families: Sequence[str], count: int, seed: int) -> list[str]:
    """Return the names of ``count`` drawn cases a family; a name says its shape.

    What is drawn for one family does not depend on the others.
    """
    names = []
    for family in families:
        rng = random.Random(f"{family} {seed}")
        shapes = [DRAWS[family][0](rng) for _ in range(count)]
        names += ["/".join(map(str, (PREFIX, family, *shape))) for shape in shapes]
    return list(dict.fromkeys(names))


@functools.lru_cache(maxsize=64)
def drawn_case(name: str) -> BenchCase:
    """Return the case of a drawn name; raises KeyError if it is none."""
    prefix, family, *sizes = name.split("/")
    if prefix != PREFIX:
        raise KeyError(name)
    case = DRAWS[family][1](*map(int, sizes))
    return case.renamed(name=name, family=family)
