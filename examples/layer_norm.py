"""Layer normalization: forward, and backward with row and column reductions."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


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


def layer_norm_ref(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    out = torch.nn.functional.layer_norm(x, [x.size(1)], weight, bias)
    return out, x.mean(1), torch.rsqrt(x.var(1, correction=0) + 1e-5)


def layer_norm_bwd_ref(
    grad_out: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    mean: torch.Tensor,
    rstd: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    normal = (x - mean[:, None]) * rstd[:, None]
    grad = grad_out * weight
    along = (grad * normal).mean(1, keepdim=True)
    dx = (grad - normal * along - grad.mean(1, keepdim=True)) * rstd[:, None]
    return dx, (grad_out * normal).sum(0), grad_out.sum(0)


def dwdb_ref(
    grad_out: torch.Tensor,
    x: torch.Tensor,
    mean: torch.Tensor,
    rstd: torch.Tensor,
    compute_bias_grad: bool = True,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    normal = (x - mean[:, None]) * rstd[:, None]
    dbias = grad_out.sum(0) if compute_bias_grad else None
    return (grad_out * normal).sum(0), dbias


def row_statistics(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x = x.float()
    return x.mean(1), torch.rsqrt(x.var(1, correction=0) + 1e-5)


def forward_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    x = data.matrix()
    return x, data.randn(x.size(1)), data.randn(x.size(1))


def backward_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    x = data.matrix()
    grad_out, weight = data.matrix(), data.randn(x.size(1))
    return grad_out, x, weight, *row_statistics(x)


def dwdb_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    grad_out, x, _, mean, rstd = backward_args(data)
    return grad_out, x, mean, rstd


def long_dwdb_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    shape = data.pick(1003, 1_152_000), 16
    grad_out, x = (data.randn(*shape, dtype=torch.float32) for _ in range(2))
    return grad_out, x, *row_statistics(x)


COLUMNS = _testing.configs(
    {"block_sizes": [16]}, {"block_sizes": [4], "reduction_loops": [8]}
)
CASES = [
    _testing.Case(
        "layer_norm",
        layer_norm,
        _testing.arguments(forward_args),
        layer_norm_ref,
        configs=_testing.ROWS,
    ),
    _testing.Case(
        "layer_norm_no_bias",
        layer_norm,
        _testing.arguments(lambda data: forward_args(data)[:2]),
        layer_norm_ref,
        configs=_testing.ROWS,
    ),
    _testing.Case(
        "layer_norm_bwd_dx",
        layer_norm_bwd_dx,
        _testing.arguments(backward_args),
        lambda *args: layer_norm_bwd_ref(*args)[0],
        _testing.LONG_SUM,
        _testing.ROWS,
    ),
    _testing.Case(
        "layer_norm_bwd_dwdb",
        layer_norm_bwd_dwdb,
        _testing.arguments(dwdb_args),
        dwdb_ref,
        _testing.LONG_SUM,
        COLUMNS,
    ),
    _testing.Case(
        "layer_norm_bwd_dwdb_no_bias",
        layer_norm_bwd_dwdb,
        _testing.arguments(lambda data: (*dwdb_args(data), False)),
        dwdb_ref,
        _testing.LONG_SUM,
        COLUMNS,
    ),
    _testing.Case(
        "layer_norm_bwd_dwdb_long",
        layer_norm_bwd_dwdb,
        _testing.arguments(long_dwdb_args),
        dwdb_ref,
        _testing.LONG_SUM,
        _testing.configs({"block_sizes": [16], "reduction_loops": [128]}),
    ),
    _testing.Case(
        "layer_norm_bwd",
        layer_norm_bwd,
        _testing.arguments(backward_args),
        layer_norm_bwd_ref,
        _testing.LONG_SUM,
        _testing.configs({"block_sizes": [8, 4]}, {"block_sizes": [16, 1]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
