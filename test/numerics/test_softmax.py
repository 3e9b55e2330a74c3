"""Softmax in three spellings, with edge shapes, dtypes and special values."""

from __future__ import annotations

import pytest
import torch

import helion
from examples.softmax import softmax, softmax_parts, softmax_two_pass
from test.harness import check, randn

WHOLE_ROW = (
    None,
    helion.Config(block_sizes=[4]),
    helion.Config(block_sizes=[1], reduction_loops=[8]),
)
TWO_PASS = (None, helion.Config(block_sizes=[2, 8, 16]))
KERNELS = [
    pytest.param(softmax, WHOLE_ROW, id="softmax"),
    pytest.param(softmax_parts, WHOLE_ROW, id="parts"),
    pytest.param(softmax_two_pass, TWO_PASS, id="two_pass"),
]
FLOATS = [torch.float16, torch.bfloat16, torch.float32]


def reference(x: torch.Tensor) -> torch.Tensor:
    return torch.softmax(x, dim=1)


@pytest.mark.parametrize("shape", [(1, 1), (5, 1), (3, 64), (0, 9), (7, 131)], ids=str)
@pytest.mark.parametrize("kernel, configs", KERNELS)
def test_softmax_takes_any_shape(way: str, kernel, configs, shape) -> None:
    configs = configs[:2] if shape[1] < 16 else configs
    check(kernel, randn(*shape), way=way, reference=reference, configs=configs)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("kernel, configs", KERNELS)
def test_softmax_in_every_type(way: str, kernel, configs, dtype) -> None:
    x = randn(3, 37, dtype=dtype)
    check(kernel, x, way=way, reference=reference, configs=configs)


@pytest.mark.parametrize("kernel, configs", KERNELS)
def test_softmax_of_large_values_stays_finite(way: str, kernel, configs) -> None:
    x = randn(3, 37) * 1000 - 5000
    check(
        kernel,
        x,
        way=way,
        reference=reference,
        configs=configs,
        tolerance={torch.float32: (1e-3, 1e-5)},
    )


@pytest.mark.parametrize("kernel, configs", KERNELS[:2])
def test_softmax_of_special_values(way: str, kernel, configs) -> None:
    x = randn(4, 37)
    x[0, 3] = float("nan")
    x[1, 5] = float("-inf")
    x[2, :] = float("-inf")
    x[3, 36] = float("inf")
    check(kernel, x, way=way, reference=reference, configs=configs)


@pytest.mark.parametrize("kernel, configs", KERNELS)
def test_softmax_reads_transposed_rows(way: str, kernel, configs) -> None:
    x = randn(37, 5).t()
    check(kernel, x, way=way, reference=reference, configs=configs)
