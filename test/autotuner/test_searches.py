"""Each search: what it times, what it finds, and that the fastest wins."""

from __future__ import annotations

import inspect

import pytest

import helion.autotune
from helion import Config, exc
from helion.autotune import BaseSearch, register_search
from helion.autotuner import (
    DifferentialEvolutionSearch,
    FiniteSearch,
    PopulationMember,
    RandomSearch,
    make_search,
    search_named,
)
from helion.autotuner.base_search import SEARCHES
from test.autotuner.simulated import (
    SimulatedKernel,
    SimulatedTimer,
    area_cost,
    matrices,
)

FAST = Config(block_sizes=[16, 32], num_warps=2)
SOME = [
    FAST,
    Config(block_sizes=[16, 16], num_warps=2),
    Config(block_sizes=[64, 64], num_warps=8),
]


def blocks(configs):
    return [(config["block_sizes"], config["num_warps"]) for config in configs]


# ---- finite ----


def test_each_of_three_configs_is_timed():
    timer = SimulatedTimer()
    config = FiniteSearch(SimulatedKernel(), matrices(), SOME, timer=timer).autotune()
    assert blocks(timer.trials) == blocks(SOME)
    assert blocks([config]) == blocks([FAST])


def test_configs_of_the_decorator_are_the_list():
    timer, kernel = SimulatedTimer(), SimulatedKernel(configs=SOME[1:])
    config = FiniteSearch(kernel, matrices(), timer=timer).autotune()
    assert blocks(timer.trials) == blocks(SOME[1:])
    assert blocks([config]) == blocks([SOME[1]])


def test_one_config_is_not_enough():
    with pytest.raises(exc.NotEnoughConfigs, match="has 1"):
        FiniteSearch(SimulatedKernel(), matrices(), SOME[:1])


def test_config_that_is_not_legal_does_not_end_a_list():
    timer, odd = SimulatedTimer(), Config(block_sizes=[16])
    configs = [odd, *SOME]
    found = FiniteSearch(SimulatedKernel(), matrices(), configs, timer=timer).autotune()
    assert blocks([found]) == blocks([FAST])


PLANTED_SLOW = Config(block_sizes=[16, 32], num_warps=4)
PLANTED_WRONG = Config(block_sizes=[8, 32], num_warps=2)
PLANTED_CRASH = Config(block_sizes=[32, 32], num_warps=2)


def planted(config):
    if blocks([config]) == blocks([PLANTED_WRONG]):
        return "wrong"
    if blocks([config]) == blocks([PLANTED_CRASH]):
        return RuntimeError("Triton Error [CUDA]: invalid argument")
    return None


def planted_cost(config):
    times = {(8, 32, 2): 0.1, (32, 32, 2): 0.1, (16, 32, 2): 1.0, (16, 32, 4): 1.15}
    return times[(*config["block_sizes"], config["num_warps"])]


@pytest.mark.parametrize("seed", range(20))
def test_fast_right_config_wins_in_spite_of_noise(seed):
    kernel = SimulatedKernel(planted)
    timer = SimulatedTimer(planted_cost, noise=0.06, seed=seed)
    configs = [PLANTED_SLOW, PLANTED_CRASH, FAST, PLANTED_WRONG]
    search = FiniteSearch(kernel, matrices(), configs, timer=timer)
    assert blocks([search.autotune()]) == blocks([FAST])
    assert search.metrics.num_failed == 2


# ---- random ----


def test_random_search_times_so_many_with_the_default_first():
    timer, kernel = SimulatedTimer(), SimulatedKernel()
    config = RandomSearch(kernel, matrices(), 30, timer=timer).autotune()
    assert len(set(timer.trials)) == len(timer.trials) == 30
    assert timer.trials[0] == kernel.default_config()
    assert area_cost(config) == min(map(area_cost, timer.trials))


# ---- differential evolution ----


def test_size_of_the_evolution():
    defaults = inspect.signature(DifferentialEvolutionSearch).parameters
    wanted = {"population_size": 40, "max_generations": 20, "crossover_rate": 0.8}
    assert {name: defaults[name].default for name in wanted} == wanted
    search = search_named("DifferentialEvolutionSearch")(SimulatedKernel(), matrices())
    assert (search.population_size, search.max_generations) == (40, 20)


def evolution(timer=None, kernel=None, **options):
    options = {"population_size": 8, "max_generations": 6, **options}
    timer, kernel = timer or SimulatedTimer(), kernel or SimulatedKernel()
    return DifferentialEvolutionSearch(kernel, matrices(), timer=timer, **options)


def test_evolution_improves():
    search = evolution(max_generations=20)
    best = search.autotune()
    drawn = SimulatedTimer()
    RandomSearch(SimulatedKernel(), matrices(), 16, timer=drawn).autotune()
    assert area_cost(best) <= min(map(area_cost, drawn.trials))
    assert area_cost(best) <= 2.0
    assert search.metrics.generations == 20


def test_only_newcomers_are_timed():
    timer = SimulatedTimer()
    search = evolution(timer)
    search.autotune()
    assert len(set(timer.trials)) == len(timer.trials)
    assert 16 < len(timer.trials) <= 16 + 6 * 8


def test_member_is_a_flat_config_with_its_time():
    search = evolution()
    members = search.first_members(3)
    assert all(isinstance(member, PopulationMember) for member in members)
    first = members[0]
    assert first.flat == search.space.default_flat()
    assert first.perf_ms == area_cost(first.config)
    assert min(members).perf_ms == min(member.perf_ms for member in members)


def test_slower_mutants_are_dropped():
    search = evolution()
    search.population = sorted(search.first_members(16))[:8]
    before = [member.perf_ms for member in search.population]
    search.evolve()
    after = [member.perf_ms for member in search.population]
    assert all(new <= old for new, old in zip(after, before))


def test_generations_by_setting():
    search = evolution(autotune_max_generations=2)
    search.autotune()
    assert search.metrics.generations == 2


def test_evolution_stops_when_the_budget_is_spent():
    timer = SimulatedTimer()
    options = {"clock": timer.clock, "autotune_budget_seconds": 20}
    search = evolution(timer, max_generations=1000, **options)
    search.autotune()
    assert len(timer.trials) == 20 and search.metrics.generations == 1


def test_evolution_lives_with_failures():
    def faults(config):
        return RuntimeError("ptxas") if config["num_warps"] > 2 else None

    best = evolution(kernel=SimulatedKernel(faults)).autotune()
    assert best["num_warps"] <= 2


@pytest.mark.parametrize("seed", range(3))
def test_winner_of_an_evolution_is_the_fastest_one(seed):
    timer = SimulatedTimer(noise=0.01, seed=seed)
    best = evolution(timer, autotune_random_seed=seed).autotune()
    assert area_cost(best) == min(map(area_cost, timer.trials))


# ---- searches of one's own ----


@register_search("HillClimb")
class HillClimb(BaseSearch):
    """Move to the fastest neighbour until no neighbour is faster."""

    def run(self) -> Config:
        best = self.measure(self.space.default())
        while (rival := self.fastest(self.space.neighbors(best.config))) < best:
            best = rival
        return best.config


def test_hill_climb_in_ten_lines_finds_the_top():
    assert search_named("HillClimb") is HillClimb
    best = HillClimb(SimulatedKernel(), matrices(), timer=SimulatedTimer()).autotune()
    assert area_cost(best) == 1.0


def test_searches_are_known_by_both_names_of_the_package():
    for name in ("BaseSearch", "FiniteSearch", "DifferentialEvolutionSearch"):
        assert getattr(helion.autotune, name) is getattr(helion.autotuner, name)
    assert helion.autotune.__all__ == helion.autotuner.__all__
    assert all(getattr(helion.autotune, name) for name in helion.autotune.__all__)


def test_search_by_setting():
    def made(**settings):
        return make_search(SimulatedKernel(**settings), matrices())

    assert type(made()) is DifferentialEvolutionSearch
    assert type(made(autotuner_fn="RandomSearch")) is RandomSearch
    assert type(made(autotuner_fn=HillClimb)) is HillClimb
    quick = made(autotune_effort="quick")
    assert (quick.population_size, quick.max_generations) == (20, 8)
    with pytest.raises(exc.AutotuneError, match="'Best'(.|\n)*RandomSearch"):
        made(autotuner_fn="Best")
    assert SEARCHES.keys() >= {"FiniteSearch", "RandomSearch", "HillClimb"}
