"""Layer and RMS norm, forward and backward, at widths around powers of two."""

from __future__ import annotations

import pytest
import torch

import helion
from examples import layer_norm as ln
from examples.rms_norm import rms_norm
from test.harness import check, map_tensors, randn, run, to_float64

WIDTHS = [1, 16, 31, 100]
ROWS = (None, helion.Config(block_sizes=[2], reduction_loops=[16]))
TOLERANCE = {
    torch.float32: (1e-4, 1e-4),
    torch.float16: (1e-2, 1e-2),
    torch.bfloat16: (5e-2, 5e-2),
}


def rms_reference(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.rms_norm(x, [x.size(1)], weight, 1e-6)


def norm_reference(*args: torch.Tensor) -> tuple[torch.Tensor, ...]:
    x, weight, bias = args
    rstd = torch.rsqrt(x.var(1, correction=0) + 1e-5)
    out = torch.nn.functional.layer_norm(x, [x.size(1)], weight, bias)
    return out, x.mean(1), rstd


def gradients(
    grad_out: torch.Tensor, x: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    inputs = [
        t.detach().requires_grad_() for t in (x, weight, torch.zeros_like(weight))
    ]
    out = torch.nn.functional.layer_norm(inputs[0], [x.size(1)], *inputs[1:])
    return torch.autograd.grad(out, inputs, grad_out)


def backward_args(m: int, n: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    grad_out, x, weight = (randn(*s, dtype=dtype) for s in [(m, n), (m, n), (n,)])
    mean = x.float().mean(1)
    rstd = torch.rsqrt(x.float().var(1, correction=0) + 1e-5)
    return grad_out, x, weight, mean, rstd


def configs_for(n: int) -> tuple[helion.Config | None, ...]:
    return ROWS if n > 16 else ROWS[:1]


@pytest.mark.parametrize("n", WIDTHS)
def test_rms_norm(way: str, n: int) -> None:
    check(
        rms_norm,
        randn(5, n),
        randn(n),
        way=way,
        reference=rms_reference,
        configs=configs_for(n),
        tolerance=TOLERANCE,
    )


def test_rms_norm_default_argument_can_be_given(way: str) -> None:
    x, weight = randn(5, 31), randn(31)
    found = run(rms_norm, x, weight, 0.5, way=way)
    wanted = torch.nn.functional.rms_norm(x, [31], weight, 0.5)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("n", WIDTHS)
def test_layer_norm(way: str, n: int) -> None:
    check(
        ln.layer_norm,
        randn(5, n),
        randn(n),
        randn(n),
        way=way,
        reference=norm_reference,
        configs=configs_for(n),
        tolerance={torch.float32: (1e-3, 1e-3)},
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_layer_norm_in_low_precision(way: str, dtype: torch.dtype) -> None:
    args = randn(5, 40, dtype=dtype), randn(40, dtype=dtype), randn(40, dtype=dtype)
    check(
        ln.layer_norm,
        *args,
        way=way,
        reference=norm_reference,
        configs=ROWS,
        tolerance=TOLERANCE,
    )


@pytest.mark.parametrize("n", [16, 31, 100])
@pytest.mark.parametrize("m", [1, 9])
def test_layer_norm_backward_in_one_pass(way: str, m: int, n: int) -> None:
    args = backward_args(m, n, torch.float32)
    check(
        ln.layer_norm_bwd,
        *args,
        way=way,
        reference=lambda grad_out, x, weight, *_: gradients(grad_out, x, weight),
        configs=(None, helion.Config(block_sizes=[4, 2])),
        tolerance={torch.float32: (1e-3, 1e-3)},
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("n", [16, 31])
def test_layer_norm_backward_in_two_kernels(way: str, n: int, dtype) -> None:
    grad_out, x, weight, mean, rstd = backward_args(9, n, dtype)
    dx = run(ln.layer_norm_bwd_dx, grad_out, x, weight, mean, rstd, way=way)
    dwdb = run(ln.layer_norm_bwd_dwdb, grad_out, x, mean, rstd, way=way)
    wide = map_tensors(to_float64, (grad_out, x, weight))
    rtol, atol = {**TOLERANCE, torch.float32: (1e-3, 1e-3)}[dtype]
    for found, wanted in zip((dx, *dwdb), gradients(*wide)):
        torch.testing.assert_close(found.double(), wanted, rtol=rtol, atol=atol)


def test_column_sums_over_many_rows(way: str) -> None:
    grad_out, x, _, mean, rstd = backward_args(300, 5, torch.float32)
    looped = helion.Config(block_sizes=[4], reduction_loops=[64])
    check(
        ln.layer_norm_bwd_dwdb,
        grad_out,
        x,
        mean,
        rstd,
        way=way,
        reference=lambda g, x, mean, rstd: (
            (g * (x - mean[:, None]) * rstd[:, None]).sum(0),
            g.sum(0),
        ),
        configs=(None, looped),
        tolerance={torch.float32: (1e-4, 1e-3)},
    )
