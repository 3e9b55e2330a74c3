"""Layer norm backward, in every form and at every width, against autograd."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import helion
from examples import layer_norm as ln
from test import interpreter_worker
from test.codegen.emitted import bind, kernel_texts, meta
from test.harness import check, offline, run
from test.layer_norm_kernels import (
    KERNELS,
    VARIANTS,
    assert_gradients,
    backward_args,
    reset_before_each_width,
)

POWERS_OF_TWO = [64, 4096, 8192]
OTHER_WIDTHS = [1, 3, 17, 100, 768, 1000, 5120, 5632, 8191, 12289]
WIDTHS = POWERS_OF_TWO + OTHER_WIDTHS
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
HALVES = DTYPES[1:]
# The first argument of a walk over 16 columns and very many rows.
LONG = 1_152_000, 16


def gradients(
    args: tuple[torch.Tensor, ...], way: str, **settings: Any
) -> tuple[torch.Tensor, ...]:
    """Return dx, dweight and dbias from the example's two kernels."""
    dx = run(ln.layer_norm_bwd_dx, *args, way=way, **settings)
    grad_out, x, _, mean, rstd = args
    dwdb = run(ln.layer_norm_bwd_dwdb, grad_out, x, mean, rstd, way=way, **settings)
    return dx, *dwdb


def check_example(n: int, dtype: torch.dtype, way: str, **settings: Any) -> None:
    """Check the example's fused kernel and its pair of kernels at one width."""
    args = backward_args(5, n, dtype)
    fused = run(ln.layer_norm_bwd, *args, way=way, **settings)
    assert_gradients(fused, args)
    assert_gradients(gradients(args, way, **settings), args)


# ---- every width ----


@pytest.mark.parametrize("n", POWERS_OF_TWO)
def test_layer_norm_bwd_power_of_two(n: int) -> None:
    check_example(n, torch.float32, "interpreted")


@pytest.mark.parametrize("n", OTHER_WIDTHS)
def test_layer_norm_bwd_other_widths(n: int) -> None:
    check_example(n, torch.float32, "interpreted")


@pytest.mark.parametrize("n", WIDTHS)
def test_layer_norm_bwd_eager(n: int) -> None:
    # Each dtype at some of the widths, all widths in some dtype.
    check_example(n, DTYPES[WIDTHS.index(n) % len(DTYPES)], "eager")


@pytest.mark.parametrize("n", [1, 100, 5632])
def test_layer_norm_bwd_dynamic_shapes(n: int) -> None:
    check_example(n, torch.float32, "interpreted", static_shapes=False)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("n", [17, 1000])
def test_layer_norm_bwd_half_precision(n: int, dtype: torch.dtype) -> None:
    check_example(n, dtype, "interpreted")


@pytest.mark.gpu
@pytest.mark.parametrize("static_shapes", [True, False], ids=["static", "dynamic"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", WIDTHS)
def test_layer_norm_bwd_compiled(n: int, dtype: torch.dtype, static_shapes) -> None:
    check_example(n, dtype, "compiled", static_shapes=static_shapes)


# ---- the reported failure ----


@pytest.mark.gpu
def test_layer_norm_bwd_non_power_of_two() -> None:
    args = backward_args(4096, 5632, torch.float16)
    found = run(ln.layer_norm_bwd, *args, True, way="compiled")
    assert [tuple(value.shape) for value in found] == [(4096, 5632), (5632,), (5632,)]
    assert_gradients(found, args)


def test_layer_norm_bwd_non_power_of_two_assembles() -> None:
    (m, n), half = (4096, 5632), torch.float16
    wide, weight = meta(m, n, dtype=half), meta(n, dtype=half)
    (launch,) = offline(ln.layer_norm_bwd, wide, wide, weight, meta(m), meta(m), True)
    assert launch.cubin


# ---- the bias gradient is optional ----


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_bias_gradient_can_be_left_out(way: str, dtype: torch.dtype) -> None:
    args = backward_args(7, 100, dtype)
    with_bias = run(ln.layer_norm_bwd, *args, True, way=way)
    dx, dweight, dbias = run(ln.layer_norm_bwd, *args, False, way=way)
    assert dbias is None
    assert_gradients((dx, dweight, with_bias[2]), args)
    columns = args[0], args[1], *args[3:]
    pair = run(ln.layer_norm_bwd_dwdb, *columns, way=way)
    dweight, dbias = run(ln.layer_norm_bwd_dwdb, *columns, False, way=way)
    assert dbias is None and torch.equal(dweight, pair[0])


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("loops", [[None], [16]], ids=str)
def test_both_gradients_share_one_pass(loops: list, with_bias: bool) -> None:
    grad_out, x, _, mean, rstd = backward_args(100, 37, torch.float16)
    bound = bind(ln.layer_norm_bwd_dwdb, grad_out, x, mean, rstd, with_bias)
    config = helion.Config(block_sizes=[16], reduction_loops=loops)
    (text,) = kernel_texts(bound.to_triton_code(config))
    assert text.count("tl.load(grad_out") == text.count("tl.load(x ") == 1
    assert text.count("tl.sum(") == 1 + with_bias
    assert ("dbias" in text) == with_bias


def test_bias_of_the_forward_is_optional(way: str) -> None:
    x, weight = torch.randn(5, 37), torch.randn(37)
    plain = torch.nn.functional.layer_norm(x.double(), [37], weight.double())
    found = run(ln.layer_norm, x, weight, way=way)[0]
    torch.testing.assert_close(found.double(), plain, rtol=1e-4, atol=1e-4)
    found = run(ln.layer_norm, x, weight, None, 0.5, way=way)[0]
    soft = torch.nn.functional.layer_norm(x, [37], weight, None, 0.5)
    torch.testing.assert_close(found, soft, rtol=1e-4, atol=1e-4)


# ---- other ways to write it ----


@pytest.mark.parametrize("n", [17, 1000])
@pytest.mark.parametrize("name", VARIANTS)
def test_variant(name: str, n: int, way: str) -> None:
    args = backward_args(7, n, torch.float32)
    assert_gradients(run(VARIANTS[name], *args, way=way), args)


@pytest.mark.parametrize("name", VARIANTS)
def test_variant_with_dynamic_shapes(name: str) -> None:
    args = backward_args(6, 100, torch.float32)
    found = run(VARIANTS[name], *args, way="interpreted", static_shapes=False)
    assert_gradients(found, args)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", VARIANTS)
def test_variant_at_the_least_width(name: str, dtype: torch.dtype) -> None:
    args = backward_args(3, 1, dtype)
    assert_gradients(run(VARIANTS[name], *args, way="interpreted"), args)


@pytest.mark.gpu
@pytest.mark.parametrize("n", WIDTHS)
@pytest.mark.parametrize("name", VARIANTS)
def test_variant_compiled(name: str, n: int) -> None:
    args = backward_args(33, n, torch.float16)
    assert_gradients(run(VARIANTS[name], *args, way="compiled"), args)


# ---- one kernel, reset between widths ----


@pytest.mark.parametrize("name", ["explicit_buffers", "layer_norm_bwd"])
def test_reset_before_each_width(name: str) -> None:
    widths = [64, 17, 1000, 17]
    request = reset_before_each_width, (name, widths, "cpu")
    found, _ = interpreter_worker.call(*request)
    check_each_width(found, widths, "cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("name", KERNELS)
def test_reset_before_each_width_compiled(name: str) -> None:
    widths = [64, 5632, 17, 1000, 5632]
    found = reset_before_each_width(name, widths, "cuda")
    check_each_width(found, widths, "cuda")


def check_each_width(found: Any, widths: list[int], device: str) -> None:
    assert len(found) == len(widths)
    for result, width in zip(found, widths, strict=True):
        torch.manual_seed(width)
        assert_gradients(result, backward_args(5, width, torch.float32, device))


# ---- the program, and very many rows ----


def test_example_runs_forward_and_backward() -> None:
    command = [sys.executable, str(Path(ln.__file__).resolve())]
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    for case in ("layer_norm", "layer_norm_bwd", "layer_norm_bwd_dwdb_long"):
        assert f"{case}: agrees with PyTorch" in done.stdout


def column_sums(
    grad_out: torch.Tensor, x: torch.Tensor, mean: torch.Tensor, rstd: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    normal = (x - mean[:, None]) * rstd[:, None]
    return (grad_out * normal).sum(0), grad_out.sum(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("chunk", [128, 1024])
def test_many_rows_in_chunks(chunk: int, dtype: torch.dtype) -> None:
    grad_out, x, _, mean, rstd = backward_args(5003, 16, dtype)
    check(
        ln.layer_norm_bwd_dwdb,
        grad_out,
        x,
        mean,
        rstd,
        way="interpreted",
        reference=column_sums,
        configs=[helion.Config(block_sizes=[16], reduction_loops=[chunk])],
        tolerance=dict.fromkeys(DTYPES, (1e-4, 2e-3)),
    )


@pytest.mark.gpu
@pytest.mark.parametrize("compute_bias_grad", [True, False])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_more_than_a_million_rows(dtype: torch.dtype, compute_bias_grad: bool) -> None:
    grad_out, x, _, mean, rstd = backward_args(*LONG, dtype, "cuda")
    columns = grad_out, x, mean, rstd
    wanted = column_sums(*(value.double() for value in columns))
    found = ln.layer_norm_bwd_dwdb(*columns, compute_bias_grad)
    assert (found[1] is not None) == compute_bias_grad
    for mine, right in zip(found, wanted, strict=True):
        if mine is not None:
            torch.testing.assert_close(mine.double(), right, rtol=1e-4, atol=5e-2)


@pytest.mark.gpu
def test_all_gradients_of_more_than_a_million_rows() -> None:
    args = backward_args(*LONG, torch.float32, "cuda")
    found = ln.layer_norm_bwd(*args)
    assert_gradients(found, args)
