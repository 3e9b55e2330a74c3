"""Layer norm of samples of unequal length: one mean and deviation for each sample."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def jagged_layer_norm(
    values: torch.Tensor, offsets: torch.Tensor, eps: float = 1e-5
) -> torch.Tensor:
    """Normalize each ``values[offsets[i] : offsets[i + 1]]`` as a whole.

    Three passes over a sample: its mean, the squares of what differs from it, the
    result. Differences are taken where nothing exists as well, but not summed there.
    """
    width = hl.specialize(values.size(1))
    out = torch.empty_like(values)
    for rows in hl.tile(offsets.size(0) - 1):
        start = offsets[rows]
        length = offsets[rows.index + 1] - start
        size = torch.clamp(length * width, min=1).to(torch.float32)
        mean = hl.zeros([rows], dtype=torch.float32)
        for cols in hl.jagged_tile(length):
            part = values[start[:, None] + cols.index[None, :], :].to(torch.float32)
            mean = mean + part.sum(2).sum(1)
        mean = mean / size
        square = hl.zeros([rows], dtype=torch.float32)
        for cols in hl.jagged_tile(length):
            part = values[start[:, None] + cols.index[None, :], :].to(torch.float32)
            part = part - mean[:, None, None]
            square = square + (part * part).sum(2).sum(1)
        scale = torch.rsqrt(square / size + eps)
        for cols in hl.jagged_tile(length):
            place = start[:, None] + cols.index[None, :]
            part = values[place, :].to(torch.float32) - mean[:, None, None]
            out[place, :] = (part * scale[:, None, None]).to(out.dtype)
    return out


def jagged_layer_norm_ref(
    values: torch.Tensor, offsets: torch.Tensor, eps: float = 1e-5
) -> torch.Tensor:
    ends = offsets.tolist()
    pairs = zip(ends[:-1], ends[1:], strict=True)
    rows = [values[begin:end] for begin, end in pairs if end > begin]
    normalize = torch.nn.functional.layer_norm
    return torch.cat([normalize(row, row.shape, eps=eps) for row in rows])


def jagged_args(data: _testing.Data) -> tuple[torch.Tensor, ...]:
    longest = data.pick(37, 2048)
    lengths = data.randint(0, longest + 1, data.pick(6, 512))
    lengths[:3] = torch.tensor([0, 1, longest], device=data.device)
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    return data.randn(int(offsets[-1]), data.pick(9, 128)), offsets.to(torch.int32)


CASES = [
    _testing.Case(
        "jagged_layer_norm",
        jagged_layer_norm,
        _testing.arguments(jagged_args),
        jagged_layer_norm_ref,
        configs=_testing.configs(
            {"block_sizes": [2, 8, 16, 8]}, {"block_sizes": [1, 32, 8, 16]}
        ),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
