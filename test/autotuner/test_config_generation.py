"""Configs to try: flat and back, random, near, mutated, and pinned."""

from __future__ import annotations

import random

import pytest

import helion
from helion.autotuner import ConfigGeneration, ConfigSpec
from helion.autotuner.config_spec import BlockSizeSpec
from test.autotuner.simulated import add, matrices


@pytest.fixture
def space() -> ConfigGeneration:
    return ConfigGeneration(add.bind(matrices()).config_spec, rng=random.Random(0))


def test_flat_values_make_the_config_again(space):
    for config in space.random_population(30):
        assert space.unflatten(space.flatten(config)) == config
        assert len(space.flatten(config)) == len(space.fragments)


def test_population_is_different_and_begins_with_the_default(space):
    seed = helion.Config(block_sizes=[8, 8])
    found = space.random_population(40, [seed, seed])
    assert len(set(found)) == len(found) == 40
    assert found[0] == space.default() and found[1] == space.legal(seed)
    assert all(space.spec.normalize(config) == config for config in found)


def test_small_space_has_few_configs():
    # Without a GPU's knobs that do not count there is little to choose.
    spec = ConfigSpec(block_sizes=[BlockSizeSpec(0, 2)])
    pins = {"num_warps": 4, "num_stages": 1, "pid_type": "flat"}
    space = ConfigGeneration(spec, overrides=pins, rng=random.Random(0))
    assert len(space.random_population(1000)) < 1000


def test_neighbors_are_one_step_away(space):
    config = space.legal({**space.default(), "block_sizes": [16, 16]})
    near = space.neighbors(config)
    assert len(set(near)) == len(near) and config not in near
    sizes = [n["block_sizes"] for n in near]
    for wanted in ([8, 16], [32, 16], [16, 8], [16, 32]):
        assert wanted in sizes
    assert [64, 16] not in sizes


def test_mutant_follows_the_others(space):
    low = space.flatten({"block_sizes": [8, 8], "num_warps": 2})
    high = space.flatten({"block_sizes": [16, 8], "num_warps": 2})
    base = space.flatten({"block_sizes": [32, 32], "num_warps": 4})
    mutant = space.unflatten(space.mutate(low, [base, high, low], 1.0))
    assert mutant["block_sizes"] == [64, 32] and mutant["num_warps"] == 4


def test_one_value_of_a_mutant_is_of_another_even_without_crossover(space):
    parent = space.flatten({"block_sizes": [8, 8], "num_warps": 2})
    other = space.flatten({"block_sizes": [64, 64], "num_warps": 16})
    differing = [i for i, value in enumerate(parent) if other[i] != value]
    seen = set()
    for _ in range(300):
        mutant = space.mutate(parent, [other, other, other], 0.0)
        changed = [i for i, value in enumerate(mutant) if value != parent[i]]
        assert len(changed) <= 1
        seen.update(changed)
    assert seen == set(differing)


@pytest.mark.parametrize(
    "pins",
    [
        {"num_warps": 8},
        {"block_sizes": [16, 8], "num_stages": 3},
        {"block_size": [4, 4]},
        {"pid_type": "flat"},
        {"pid_type": "persistent_blocked", "num_sm_multiplier": 4},
    ],
    ids=str,
)
def test_overrides_hold_in_all_configs(pins):
    spec = add.bind(matrices()).config_spec
    space = ConfigGeneration(spec, overrides=pins, rng=random.Random(0))
    wanted = {"block_sizes" if k == "block_size" else k: v for k, v in pins.items()}
    found = [*space.random_population(30), *space.neighbors(space.random())]
    assert all(c[key] == value for c in found for key, value in wanted.items())
