"""Products of 8-bit floats with a scale for each row and each column."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def fp8_matmul(
    x: torch.Tensor,
    y: torch.Tensor,
    scale_x: torch.Tensor,
    scale_y: torch.Tensor,
    out_dtype: hl.constexpr = torch.float16,
) -> torch.Tensor:
    """Return ``(x * scale_x[:, None]) @ (y * scale_y[None, :])``.

    The tensor cores multiply 8-bit floats as they are; the scales are applied to the
    float32 accumulator. ``y`` is best stored by columns, as the hardware reads it.
    """
    m, k = x.size()
    _, n = y.size()
    out = torch.empty([m, n], dtype=out_dtype, device=x.device)
    for tile_m, tile_n in hl.tile([m, n]):
        acc = hl.zeros([tile_m, tile_n], dtype=torch.float32)
        for tile_k in hl.tile(k):
            acc = hl.dot(x[tile_m, tile_k], y[tile_k, tile_n], acc=acc)
        scaled = acc * scale_x[tile_m][:, None] * scale_y[tile_n][None, :]
        out[tile_m, tile_n] = scaled.to(out_dtype)
    return out


def fp8_matmul_ref(
    x: torch.Tensor,
    y: torch.Tensor,
    scale_x: torch.Tensor,
    scale_y: torch.Tensor,
    out_dtype: torch.dtype = torch.float16,
) -> torch.Tensor:
    # PyTorch has no product of 8-bit floats on every device.
    wide = x.to(scale_x.dtype) @ y.to(scale_x.dtype)
    return wide * scale_x[:, None] * scale_y[None, :]


def fp8_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    m, k, n = data.pick(33, 4096), data.pick(70, 4096), data.pick(17, 4096)
    x = data.randn(m, k, dtype=torch.float8_e4m3fn)
    y = data.randn(n, k, dtype=torch.float8_e4m3fn).t()
    scale_x, scale_y = (
        data.randn(size, dtype=torch.float32).abs() * k**-0.25 for size in (m, n)
    )
    return x, y, scale_x, scale_y


CASES = [
    _testing.Case(
        "fp8_matmul",
        fp8_matmul,
        _testing.arguments(fp8_args),
        fp8_matmul_ref,
        _testing.PRODUCT,
        _testing.configs({"block_sizes": [16, 16, 32]}, {"block_sizes": [32, 16, 64]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
