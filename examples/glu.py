"""Gated linear units: one kernel, with the activation as a function argument."""

from __future__ import annotations

from collections.abc import Callable

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def glu(
    x: torch.Tensor, activation: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Return ``activation(gate) * up`` for rows that hold gate and up side by side.

    The host view splits each row in two, so both halves are read where they lie.
    ``activation`` is inlined; each function gives a kernel of its own.
    """
    m, two_n = x.size()
    n = two_n // 2
    halves = x.view(m, 2, n)
    out = torch.empty([m, n], dtype=x.dtype, device=x.device)
    for tile_m, tile_n in hl.tile([m, n]):
        gate = halves[tile_m, 0, tile_n].to(torch.float32)
        up = halves[tile_m, 1, tile_n].to(torch.float32)
        out[tile_m, tile_n] = (activation(gate) * up).to(x.dtype)
    return out


@helion.kernel
def swiglu_bwd(grad: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return the gradient of ``x`` for ``glu(x, silu)``; the sigmoid is recomputed."""
    m, n = grad.size()
    halves = x.view(m, 2, n)
    dx = torch.empty_like(halves)
    for tile_m, tile_n in hl.tile([m, n]):
        gate = halves[tile_m, 0, tile_n].to(torch.float32)
        up = halves[tile_m, 1, tile_n].to(torch.float32)
        g = grad[tile_m, tile_n].to(torch.float32)
        s = torch.sigmoid(gate)
        dx[tile_m, 0, tile_n] = (g * up * s * (1.0 + gate * (1.0 - s))).to(x.dtype)
        dx[tile_m, 1, tile_n] = (g * gate * s).to(x.dtype)
    return dx.view(x.size())


def silu(x: torch.Tensor) -> torch.Tensor:
    return x * torch.sigmoid(x)


def tanh_gelu(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.gelu(x, approximate="tanh")


def glu_ref(x: torch.Tensor, activation: Callable[..., torch.Tensor]) -> torch.Tensor:
    gate, up = x.chunk(2, dim=1)
    return activation(gate) * up


def swiglu_bwd_ref(grad: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    gate, up = x.chunk(2, dim=1)
    s = torch.sigmoid(gate)
    return torch.cat([grad * up * s * (1 + gate * (1 - s)), grad * gate * s], dim=1)


def case(name: str, activation: Callable[..., torch.Tensor]) -> _testing.Case:
    return _testing.Case(
        name,
        glu,
        _testing.arguments(
            lambda data: (
                data.randn(data.pick(13, 8192), data.pick(74, 22016)),
                activation,
            )
        ),
        glu_ref,
        configs=_testing.GRID_2D[:1],
    )


CASES = [
    case("swiglu", silu),
    case("geglu", tanh_gelu),
    case("reglu", torch.relu),
    _testing.Case(
        "swiglu_bwd",
        swiglu_bwd,
        _testing.arguments(
            lambda data: (x := data.matrix(), data.randn(x.size(0), 2 * x.size(1)))
        ),
        swiglu_bwd_ref,
        configs=_testing.GRID_2D[:1],
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
