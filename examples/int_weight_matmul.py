"""Floating activations times integer weights, which are dequantized in registers."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def matmul_int_weight(
    x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """Return ``x @ (weight * scale)`` for int8 or int16 weights, one scale a column.

    Memory sees the narrow weights only. The scale does not depend on K, so it is
    applied once, to the accumulator.
    """
    m, k = x.size()
    _, n = weight.size()
    out = torch.empty([m, n], dtype=x.dtype, device=x.device)
    for tile_m, tile_n in hl.tile([m, n]):
        acc = hl.zeros([tile_m, tile_n], dtype=torch.float32)
        for tile_k in hl.tile(k):
            wide = weight[tile_k, tile_n].to(x.dtype)
            acc = hl.dot(x[tile_m, tile_k], wide, acc=acc)
        out[tile_m, tile_n] = (acc * scale[tile_n][None, :]).to(x.dtype)
    return out


@helion.kernel
def matmul_int4_weight(
    x: torch.Tensor, packed: torch.Tensor, scale: torch.Tensor, group: hl.constexpr
) -> torch.Tensor:
    """Return ``x`` times 4-bit weights that lie in pairs along K, with a scale a group.

    Byte ``i`` holds the weight of row ``2 i`` in its low half and that of ``2 i + 1``
    in its high half. Instead of interleaving the weights, the kernel takes ``x`` apart
    into even and odd columns, which makes two products of half the length.
    """
    m, k = x.size()
    half, n = packed.size()
    pairs = x.view(m, half, 2)
    out = torch.empty([m, n], dtype=x.dtype, device=x.device)
    for tile_m, tile_n in hl.tile([m, n]):
        acc = hl.zeros([tile_m, tile_n], dtype=torch.float32)
        for tile_k in hl.tile(half):
            both = packed[tile_k, tile_n]
            factor = scale[tile_k.index * 2 // group, tile_n]
            # Shifts of int8 keep the sign.
            low = ((both << 4) >> 4).to(x.dtype) * factor
            high = (both >> 4).to(x.dtype) * factor
            even, odd = hl.split(pairs[tile_m, tile_k, :])
            acc = hl.dot(even, low, acc=acc)
            acc = hl.dot(odd, high, acc=acc)
        out[tile_m, tile_n] = acc.to(x.dtype)
    return out


def matmul_int_weight_ref(
    x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    return (x @ weight.to(x.dtype)) * scale


def matmul_int4_weight_ref(
    x: torch.Tensor, packed: torch.Tensor, scale: torch.Tensor, group: int
) -> torch.Tensor:
    weight = torch.stack([(packed << 4) >> 4, packed >> 4], dim=1).flatten(0, 1)
    return x @ (weight.to(x.dtype) * scale.repeat_interleave(group, dim=0))


def sizes(data: _testing.Data) -> tuple[int, int, int]:
    return data.pick(17, 256), data.pick(64, 4096), data.pick(37, 4096)


def int_args(data: _testing.Data, bits: int) -> tuple[torch.Tensor, ...]:
    m, k, n = sizes(data)
    dtype, top = {8: (torch.int8, 128), 16: (torch.int16, 1024)}[bits]
    weight = data.randint(-top, top, k, n).to(dtype)
    return data.randn(m, k), weight, data.randn(n) / (top * k**0.5)


def int4_args(data: _testing.Data) -> tuple[object, ...]:
    m, k, n = sizes(data)
    group = data.pick(16, 128)
    packed = data.randint(-128, 128, k // 2, n).to(torch.int8)
    return data.randn(m, k), packed, data.randn(k // group, n) / (8 * k**0.5), group


BLOCKS = _testing.configs({"block_sizes": [16, 16, 16]}, {"block_sizes": [16, 32, 32]})
CASES = [
    *(
        _testing.Case(
            f"matmul_int{bits}_weight",
            matmul_int_weight,
            _testing.arguments(lambda data, bits=bits: int_args(data, bits)),
            matmul_int_weight_ref,
            _testing.PRODUCT,
            BLOCKS,
        )
        for bits in (8, 16)
    ),
    _testing.Case(
        "matmul_int4_weight",
        matmul_int4_weight,
        _testing.arguments(int4_args),
        matmul_int4_weight_ref,
        _testing.PRODUCT,
        BLOCKS,
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
