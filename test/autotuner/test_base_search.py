"""What all searches share: one trial a config, failures, budget, seeds, messages."""

from __future__ import annotations

import csv
import math
import re

import pytest
import torch

import helion
from helion import Config, exc
from helion.autotuner import (
    BaseSearch,
    RandomSearch,
    Status,
    measurement,
    register_post_autotune_hook,
)
from test.autotuner.simulated import (
    SimulatedClock,
    SimulatedKernel,
    SimulatedTimer,
    add,
    area_cost,
    matrices,
)
from test.harness import fake_cuda

FAST = Config(block_sizes=[16, 32], num_warps=2)
SLOW = Config(block_sizes=[4, 4], num_warps=16)


class Listed(BaseSearch):
    """Tries what it is given."""

    def __init__(self, kernel, args, configs=(), **options):
        super().__init__(kernel, args, **options)
        self.configs = configs

    def run(self):
        self.measure_batch(self.configs)


def search_of(kernel=None, configs=(), timer=None, **options) -> Listed:
    kernel = kernel or SimulatedKernel()
    timer = timer or SimulatedTimer()
    options.setdefault("clock", timer.clock)
    return Listed(kernel, matrices(), configs, timer=timer, **options)


def has(config, given):
    return all(config[key] == value for key, value in given.items())


# ---- one config ----


def test_benchmark_compiles_warms_up_and_times():
    kernel, timer = SimulatedKernel(), SimulatedTimer()
    assert search_of(kernel, timer=timer).benchmark(FAST) == area_cost(FAST)
    assert kernel.events == ["reference", "compile", "run"]
    assert [desc for desc, _ in timer.calls] == ["trial"]


def test_second_benchmark_is_free():
    kernel, timer = SimulatedKernel(), SimulatedTimer()
    search = search_of(kernel, timer=timer)
    equal = {**FAST, "pid_type": "flat"}
    times = search.benchmark_batch([FAST, FAST, equal])
    assert times == [area_cost(FAST)] * 3
    assert len(timer.calls) == 1 and set(kernel.compiles.values()) == {1}
    assert list(search._benchmark_cache) == [kernel.config_spec.normalize(FAST)]


def test_bound_kernel_keeps_what_it_compiled():
    bound = helion.kernel(add.fn).bind(matrices())
    before = helion.metrics.counts.copy()
    options = {"timer": SimulatedTimer(), "autotune_accuracy_check": False}
    for _ in range(2):
        BaseSearch(bound, matrices(), **options).benchmark(FAST)
    assert (helion.metrics.counts - before)["stage2"] == 1
    assert list(bound._compile_cache) == [bound.config_spec.normalize(FAST)]


def test_text_is_emitted_once_for_each_different_config(rng):
    bound = helion.kernel(add.fn).bind(matrices())
    search = BaseSearch(
        bound, matrices(), timer=SimulatedTimer(), autotune_accuracy_check=False
    )
    configs = search.space.random_population(12)
    before = helion.metrics.counts.copy()
    for _ in range(3):
        search.measure_batch(configs)
    assert (helion.metrics.counts - before)["stage2"] == len(configs) == 12


def test_same_text_has_one_trial():
    kernel = SimulatedKernel(text_of=lambda config: config["block_sizes"])
    timer = SimulatedTimer()
    search = search_of(kernel, timer=timer)
    first, second = search.measure_batch([FAST, {**FAST, "num_warps": 4}])
    assert first.perf_ms == second.perf_ms and first.config != second.config
    assert len(timer.calls) == 1 and search.trials.same_code == 1


# ---- failures ----

FAILURES = {
    Status.RESOURCES: RuntimeError("out of resource: shared memory, Required: 300000"),
    Status.COMPILER: RuntimeError("ptxas fatal: error"),
    Status.ERROR: ZeroDivisionError("in host code"),
    Status.INVALID: exc.InvalidConfig("two knobs do not go together"),
    Status.ACCURACY: "wrong",
}


@pytest.mark.parametrize("status", FAILURES, ids=lambda status: status.name)
def test_failing_config_is_counted_and_never_wins(status):
    kernel = SimulatedKernel(lambda c: FAILURES[status] if has(c, FAST) else None)
    search = search_of(kernel, [FAST, SLOW])
    found = search.measure(FAST)
    assert (found.status, found.perf_ms) == (status, math.inf) and found.detail
    assert not has(search.autotune(), FAST)
    assert search.metrics.counts[status] == 1 == search.metrics.num_failed


def test_illegal_config_is_counted():
    search = search_of()
    found = search.measure({"block_sizes": [3, 3]})
    assert found.status is Status.INVALID and "power of two" in found.detail


def test_memory_error_is_out_of_resources():
    kernel = SimulatedKernel(lambda c: torch.OutOfMemoryError("no memory left"))
    assert search_of(kernel).measure(FAST).status is Status.RESOURCES


def test_lost_device_ends_the_search_and_names_the_config():
    lost = RuntimeError("CUDA error: an illegal memory access was encountered")
    kernel = SimulatedKernel(lambda c: lost if has(c, FAST) else None)
    with pytest.raises(exc.TritonUnrecoverableRuntimeError) as caught:
        search_of(kernel, [FAST]).autotune()
    assert "block_sizes=[16, 32]" in str(caught.value)
    assert caught.value.__cause__ is lost


def test_nothing_works():
    kernel = SimulatedKernel(lambda c: RuntimeError("no luck"))
    with pytest.raises(exc.NoConfigFound, match="2 failed.*no luck"):
        search_of(kernel, [FAST]).autotune()


def test_slow_compile_is_given_up():
    clock = SimulatedClock()

    def faults(config):
        clock.now += 90.0 if has(config, FAST) else 1.0

    timer = SimulatedTimer(clock=clock)
    search = search_of(SimulatedKernel(faults), timer=timer)
    assert search.measure(FAST).status is Status.TIMEOUT
    assert search.measure(SLOW).is_ok and len(timer.calls) == 1


def test_slow_run_is_given_up():
    timer = SimulatedTimer(lambda config: 40_000.0)
    assert search_of(timer=timer).measure(FAST).status is Status.TIMEOUT


# ---- what is right ----


def test_wrong_results_are_found_in_written_arguments():
    kernel = SimulatedKernel(lambda c: "wrong" if has(c, FAST) else None)
    x, y = matrices()
    kernel.written = [x]
    kernel.right = lambda x, y: x.add_(y)
    before = x.clone()
    search = Listed(kernel, (x, y), timer=SimulatedTimer())
    assert search.measure(FAST).status is Status.ACCURACY
    assert search.measure(SLOW).is_ok
    assert torch.equal(x, before)


def test_changed_arguments_are_found_by_comparison():
    kernel, (x, y) = SimulatedKernel(), matrices()
    kernel.right = lambda x, y: x.add_(y)
    search = Listed(kernel, (x, y), timer=SimulatedTimer())
    before = x.clone()
    assert search.measure(FAST).is_ok and search.measure(SLOW).is_ok
    assert torch.equal(x, before)


def test_reference_of_the_user():
    kernel = SimulatedKernel(autotune_baseline_fn=lambda x, y: x - y)
    found = search_of(kernel).measure(FAST)
    assert found.status is Status.ACCURACY and "elements differ" in found.detail
    assert "reference" not in kernel.events


def test_check_of_the_user():
    def check(found, right):
        assert found.sum() > 1e9, "too small"

    kernel = SimulatedKernel(autotune_baseline_accuracy_check_fn=check)
    assert search_of(kernel).measure(FAST).detail == "too small"


def test_unchecked_results():
    kernel = SimulatedKernel(lambda c: "wrong", autotune_accuracy_check=False)
    assert search_of(kernel).measure(FAST).is_ok


def test_body_that_does_not_run_eagerly_leaves_the_default_config(capsys):
    kernel = SimulatedKernel(
        lambda c: "wrong" if has(c, FAST) else None, autotune_log_level=20
    )
    kernel.run_reference = lambda *args: 1 / 0
    assert has(search_of(kernel, [FAST, SLOW]).autotune(), kernel.default_config())
    assert "compared with those of the default config" in capsys.readouterr().err


def test_nothing_to_compare_with():
    kernel = SimulatedKernel(lambda c: RuntimeError("no luck"))
    kernel.run_reference = lambda *args: 1 / 0
    with pytest.raises(exc.AutotuneError, match="ZeroDivisionError.*no luck"):
        search_of(kernel).autotune()
    kernel = SimulatedKernel(autotune_baseline_fn=lambda x, y: 1 / 0)
    with pytest.raises(exc.AutotuneError, match="autotune_baseline_fn"):
        search_of(kernel).autotune()


# ---- candidates ----


def test_default_config_is_always_a_candidate():
    kernel = SimulatedKernel(default=FAST)
    assert has(search_of(kernel, [SLOW]).autotune(), FAST)


def test_configs_of_the_user_are_candidates():
    assert has(search_of(autotune_seed_configs=[FAST]).autotune(), FAST)
    assert has(search_of(SimulatedKernel(configs=[FAST])).autotune(), FAST)


def test_overrides_reach_every_config():
    kernel, timer = SimulatedKernel(), SimulatedTimer()
    pinned = {"num_warps": 8, "pid_type": "flat"}
    options = {"count": 20, "autotune_config_overrides": pinned}
    RandomSearch(kernel, matrices(), timer=timer, **options).autotune()
    assert len(timer.trials) == 20
    assert all(has(config, pinned) for config in timer.trials)


def test_filter_drops_and_replaces():
    def keep(config):
        return None if config["num_warps"] == 16 else {**config, "num_warps": 2}

    search = search_of(SimulatedKernel(autotune_config_filter=keep))
    assert search.measure(SLOW).status is Status.FILTERED
    assert search.measure({**FAST, "num_warps": 8}).config["num_warps"] == 2


def test_seed_decides_what_is_tried():
    def tried(seed):
        timer, options = SimulatedTimer(), {"autotune_random_seed": seed}
        RandomSearch(
            SimulatedKernel(), matrices(), 9, timer=timer, **options
        ).autotune()
        return timer.trials

    assert tried(1) == tried(1) != tried(2)


def test_budget_ends_the_trials():
    timer = SimulatedTimer(seconds=3.0)
    options = {"timer": timer, "clock": timer.clock, "autotune_budget_seconds": 10}
    search = RandomSearch(SimulatedKernel(), matrices(), 50, **options)
    search.autotune()
    assert len(timer.trials) == 4
    assert (
        search.metrics.counts[Status.SKIPPED] == 46 and search.metrics.num_configs == 4
    )


def test_budget_of_nothing_still_tries_the_default_config():
    timer, kernel = SimulatedTimer(), SimulatedKernel()
    config = search_of(kernel, [FAST], timer, autotune_budget_seconds=0).autotune()
    assert timer.trials == [config] == [kernel.default_config()]


def test_best_ones_are_timed_again_in_one_call():
    timer = SimulatedTimer()
    near = [{**FAST, "load_eviction_policies": [p, p]} for p in ("first", "last")]
    search_of(configs=[*near, FAST, SLOW], timer=timer).autotune()
    (desc, finalists), *others = [c for c in timer.calls if c[0] != "trial"]
    assert not others and len(finalists) == 4  # and the default config
    assert not any(has(config, SLOW) for config in finalists)


def test_second_timing_decides():
    times = {2: [1.0, 3.0], 1: [1.1, 1.1]}
    kernel = SimulatedKernel(default={**FAST, "num_warps": 2})
    timer = SimulatedTimer(lambda config: times[config["num_warps"]].pop(0))
    assert (
        search_of(kernel, [{**FAST, "num_warps": 1}], timer).autotune().num_warps == 1
    )


def test_unknown_option_names_the_known_ones():
    with pytest.raises(exc.AutotuneError, match="no option 'count'(.|\n)*autotune_log"):
        BaseSearch(SimulatedKernel(), matrices(), count=3)


# ---- what is said ----


def test_summary_has_seconds_counts_and_a_decorator(capsys):
    kernel = SimulatedKernel(
        lambda c: "wrong" if has(c, SLOW) else None, autotune_log_level=20
    )
    search_of(kernel, [FAST, SLOW]).autotune()
    said = capsys.readouterr().err
    assert re.search(
        r"Autotuning complete in \d+\.\d+s after searching 3 configs\.\n"
        r"Without a time: 1 wrong results\.\n"
        r"Best 1\.0000 ms, default \d+\.\d+ ms\.\n"
        r"One can hardcode the best config and skip autotuning with:\n"
        r"    @helion\.kernel\(config=helion\.Config\(.*\), static_shapes=True\)\n",
        said,
    ), said


def test_level_zero_is_silent(capsys):
    search_of(configs=[FAST, {"block_sizes": [3]}]).autotune()
    assert capsys.readouterr().err == ""


def test_log_files(tmp_path):
    base = str(tmp_path / "logs" / "run")
    kernel = SimulatedKernel(autotune_log=base, autotune_log_level=20)
    search_of(kernel, [FAST]).autotune()
    rows = list(csv.DictReader((tmp_path / "logs" / "run.csv").open()))
    assert [row["status"] for row in rows] == ["started", "ok"] * 2
    assert float(rows[-1]["perf_ms"]) == 1.0 and len(rows[0]["config_id"]) == 16
    assert "Autotuning complete" in (tmp_path / "logs" / "run.log").read_text()


def test_hook_gets_the_metrics(monkeypatch):
    monkeypatch.setattr(measurement, "_hooks", [])
    seen = []
    register_post_autotune_hook(seen.append)
    search_of(configs=[FAST, SLOW]).autotune()
    (metrics,) = seen
    assert (metrics.num_configs, metrics.best_ms) == (3, 1.0)
    assert metrics.kernel == "simulated" and metrics.default_ms > 1.0


def test_fake_arguments_are_enough_for_a_simulated_timer():
    args = fake_cuda(matrices())
    search = RandomSearch(
        helion.kernel(add.fn).bind(args),
        args,
        count=5,
        timer=SimulatedTimer(),
        autotune_accuracy_check=False,
        autotune_log_level=0,
    )
    assert search.autotune() and search.metrics.num_configs == 5
