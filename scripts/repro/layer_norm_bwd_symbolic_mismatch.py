"""Layer norm backward at widths where its sizes once did not match each other.

For every width the whole backward kernel (dx, dweight, dbias) binds with static and
with dynamic shapes, emits code, and its eager result agrees with autograd in float64.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

import helion
from examples.layer_norm import layer_norm_bwd

WIDTHS = (64, 1000, 5120, 5632)
ROWS = 24


def check_binding(width: int, static_shapes: bool) -> None:
    """Stage 1 and 2 must get through without a GPU."""
    with FakeTensorMode():
        wide = torch.empty(ROWS, width, dtype=torch.float16, device="cuda")
        weight = torch.empty(width, dtype=torch.float16, device="cuda")
        stats = torch.empty(ROWS, dtype=torch.float32, device="cuda")
    kernel = helion.kernel(layer_norm_bwd.fn, static_shapes=static_shapes)
    bound = kernel.bind((wide, wide, weight, stats, stats))
    assert f"< {width}" in bound.to_triton_code() or width & (width - 1) == 0


def check_values(width: int) -> None:
    """Compare with the gradients that torch finds in float64."""
    x = torch.randn(ROWS, width, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(width, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(width, dtype=torch.float64, requires_grad=True)
    grad_out = torch.randn(ROWS, width, dtype=torch.float64)
    F.layer_norm(x, [width], weight, bias).backward(grad_out)
    mean = x.detach().mean(1)
    rstd = (x.detach().var(1, correction=0) + 1e-5).rsqrt()
    args = [grad_out, x.detach(), weight.detach(), mean, rstd]
    found = layer_norm_bwd(*(arg.float() for arg in args))
    for mine, right in zip(found, (x.grad, weight.grad, bias.grad)):
        assert right is not None
        torch.testing.assert_close(mine.double(), right, rtol=1e-4, atol=1e-3)


def main() -> None:
    """Check every width."""
    for width in WIDTHS:
        for static_shapes in (True, False):
            check_binding(width, static_shapes)
        check_values(width)
    print(f"layer_norm_bwd_symbolic_mismatch: right at widths {WIDTHS}")


if __name__ == "__main__":
    main()
