"""AdamW: a step of the optimizer in one pass, with its tensors updated in place."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def adamw(
    parameter: torch.Tensor,
    grad: torch.Tensor,
    mean: torch.Tensor,
    square: torch.Tensor,
    step: int,
    rate: float,
    betas: tuple[float, float] = (0.9, 0.999),
    decay: float = 0.01,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Update the parameter and both running means in place, and return them.

    The means start at zero, for which ``step``, counted from 1, corrects them on the
    host. They are float32 whatever the parameter is.
    """
    first, second = betas
    mean_scale, square_scale = 1.0 / (1.0 - first**step), 1.0 / (1.0 - second**step)
    for tile in hl.tile(parameter.size(0)):
        g = grad[tile].to(torch.float32)
        m = first * mean[tile] + (1.0 - first) * g
        s = second * square[tile] + (1.0 - second) * g * g
        value = parameter[tile].to(torch.float32) * (1.0 - rate * decay)
        value = value - rate * m * mean_scale / (torch.sqrt(s * square_scale) + 1e-8)
        parameter[tile] = value.to(parameter.dtype)
        mean[tile] = m
        square[tile] = s
    return parameter, mean, square


def adamw_ref(
    parameter: torch.Tensor,
    grad: torch.Tensor,
    mean: torch.Tensor,
    square: torch.Tensor,
    step: int,
    rate: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    mean = torch.lerp(grad.to(mean.dtype), mean, 0.9)
    square = torch.lerp(grad.to(square.dtype).square(), square, 0.999)
    spread = (square / (1 - 0.999**step)).sqrt() + 1e-8
    value = parameter * (1 - rate * 0.01) - rate * mean / (1 - 0.9**step) / spread
    return value.to(parameter.dtype), mean, square


def optimizer_args(data: _testing.Data) -> tuple[object, ...]:
    n = data.pick(1009, 1 << 24)
    mean = data.randn(n, dtype=torch.float32) * 0.1
    square = data.randn(n, dtype=torch.float32).square() * 0.1
    return data.randn(n), data.randn(n), mean, square, 3, 1e-2


CASES = [
    _testing.Case(
        "adamw",
        adamw,
        _testing.arguments(optimizer_args),
        adamw_ref,
        configs=_testing.configs({"block_sizes": [128]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
