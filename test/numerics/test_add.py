"""Addition: every shape, stride and pair of types that PyTorch adds."""

from __future__ import annotations

import pytest
import torch

import helion
from examples.add import add
from test.harness import check, randn, run

F16, F32, F64, BF16 = torch.float16, torch.float32, torch.float64, torch.bfloat16
SHAPES = [(0,), (1,), (7,), (64,), (127,), (0, 5), (1, 1), (37, 1), (3, 5, 7)]
PAIRS = [
    (F16, F32),
    (BF16, F16),
    (BF16, BF16),
    (F64, F32),
    (torch.int8, torch.int32),
    (torch.int64, F16),
    (torch.int8, torch.uint8),
    (torch.bool, torch.int32),
]
SMALL = helion.Config(block_sizes=[4, 8])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_add_takes_any_shape(way: str, shape: tuple[int, ...]) -> None:
    small = helion.Config(block_sizes=[4] * len(shape))
    args = randn(*shape), randn(*shape)
    check(add, *args, way=way, reference=torch.add, configs=(None, small))


@pytest.mark.parametrize("left, right", PAIRS, ids=str)
def test_add_promotes_types(way: str, left: torch.dtype, right: torch.dtype) -> None:
    x, y = randn(5, 9, dtype=left), randn(5, 9, dtype=right)
    check(add, x, y, way=way, reference=torch.add, configs=(SMALL,))
    assert run(add, x, y, way=way, config=SMALL).dtype == (x + y).dtype


@pytest.mark.parametrize(
    "left, right",
    [((5, 1), (1, 9)), ((9,), (5, 9)), ((2, 1, 4), (3, 1)), ((1,), (5, 9))],
    ids=str,
)
def test_add_broadcasts(
    way: str, left: tuple[int, ...], right: tuple[int, ...]
) -> None:
    check(add, randn(*left), randn(*right), way=way, reference=torch.add)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.t(),
        lambda x: x[1::2, :],
        lambda x: x[:, 3:],
        lambda x: x[:1].expand(9, 13),
        lambda x: torch.as_strided(x, (4, 5), (2, 1), 3),
    ],
    ids=["transposed", "every_other_row", "columns", "expanded", "overlapping"],
)
@pytest.mark.parametrize("static_shapes", [True, False])
def test_add_reads_strided_inputs(way: str, view, static_shapes: bool) -> None:
    x, y = view(randn(9, 13)), view(randn(9, 13))
    check(
        add,
        x,
        y,
        way=way,
        reference=torch.add,
        configs=(SMALL,),
        static_shapes=static_shapes,
    )


@pytest.mark.parametrize("size", [0, 1, 7, 16])
def test_dynamic_add_serves_every_size(way: str, size: int) -> None:
    x, y = randn(size, 5), randn(size, 5)
    check(add, x, y, way=way, reference=torch.add, static_shapes=False)


def test_dynamic_add_broadcasts_a_column(way: str) -> None:
    x, y = randn(6, 4), randn(6, 1)
    check(add, x, y, way=way, reference=torch.add, static_shapes=False)


def test_add_passes_nan_and_inf(way: str) -> None:
    x = torch.tensor([float("nan"), float("inf"), float("-inf"), 1.0])
    y = torch.tensor([1.0, float("-inf"), float("-inf"), float("nan")])
    check(add, x, y, way=way, reference=torch.add)


@pytest.mark.gpu
def test_add_beyond_int32_elements() -> None:
    x = torch.ones(2**31 + 3, dtype=torch.int8, device="cuda")
    found = add(x, x)
    assert int(found[-1]) == 2 and int(found.min()) == 2
