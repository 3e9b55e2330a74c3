"""Jobs for the process with the GPU: check a kernel, then time it and its rivals."""

from __future__ import annotations

import functools
import gc
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

import helion
from benchmarks import ahead, measure
from benchmarks.case import Args, BenchCase
from benchmarks.crew import describe
from benchmarks.errors import agrees, errors_of
from benchmarks.suite import case_of
from test.harness import poisoned

# Slower than the fastest so far by this factor: one timed call says enough.
HOPELESS = 4.0
SWEEP_BUDGET_MS = 20.0
# How much more than its own limit another implementation may be off.
RIVAL_SLACK = 3.0
# Cached memory that is given back; collecting garbage takes half a second.
MOST_RESERVED = 48 << 30


@dataclass(frozen=True)
class Ways:
    """Which rivals are timed, and for how long each on the GPU."""

    is_compiled: bool = True
    is_autotuned: bool = True
    budget_ms: float = 60.0


def begin_gpu() -> None:
    """Set up the process that owns the GPU."""
    ahead.allow_tf32()


def is_gpu_broken() -> bool:
    """Say whether the process can no longer use its GPU after an error."""
    if not torch.cuda.is_available():
        return False
    try:
        torch.cuda.synchronize()
        if torch.cuda.memory_reserved() > MOST_RESERVED:
            gc.collect()
            torch.cuda.empty_cache()
    except RuntimeError:
        return True
    return False


def attempt(problems: dict[str, str], step: str, fn: Callable[[], Any]) -> Any:
    """Return ``fn()``, or None after noting the error under ``step``."""
    try:
        return fn()
    except Exception as err:  # the other steps still have something to show
        problems[step] = describe(err)
        return None


def machine() -> dict[str, Any]:
    """Measure the ceilings of the GPU and the cost of a call."""
    problems: dict[str, str] = {}
    before = measure.gpu_state()
    major, minor = torch.cuda.get_device_capability()
    return {
        "gpu": torch.cuda.get_device_name(),
        "arch": f"sm_{major}{minor}",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "idle": before,
        "ceilings": attempt(problems, "ceilings", measure.ceilings),
        "busy": measure.gpu_state(),
        "host_overhead": attempt(problems, "host overhead", measure.host_overhead),
        "problems": problems,
    }


# ---- one case beside its rivals ----


def device() -> str:
    """Return where arguments are made; a CPU only in tests."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def seeded_args(case: BenchCase, outcome: dict[str, Any]) -> Args:
    """Return fresh arguments; the seed that gives them again is noted."""
    outcome["seed"] = seed = random.SystemRandom().getrandbits(32)
    torch.manual_seed(seed)
    return case.make_args(device())


def time_case(name: str, ways: Ways) -> dict[str, Any]:
    """Check one kernel, then time it and its rivals in turns."""
    case, problems = case_of(name), {}
    outcome: dict[str, Any] = {
        "family": case.family,
        "title": case.title,
        "flops": case.flops,
        "rate": case.rate if case.flops else None,
        "bytes": case.bytes_moved(),
        "problems": problems,
    }
    args = seeded_args(case, outcome)
    own = attempt(problems, "helion", lambda: right_function(case, args, outcome))
    functions = {**case.rivals(), **case.shown, **compiled_forms(case, ways)}
    if own is not None:
        found = attempt(problems, "helion", lambda: own(*case.call_args(args)))
        for label, fn in functions.items():
            note_difference(problems, label, case, lambda fn=fn: fn(*args), found)
        del found
    outcome["times"] = times_of(
        case, args, {"helion": own, **functions}, ways, problems
    )
    outcome["clocks"] = measure.clocks()
    return outcome


def right_function(
    case: BenchCase, args: Args, outcome: dict[str, Any]
) -> Callable[..., Any]:
    """Return the host function for the default Config once its results are right."""
    kernel_args = case.call_args(args)
    bound = case.kernel.bind(kernel_args)
    config = bound.config_spec.default_config()
    outcome["config"] = dict(config)
    function = bound.compile_config(config)
    with poisoned():
        found = function(*kernel_args)
    outcome["errors"] = errors_of(case, args, found)
    if not all(error["is_right"] for error in outcome["errors"]):
        raise ArithmeticError(f"wrong result: {outcome['errors']}")
    return function


def compiled_forms(case: BenchCase, ways: Ways) -> dict[str, Callable[..., Any]]:
    """Return what torch.compile makes of the case; it compiles as it is called."""
    if not ways.is_compiled:
        return {}
    # Sizes seen before would make it compile for any size, or give up.
    torch.compiler.reset()
    fn = case.compiled or case.eager
    forms = {"compile": torch.compile(fn, dynamic=False)}
    if ways.is_autotuned and case.autotune:
        forms["autotune"] = torch.compile(fn, dynamic=False, mode=ahead.AUTOTUNE)
    return forms


def note_difference(
    problems: dict[str, str],
    label: str,
    case: BenchCase,
    call: Callable[[], Any],
    expected: Any,
) -> None:
    """Note where a rival fails, or computes something else than the kernel."""
    limit = RIVAL_SLACK * (case.limit or 1e-2)
    same = attempt(problems, label, lambda: agrees(expected, call(), limit))
    if same is False:
        problems[f"{label} differs"] = "its result is not that of the kernel"


def times_of(
    case: BenchCase,
    args: Args,
    functions: dict[str, Callable[..., Any] | None],
    ways: Ways,
    problems: dict[str, str],
) -> dict[str, dict[str, Any]]:
    """Time what there is, in turns."""
    sets = measure.argument_sets(args)
    kernel_sets = [case.call_args(one) for one in sets]
    samples = {}
    for label, fn in functions.items():
        if fn is None or label in problems:
            continue
        own = kernel_sets if label == "helion" else sets
        captures = label not in case.syncs
        sample = attempt(
            problems,
            label,
            lambda fn=fn, own=own, captures=captures: measure.prepared(
                fn, own, captures
            ),
        )
        if sample is not None:
            samples[label] = sample
    return measure.interleaved(samples, ways.budget_ms)


# ---- many Configs of one case ----


@dataclass
class Bench:
    """One case set up for timing Configs: arguments, and the result that is right."""

    case: BenchCase
    sets: list[Args]
    expected: Any
    best_ms: float = float("inf")


@functools.lru_cache(maxsize=1)
def bench_of(name: str) -> Bench:
    """Set up a case; what is right is what PyTorch does, if the default is wrong."""
    gc.collect()
    case, outcome = case_of(name), {}
    args = seeded_args(case, outcome)
    try:
        function = right_function(case, args, outcome)
        expected = function(*case.call_args(args))
    except Exception:  # the default may be what one is looking for
        expected = case.eager(*args)
    sets = [case.call_args(one) for one in measure.argument_sets(args)]
    return Bench(case, sets, expected)


def time_configs(name: str, configs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Check and time Configs; stops where the GPU stops answering."""
    bench, rows = bench_of(name), []
    for options in configs:
        row: dict[str, Any] = {"config": options}
        try:
            row |= time_config(bench, helion.Config(**options))
        except Exception as err:  # one Config must not stop the others
            row["error"] = describe(err)
            if is_gpu_broken():
                return [*rows, row]
        rows.append(row)
    return rows


def time_config(bench: Bench, config: helion.Config) -> dict[str, Any]:
    """Return the time of one Config; raises if its result is wrong."""
    bound = bench.case.kernel.bind(bench.sets[0])
    function = bound.compile_config(config)
    with poisoned():
        found = function(*bench.sets[0])
    if not agrees(found, bench.expected, bench.case.limit):
        raise ArithmeticError("wrong result")
    del found
    single_ms = measure.elapsed_ms(lambda: function(*bench.sets[-1]))
    if single_ms > HOPELESS * bench.best_ms:
        return {"ms": single_ms, "by": "once"}
    sample = measure.prepared(function, bench.sets)
    times = measure.interleaved({"helion": sample}, SWEEP_BUDGET_MS)["helion"]
    bench.best_ms = min(bench.best_ms, times["ms"])
    return times
