"""Layer normalization: forward, and backward with row and column reductions."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


@helion.kernel
def layer_norm(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the normalized rows, and each row's mean and 1 / standard deviation."""
    m, n = x.size()
    assert weight.size(0) == n, "one weight for each column"
    assert bias is None or bias.size(0) == n, "one bias for each column"
    out = torch.empty_like(x)
    mean = torch.empty([m], dtype=torch.float32, device=x.device)
    rstd = torch.empty([m], dtype=torch.float32, device=x.device)
    for tile in hl.tile(m):
        row = x[tile, :].to(torch.float32)
        center = torch.mean(row, dim=1)
        centered = row - center[:, None]
        scale = torch.rsqrt(torch.mean(centered * centered, dim=1) + eps)
        result = centered * scale[:, None] * weight[:]
        if bias is not None:
            result = result + bias[:]
        out[tile, :] = result.to(x.dtype)
        mean[tile] = center
        rstd[tile] = scale
    return out, mean, rstd


@helion.kernel
def layer_norm_bwd_dx(
    grad_out: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    mean: torch.Tensor,
    rstd: torch.Tensor,
) -> torch.Tensor:
    """Return the gradient of ``x``: two reductions along each row."""
    m, n = x.size()
    dx = torch.empty_like(x)
    for tile in hl.tile(m):
        scale = rstd[tile][:, None]
        normal = (x[tile, :].to(torch.float32) - mean[tile][:, None]) * scale
        grad = grad_out[tile, :].to(torch.float32) * weight[:].to(torch.float32)
        along = torch.mean(grad * normal, dim=1)
        shift = torch.mean(grad, dim=1)
        step = grad - normal * along[:, None] - shift[:, None]
        dx[tile, :] = (step * scale).to(x.dtype)
    return dx


@helion.kernel
def layer_norm_bwd_dwdb(
    grad_out: torch.Tensor,
    x: torch.Tensor,
    mean: torch.Tensor,
    rstd: torch.Tensor,
    compute_bias_grad: hl.constexpr = True,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the gradients of weight and bias: each program owns a few columns.

    ``x[:, tile]`` is all rows of a block of columns; the sums over them run in
    registers or in one loop, as the Config says. Without ``compute_bias_grad`` the
    second result is None and costs nothing.
    """
    m, n = x.size()
    dweight = torch.empty([n], dtype=torch.float32, device=x.device)
    dbias = None
    if compute_bias_grad:
        dbias = torch.empty([n], dtype=torch.float32, device=x.device)
    for tile in hl.tile(n):
        grad = grad_out[:, tile].to(torch.float32)
        normal = (x[:, tile].to(torch.float32) - mean[:, None]) * rstd[:, None]
        dweight[tile] = torch.sum(grad * normal, dim=0)
        if compute_bias_grad:
            dbias[tile] = torch.sum(grad, dim=0)
    return dweight, dbias


@helion.kernel
def layer_norm_bwd(
    grad_out: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    mean: torch.Tensor,
    rstd: torch.Tensor,
    compute_bias_grad: hl.constexpr = True,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Return the gradients of x, weight and bias from one pass over the rows.

    Each program walks a band of rows, writes their ``dx`` and keeps the column sums
    of its band; the host adds the bands up.
    """
    m, n = x.size()
    n = hl.specialize(n)
    rows = hl.register_block_size(m)
    bands = helion.cdiv(m, rows)
    dx = torch.empty_like(x)
    dweight = torch.empty([bands, n], dtype=torch.float32, device=x.device)
    dbias = None
    if compute_bias_grad:
        dbias = torch.empty([bands, n], dtype=torch.float32, device=x.device)
    for band in hl.tile(m, block_size=rows):
        weight_sum = hl.zeros([n], dtype=torch.float32)
        bias_sum = hl.zeros([n], dtype=torch.float32)
        for tile in hl.tile(band.begin, band.end):
            scale = rstd[tile][:, None]
            normal = (x[tile, :].to(torch.float32) - mean[tile][:, None]) * scale
            grad = grad_out[tile, :].to(torch.float32)
            weight_sum = weight_sum + torch.sum(grad * normal, dim=0)
            if compute_bias_grad:
                bias_sum = bias_sum + torch.sum(grad, dim=0)
            grad = grad * weight[:].to(torch.float32)
            along = torch.mean(grad * normal, dim=1)
            shift = torch.mean(grad, dim=1)
            step = grad - normal * along[:, None] - shift[:, None]
            dx[tile, :] = (step * scale).to(x.dtype)
        dweight[band.id, :] = weight_sum
        if compute_bias_grad:
            dbias[band.id, :] = bias_sum
    return dx, dweight.sum(0), dbias.sum(0) if compute_bias_grad else None


def reference(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, grad_out: torch.Tensor
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Return the output and the gradients that PyTorch finds in float64."""
    inputs = [value.double().requires_grad_() for value in (x, weight, bias)]
    out = torch.nn.functional.layer_norm(inputs[0], [x.size(1)], *inputs[1:])
    grads = torch.autograd.grad(out, inputs, grad_out.double())
    return out.detach(), grads


def check(m: int, n: int, device: str) -> None:
    """Compare the output and the gradients with PyTorch's layer norm."""
    x, grad_out = (torch.randn([m, n], device=device) for _ in range(2))
    weight, bias = (torch.randn([n], device=device) for _ in range(2))
    expected, grads = reference(x, weight, bias, grad_out)
    # The error of a sum over m rows grows with the root of m.
    close = {"rtol": 1e-3, "atol": 1e-3 + 1e-5 * m**0.5, "check_dtype": False}
    out, mean, rstd = layer_norm(x, weight, bias)
    torch.testing.assert_close(out, expected, **close)
    torch.testing.assert_close(layer_norm(x, weight)[0] + bias, expected, **close)
    found = layer_norm_bwd(grad_out, x, weight, mean, rstd)
    torch.testing.assert_close(found, grads, **close)
    dx = layer_norm_bwd_dx(grad_out, x, weight, mean, rstd)
    torch.testing.assert_close(dx, grads[0], **close)
    found = layer_norm_bwd_dwdb(grad_out, x, mean, rstd)
    torch.testing.assert_close(found, grads[1:], **close)
    dweight, dbias = layer_norm_bwd_dwdb(grad_out, x, mean, rstd, False)
    torch.testing.assert_close(dweight, grads[1], **close)
    assert dbias is None, "no bias gradient was asked for"


def main() -> None:
    """Check a wide and a long matrix: the long one sums very many rows."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    wide, long = (13, 37), (2003, 16)
    if device == "cuda":
        wide, long = (4096, 5632), (1_152_000, 16)
    for m, n in (wide, long):
        check(m, n, device)
        print(f"layer_norm, forward and backward, {m} x {n}: right on {device}")


if __name__ == "__main__":
    main()
