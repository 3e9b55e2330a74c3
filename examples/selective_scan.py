"""A selective state space layer: its recurrence as an associative scan over time."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


def compose(
    left: tuple[torch.Tensor, torch.Tensor], right: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the map ``h -> a h + b`` that applies ``left`` and then ``right``."""
    return left[0] * right[0], left[1] * right[0] + right[1]


@helion.kernel
def selective_scan(
    x: torch.Tensor, dt: torch.Tensor, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor
) -> torch.Tensor:
    """Return ``y[t] = h[t] . c[t]``; ``h[t] = exp(dt[t] a) h[t-1] + dt[t] x[t] b[t]``.

    ``x`` and ``dt`` are ``[batch, length, channels]``, ``a`` is ``[channels, state]``,
    ``b`` and ``c`` are ``[batch, length, state]``. A step is an affine map of ``h``;
    such maps compose associatively, so a block of time is scanned in parallel.
    """
    batch, length, channels = x.size()
    n = hl.specialize(a.size(1))
    assert b.size(2) == n and c.size(2) == n, "one state size"
    y = torch.empty_like(x)
    for i, tile_d in hl.tile([batch, channels], block_size=[1, None]):
        h = hl.zeros([tile_d, n], dtype=torch.float32)
        rate = a[tile_d, :].to(torch.float32)
        for tile_t in hl.tile(length):
            step = dt[i.begin, tile_t, tile_d].to(torch.float32)
            inputs = step * x[i.begin, tile_t, tile_d].to(torch.float32)
            # Beyond the end of the sequence a step is 0: the map that changes nothing.
            decay = torch.exp(step[:, :, None] * rate[None, :, :])
            drive = (
                inputs[:, :, None] * b[i.begin, tile_t, :].to(torch.float32)[:, None, :]
            )
            decays, driven = hl.associative_scan(compose, (decay, drive), dim=0)
            states = decays * h[None, :, :] + driven
            seen = states * c[i.begin, tile_t, :].to(torch.float32)[:, None, :]
            y[i.begin, tile_t, tile_d] = torch.sum(seen, dim=2).to(x.dtype)
            is_last = (tile_t.index == tile_t.end - 1)[:, None, None]
            h = torch.sum(torch.where(is_last, states, 0.0), dim=0)
    return y


# A loop over time, which torch.compile would unroll.
@torch.compiler.disable
def selective_scan_ref(
    x: torch.Tensor, dt: torch.Tensor, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor
) -> torch.Tensor:
    h = torch.zeros([x.size(0), *a.size()], dtype=torch.float64, device=x.device)
    out = []
    for t in range(x.size(1)):
        h = torch.exp(dt[:, t, :, None] * a) * h
        h = h + (dt[:, t] * x[:, t])[:, :, None] * b[:, t, None, :]
        out.append((h * c[:, t, None, :]).sum(-1))
    return torch.stack(out, dim=1).to(x.dtype)


def scan_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    batch, length = data.pick(2, 8), data.pick(29, 2048)
    channels, n = data.pick(5, 1024), data.pick(4, 16)
    x = data.randn(batch, length, channels)
    dt = torch.nn.functional.softplus(data.randn(batch, length, channels) - 2.0)
    b, c = (data.randn(batch, length, n) for _ in range(2))
    return x, dt, -data.randn(channels, n).abs() - 0.1, b, c


CASES = [
    _testing.Case(
        "selective_scan",
        selective_scan,
        _testing.arguments(scan_args),
        selective_scan_ref,
        _testing.LONG_SUM,
        _testing.configs({"block_sizes": [2, 8]}, {"block_sizes": [8, 4]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
