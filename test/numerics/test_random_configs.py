"""Any Config that a user may choose gives the right result; a draw for each example.

``scripts/gpu_random_configs`` draws hundreds more, on a GPU or interpreted.
"""

from __future__ import annotations

import pytest

from test import interpreter_worker
from test.random_configs import Outcome, families, judged

SEEDS = (1000, 1001)


def assert_right(outcome: Outcome) -> None:
    """Say what to run again where a result is not right."""
    facts = f"{outcome.case}, seed {outcome.seed}, {outcome.config}"
    assert outcome.verdict == "right", f"{facts}: {outcome.verdict}: {outcome.detail}"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("family", list(families()))
def test_random_config_is_right(family: str, seed: int) -> None:
    outcome, _ = interpreter_worker.call(judged, (family, seed, "cpu"))
    assert_right(outcome)


@pytest.mark.gpu
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("family", list(families()))
def test_random_config_is_right_on_a_gpu(family: str, seed: int) -> None:
    outcome = judged(family, seed, "cuda")
    if outcome.verdict == "resources":
        pytest.skip("the Config asks for more than this GPU has")
    assert_right(outcome)


def test_a_wrong_result_is_found() -> None:
    outcome, _ = interpreter_worker.call(judge_a_wrong_reference, ())
    assert (outcome.verdict, outcome.case) == ("wrong", "add")


def judge_a_wrong_reference() -> Outcome:
    """Judge ``add`` by a reference that subtracts."""
    import dataclasses

    import torch

    from test import random_configs

    case = dataclasses.replace(random_configs.case_of("add", 0), reference=torch.sub)
    return random_configs.attempt(case, 0, random_configs.run_emitted, "cpu")
