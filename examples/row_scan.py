"""Running sums and a running recurrence along rows of any length."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def cumsum_rows(x: torch.Tensor) -> torch.Tensor:
    """Return the running sum of each row; blocks are scanned, their totals carried."""
    m, n = x.size()
    out = torch.empty([m, n], dtype=torch.float32, device=x.device)
    for tile_m in hl.tile(m):
        carry = hl.zeros([tile_m], dtype=torch.float32)
        for tile_n in hl.tile(n):
            block = x[tile_m, tile_n].to(torch.float32)
            out[tile_m, tile_n] = torch.cumsum(block, dim=1) + carry[:, None]
            carry = carry + torch.sum(block, dim=1)
    return out


@helion.kernel
def running_max(x: torch.Tensor) -> torch.Tensor:
    """Return, for each position of each row, the largest value so far."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile, :] = hl.associative_scan(torch.maximum, x[tile, :], dim=1)
    return out


def follow(
    left: tuple[torch.Tensor, torch.Tensor], right: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the map ``h -> a h + b`` that applies ``left`` and then ``right``."""
    return left[0] * right[0], left[1] * right[0] + right[1]


@helion.kernel
def exponential_average(x: torch.Tensor, decay: float) -> torch.Tensor:
    """Return ``y[t] = decay * y[t - 1] + (1 - decay) * x[t]`` along each row."""
    m, n = x.size()
    out = torch.empty([m, n], dtype=torch.float32, device=x.device)
    for tile in hl.tile(m):
        inputs = x[tile, :].to(torch.float32) * (1.0 - decay)
        factors = torch.full_like(inputs, decay)
        _, out[tile, :] = hl.associative_scan(follow, (factors, inputs), dim=1)
    return out


# A loop over time, which torch.compile would unroll.
@torch.compiler.disable
def exponential_average_ref(x: torch.Tensor, decay: float) -> torch.Tensor:
    y, out = torch.zeros_like(x[:, 0]), []
    for column in x.unbind(1):
        y = decay * y + (1 - decay) * column
        out.append(y)
    return torch.stack(out, dim=1)


def short_rows(data: _testing.Data) -> torch.Tensor:
    return data.randn(data.pick(13, 4096), data.pick(37, 1000))


CASES = [
    _testing.Case(
        "cumsum_rows",
        cumsum_rows,
        _testing.arguments(lambda data: (data.matrix(),)),
        lambda x: x.cumsum(1),
        _testing.LONG_SUM,
        _testing.configs({"block_sizes": [4, 8]}, {"block_sizes": [1, 16]}),
    ),
    _testing.Case(
        "running_max",
        running_max,
        _testing.arguments(lambda data: (short_rows(data),)),
        lambda x: x.cummax(1).values,
        configs=_testing.configs({"block_sizes": [2]}),
    ),
    _testing.Case(
        "exponential_average",
        exponential_average,
        _testing.arguments(lambda data: (short_rows(data), 0.9)),
        exponential_average_ref,
        _testing.LONG_SUM,
        _testing.configs({"block_sizes": [2]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
