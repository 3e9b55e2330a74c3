"""Matrix products: shapes around the tile sizes, dtypes, strides, epilogues."""

from __future__ import annotations

import pytest
import torch

import helion
from examples import matmul
from test import kernels
from test.harness import check, randn

SHAPES = [(1, 1, 1), (17, 1, 5), (16, 16, 16), (7, 33, 19), (0, 4, 5), (4, 0, 5)]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
CONFIGS = (None, helion.Config(block_sizes=[16, 16, 16]))
# TF32 products on a GPU.
TOLERANCE = {torch.float32: (1e-2, 1e-2)}
EXACT = {torch.float32: (1e-5, 1e-4)}


def tolerance_of(way: str) -> dict[torch.dtype, tuple[float, float]]:
    return TOLERANCE if way == "compiled" else EXACT


@pytest.mark.parametrize("m, k, n", SHAPES, ids=str)
def test_matmul_takes_any_shape(way: str, m: int, k: int, n: int) -> None:
    check(
        matmul.matmul,
        randn(m, k),
        randn(k, n),
        way=way,
        reference=torch.matmul,
        configs=CONFIGS,
        tolerance=tolerance_of(way),
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_matmul_in_every_type(way: str, dtype: torch.dtype) -> None:
    check(
        matmul.matmul,
        randn(18, 40, dtype=dtype),
        randn(40, 21, dtype=dtype),
        way=way,
        reference=torch.matmul,
        configs=CONFIGS,
        tolerance={**tolerance_of(way), torch.float16: (1e-2, 1e-2)},
    )


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("right", [False, True])
def test_matmul_reads_transposed_inputs(way: str, left: bool, right: bool) -> None:
    x = randn(21, 18).t() if left else randn(18, 21)
    y = randn(19, 21).t() if right else randn(21, 19)
    check(
        matmul.matmul,
        x,
        y,
        way=way,
        reference=torch.matmul,
        configs=CONFIGS[1:],
        tolerance=tolerance_of(way),
    )


def test_matmul_with_a_bias_and_relu_closure(way: str) -> None:
    bias = randn(21)
    check(
        matmul.matmul,
        randn(18, 40),
        randn(40, 21),
        matmul.bias_relu(bias),
        way=way,
        reference=lambda x, y, _: torch.relu(x @ y + bias.double()),
        configs=CONFIGS,
        tolerance=tolerance_of(way),
    )


def test_matmul_with_a_plain_epilogue(way: str) -> None:
    check(
        matmul.matmul,
        randn(18, 40),
        randn(40, 21),
        lambda acc, tile: torch.sigmoid(acc) * 2.0,
        way=way,
        reference=lambda x, y, _: torch.sigmoid(x @ y) * 2.0,
        configs=CONFIGS[1:],
        tolerance=tolerance_of(way),
    )


@pytest.mark.parametrize("l2_grouping", [1, 4])
@pytest.mark.parametrize(
    "pid_type", ["flat", "xyz", "persistent_blocked", "persistent_interleaved"]
)
def test_matmul_under_any_program_order(
    way: str, pid_type: str, l2_grouping: int
) -> None:
    config = helion.Config(
        block_sizes=[16, 16, 32], pid_type=pid_type, l2_groupings=[l2_grouping]
    )
    check(
        matmul.matmul,
        randn(70, 33),
        randn(33, 50),
        way=way,
        reference=torch.matmul,
        configs=(config,),
        tolerance=tolerance_of(way),
    )


@pytest.mark.parametrize("batch", [1, 3])
def test_bmm(way: str, batch: int) -> None:
    check(
        matmul.bmm,
        randn(batch, 5, 20),
        randn(batch, 20, 18),
        way=way,
        reference=torch.bmm,
        configs=(None, helion.Config(block_sizes=[1, 16, 16, 16])),
        tolerance=tolerance_of(way),
    )


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_split_k_adds_its_parts_up(way: str, parts: int) -> None:
    check(
        kernels.split_k_fixed,
        randn(18, 70),
        randn(70, 21),
        parts,
        way=way,
        reference=lambda x, y, _: x @ y,
        configs=CONFIGS,
        tolerance=tolerance_of(way),
    )


def test_padding_of_k_does_not_leak_inf(way: str) -> None:
    x = randn(3, 17)
    wide = torch.full([3, 24], float("inf"))
    wide[:, :17] = x
    check(
        matmul.matmul,
        wide[:, :17],
        randn(17, 5),
        way=way,
        reference=torch.matmul,
        configs=CONFIGS,
        tolerance=tolerance_of(way),
    )
