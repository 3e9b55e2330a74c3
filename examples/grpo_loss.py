"""The GRPO loss of policy optimization: clipped ratios and a penalty for drift."""

from __future__ import annotations

import torch

import helion
import helion.language as hl
from helion import _testing


@helion.kernel
def grpo_loss(
    logits: torch.Tensor,
    tokens: torch.Tensor,
    old_logp: torch.Tensor,
    ref_logp: torch.Tensor,
    advantages: torch.Tensor,
    clip: float,
    beta: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of every token, and the log probability of the token chosen.

    ``logits`` is ``[batch, length, vocab]``, ``tokens`` and both log probabilities are
    ``[batch, length]``, ``advantages`` is ``[batch]``. The softmax over the vocabulary
    runs online over blocks; everything after it is a few operations a token.
    """
    batch, length, vocab = logits.size()
    rows = logits.view(-1, vocab)
    flat = logits.view(-1)
    chosen, old, ref = tokens.view(-1), old_logp.view(-1), ref_logp.view(-1)
    loss = torch.empty([batch * length], dtype=torch.float32, device=logits.device)
    logp = torch.empty_like(loss)
    for tile in hl.tile(batch * length):
        peak = hl.full([tile], float("-inf"), dtype=torch.float32)
        total = hl.zeros([tile], dtype=torch.float32)
        for tile_v in hl.tile(vocab):
            values = rows[tile, tile_v].to(torch.float32)
            higher = torch.maximum(peak, torch.amax(values, dim=1))
            block = torch.exp(values - higher[:, None]).sum(1)
            total = total * torch.exp(peak - higher) + block
            peak = higher
        # A position in all logits may be beyond 32 bits.
        position = tile.index.to(torch.int64) * vocab + chosen[tile]
        mine = flat[position].to(torch.float32) - peak - torch.log(total)
        ratio = torch.exp(mine - old[tile])
        gain = advantages[tile.index // length]
        clipped = torch.clamp(ratio, 1.0 - clip, 1.0 + clip) * gain
        drift = ref[tile] - mine
        penalty = torch.exp(drift) - drift - 1.0
        loss[tile] = beta * penalty - torch.minimum(ratio * gain, clipped)
        logp[tile] = mine
    return loss.view(batch, length), logp.view(batch, length)


def grpo_loss_ref(
    logits: torch.Tensor,
    tokens: torch.Tensor,
    old_logp: torch.Tensor,
    ref_logp: torch.Tensor,
    advantages: torch.Tensor,
    clip: float,
    beta: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    logp = logits.log_softmax(-1).gather(-1, tokens[..., None]).squeeze(-1)
    ratio = torch.exp(logp - old_logp)
    gain = advantages[:, None]
    surrogate = torch.minimum(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain)
    drift = ref_logp - logp
    return beta * (drift.exp() - drift - 1) - surrogate, logp


def grpo_args(data: _testing.Data) -> tuple[object, ...]:
    batch, length, vocab = data.pick(3, 8), data.pick(7, 512), data.pick(37, 32000)
    logits = data.randn(batch, length, vocab)
    tokens = data.randint(0, vocab, batch, length)
    logp = logits.float().log_softmax(-1).gather(-1, tokens[..., None]).squeeze(-1)
    old, ref = (
        logp + 0.2 * data.randn(batch, length, dtype=torch.float32) for _ in range(2)
    )
    advantages = data.randn(batch, dtype=torch.float32)
    return logits, tokens, old, ref, advantages, 0.2, 0.04


CASES = [
    _testing.Case(
        "grpo_loss",
        grpo_loss,
        _testing.arguments(grpo_args),
        grpo_loss_ref,
        configs=_testing.configs({"block_sizes": [4, 16]}),
    ),
]


def main() -> None:
    """Check every case against PyTorch; ``--benchmark`` times them too."""
    _testing.main(CASES)


if __name__ == "__main__":
    main()
