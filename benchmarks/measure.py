"""Times on a GPU: rivals in turns, over memory that no cache holds, without gaps."""

from __future__ import annotations

import functools
import math
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from triton.testing import do_bench

import helion
from benchmarks.case import Args, copied, nbytes_of, tensors_in
from examples.add import add

CLOCK_FIELDS = (
    "name",
    "driver_version",
    "clocks.sm",
    "clocks.max.sm",
    "clocks.mem",
    "power.draw",
    "power.limit",
    "temperature.gpu",
)
GIB = 1 << 30
LAUNCHES = 1000

# Inputs take turns so that together they are several times the L2 cache.
ROTATED_BYTES = 256 << 20
MOST_SETS = 16
# Results of the calls in one graph are kept, for the same reason.
KEPT_BYTES = 4 << 30
# One sample is a row of calls that takes about this long.
SAMPLE_MS = 1.0
MOST_CALLS = 100
# Read before each sample: clears the L2 cache, and keeps the GPU busy while the host
# enqueues what is measured. What is written would have to go to memory meanwhile.
FLUSHED_BYTES = 512 << 20


def gpu_state() -> dict[str, str]:
    """Return what nvidia-smi says of the first GPU now; empty if it says nothing."""
    query = f"--query-gpu={','.join(CLOCK_FIELDS)}"
    try:
        done = subprocess.run(
            ["nvidia-smi", "-i", "0", query, "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    if done.returncode:
        return {}
    values = [value.strip() for value in done.stdout.splitlines()[0].split(",")]
    return dict(zip(CLOCK_FIELDS, values))


def clocks() -> dict[str, int]:
    """Return the clock, power and temperature now; empty if nothing tells them."""
    try:
        return {
            "sm_mhz": torch.cuda.clock_rate(),
            "milliwatt": torch.cuda.power_draw(),
            "celsius": torch.cuda.temperature(),
        }
    except Exception:  # the package that asks the driver may be missing or refused
        return {}


# ---- samples ----


@dataclass(frozen=True)
class Sample:
    """A row of ``calls`` calls that ``run`` makes; ``by`` is ``graph`` or ``calls``."""

    run: Callable[[], Any]
    calls: int
    by: str
    ms: float


def argument_sets(args: Args) -> list[Args]:
    """Return the arguments and as many copies as keep them out of the L2 cache."""
    size = sum(map(nbytes_of, tensors_in(args)))
    count = min(MOST_SETS, math.ceil(ROTATED_BYTES / max(size, 1)))
    if not torch.cuda.is_available():
        count = 1
    return [args, *(copied(args) for _ in range(count - 1))]


def prepare(
    fn: Callable[..., Any], sets: Sequence[Args], captures: bool = True
) -> Sample:
    """Return a sample of calls of ``fn``, in a CUDA graph if that is possible.

    In a graph the host costs nothing; where ``fn`` waits for the GPU its calls are made
    one by one, and what the host adds counts.
    """
    results = fn(*sets[0])
    kept = sum(map(nbytes_of, tensors_in(results)))
    del results
    once_ms = min(elapsed_ms(lambda: fn(*sets[-1])) for _ in range(3))
    most = max(1, min(MOST_CALLS, KEPT_BYTES // max(kept, 1)))
    count = max(1, min(most, math.ceil(SAMPLE_MS / max(once_ms, 1e-3))))
    turns = [sets[i % len(sets)] for i in range(count)]

    def calls() -> list[Any]:
        return [fn(*args) for args in turns]

    run, by = calls, "calls"
    if captures and torch.cuda.is_available():
        run, by = captured(calls), "graph"
    run()
    return Sample(run, count, by, max(1e-3, elapsed_ms(run)))


def captured(calls: Callable[[], Any]) -> Callable[[], Any]:
    """Return a function that replays the calls; raises what keeps them from it."""
    graph, stream = torch.cuda.CUDAGraph(), capture_stream()
    torch.cuda.synchronize()
    # Not torch.cuda.graph: that one collects garbage first, for half a second.
    with torch.cuda.stream(stream):
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            kept = calls()
        finally:
            graph.capture_end()

    def replay(kept: Any = kept) -> None:
        graph.replay()

    return replay


@functools.cache
def capture_stream() -> torch.cuda.Stream:
    """Return the stream of all captures; libraries keep a workspace for each stream."""
    return torch.cuda.Stream()


def prepared(
    fn: Callable[..., Any], sets: Sequence[Args], captures: bool = True
) -> Sample:
    """Return ``prepare(...)``, without a graph where there can be none."""
    if not captures:
        return prepare(fn, sets, False)
    try:
        return prepare(fn, sets, True)
    except RuntimeError:
        torch.cuda.synchronize()
        return prepare(fn, sets, False)


def elapsed_ms(run: Callable[[], Any]) -> float:
    """Return the time of ``run()`` on the GPU, with an empty cache; else by the host.

    The GPU clears the cache while the host enqueues, so that it need not wait.
    """
    if not torch.cuda.is_available():
        began = time.perf_counter()
        run()
        return 1e3 * (time.perf_counter() - began)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    flush_cache()
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


_flushed: list[torch.Tensor] = []


def flush_cache() -> None:
    """Read more than the L2 cache holds."""
    if not _flushed:
        _flushed.append(torch.zeros(FLUSHED_BYTES // 4, device="cuda"))
    _flushed[0].sum()


# ---- in turns ----


def rounds_of(sample: Sample, budget_ms: float) -> int:
    """Return how often a sample is taken."""
    return max(5, min(50, math.ceil(budget_ms / sample.ms)))


def interleaved(
    samples: Mapping[str, Sample], budget_ms: float = 60.0
) -> dict[str, dict[str, Any]]:
    """Take samples in turns, so that a clock that drifts drifts for all.

    Each gets about ``budget_ms`` on the GPU; returns the median of one call, and the
    quantiles at 20 % and 80 %.
    """
    wanted = {name: rounds_of(sample, budget_ms) for name, sample in samples.items()}
    times: dict[str, list[float]] = {name: [] for name in samples}
    most = max(wanted.values(), default=0)
    for turn in range(1, most + 1):
        for name, sample in samples.items():
            if len(times[name]) * most < turn * wanted[name]:
                times[name].append(elapsed_ms(sample.run) / sample.calls)
    return {
        name: {**spread(found), "by": samples[name].by, "calls": samples[name].calls}
        for name, found in times.items()
    }


def spread(times: Sequence[float]) -> dict[str, float]:
    """Return the median and the quantiles at 20 % and 80 %."""
    low, *_, high = statistics.quantiles(times, n=5, method="inclusive")
    return {"ms": statistics.median(times), "low": low, "high": high}


def time_ms(fn: Callable[..., Any], args: Args, budget_ms: float = 60.0) -> float:
    """Return the median time of one call."""
    sample = prepared(fn, argument_sets(args))
    return interleaved({"fn": sample}, budget_ms)["fn"]["ms"]


# ---- the machine ----


def copy_rate() -> float:
    """Return the bytes per second, read and written, of a large copy."""
    source = torch.randint(0, 127, (4 * GIB,), dtype=torch.int8, device="cuda")
    target = torch.empty_like(source)
    # By plain calls: a graph replays a copy through a slower engine.
    ms = do_bench(lambda: target.copy_(source), return_mode="median")
    return 8 * GIB / (cast("float", ms) / 1e3)


def product_rate(dtype: torch.dtype, size: int = 8192) -> float:
    """Return the operations per second of a large product of random data."""
    x, y = (torch.randn(size, size, device="cuda").to(dtype) for _ in range(2))
    if dtype == torch.float8_e4m3fn:
        one, right = torch.ones(1, device="cuda"), y.t()
        options = {"out_dtype": torch.bfloat16, "use_fast_accum": True}
        ms = time_ms(lambda: torch._scaled_mm(x, right, one, one, **options), ())
    else:
        ms = time_ms(torch.mm, (x, y))
    return 2 * size**3 / (ms / 1e3)


def ceilings() -> dict[str, float]:
    """Measure how fast this GPU copies memory and multiplies matrices."""
    return {
        "bytes_per_s": copy_rate(),
        "bf16": product_rate(torch.bfloat16),
        "fp8": product_rate(torch.float8_e4m3fn),
        "tf32": product_rate(torch.float32),
    }


def call_us(fn: Callable[[], Any]) -> dict[str, float]:
    """Return medians for one of many calls: host time, and until the GPU is done."""
    fn()
    torch.cuda.synchronize()
    enqueued, finished = [], []
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(LAUNCHES):
            fn()
        enqueued.append(time.perf_counter() - start)
        torch.cuda.synchronize()
        finished.append(time.perf_counter() - start)
    scale = 1e6 / LAUNCHES
    return {
        "host_us": statistics.median(enqueued) * scale,
        "total_us": statistics.median(finished) * scale,
    }


def host_overhead() -> dict[str, dict[str, float]]:
    """Time calls of a tiny add: the kernel, its bare host function, PyTorch's own."""
    x, y = (torch.randn(1024, device="cuda") for _ in range(2))
    config = add.bind((x, y)).config_spec.default_config()
    kernel = helion.kernel(add.fn, config=config)
    host_function = kernel.bind((x, y)).compile_config(config)
    return {
        "kernel": call_us(lambda: kernel(x, y)),
        "host function": call_us(lambda: host_function(x, y)),
        "torch.add": call_us(lambda: torch.add(x, y)),
    }
