"""Quantization with scales found in the same pass: a row, or a block of a row, each."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def quantize_rows(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int8 rows and their scales: ``x`` is about ``quantized * scale``."""
    m, n = x.size()
    out = torch.empty([m, n], dtype=torch.int8, device=x.device)
    scale = torch.empty([m], dtype=torch.float32, device=x.device)
    for tile in hl.tile(m):
        row = x[tile, :].to(torch.float32)
        peak = torch.clamp(torch.amax(torch.abs(row), dim=1), min=1e-10)
        out[tile, :] = torch.round(row * (127.0 / peak)[:, None]).to(torch.int8)
        scale[tile] = peak * (1.0 / 127.0)
    return out, scale


@helion.kernel
def quantize_groups(
    x: torch.Tensor, group: hl.constexpr
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return float8 values and a scale for each ``group`` neighbours in a row.

    The scales are powers of two, so that scaling is exact. The host view puts the
    groups on an axis of their own, which is reduced whole.
    """
    m, n = x.size()
    groups = x.view(m * (n // group), group)
    out = torch.empty_like(groups, dtype=torch.float8_e4m3fn)
    scale = torch.empty([groups.size(0)], dtype=torch.float32, device=x.device)
    for tile in hl.tile(groups.size(0)):
        values = groups[tile, :].to(torch.float32)
        peak = torch.clamp(torch.amax(torch.abs(values), dim=1), min=1e-10)
        power = next_power_of_2(peak) * (1.0 / 256.0)
        out[tile, :] = (values * (1.0 / power)[:, None]).to(torch.float8_e4m3fn)
        scale[tile] = power
    return out.view(m, n), scale.view(m, n // group)


def next_power_of_2(x: torch.Tensor) -> torch.Tensor:
    """Round positive float32 values up to a power of two, by their exponent bits."""
    bits = (x.view(torch.int32) + 0x007FFFFF) & 0x7F800000
    return bits.view(torch.float32)


def quantize_rows_ref(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    # In float32 like the kernel, so that the same values are rounded.
    x = x.float()
    peak = x.abs().amax(1).clamp(min=1e-10)
    return torch.round(x * (127.0 / peak)[:, None]).to(torch.int8), peak * (1.0 / 127.0)


def quantize_groups_ref(
    x: torch.Tensor, group: int
) -> tuple[torch.Tensor, torch.Tensor]:
    values = x.float().view(x.size(0), -1, group)
    peak = values.abs().amax(2).clamp(min=1e-10)
    power = torch.exp2(torch.frexp(peak).exponent - 8.0)
    power = torch.where(torch.frexp(peak).mantissa == 0.5, power / 2, power)
    rounded = (values / power[..., None]).to(torch.float8_e4m3fn)
    return rounded.float().view(x.size()), power


CASES = [
    _testing.Case(
        "quantize_rows",
        quantize_rows,
        _testing.arguments(lambda data: (data.matrix(),)),
        quantize_rows_ref,
        configs=_testing.ROWS[:2],
        slack=1,
    ),
    _testing.Case(
        "quantize_groups",
        quantize_groups,
        _testing.arguments(
            lambda data: (
                data.randn(data.pick(5, 4096), data.pick(64, 4096)),
                data.pick(16, 128),
            )
        ),
        quantize_groups_ref,
        configs=_testing.configs(
            {"block_sizes": [4]}, {"block_sizes": [2], "reduction_loops": [8]}
        ),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
