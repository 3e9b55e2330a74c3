"""Layer norm backward at widths where its sizes once did not match each other.

For every width all backward kernels (dx, dweight and dbias at once or apart, with and
without the bias gradient) bind with static and with dynamic shapes and emit code, and
their eager results agree with autograd in float64.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

import helion
from examples.layer_norm import (
    layer_norm_bwd,
    layer_norm_bwd_dwdb,
    layer_norm_bwd_dx,
)

WIDTHS = (17, 64, 1000, 5120, 5632)
ROWS = 24


def check_binding(width: int, static_shapes: bool) -> None:
    """Stage 1 and 2 must get through without a GPU."""
    with FakeTensorMode():
        wide = torch.empty(ROWS, width, dtype=torch.float16, device="cuda")
        weight = torch.empty(width, dtype=torch.float16, device="cuda")
        stats = torch.empty(ROWS, dtype=torch.float32, device="cuda")
    for with_bias in (True, False):
        calls = (
            (layer_norm_bwd, (wide, wide, weight, stats, stats, with_bias)),
            (layer_norm_bwd_dwdb, (wide, wide, stats, stats, with_bias)),
            (layer_norm_bwd_dx, (wide, wide, weight, stats, stats)),
        )
        for example, args in calls:
            kernel = helion.kernel(example.fn, static_shapes=static_shapes)
            code = kernel.bind(args).to_triton_code()
            assert "@triton.jit" in code
            is_padded = width & (width - 1) != 0
            if example is layer_norm_bwd:  # its width is a number in both modes
                assert not is_padded or f"< {width}" in code, code


def check_values(width: int) -> None:
    """Compare with the gradients that torch finds in float64."""
    x = torch.randn(ROWS, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(width, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(width, dtype=torch.float64, requires_grad=True)
    grad_out = torch.randn(ROWS, width, dtype=torch.float64)
    out = F.layer_norm(x, [width], weight, bias)
    dx, *wanted = torch.autograd.grad(out, [x, weight, bias], grad_out)
    mean = x.detach().mean(1)
    rstd = (x.detach().var(1, correction=0) + 1e-5).rsqrt()
    narrow = [v.detach().float() for v in (grad_out, x, weight, mean, rstd)]
    apart = layer_norm_bwd_dwdb(narrow[0], narrow[1], *narrow[3:])
    for found in (
        layer_norm_bwd(*narrow),
        (layer_norm_bwd_dx(*narrow), *apart),
    ):
        for mine, right in zip(found, (dx, *wanted)):
            torch.testing.assert_close(mine.double(), right, rtol=1e-4, atol=1e-3)
    assert layer_norm_bwd(*narrow, False)[2] is None


def main() -> None:
    """Check every width."""
    for width in WIDTHS:
        for static_shapes in (True, False):
            check_binding(width, static_shapes)
        check_values(width)
    print(f"layer_norm_bwd_symbolic_mismatch: right at widths {WIDTHS}")


if __name__ == "__main__":
    main()
