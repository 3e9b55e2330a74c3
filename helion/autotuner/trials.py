"""``Trials``: one config at a time is compiled, run, checked and timed."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from typing import TYPE_CHECKING, Any

import torch

from helion import exc
from helion.autotuner.accuracy import Reference, copied
from helion.autotuner.benchmarking import Runnable, Timer, counted_timer, timer_for
from helion.autotuner.candidate_errors import in_short, is_fatal, status_of
from helion.autotuner.measurement import Measurement, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from helion.autotuner.search_log import SearchLog
    from helion.autotuner.tunable_kernel import TunableKernel
    from helion.runtime.config import Config
    from helion.runtime.settings import Settings

# Failures that any search over a wide space meets.
_EXPECTED = (Status.RESOURCES, Status.ACCURACY, Status.INVALID)
_HINT = "give autotune_baseline_fn=, or autotune_accuracy_check=False"


class Trials:
    """Tries configs of a kernel on arguments; an error of a config is a Measurement.

    Only an error after which the device is unusable is raised. Configs with the same
    text have one trial. Nothing here can be killed: a config is judged to have timed
    out when it is done. Later ways to try configs, in other processes or ahead of
    time, have the same methods.
    """

    def __init__(
        self,
        kernel: TunableKernel,
        args: tuple[Any, ...],
        settings: Settings,
        log: SearchLog,
        *,
        timer: Timer | None,
        clock: Callable[[], float],
    ) -> None:
        self.kernel = kernel
        self.args = args
        self.settings = settings
        self.log = log
        self.same_code = 0
        self._clock = clock
        self._given_timer = timer
        self._timer = timer
        self._reference: Reference | None = None
        self._by_text: dict[str, Measurement] = {}

    def measure(self, config: Config) -> Measurement:
        """Try a normalized config."""
        with _current(self.kernel.device):
            # Before all else: without anything to compare with, nothing is right.
            reference = (
                self.reference() if self.settings.autotune_accuracy_check else None
            )
            start = self._clock()
            try:
                return self._measured(config, reference, start)
            except Exception as error:
                self._raise_if_fatal(error, config)
                return self._failed(config, error, self._clock() - start)

    def retime(self, found: Sequence[Measurement], repeat: int) -> list[Measurement]:
        """Time again what was measured before, in turns."""
        try:
            with _current(self.kernel.device):
                calls = [self._runnable(f.config) for f in found]
                times = self._time(calls, repeat, "timing the best again")
        except Exception as error:
            self._raise_if_fatal(error, found[0].config)
            self.log.warning(f"timing again failed: {in_short(error)}")
            return list(found)
        return [dataclasses.replace(f, perf_ms=ms) for f, ms in zip(found, times)]

    # ---- one trial ----

    def _measured(
        self, config: Config, reference: Reference | None, start: float
    ) -> Measurement:
        function = self.kernel.bench_compile_config(config)
        text = self.kernel.get_cached_path(config)
        if text is not None and text in self._by_text:
            self.same_code += 1
            return dataclasses.replace(self._by_text[text], config=config)
        found = self._checked(config, function, reference, start)
        if found.is_ok:
            found = self._timed(found)
        if text is not None:
            self._by_text[text] = found
        return found

    def _checked(
        self,
        config: Config,
        function: Callable[..., Any],
        reference: Reference | None,
        start: float,
    ) -> Measurement:
        """Run for the first time, which compiles the kernels, and compare."""
        problem = ""
        if reference is not None:
            problem = reference.problem(function, self.args)
        elif self._given_timer is None:
            with torch.no_grad():
                self._runnable(config)()
        compile_s = self._clock() - start
        if compile_s > self.settings.autotune_compile_timeout:
            reason = f"{compile_s:.0f} s until the first result"
            return Measurement(config, math.inf, Status.TIMEOUT, compile_s, reason)
        if problem:
            self.log.debug(f"wrong results ({problem}), in {config}")
            return Measurement(config, math.inf, Status.ACCURACY, compile_s, problem)
        return Measurement(config, compile_s=compile_s)

    def _timed(self, found: Measurement) -> Measurement:
        perf_ms = self._time([self._runnable(found.config)], None, "trial")[0]
        if perf_ms > self.settings.autotune_benchmark_timeout * 1e3:
            reason = f"{perf_ms / 1e3:.0f} s for one run"
            compile_s = found.compile_s
            return Measurement(
                found.config, math.inf, Status.TIMEOUT, compile_s, reason
            )
        return dataclasses.replace(found, perf_ms=perf_ms)

    def _runnable(self, config: Config) -> Runnable:
        function = self.kernel.bench_compile_config(config)
        reference = self._reference
        if reference is None:
            written = self.kernel.written_tensors(self.args)
        else:
            written = reference.written
        return Runnable(config, function, copied(self.args, written))

    def _time(
        self, calls: Sequence[Runnable], repeat: int | None, desc: str
    ) -> list[float]:
        if self._timer is None:
            given = self.settings.autotune_benchmark_fn
            device = self.kernel.device
            self._timer = timer_for(device) if given is None else counted_timer(given)
        with torch.no_grad():
            return self._timer(calls, repeat=repeat, desc=desc)

    def _failed(
        self, config: Config, error: Exception, compile_s: float
    ) -> Measurement:
        status, text = status_of(error), in_short(error)
        is_silent = status in _EXPECTED or self.settings.autotune_ignore_errors
        say = self.log.debug if is_silent else self.log.warning
        say(f"{status.value}: {text}, in {config}")
        return Measurement(config, math.inf, status, compile_s, text)

    def _raise_if_fatal(self, error: Exception, config: Config) -> None:
        if not is_fatal(error):
            return
        text = self.kernel.format_kernel_decorator(config, self.kernel.settings)
        raise exc.TritonUnrecoverableRuntimeError(
            reason="the device is unusable after an error",
            decorator=text,
            error=in_short(error),
        ) from error

    # ---- what is right ----

    def reference(self) -> Reference:
        """Return the right results, computed once.

        They are those of ``autotune_baseline_fn``, else of the body run eagerly; of
        the default config where that is not possible.

        Raises:
            exc.AutotuneError: nothing gives right results.
        """
        if self._reference is None:
            if self.settings.autotune_baseline_fn is not None:
                self._reference = self._reference_by_user()
            else:
                self._reference = self._reference_by_kernel()
        return self._reference

    def _reference_by_user(self) -> Reference:
        run = self.settings.autotune_baseline_fn
        assert run is not None
        try:
            return self._reference_by(run)
        except Exception as error:
            name, text = self.kernel.name, in_short(error)
            reason = f"autotune_baseline_fn of kernel {name} failed with {text}"
            raise exc.AutotuneError(reason=reason, hint=_HINT) from error

    def _reference_by_kernel(self) -> Reference:
        try:
            return self._reference_by(self.kernel.run_reference)
        except Exception as error:
            self._raise_if_fatal(error, self.kernel.default_config())
            text = in_short(error)
        # Only here the memory that the eager run took is free again.
        return self._reference_by_default(text)

    def _reference_by(self, run: Callable[..., Any]) -> Reference:
        written = self.kernel.written_tensors(self.args)
        return Reference.of(run, self.args, written, self.settings)

    def _reference_by_default(self, text: str) -> Reference:
        name = self.kernel.name
        self.log.info(
            f"{name} does not run eagerly ({text}): "
            "results are compared with those of the default config"
        )
        config = self.kernel.default_config()
        try:
            return self._reference_by(self.kernel.bench_compile_config(config))
        except Exception as second:
            self._raise_if_fatal(second, config)
            reason = (
                f"nothing gives the right results of kernel {name}: eagerly it fails "
                f"with {text}, by its default config with {in_short(second)}"
            )
            raise exc.AutotuneError(reason=reason, hint=_HINT) from second


@contextlib.contextmanager
def _current(device: torch.device) -> Iterator[None]:
    """Make a GPU the current one, which launches need."""
    if device.type != "cuda" or not torch.cuda.is_available():
        yield
        return
    with torch.cuda.device(device):
        yield
