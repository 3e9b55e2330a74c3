"""Layer normalization: forward, and backward with row and column reductions."""

from __future__ import annotations

import torch

import helion
import helion.language as hl


@helion.kernel
def layer_norm(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float = 1e-5
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the normalized rows, and each row's mean and 1 / standard deviation."""
    m, n = x.size()
    assert weight.size(0) == n and bias.size(0) == n, "one weight for each column"
    out = torch.empty_like(x)
    mean = torch.empty([m], dtype=torch.float32, device=x.device)
    rstd = torch.empty([m], dtype=torch.float32, device=x.device)
    for tile in hl.tile(m):
        row = x[tile, :].to(torch.float32)
        center = torch.mean(row, dim=1)
        centered = row - center[:, None]
        scale = torch.rsqrt(torch.mean(centered * centered, dim=1) + eps)
        normal = centered * scale[:, None]
        out[tile, :] = (normal * weight[:] + bias[:]).to(x.dtype)
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
    grad_out: torch.Tensor, x: torch.Tensor, mean: torch.Tensor, rstd: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients of weight and bias: each program owns a few columns.

    ``x[:, tile]`` is all rows of a block of columns; the sum over them runs in
    registers or in a loop, as the Config says.
    """
    m, n = x.size()
    dweight = torch.empty([n], dtype=torch.float32, device=x.device)
    dbias = torch.empty([n], dtype=torch.float32, device=x.device)
    for tile in hl.tile(n):
        grad = grad_out[:, tile].to(torch.float32)
        normal = (x[:, tile].to(torch.float32) - mean[:, None]) * rstd[:, None]
        dweight[tile] = torch.sum(grad * normal, dim=0)
        dbias[tile] = torch.sum(grad, dim=0)
    return dweight, dbias


@helion.kernel
def layer_norm_bwd(
    grad_out: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    mean: torch.Tensor,
    rstd: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
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
    dbias = torch.empty([bands, n], dtype=torch.float32, device=x.device)
    for band in hl.tile(m, block_size=rows):
        weight_sum = hl.zeros([n], dtype=torch.float32)
        bias_sum = hl.zeros([n], dtype=torch.float32)
        for tile in hl.tile(band.begin, band.end):
            scale = rstd[tile][:, None]
            normal = (x[tile, :].to(torch.float32) - mean[tile][:, None]) * scale
            grad = grad_out[tile, :].to(torch.float32)
            weight_sum = weight_sum + torch.sum(grad * normal, dim=0)
            bias_sum = bias_sum + torch.sum(grad, dim=0)
            grad = grad * weight[:].to(torch.float32)
            along = torch.mean(grad * normal, dim=1)
            shift = torch.mean(grad, dim=1)
            step = grad - normal * along[:, None] - shift[:, None]
            dx[tile, :] = (step * scale).to(x.dtype)
        dweight[band.id, :] = weight_sum
        dbias[band.id, :] = bias_sum
    return dx, dweight.sum(0), dbias.sum(0)


def main() -> None:
    """Compare the output and the gradients with PyTorch's layer norm."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    m, n = (4096, 5632) if device == "cuda" else (13, 37)
    x = torch.randn([m, n], device=device, requires_grad=True)
    weight = torch.randn([n], device=device, requires_grad=True)
    bias = torch.randn([n], device=device, requires_grad=True)
    grad_out = torch.randn([m, n], device=device)
    expected = torch.nn.functional.layer_norm(x, [n], weight, bias)
    grads = torch.autograd.grad(expected, [x, weight, bias], grad_out)
    close = {"rtol": 1e-3, "atol": 1e-3}
    x, weight, bias = x.detach(), weight.detach(), bias.detach()
    out, mean, rstd = layer_norm(x, weight, bias)
    torch.testing.assert_close(out, expected.detach(), **close)
    found = layer_norm_bwd(grad_out, x, weight, mean, rstd)
    torch.testing.assert_close(found, grads, **close)
    dx = layer_norm_bwd_dx(grad_out, x, weight, mean, rstd)
    torch.testing.assert_close(dx, grads[0], **close)
    found = layer_norm_bwd_dwdb(grad_out, x, mean, rstd)
    torch.testing.assert_close(found, grads[1:], **close)
    print(f"layer_norm agrees with PyTorch on {device}")


if __name__ == "__main__":
    main()
