"""Microscaling products: narrow numbers with a shared power of two for each 32."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing

# Neighbours along K that share a scale.
GROUP = 32


@helion.kernel
def mx_matmul(
    x: torch.Tensor, scale_x: torch.Tensor, y: torch.Tensor, scale_y: torch.Tensor
) -> torch.Tensor:
    """Return the product of ``x [m, k]`` and ``y [k, n]``, both float8 with scales.

    A scale is a byte ``s`` that stands for ``2 ** (s - 127)``; ``scale_x`` is
    ``[m, k / 32]`` and ``scale_y`` is ``[n, k / 32]``. A tile of K comes with as many
    scales as it has groups, whatever block size the Config gives it.
    """
    m, k = x.size()
    n = y.size(1)
    out = torch.empty([m, n], dtype=torch.float16, device=x.device)
    for tile_m, tile_n in hl.tile([m, n]):
        acc = hl.zeros([tile_m, tile_n], dtype=torch.float32)
        for tile_k in hl.tile(k):
            groups = hl.arange(helion.cdiv(tile_k.block_size, GROUP))
            group = tile_k.begin // GROUP + groups
            inside = (group < scale_x.size(1))[None, :]
            left = hl.load(scale_x, [tile_m, group], extra_mask=inside)
            right = hl.load(scale_y, [tile_n, group], extra_mask=inside)
            acc = hl.dot_scaled(
                x[tile_m, tile_k], left, "e4m3", y[tile_k, tile_n], right, "e4m3", acc
            )
        out[tile_m, tile_n] = acc.to(out.dtype)
    return out


def mx_matmul_ref(
    x: torch.Tensor, scale_x: torch.Tensor, y: torch.Tensor, scale_y: torch.Tensor
) -> torch.Tensor:
    def spread(scale: torch.Tensor) -> torch.Tensor:
        return torch.exp2(scale.float() - 127).repeat_interleave(GROUP, dim=1)

    return (x.float() * spread(scale_x)) @ (y.float() * spread(scale_y).T)


def mx_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    m, k, n = data.pick(17, 2048), data.pick(96, 4096), data.pick(24, 2048)
    x = data.randn(m, k, dtype=torch.float8_e4m3fn)
    y = data.randn(n, k, dtype=torch.float8_e4m3fn).t()
    scale_x, scale_y = (
        data.randint(122, 127, size, k // GROUP).to(torch.uint8) for size in (m, n)
    )
    return x, scale_x, y, scale_y


CASES = [
    _testing.Case(
        "mx_matmul",
        mx_matmul,
        _testing.arguments(mx_args),
        mx_matmul_ref,
        _testing.PRODUCT,
        _testing.configs({"block_sizes": [16, 16, 32]}, {"block_sizes": [32, 16, 64]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
