"""Elementwise chains: every dtype, special values, integer and bool operators."""

from __future__ import annotations

import pytest
import torch

import helion
from examples import pointwise
from test import kernels
from test.harness import check, randn, run

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INTS = [torch.int8, torch.int16, torch.int32, torch.int64]
CONFIGS = (None, helion.Config(block_sizes=[4, 8]))
F32_INSIDE = {torch.float64: (1e-5, 1e-5)}


def math_chain_ref(x: torch.Tensor) -> torch.Tensor:
    value = torch.sin(x) + torch.exp(-x.abs())
    value = torch.log1p(value.abs()) * torch.tanh(x)
    return torch.sqrt(value.abs()) + torch.rsqrt(value * value + 1.0)


def integer_ref(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    bits = ((a & b) | (a ^ 5)) ^ ~b
    return bits + ((a << 1) >> 2) + a // (b.abs() + 1) + a % (b.abs() + 1)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_gelu_in_every_float_type(way: str, dtype: torch.dtype) -> None:
    check(
        pointwise.gelu,
        randn(5, 9, dtype=dtype),
        way=way,
        reference=torch.nn.functional.gelu,
        configs=CONFIGS,
        tolerance=F32_INSIDE,
    )


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_math_chain_in_every_float_type(way: str, dtype: torch.dtype) -> None:
    loose = {torch.float16: (1e-2, 1e-2), torch.bfloat16: (5e-2, 5e-2)}
    x = randn(5, 9, dtype=dtype)
    check(
        kernels.math_chain,
        x,
        way=way,
        reference=math_chain_ref,
        configs=CONFIGS,
        tolerance=loose,
    )


@pytest.mark.parametrize("dtype", INTS, ids=str)
def test_integer_operators(way: str, dtype: torch.dtype) -> None:
    x, y = randn(5, 9, dtype=dtype), randn(5, 9, dtype=dtype)
    check(kernels.integer_ops, x, y, way=way, reference=integer_ref, configs=CONFIGS)


def test_bool_operators(way: str) -> None:
    x, y = randn(5, 9, dtype=torch.bool), randn(5, 9, dtype=torch.bool)
    check(
        kernels.bool_ops,
        x,
        y,
        way=way,
        reference=lambda a, b: (~a | b) ^ (a & b),
        configs=CONFIGS,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int32], ids=str)
def test_comparisons_give_bool(way: str, dtype: torch.dtype) -> None:
    x, y = randn(5, 9, dtype=dtype), randn(5, 9, dtype=dtype)
    check(kernels.compare, x, y, way=way, reference=lambda a, b: (a < b) | (a == 1))
    assert run(kernels.compare, x, y, way=way).dtype == torch.bool


@pytest.mark.parametrize("to", [*FLOATS, torch.int8, torch.int64, torch.bool], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.bool], ids=str)
def test_casts(way: str, dtype: torch.dtype, to: torch.dtype) -> None:
    x = randn(33, dtype=dtype)
    found = run(kernels.cast, x, to, way=way)
    torch.testing.assert_close(found, x.to(to), rtol=0, atol=0)


def test_mixed_types_promote(way: str) -> None:
    x, y = randn(5, 9, dtype=torch.int32), randn(5, 9, dtype=torch.float16)
    z = randn(5, 9)
    check(
        kernels.mixed_types,
        x,
        y,
        z,
        way=way,
        reference=lambda a, b, c: a * b + c,
        configs=CONFIGS,
        tolerance={torch.float16: (4e-3, 5e-2)},
    )


def test_clamp_keeps_nan_and_cuts_inf(way: str) -> None:
    x = torch.tensor([float("nan"), float("inf"), float("-inf"), 0.125])
    mask = torch.tensor([True, True, True, True])
    found = run(pointwise.clamp_where, x, -0.5, 0.25, mask, way=way)
    wanted = torch.clamp(x, -0.5, 0.25)
    torch.testing.assert_close(found, wanted, equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (128, 1), (1, 131)], ids=str)
def test_silu_mul_at_edge_shapes(way: str, shape: tuple[int, int]) -> None:
    check(
        pointwise.silu_mul,
        randn(*shape),
        randn(*shape),
        way=way,
        reference=lambda gate, up: torch.nn.functional.silu(gate) * up,
        configs=CONFIGS,
    )


def test_other_scalar_values_reuse_the_kernel(way: str) -> None:
    x, mask = randn(33), randn(33, dtype=torch.bool)
    for low, high in [(-0.5, 0.25), (0.0, 0.5)]:
        found = run(pointwise.clamp_where, x, low, high, mask, way=way)
        wanted = torch.where(mask, x.clamp(low, high), -x)
        torch.testing.assert_close(found, wanted)
