"""Two folds in one pass: online sums of exponentials, and squares about the mean."""

from __future__ import annotations

import pytest
import torch

import helion
from examples.cross_entropy import cross_entropy
from examples.layer_norm import layer_norm
from test import fold_kernels
from test.harness import check, randn, run

LOOPED = [
    helion.Config(block_sizes=[b], reduction_loops=[c]) for b, c in ((1, 8), (4, 32))
]
INF, NAN = float("inf"), float("nan")


def expect_sum(power, x: torch.Tensor, dim: int) -> torch.Tensor:
    return power(x - x.amax(dim, keepdim=True)).sum(dim)


REFERENCES = {
    "log_sum_exp": lambda x: x.logsumexp(-1),
    "softmax_denominator": lambda x: expect_sum(torch.exp, x, 0),
    "base_2_denominator": lambda x: expect_sum(torch.exp2, x, 1),
    "var_and_mean": lambda x: torch.var_mean(x, dim=1),
    "squares_about": lambda x: ((x - (x.mean(1, keepdim=True) * 2 + 1)) ** 2).sum(1),
}


@pytest.mark.parametrize("shape", [(5, 67), (37, 64), (2, 131)], ids=str)
@pytest.mark.parametrize("name", REFERENCES)
def test_one_pass_is_right(way: str, name: str, shape) -> None:
    kernel = getattr(fold_kernels, name)
    x = randn(*shape) * 3
    check(kernel, x, way=way, reference=REFERENCES[name], configs=LOOPED)


SPECIAL = {
    "infinite": [1.0, INF, 2.0],
    "two infinite": [INF, INF, 0.0],
    "empty so far": [-INF, -INF, -INF, 1.0, 2.0],
    "all empty": [-INF] * 9,
    "nan": [0.0, NAN, 1.0],
    "nan after infinity": [INF, 0.0, NAN],
    "huge": [3e38, -3e38, 1.0],
    "far below": [-1000.0] * 10 + [500.0],
}


@pytest.mark.parametrize("case", SPECIAL)
@pytest.mark.parametrize("name", ["log_sum_exp", "base_2_denominator"])
def test_online_sum_of_special_values(way: str, name: str, case: str) -> None:
    row = torch.full([19], -5.0)
    row[: len(SPECIAL[case])] = torch.tensor(SPECIAL[case])
    x = torch.stack([row, row.flip(0)])
    if case == "all empty":
        x = torch.full_like(x, -INF)
    kernel, configs = getattr(fold_kernels, name), LOOPED[:1]
    check(kernel, x, way=way, reference=REFERENCES[name], configs=configs)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str
)
def test_logsumexp_of_other_dtypes(way: str, dtype: torch.dtype) -> None:
    x = randn(5, 67, dtype=dtype)
    loose = {torch.float16: (2e-3, 2e-3), torch.bfloat16: (1e-2, 2e-2)}
    kernel, reference = fold_kernels.log_sum_exp, REFERENCES["log_sum_exp"]
    check(kernel, x, way=way, reference=reference, configs=LOOPED, tolerance=loose)


def test_variance_survives_a_large_mean(way: str) -> None:
    """Sums of squares would lose every digit: the mean is 10000 deviations away."""
    x = randn(3, 1000) + 1e4
    config = helion.Config(block_sizes=[1], reduction_loops=[64])
    variance, mean = run(fold_kernels.var_and_mean, x, way=way, config=config)
    expected = torch.var_mean(x.double(), dim=1)
    torch.testing.assert_close(variance.double(), expected[0], rtol=1e-4, atol=0)
    torch.testing.assert_close(mean.double(), expected[1], rtol=1e-6, atol=0)


@pytest.mark.parametrize("static", [True, False])
def test_examples_in_one_pass(way: str, static: bool) -> None:
    x, weight, bias = randn(7, 301), randn(301), randn(301)
    config = helion.Config(block_sizes=[2], reduction_loops=[32])
    out = run(layer_norm, x, weight, bias, way=way, config=config, static_shapes=static)
    wide = [t.double() for t in (x, weight, bias)]
    expected = torch.nn.functional.layer_norm(wide[0], [301], *wide[1:])
    torch.testing.assert_close(out[0].double(), expected, rtol=1e-4, atol=1e-4)
    labels = torch.randint(0, 301, [7])
    loss = run(cross_entropy, x, labels, way=way, config=config, static_shapes=static)
    expected = torch.nn.functional.cross_entropy(x.double(), labels)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)
