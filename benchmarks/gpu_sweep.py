"""Compile many Configs in worker processes, then check and time each on the GPU."""

from __future__ import annotations

import functools
import multiprocessing
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.pool import Pool
from typing import TYPE_CHECKING, Any

import torch

import helion
from benchmarks.gpu_cases import CASES, GpuCase
from benchmarks.gpu_measure import agrees, errors_of, once_ms, time_ms
from test.harness import poisoned

if TYPE_CHECKING:
    from helion.runtime.bound_kernel import BoundKernel

BEST = 5
# Slower than the fastest so far by this factor: one timed call says enough.
HOPELESS = 3.0


@functools.cache
def bind_offline(name: str) -> BoundKernel:
    """Bind a case without memory, on any machine, once a process."""
    case = CASES[name]
    return case.kernel.bind(case.fake_args())


def random_configs(name: str, count: int) -> list[helion.Config]:
    """Return ``count`` seeded random Configs of a case."""
    spec = bind_offline(name).config_spec
    return [spec.random_config(random.Random(seed)) for seed in range(count)]


def emitted(name: str, config: helion.Config | None = None) -> str:
    """Return the text for one Config of a case, None for the default one."""
    bound = bind_offline(name)
    return bound.to_triton_code(config or bound.config_spec.default_config())


def assemble_config(
    name: str, options: dict[str, Any] | None, arch: str
) -> list[dict[str, int | None]]:
    """Emit and assemble one Config, None for the default one; resources per launch.

    Triton's cache on disk then has what a launch needs, whichever process makes it.
    """
    from helion._compiler.triton.assemble import capture_launches

    bound = bind_offline(name)
    config = (
        bound.config_spec.default_config()
        if options is None
        else helion.Config(**options)
    )
    function = bound.compile_config(config)
    kernels = [
        launch.assemble(arch)
        for launch in capture_launches(function, CASES[name].fake_args())
    ]
    return [
        {
            "registers": kernel.registers,
            "shared_bytes": kernel.shared_bytes,
            "spill_bytes": kernel.spill_bytes,
        }
        for kernel in kernels
    ]


@functools.cache
def worker_pool() -> Pool:
    """Return processes that compile; they live on, since starting takes seconds."""
    workers = max(1, len(os.sched_getaffinity(0)) - 1)
    return multiprocessing.get_context("spawn").Pool(workers)


def end_workers() -> None:
    """End the processes that compile; the next Config starts new ones."""
    if worker_pool.cache_info().currsize:
        worker_pool().terminate()
        worker_pool.cache_clear()


def assembled(
    name: str, configs: Sequence[helion.Config], arch: str, limit_s: float
) -> Iterator[tuple[helion.Config, list[dict[str, int | None]] | None, str]]:
    """Yield each Config with its resources, or None and what went wrong, in order."""
    deadline = time.monotonic() + limit_s
    pending = [
        worker_pool().apply_async(assemble_config, (name, dict(config), arch))
        for config in configs
    ]
    is_late = False
    try:
        for config, result in zip(configs, pending):
            try:
                left_s = max(0.0, deadline - time.monotonic())
                yield config, result.get(left_s), ""
            except multiprocessing.TimeoutError:
                is_late = True
                yield config, None, "not compiled in time"
            except Exception as err:  # one Config must not stop the others
                yield config, None, describe(err)
    finally:
        # What still compiles must not hold up the next case.
        if is_late or not all(result.ready() for result in pending):
            end_workers()


def describe(err: BaseException) -> str:
    """Return the class and the beginning of the text of an error."""
    return f"{type(err).__name__}: {err}"[:2000]


class Timer:
    """Checks and times Configs of one case against one expected result."""

    def __init__(self, case: GpuCase, args: tuple[torch.Tensor, ...]) -> None:
        self.case = case
        self.args = args
        self.bound = case.kernel.bind(args)
        self.best_ms = float("inf")

    def host_function(self, config: helion.Config) -> Callable[..., Any]:
        """Return the emitted host function of one Config."""
        return self.bound.compile_config(config)

    def run(self, config: helion.Config) -> Any:
        """Run once over poisoned memory."""
        with poisoned():
            found = self.host_function(config)(*self.args)
            torch.cuda.synchronize()
        return found

    def measure(self, config: helion.Config, expected: Any) -> dict[str, Any]:
        """Return the time of one Config, or the problem with it."""
        row: dict[str, Any] = {"config": dict(config)}
        try:
            if not agrees(self.run(config), expected):
                return {**row, "problem": "wrong result"}
            function = self.host_function(config)
            single_ms = once_ms(lambda: function(*self.args))
            if single_ms > HOPELESS * self.best_ms:
                return {**row, "ms": single_ms, "once": True}
            row.update(time_ms(lambda: function(*self.args), rep_ms=40))
        except Exception as err:  # one Config must not stop the others
            return {**row, "problem": describe(err)}
        self.best_ms = min(self.best_ms, row["ms"])
        return row


def is_cuda_usable() -> bool:
    """Say whether the process can still use its GPU after an error."""
    try:
        torch.cuda.synchronize()
    except (RuntimeError, AssertionError):
        return False
    return True


def time_configs(
    timer: Timer, configs: Sequence[helion.Config], expected: Any, limit_s: float
) -> list[dict[str, Any]]:
    """Compile, check and time every Config; stops where the GPU stops answering."""
    major, minor = torch.cuda.get_device_capability()
    deadline = time.monotonic() + limit_s
    rows: list[dict[str, Any]] = []
    results = assembled(timer.case.name, configs, f"sm_{major}{minor}", limit_s)
    for config, resources, problem in results:
        if resources is None:
            rows.append({"config": dict(config), "problem": problem})
        elif time.monotonic() > deadline:
            rows.append({"config": dict(config), "problem": "not timed in time"})
        else:
            rows.append({**timer.measure(config, expected), "launches": resources})
            if "problem" in rows[-1] and not is_cuda_usable():
                break
    return rows


def right_results(timer: Timer, config: helion.Config) -> Any:
    """Return what the default Config gives, if that is right; else what PyTorch does.

    The default may be what one is looking for.
    """
    try:
        found = timer.run(config)
        if all(error["is_right"] for error in errors_of(timer.case, timer.args, found)):
            return found
    except Exception as err:
        if not is_cuda_usable():
            raise ArithmeticError(f"default Config: {describe(err)}") from err
    return timer.case.eager(*timer.args)


def sweep(
    case: GpuCase, count: int, limit_s: float, extra: Sequence[helion.Config] = ()
) -> dict[str, Any]:
    """Time the default, ``extra`` and ``count`` random Configs; return the best ones.

    Every Config must give right results; failures are counted by kind.
    """
    timer = Timer(case, case.make_args())
    default = timer.bound.config_spec.default_config()
    configs = [default, *extra, *random_configs(case.name, count)]
    expected = right_results(timer, default)
    rows = time_configs(timer, configs, expected, limit_s)
    timed = sorted((row for row in rows if "ms" in row), key=lambda row: row["ms"])
    problems = [row for row in rows if "problem" in row]
    return {
        "title": case.title,
        "group": case.group,
        "configs": len(configs),
        "tried": len(rows),
        "failures": Counter(row["problem"].split("\n")[0][:200] for row in problems),
        "default": rows[0] if rows else None,
        "extra": rows[1 : 1 + len(extra)],
        "best": timed[:BEST],
        "failed": problems[:BEST],
    }
