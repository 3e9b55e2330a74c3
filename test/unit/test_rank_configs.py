"""The default Config after the model: legal, the same each time, quick, a tie kept."""

from __future__ import annotations

import dataclasses
import time

import pytest
import torch

import helion
from helion.autotuner import rank_configs
from helion.autotuner.cost_model import estimate
from helion.autotuner.device_facts import DeviceFacts, offline_facts
from helion.autotuner.rank_configs import best_config, choose_default, rank
from helion.runtime.bound_kernel import BoundKernel
from test.codegen.emitted import KERNELS, bind, bind_case


@pytest.fixture(scope="module")
def matmul() -> BoundKernel:
    """A product of 4096 x 4096 matrices of bf16, bound without memory."""
    x = torch.empty(4096, 4096, dtype=torch.bfloat16, device="meta")
    return bind(KERNELS["matmul"].kernel, x, x)


def make(bound: BoundKernel, **changes: object) -> helion.Config:
    """Return a plain Config with some values changed."""
    base = {"block_sizes": [128, 128, 64], "num_warps": 8, "num_stages": 3}
    return bound.config_spec.normalize({**base, **changes})


def test_legal_configs_come_first_then_fast_ones(matmul: BoundKernel) -> None:
    huge = make(matmul, block_sizes=[256, 256, 128], num_stages=5)
    small, good = make(matmul, block_sizes=[16, 16, 16]), make(matmul)
    found = rank(matmul.facts, offline_facts(), [huge, small, good])
    assert [config for config, _ in found] == [good, small, huge]


def test_a_tie_keeps_the_pick(matmul: BoundKernel) -> None:
    pick = make(matmul)
    found = best_config(matmul.facts, offline_facts(), matmul.config_spec, pick)
    assert found == pick


def test_a_clearly_better_proposal_wins(matmul: BoundKernel) -> None:
    pick = make(matmul, block_sizes=[16, 16, 16])
    proposals = [{"block_sizes": [128, 256, 64]}]
    found = best_config(
        matmul.facts, offline_facts(), matmul.config_spec, pick, proposals
    )
    assert found["block_sizes"] == [128, 256, 64]


def test_a_proposal_that_is_no_config_is_passed_over(matmul: BoundKernel) -> None:
    pick = make(matmul)
    proposals = [{"block_sizes": [3, 3, 3]}]
    found = best_config(
        matmul.facts, offline_facts(), matmul.config_spec, pick, proposals
    )
    assert found == pick


@pytest.mark.parametrize("arch", ["sm_75", "sm_86", "sm_90", "gfx942"])
def test_what_cannot_be_launched_is_replaced(matmul: BoundKernel, arch: str) -> None:
    device = dataclasses.replace(offline_facts(), arch=arch)
    pick = make(matmul, block_sizes=[256, 256, 128], num_stages=5)
    assert not estimate(matmul.facts, device, pick).legal
    found = best_config(matmul.facts, device, matmul.config_spec, pick)
    assert estimate(matmul.facts, device, found).legal


def test_the_choice_is_quick_and_repeats(matmul: BoundKernel) -> None:
    spec, device, pick = matmul.config_spec, offline_facts(), make(matmul)
    times, found = [], set()
    for _ in range(5):
        start = time.process_time()
        found.add(best_config(matmul.facts, device, spec, pick))
        times.append(time.process_time() - start)
    assert len(found) == 1
    assert min(times) < 0.05


def test_a_failing_model_leaves_the_pick(
    matmul: BoundKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise LookupError("no such axis")

    monkeypatch.setattr(rank_configs, "estimate", fail)
    pick = make(matmul, block_sizes=[16, 16, 16])
    found = choose_default(matmul.facts, offline_facts(), matmul.config_spec, pick)
    assert found == pick


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_defaults_of_examples_can_be_launched(name: str) -> None:
    bound = bind_case(name)
    config = bound.config_spec.default_config()
    assert estimate(bound.facts, offline_facts(), config).legal
    assert bound.config_spec.default_config() == config


def test_default_fits_a_chip_with_less_shared_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def small(device: object) -> DeviceFacts:
        return dataclasses.replace(offline_facts("sm_80"), arch="sm_75")

    monkeypatch.setattr("helion.runtime.bound_kernel.device_facts", small)
    x = torch.empty(2048, 2048, dtype=torch.float16, device="meta")
    kernel = helion.kernel(KERNELS["matmul"].kernel.fn)
    bound = bind(kernel, x, x)
    found = estimate(bound.facts, small(None), bound.default_config())
    assert found.legal
    assert found.shared_bytes <= 64 * 1024
