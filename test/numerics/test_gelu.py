"""The exact GELU: as good as its dtype, in its tails too."""

from __future__ import annotations

import pytest
import torch

import helion
import helion.language as hl
from test import harness

# Of the largest representable spacing at a result, how far off it may be.
SPACINGS = {torch.float32: 8.0, torch.float16: 1.1, torch.bfloat16: 1.1}


@helion.kernel
def gelu(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = torch.nn.functional.gelu(x[tile])
    return out


@helion.kernel
def wide_gelu(x: torch.Tensor) -> torch.Tensor:
    """The same with a conversion behind it, which becomes part of the function."""
    out = torch.empty(x.shape, dtype=torch.bfloat16, device=x.device)
    for tile in hl.tile(x.size(0)):
        out[tile] = torch.nn.functional.gelu(x[tile]).to(torch.bfloat16)
    return out


def spacing(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return the distance of neighbours in ``dtype``, at least that of normal ones."""
    info = torch.finfo(dtype)
    return torch.clamp(value.abs(), min=info.tiny) * info.eps


@pytest.mark.parametrize("dtype", list(SPACINGS))
def test_every_part_is_right(way: str, dtype: torch.dtype) -> None:
    x = torch.linspace(-5, 9, 20001).to(dtype)
    found = harness.run(gelu, x, way=way, config=helion.Config(block_sizes=[1024]))
    exact = x.double() * torch.special.ndtr(x.double())
    # Torch's own form, which eager runs, loses the tail below -1.
    kept = x > -1 if way != "interpreted" else torch.ones_like(x, dtype=torch.bool)
    off = (found.double().cpu() - exact).abs() / spacing(exact, dtype)
    assert off[kept].max() <= SPACINGS[dtype] * (8 if dtype == torch.float32 else 1)


def test_ends_are_those_of_torch(way: str) -> None:
    # Torch itself is of two minds about infinity: NaN on a CPU, infinity on a GPU.
    x = torch.tensor([float("nan"), 0.0, -0.0, 100.0, -100.0, 1e30])
    found = harness.run(gelu, x, way=way, config=helion.Config(block_sizes=[8]))
    torch.testing.assert_close(found.cpu(), torch.nn.functional.gelu(x), equal_nan=True)


def test_a_conversion_behind_it(way: str) -> None:
    x = torch.randn(3001)
    found = harness.run(wide_gelu, x, way=way, config=helion.Config(block_sizes=[512]))
    exact = x.double() * torch.special.ndtr(x.double())
    off = (found.double().cpu() - exact).abs() / spacing(exact, torch.bfloat16)
    assert off.max() <= SPACINGS[torch.bfloat16]
