"""``explain``: a text to read, the same as JSON, for any Config."""

from __future__ import annotations

import json

from helion.autotuner.cost_model import estimate
from helion.autotuner.device_facts import offline_facts
from test.codegen.emitted import bind_case


def test_the_text_says_what_limits_a_launch() -> None:
    text = str(bind_case("matmul").explain())
    for word in ("expected", "floor", "limited by", "registers", "shared memory"):
        assert word in text
    assert "load 0 of x: pointer" in text


def test_json_has_the_numbers_of_the_estimate() -> None:
    bound = bind_case("softmax")
    found = json.loads(bound.explain().to_json())
    config = bound.normalized(None)
    wanted = estimate(bound.facts, offline_facts(), config)
    assert found["estimate"]["time_us"] == wanted.time_us
    assert found["estimate"]["launches"][0]["limit"] == wanted.launches[0].limit
    assert found["config"] == config.to_dict()
    assert {op["kind"] for op in found["operations"]} == {"load", "store"}


def test_each_launch_is_explained() -> None:
    found = bind_case("center_columns").explain()
    assert len(found.estimate.launches) == 2
    assert str(found).count("\nlaunch ") == 2


def test_another_config_is_another_explanation() -> None:
    bound = bind_case("matmul")
    config = {**bound.config_spec.default_config(), "num_warps": 16, "num_stages": 1}
    assert bound.explain(config).config["num_warps"] == 16
    assert bound.explain(config).to_json() != bound.explain().to_json()


def test_a_config_that_does_not_fit_says_so() -> None:
    config = {"block_sizes": [256, 256, 256], "num_stages": 6}
    assert "cannot be launched" in str(bind_case("matmul").explain(config))
