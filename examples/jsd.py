"""Jensen-Shannon divergence for distillation, with the gradient of the student."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def jsd(
    student: torch.Tensor, teacher: torch.Tensor, beta: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the divergence of rows of log probabilities, and its gradient.

    ``m = beta * p + (1 - beta) * q`` mixes teacher ``p`` and student ``q``; the loss is
    ``beta * KL(p, m) + (1 - beta) * KL(q, m)``, a mean over rows. The gradient is of
    the student's log probabilities and comes from the same pass.
    """
    rows = student.size(0)
    losses = torch.empty([rows], dtype=torch.float32, device=student.device)
    dstudent = torch.empty_like(student)
    for tile in hl.tile(rows):
        log_q = student[tile, :].to(torch.float32)
        log_p = teacher[tile, :].to(torch.float32)
        q = torch.exp(log_q)
        p = torch.exp(log_p)
        log_m = torch.log(beta * p + (1.0 - beta) * q)
        terms = beta * p * (log_p - log_m) + (1.0 - beta) * q * (log_q - log_m)
        losses[tile] = torch.sum(terms, dim=1)
        dstudent[tile, :] = ((1.0 - beta) * q * (log_q - log_m) / rows).to(
            student.dtype
        )
    return losses.mean(), dstudent


def jsd_ref(
    student: torch.Tensor, teacher: torch.Tensor, beta: float
) -> tuple[torch.Tensor, torch.Tensor]:
    q, p = student.exp(), teacher.exp()
    log_m = (beta * p + (1 - beta) * q).log()
    terms = beta * p * (teacher - log_m) + (1 - beta) * q * (student - log_m)
    gradient = (1 - beta) * q * (student - log_m) / len(student)
    return terms.sum(1).mean(), gradient


def log_probabilities(data: _testing.Data) -> torch.Tensor:
    return data.randn(data.pick(13, 4096), data.pick(37, 16000)).log_softmax(1)


CASES = [
    _testing.Case(
        "jsd",
        jsd,
        _testing.arguments(
            lambda data: (log_probabilities(data), log_probabilities(data), 0.3)
        ),
        jsd_ref,
        configs=_testing.ROWS[:2],
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
