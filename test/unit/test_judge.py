"""Verdicts on the cost model from measured Configs."""

from __future__ import annotations

import json

import pytest

from benchmarks import judge
from helion.autotuner.cost_model import estimate
from helion.autotuner.device_facts import offline_facts

CASE = "softmax_16384x4096"
CONFIGS = [{"block_sizes": [1], "num_warps": warps} for warps in (2, 4, 8, 32)]


def sweep(turned: bool = False) -> list[str]:
    """Return lines whose times are those of the model, or the other way round."""
    facts, spec = judge.facts_of(CASE)
    lines = []
    for place, config in enumerate(CONFIGS):
        us = estimate(facts, offline_facts(), spec.normalize(config)).time_us
        entry = {"case": CASE, "config": config, "is_default": place == 0}
        lines.append(json.dumps({**entry, "ms": 1 / us if turned else us / 1e3}))
    return lines


def test_a_model_that_is_right_has_no_regret() -> None:
    (found,) = judge.judge(sweep(), offline_facts())
    assert found.count == len(CONFIGS)
    assert found.order == pytest.approx(1)
    assert found.regret == 1
    assert found.off == pytest.approx(1)


def test_a_model_that_is_wrong_pays_for_it() -> None:
    (found,) = judge.judge(sweep(turned=True), offline_facts())
    assert found.order == pytest.approx(-1)
    assert found.regret > 1


def test_lines_of_others_and_failures_are_left_out() -> None:
    other = [
        json.dumps({"case": "of another suite", "config": {}, "ms": 1.0}),
        json.dumps({"case": CASE, "config": CONFIGS[0], "ms": None, "error": "no"}),
    ]
    (found,) = judge.judge([*sweep(), *other], offline_facts())
    assert found.count == len(CONFIGS)
    assert "regret" in judge.text_of([found])
