"""Kullback-Leibler divergence of rows of logits from rows of teacher logits."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def kl_div(logits: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the mean over rows of ``sum(p * (log p - log q))``.

    ``q`` is the softmax of ``logits``, ``p`` that of ``teacher``; neither is stored.
    With ``z = teacher - logits`` the sum is ``E_p[z]`` plus the difference of the two
    normalizers, and all of it is found in one pass over the rows: the running sums are
    rescaled when a running maximum grows.
    """
    m, n = logits.size()
    losses = torch.empty([m], dtype=torch.float32, device=logits.device)
    for tile_m in hl.tile(m):
        peak_q = hl.full([tile_m], float("-inf"), dtype=torch.float32)
        peak_p = hl.full([tile_m], float("-inf"), dtype=torch.float32)
        sum_q = hl.zeros([tile_m], dtype=torch.float32)
        sum_p = hl.zeros([tile_m], dtype=torch.float32)
        cross = hl.zeros([tile_m], dtype=torch.float32)
        for tile_n in hl.tile(n):
            a = logits[tile_m, tile_n].to(torch.float32)
            b = teacher[tile_m, tile_n].to(torch.float32)
            top_q = torch.maximum(peak_q, torch.amax(a, dim=1))
            top_p = torch.maximum(peak_p, torch.amax(b, dim=1))
            sum_q = sum_q * torch.exp(peak_q - top_q) + torch.exp(
                a - top_q[:, None]
            ).sum(1)
            decay = torch.exp(peak_p - top_p)
            weight = torch.exp(b - top_p[:, None])
            sum_p = sum_p * decay + weight.sum(1)
            cross = cross * decay + (weight * (b - a)).sum(1)
            peak_q = top_q
            peak_p = top_p
        normalizer_q = peak_q + torch.log(sum_q)
        normalizer_p = peak_p + torch.log(sum_p)
        losses[tile_m] = cross / sum_p + normalizer_q - normalizer_p
    return losses.mean()


def kl_div_ref(logits: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    log_q = torch.log_softmax(logits, dim=1)
    log_p = torch.log_softmax(teacher, dim=1)
    return torch.nn.functional.kl_div(
        log_q, log_p, reduction="batchmean", log_target=True
    )


def logit_pairs(data: _testing.Data) -> tuple[torch.Tensor, torch.Tensor]:
    m, n = data.pick(13, 4096), data.pick(37, 32000)
    return data.randn(m, n), data.randn(m, n)


CASES = [
    _testing.Case(
        "kl_div",
        kl_div,
        _testing.arguments(logit_pairs),
        kl_div_ref,
        configs=_testing.configs({"block_sizes": [4, 16]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
