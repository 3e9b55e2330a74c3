"""When a kernel searches, among what, and what it keeps: the user's side."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import threading

import pytest
import torch

import helion
import helion.language as hl
from helion import Config, exc
from helion.autotune import (
    BaseSearch,
    DifferentialEvolutionSearch,
    FiniteSearch,
    RandomSearch,
    register_search,
)
from test import interpreter_worker
from test.autotuner.simulated import SimulatedTimer, add, matrices
from test.harness import fake_cuda
from test.nested_kernels import add_scaled

THREE = [Config(block_sizes=[n, n]) for n in (4, 8, 16)]
UNCHECKED = {"autotune_accuracy_check": False, "autotune_log_level": 0}


@pytest.fixture
def emitted(monkeypatch):
    """Make kernels on CPU tensors compiled ones, which a simulated timer never runs."""
    # What reads the variable at import must not see it: other tests share the process.
    for name in ("triton", "torch._inductor.codecache"):
        importlib.import_module(name)
    monkeypatch.setenv("TRITON_INTERPRET", "1")


class Searches:
    """A setting ``autotuner_fn`` that remembers the searches it made."""

    def __init__(self, count: int = 3, wait: threading.Event | None = None) -> None:
        self.made: list[RandomSearch] = []
        self.timer = SimulatedTimer()
        self.count = count
        self.wait = wait

    def __call__(self, bound, args, **options):
        if self.wait is not None:
            self.wait.wait(10)
        options = {"timer": self.timer, **UNCHECKED, **options}
        self.made.append(RandomSearch(bound, args, self.count, **options))
        return self.made[-1]


# ---- on request ----


def test_autotune_returns_and_installs_the_best(emitted):
    for tune in ("kernel", "bound"):
        searches = Searches()
        kernel = helion.kernel(add.fn, autotuner_fn=searches)
        args = matrices()
        bound = kernel.bind(args)
        config = (kernel if tune == "kernel" else bound).autotune(args)
        assert config in searches.timer.trials and len(searches.made) == 1
        assert bound.installed_config == config
        assert bound.compile_config() is bound.compile_config(config)


def test_each_forced_tuning_times_again(emitted):
    searches = Searches()
    kernel = helion.kernel(add.fn, autotuner_fn=searches, autotune_random_seed=1)
    first = kernel.autotune(matrices())
    count = len(searches.timer.trials)
    assert kernel.autotune(matrices(), force=True) == first
    assert len(searches.timer.trials) == 2 * count == 6


def test_without_force_what_is_known_will_do(emitted):
    searches = Searches()
    kernel = helion.kernel(add.fn, autotuner_fn=searches)
    first = kernel.autotune(matrices(), force=False)
    assert kernel.autotune(matrices(), force=False) == first
    assert len(searches.made) == 1
    fixed = helion.kernel(add.fn, config=THREE[0], autotuner_fn=searches)
    assert fixed.autotune(matrices(), force=False)["block_sizes"] == [4, 4]
    assert len(searches.made) == 1


def test_force_goes_beyond_the_one_config_of_the_decorator(emitted):
    searches = Searches()
    kernel = helion.kernel(add.fn, config=THREE[0], autotuner_fn=searches)
    kernel.autotune(matrices())
    sizes = [config["block_sizes"] for config in searches.timer.trials]
    assert len(sizes) == 4 and [4, 4] in sizes


@pytest.mark.parametrize("word", ["config", "configs"])
def test_several_configs_are_the_candidates(emitted, word):
    timer = SimulatedTimer()
    kernel = helion.kernel(add.fn, **{word: THREE})
    config = kernel.autotune(matrices(), timer=timer, **UNCHECKED)
    assert [t["block_sizes"] for t in timer.trials] == [[4, 4], [8, 8], [16, 16]]
    assert config["block_sizes"] == [16, 16]


def test_search_may_be_named(emitted):
    timer = SimulatedTimer()
    kernel = helion.kernel(add.fn, configs=THREE)
    options = {"search": "RandomSearch", "count": 7, "timer": timer, **UNCHECKED}
    kernel.autotune(matrices(), **options)
    assert len(timer.trials) == 7 + len(THREE)


def test_search_of_the_environment(emitted, monkeypatch):
    monkeypatch.setenv("HELION_AUTOTUNER", "RandomSearch")
    monkeypatch.setenv("HELION_AUTOTUNE_BUDGET_SECONDS", "4")
    timer = SimulatedTimer()
    options = {"timer": timer, "clock": timer.clock, **UNCHECKED}
    helion.kernel(add.fn).autotune(matrices(), **options)
    assert len(timer.trials) == 4


def test_default_search_is_the_evolution(emitted):
    timer = SimulatedTimer()
    options = {"timer": timer, "clock": timer.clock, "autotune_budget_seconds": 100}
    helion.kernel(add.fn).autotune(matrices(), **options, **UNCHECKED)
    # The first population is twice 40 configs.
    assert 80 < len(timer.trials) <= 100


def test_set_config_stores_the_ready_function():
    args = fake_cuda(matrices())
    bound = helion.kernel(add.fn).bind(args)
    timer = SimulatedTimer()
    options = {"search": "RandomSearch", "count": 3, "timer": timer, **UNCHECKED}
    config = bound.autotune(args, **options)
    assert bound._run is bound.compile_config(config)
    assert bound._run is bound._compile_cache[config].function
    bound.set_config(THREE[0])
    assert bound._run is bound.compile_config(THREE[0])


# ---- where nothing can be timed ----


def test_eager_kernels_are_not_tuned(capsys):
    kernel = helion.kernel(add.fn)
    args = matrices()
    config = kernel.autotune(args)
    assert config == kernel.bind(args).default_config()
    assert "runs eagerly on cpu" in capsys.readouterr().err
    assert kernel.bind(args).installed_config is None
    torch.testing.assert_close(kernel(*args), args[0] + args[1])


def test_fake_arguments_cannot_be_timed():
    with pytest.raises(exc.AutotuneError, match="fake or meta"):
        helion.kernel(add.fn).autotune(fake_cuda(matrices()))


def test_environment_can_forbid_searches(emitted, monkeypatch):
    monkeypatch.setenv("HELION_DISALLOW_AUTOTUNING", "1")
    timer = SimulatedTimer()
    with pytest.raises(exc.AutotuningDisallowedInEnvironment):
        helion.kernel(add.fn).autotune(matrices(), timer=timer)
    with pytest.raises(exc.AutotuningDisallowedInEnvironment):
        helion.kernel(add.fn, autotune_effort="full")(*matrices())
    listed = helion.kernel(add.fn, configs=THREE)
    assert listed.autotune(matrices(), timer=timer, **UNCHECKED) is not None


def test_failed_search_leaves_the_kernel_usable(emitted):
    kernel, args = helion.kernel(add.fn), matrices()
    broken = {"autotune_config_filter": lambda config: None, **UNCHECKED}
    with pytest.raises(exc.NoConfigFound, match="filtered out"):
        kernel.autotune(args, search="RandomSearch", count=3, **broken)
    assert kernel.bind(args).installed_config is None
    assert kernel.bind(args).to_triton_code()


# ---- at the first call ----


def never_run(kernel, args):
    """Bring a kernel to the point of its first launch, which this machine cannot do."""
    kernel.bind(args).ensure_config_exists(args)
    return kernel.bind(args).installed_config


def test_first_call_does_not_search(emitted):
    searches = Searches()
    kernel = helion.kernel(add.fn, autotuner_fn=searches)
    args = matrices()
    assert never_run(kernel, args) == kernel.bind(args).default_config()
    assert not searches.made


@pytest.mark.parametrize("effort", ["quick", "full"])
def test_first_call_searches_if_effort_says_so(emitted, monkeypatch, effort):
    monkeypatch.setenv("HELION_AUTOTUNE_EFFORT", effort)
    searches = Searches()
    kernel = helion.kernel(add.fn, autotuner_fn=searches)
    for _ in range(2):
        assert never_run(kernel, matrices()) in searches.timer.trials
    assert len(searches.made) == 1


def test_effort_does_not_touch_a_given_config(emitted):
    searches = Searches()
    options = {"autotune_effort": "full", "autotuner_fn": searches}
    kernel = helion.kernel(add.fn, config=THREE[0], **options)
    assert never_run(kernel, matrices())["block_sizes"] == [4, 4]
    assert not searches.made


def test_force_autotune_searches_in_spite_of_configs(emitted):
    searches = Searches()
    options = {"force_autotune": True, "autotuner_fn": searches}
    assert never_run(helion.kernel(add.fn, configs=THREE, **options), matrices())
    assert len(searches.made) == 1 and len(searches.timer.trials) > 3


def test_threads_share_one_search(emitted):
    start = threading.Event()
    searches = Searches(wait=start)
    kernel = helion.kernel(add.fn, autotuner_fn=searches, autotune_effort="quick")
    args, found = matrices(), []
    threads = [
        threading.Thread(target=lambda: found.append(never_run(kernel, args)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    start.set()
    for thread in threads:
        thread.join(30)
    assert len(found) == 4 and len(set(found)) == 1 and len(searches.made) == 1


# ---- in Triton's interpreter ----


@helion.kernel(configs=[{"block_sizes": [4, 16]}, {"block_sizes": [16, 16]}])
def listed_add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return ``x + y``."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size()):
        out[tile] = x[tile] + y[tile]
    return out


@helion.kernel
def scale_in_place(x: torch.Tensor, factor: float) -> torch.Tensor:
    """Multiply ``x`` by a factor, and return the sums of its rows."""
    sums = torch.empty_like(x[:, 0])
    for tile in hl.tile(x.size(0)):
        x[tile, :] = x[tile, :] * factor
        sums[tile] = x[tile, :].sum(-1)
    return sums


@register_search("ShortClimb")
class ShortClimb(BaseSearch):
    """Move to the fastest neighbour of few."""

    def run(self) -> Config:
        best = self.measure(self.space.default())
        near = self.rng.sample(self.space.neighbors(best.config), 3)
        return min(best, self.fastest(near)).config


def first_calls_of_a_list() -> list[object]:
    args = matrices(16, 16)
    results = [listed_add(*args) for _ in range(2)]
    for result in results:
        torch.testing.assert_close(result, args[0] + args[1])
    bound = listed_add.bind(args)
    assert len(bound._compile_cache) == 2
    return [bound.installed_config["block_sizes"]]


def test_list_of_configs_is_timed_at_the_first_call():
    # The interpreter takes one tile four times as quickly as four.
    found, _ = interpreter_worker.call(first_calls_of_a_list, ())
    assert found == [[16, 16]]


def climb_in_place() -> dict[str, object]:
    x = torch.randn(8, 12)
    before = x.clone()
    options = {"search": "ShortClimb", "autotune_random_seed": 2, **UNCHECKED}
    options["autotune_accuracy_check"] = True
    config = scale_in_place.autotune((x, 2.0), **options)
    assert torch.equal(x, before), "tuning changed an argument"
    sums = scale_in_place(x, 2.0)
    torch.testing.assert_close(x, before * 2)
    torch.testing.assert_close(sums, (before * 2).sum(-1))
    return config.to_dict()


def test_own_search_tunes_a_kernel_that_writes_its_argument():
    found, _ = interpreter_worker.call(climb_in_place, ())
    assert found["block_sizes"]


def tune_nested() -> None:
    rows = [torch.randn(3, 8), torch.randn(5, 8)]
    x = torch.nested.nested_tensor(rows, layout=torch.jagged)
    y = torch.nested.nested_tensor_from_jagged(torch.randn(8, 8), x.offsets())
    options = {"search": "RandomSearch", "count": 2, "autotune_log_level": 0}
    add_scaled.autotune((x, y, 2.0), **options)
    wanted = x.values() + 2 * y.values()
    torch.testing.assert_close(add_scaled(x, y, 2.0).values(), wanted)


def test_nested_tensors_are_tuned_for():
    interpreter_worker.call(tune_nested, ())


KERNEL_FILE = """
import torch
import helion
import helion.language as hl


{decorator}
def add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size()):
        out[tile] = x[tile] + y[tile]
    return out
"""


def run_pasted(path: str, is_static: bool) -> dict[str, object]:
    """Import a file with a kernel ``add`` and call it."""
    spec = importlib.util.spec_from_file_location("pasted", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["pasted"] = module
    spec.loader.exec_module(module)
    x, y = matrices(10, 7)
    torch.testing.assert_close(module.add(x, y), x + y)
    assert module.add.settings.static_shapes is is_static
    return module.add.bind((x, y)).installed_config.to_dict()


@pytest.mark.parametrize("is_static", [True, False])
def test_pasted_decorator_runs(emitted, capsys, tmp_path, is_static):
    kernel = helion.kernel(add.fn, static_shapes=is_static, autotune_random_seed=5)
    options = {"search": "RandomSearch", "count": 4, "timer": SimulatedTimer()}
    config = kernel.autotune(matrices(10, 7), autotune_accuracy_check=False, **options)
    said = capsys.readouterr().err
    (line,) = re.findall(r"^    (@helion\.kernel\(.*\))$", said, re.MULTILINE)
    path = tmp_path / "pasted.py"
    path.write_text(KERNEL_FILE.format(decorator=line))
    found, _ = interpreter_worker.call(run_pasted, (str(path), is_static))
    assert found == config.to_dict()


# ---- on a GPU ----


@helion.kernel
def matmul(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return ``x @ y``."""
    m, k = x.size()
    n = y.size(1)
    out = torch.empty([m, n], dtype=x.dtype, device=x.device)
    for tile_m, tile_n in hl.tile([m, n]):
        acc = hl.zeros([tile_m, tile_n], dtype=torch.float32)
        for tile_k in hl.tile(k):
            acc = torch.addmm(acc, x[tile_m, tile_k], y[tile_k, tile_n])
        out[tile_m, tile_n] = acc.to(x.dtype)
    return out


def halves(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = (torch.randn(size, size, device="cuda") for _ in range(2))
    return x.half(), y.half()


@pytest.mark.gpu
def test_tuning_on_a_gpu_is_not_slower_than_the_default():
    args = halves(1024)
    kernel = helion.kernel(matmul.fn)
    search = DifferentialEvolutionSearch(
        kernel.bind(args), args, 6, 2, autotune_random_seed=0
    )
    config = search.autotune()
    assert search.metrics.best_ms <= search.metrics.default_ms * 1.05
    kernel.bind(args).set_config(config)
    assert kernel.bind(args)._run is kernel.bind(args).compile_config(config)
    torch.testing.assert_close(kernel(*args), args[0] @ args[1], rtol=1e-2, atol=1e-1)


@pytest.mark.gpu
def test_autotune_on_a_gpu_installs_its_result():
    args = halves(512)
    kernel = helion.kernel(matmul.fn)
    config = kernel.autotune(args, search="RandomSearch", count=4)
    assert kernel.bind(args).installed_config == config
    assert kernel.autotune(args, force=False) == config
    torch.testing.assert_close(kernel(*args), args[0] @ args[1], rtol=1e-2, atol=1e-1)


@pytest.mark.gpu
def test_fast_config_wins_on_a_gpu_each_time():
    args = halves(2048)
    slow = {"block_sizes": [16, 16, 16], "num_warps": 8}
    fast = {"block_sizes": [128, 128, 32], "num_warps": 8, "num_stages": 3}
    too_large = {"block_sizes": [128, 128, 128], "num_warps": 8, "num_stages": 8}
    bound = helion.kernel(matmul.fn).bind(args)
    for _ in range(20):
        search = FiniteSearch(bound, args, [slow, too_large, fast])
        assert search.autotune()["block_sizes"] == [128, 128, 32]
