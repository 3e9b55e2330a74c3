"""``BaseSearch``: trying configs, and all that searches share around their idea."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import random
import time
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch

from helion import exc
from helion.autotuner.benchmarking import FINAL_TARGET_MS, Timer, rounds_for
from helion.autotuner.candidate_errors import in_short
from helion.autotuner.config_generation import ConfigGeneration
from helion.autotuner.measurement import Measurement, SearchMetrics, Status, run_hooks
from helion.autotuner.search_log import SearchLog
from helion.autotuner.trials import Trials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from helion.autotuner.tunable_kernel import TunableKernel
    from helion.runtime.config import Config
    from helion.runtime.settings import Settings

_MOST_FINALISTS = 8
_REBENCHMARK_THRESHOLD = 1.5

SearchT = TypeVar("SearchT", bound="type[BaseSearch]")
SEARCHES: dict[str, type[BaseSearch]] = {}


def register_search(name: str) -> Callable[[SearchT], SearchT]:
    """Make a subclass of ``BaseSearch`` known by name, to settings for example."""

    def register(search: SearchT) -> SearchT:
        SEARCHES[name] = search
        search.name = name
        return search

    return register


class BaseSearch:
    """Tries configs of a bound kernel on arguments and finds the fastest right one.

    A subclass is its idea: ``run`` proposes configs, by ``measure`` and its kin, and
    returns one. Errors of configs do not reach it. Example::

        @register_search("HillClimb")
        class HillClimb(BaseSearch):
            def run(self) -> Config:
                best = self.measure(self.space.default())
                while (new := self.fastest(self.space.neighbors(best.config))) < best:
                    best = new
                return best.config

        config = HillClimb(kernel.bind(args), args).autotune()

    Args:
        kernel: a bound kernel.
        args: what to run it on; tensors that it changes are copied for each config.
        timer: see ``helion.autotuner.benchmarking.Timer``; None: one for the device.
        clock: seconds, for the budget and the summary.
        settings: ``autotune_...`` settings that differ from those of the kernel.
    """

    name: ClassVar[str] = "BaseSearch"
    # Arguments of the constructor for each ``autotune_effort`` that differ from the
    # usual ones.
    efforts: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    # Whether the default config and those of the user are tried before all others.
    has_seeds: ClassVar[bool] = True

    def __init__(
        self,
        kernel: TunableKernel,
        args: Sequence[Any],
        *,
        timer: Timer | None = None,
        clock: Callable[[], float] = time.perf_counter,
        **settings: Any,
    ) -> None:
        self.kernel = kernel
        self.args = kernel.plain_arguments(args)
        self.settings = _with_options(kernel.settings, settings, type(self).name)
        self.rng = random.Random(self.settings.autotune_random_seed)
        self.space = ConfigGeneration(
            kernel.config_spec,
            default=kernel.default_config(),
            overrides=self.settings.autotune_config_overrides,
            rng=self.rng,
        )
        seed = self.settings.autotune_random_seed
        self.metrics = SearchMetrics(kernel.name, type(self).name, seed)
        self.log = SearchLog(self.settings, _run_id(kernel, self.args, seed))
        self.trials = Trials(
            kernel, self.args, self.settings, self.log, timer=timer, clock=clock
        )
        self._clock = clock
        self._start: float | None = None
        self._benchmark_cache: dict[Config, Measurement] = {}

    # ---- for subclasses ----

    def run(self) -> Config | None:
        """Try configs; return the one that seems best, None for any."""
        raise NotImplementedError

    def measure(self, config: Mapping[str, Any]) -> Measurement:
        """Compile, check and time a config; each different one only once."""
        accepted = self._accepted(config)
        if not accepted.is_ok:
            self.metrics.counts[accepted.status] += 1
            return accepted
        chosen = accepted.config
        if (known := self._benchmark_cache.get(chosen)) is not None:
            return known
        if self.is_over():
            self.metrics.counts[Status.SKIPPED] += 1
            return Measurement(chosen, math.inf, Status.SKIPPED)
        self.log.started(chosen, self.metrics.generations)
        found = self.trials.measure(chosen)
        self._benchmark_cache[chosen] = found
        self.metrics.counts[found.status] += 1
        self.log.finished(found, self.metrics.generations)
        return found

    def measure_batch(
        self, configs: Iterable[Mapping[str, Any]], desc: str = "trying configs"
    ) -> list[Measurement]:
        """Measure several configs; what makes that quicker belongs here."""
        shown = self.log.progress(list(configs), desc)
        return [self.measure(config) for config in shown]

    def fastest(self, configs: Iterable[Mapping[str, Any]]) -> Measurement:
        """Return the best of several configs; without any, a time of infinity."""
        worst = Measurement(self.space.default(), math.inf, Status.SKIPPED)
        return min([worst, *self.measure_batch(configs)])

    def benchmark(self, config: Mapping[str, Any]) -> float:
        """Return the milliseconds of a config, infinite if it fails or is wrong."""
        return self.measure(config).perf_ms

    def benchmark_batch(self, configs: Iterable[Mapping[str, Any]]) -> list[float]:
        """Return the milliseconds of several configs."""
        return [found.perf_ms for found in self.measure_batch(configs)]

    def is_over(self) -> bool:
        """Whether the budget is spent: what is measured from then on is not tried."""
        budget = self.settings.autotune_budget_seconds
        if budget is None or self._start is None or not self._benchmark_cache:
            return False
        return self._clock() - self._start >= budget

    def generation_done(self) -> None:
        """Count a generation and say how things stand."""
        self.metrics.generations += 1
        best, tried = self.best, self.metrics.num_configs
        time_text = "none works" if best is None else f"best {best.perf_ms:.4f} ms"
        number = self.metrics.generations
        self.log.info(f"Generation {number} complete: {tried} configs, {time_text}")

    @property
    def best(self) -> Measurement | None:
        """The fastest right config so far."""
        return min(self._good(), default=None)

    def _good(self) -> list[Measurement]:
        return [found for found in self._benchmark_cache.values() if found.is_ok]

    def _accepted(self, config: Mapping[str, Any]) -> Measurement:
        """Return the config to try, or why there is none."""
        given: Any = config
        if (keep := self.settings.autotune_config_filter) is not None:
            given = keep(config)
        if given is None:
            return Measurement(self.space.default(), math.inf, Status.FILTERED)
        try:
            return Measurement(self.kernel.config_spec.normalize(given))
        except exc.InvalidConfig as error:
            text, default = in_short(error), self.space.default()
            self.log.warning(f"{text}, in {given}")
            return Measurement(default, math.inf, Status.INVALID, detail=text)

    # ---- the search as a whole ----

    def autotune(self, *, skip_cache: bool = False) -> Config:
        """Search, time the best ones again in turns, and return the fastest.

        ``skip_cache`` is for searches behind a cache of results; here is none.

        Raises:
            exc.NoConfigFound: none of the configs worked.
            exc.AutotuneError: nothing gives the results that are right.
            exc.TritonUnrecoverableRuntimeError: a config made the device unusable.
        """
        self._start = self._clock()
        self.log.info(
            f"Tuning {self.kernel.name} with {type(self).name}, seed "
            f"{self.metrics.seed}. This may take a while..."
        )
        if self.has_seeds:
            given = self.settings.autotune_seed_configs or ()
            self.measure_batch([self.space.default(), *self.kernel.configs, *given])
        winner = self._final_choice(self.run())
        self._finish(winner)
        return winner.config

    def _final_choice(self, proposed: Config | None) -> Measurement:
        """Time the best few again, in turns, and return the fastest of them."""
        best = self.best
        if best is None:
            raise self._nothing_works()
        factor = self.settings.autotune_rebenchmark_threshold
        limit = best.perf_ms * (_REBENCHMARK_THRESHOLD if factor is None else factor)
        good = self._different(sorted(self._good()))
        finalists = [best, *(f for f in good if f.perf_ms <= limit)][:_MOST_FINALISTS]
        for config in (proposed, self.space.default()):
            found = None if config is None else self._benchmark_cache.get(config)
            if found is not None and found.is_ok:
                finalists.append(found)
        return min(self.retime(self._different(finalists)))

    def _different(self, found: Sequence[Measurement]) -> list[Measurement]:
        """Return the first ones of each text."""
        path = self.kernel.get_cached_path
        return list({path(f.config) or f.config: f for f in reversed(found)}.values())[
            ::-1
        ]

    def retime(self, found: Sequence[Measurement]) -> list[Measurement]:
        """Time configs again, in turns so that drift hits all alike; keep the times."""
        if len(found) < 2:
            return list(found)
        repeat = rounds_for(max(f.perf_ms for f in found), FINAL_TARGET_MS)
        again = self.trials.retime(found, repeat)
        self._benchmark_cache.update({new.config: new for new in again})
        return again

    def _finish(self, winner: Measurement) -> None:
        """Say what came out, and tell the hooks."""
        metrics, start = self.metrics, self._start or 0.0
        metrics.seconds = self._clock() - start
        metrics.same_code = self.trials.same_code
        metrics.best_ms = winner.perf_ms
        times = f"Best {metrics.best_ms:.4f} ms"
        if (default := self._benchmark_cache.get(self.space.default())) is not None:
            metrics.default_ms = default.perf_ms
            times += f", default {default}"
        lines = [
            f"Autotuning complete in {metrics.seconds:.1f}s after searching "
            f"{metrics.num_configs} configs.",
            f"{times}.",
            "One can hardcode the best config and skip autotuning with:",
            "    " + self._decorator(winner.config),
        ]
        if failures := metrics.failures():
            lines.insert(1, f"Without a time: {failures}.")
        self.log.info("\n".join(lines))
        run_hooks(metrics)

    def _decorator(self, config: Config) -> str:
        return self.kernel.format_kernel_decorator(config, self.kernel.settings)

    def _nothing_works(self) -> exc.NoConfigFound:
        failed = [f for f in self._benchmark_cache.values() if not f.is_ok]
        kinds = self.metrics.failures() or "nothing was tried"
        first = f"; the first: {failed[0]}, in {failed[0].config}" if failed else ""
        reason = f"no config of kernel {self.kernel.name} worked: {kinds}{first}"
        return exc.NoConfigFound.from_text(reason)


def _with_options(
    settings: Settings, options: Mapping[str, Any], search: str
) -> Settings:
    """Return settings in which ``autotune_...`` options replace others."""
    names = [field.name for field in dataclasses.fields(settings)]
    known = [name for name in names if name.startswith("autotune_")]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise exc.AutotuneError(
            reason=f"{search} has no option {', '.join(map(repr, unknown))}",
            hint=f"beside its own, it takes timer, clock, {', '.join(known)}",
        )
    return dataclasses.replace(settings, **options)


def _run_id(kernel: TunableKernel, args: tuple[Any, ...], seed: int) -> str:
    """Return a name for a search in log files."""
    facts = [
        (str(a.dtype), tuple(a.shape)) if isinstance(a, torch.Tensor) else repr(a)
        for a in args
    ]
    text = repr((kernel.name, str(kernel.device), facts, seed))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
