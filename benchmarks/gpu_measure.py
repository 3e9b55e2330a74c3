"""Errors, times and ceilings on a GPU."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable
from typing import Any

import torch

import helion
from benchmarks.gpu_cases import GpuCase, as_tuple
from examples.add import add

# Largest error of a result, by its dtype, relative to the norm of the reference. Single
# elements, relative to their size plus the root mean square of all, may be off by more.
ERROR_LIMITS = {torch.bfloat16: 1e-2, torch.float16: 2e-3, torch.float32: 1e-4}
WORST_FACTOR = 3.0

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
# Elements that are compared at once, in float64.
COMPARED_NUMEL = 1 << 26
LAUNCHES = 1000


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


def time_ms(fn: Callable[[], Any], rep_ms: int = 100) -> dict[str, float]:
    """Return the median time and the 20 % and 80 % quantiles, L2 cleared each time."""
    from triton.testing import do_bench

    median, low, high = do_bench(fn, rep=rep_ms, quantiles=[0.5, 0.2, 0.8])
    return {"ms": median, "low": low, "high": high}


def once_ms(fn: Callable[[], Any]) -> float:
    """Return the time of one call on the GPU."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    fn()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end)


class Error:
    """The error of one result, added up over chunks of it."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.limit = ERROR_LIMITS[dtype]
        self.squares = self.reference_squares = self.worst = 0.0

    def add(self, found: torch.Tensor, right: torch.Tensor) -> None:
        """Take one chunk into account; what is not finite counts as infinitely off."""
        delta = (found.double() - right).abs()
        scale = right.abs() + right.square().mean().sqrt()
        worst = (delta / scale).nan_to_num(nan=float("inf")).max().item()
        self.worst = max(self.worst, worst)
        self.squares += delta.square().sum().item()
        self.reference_squares += right.square().sum().item()

    def report(self) -> dict[str, Any]:
        """Return both errors, and whether they are within the limit."""
        relative = (self.squares / max(self.reference_squares, 1e-300)) ** 0.5
        is_right = relative <= self.limit and self.worst <= WORST_FACTOR * self.limit
        return {"relative": relative, "worst": self.worst, "is_right": is_right}


def errors_of(
    case: GpuCase, args: tuple[torch.Tensor, ...], found: Any
) -> list[dict[str, Any]]:
    """Compare every result with the float64 reference."""
    results = as_tuple(found)
    errors = [Error(result.dtype) for result in results]
    for part, expected in case.expected(args):
        for error, mine, right in zip(errors, results, expected, strict=True):
            error.add(mine[part], right)
    return [error.report() for error in errors]


def agrees(found: Any, expected: Any) -> bool:
    """Say whether results equal others of the same precision, within both errors."""
    for mine, right in zip(as_tuple(found), as_tuple(expected)):
        error = Error(mine.dtype)
        for part in zip(*(t.reshape(-1).split(COMPARED_NUMEL) for t in (mine, right))):
            error.add(part[0], part[1].double())
        if not error.report()["is_right"]:
            return False
    return True


def copy_rate() -> float:
    """Return the bytes per second, read and written, of a large copy."""
    source = torch.randint(0, 127, (4 * GIB,), dtype=torch.int8, device="cuda")
    target = torch.empty_like(source)
    return 8 * GIB / (time_ms(lambda: target.copy_(source))["ms"] / 1e3)


def copy_ms(nbytes: int) -> dict[str, float]:
    """Return the time of a copy that reads and writes so many bytes together."""
    source = torch.empty((nbytes // 2,), dtype=torch.int8, device="cuda")
    target = torch.empty_like(source)
    return time_ms(lambda: target.copy_(source))


def product_rate(size: int = 8192) -> float:
    """Return the operations per second of a large bf16 product of random data."""
    x, y = (
        torch.randn(size, size, dtype=torch.bfloat16, device="cuda") for _ in range(2)
    )
    return 2 * size**3 / (time_ms(lambda: torch.mm(x, y))["ms"] / 1e3)


def ceilings() -> dict[str, float]:
    """Measure how fast this GPU copies memory and multiplies matrices."""
    return {"bytes_per_s": copy_rate(), "flops_per_s": product_rate()}


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
