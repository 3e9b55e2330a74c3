"""Measure how long importing, binding and emitting take, in ratios to import torch."""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from benchmarks import record

if TYPE_CHECKING:
    import torch

    import helion

CORES = 2
CONFIGS = 20
THREADS = 8
STAGE_1 = ("matmul", "attention")
STAGE_2 = ("matmul", "attention", "softmax", "layer_norm")
SUITE_NAMES = {
    "matmul": "matmul_4096x4096x4096",
    "attention": "attention_full_64x4096x128",
    "softmax": "softmax_16384x5632",
    "layer_norm": "layer_norm_16384x5632",
}

IMPORT_TORCH = """
import time
start = time.perf_counter()
import torch
print(time.perf_counter() - start)
"""

IMPORT_HELION = """
import time
start = time.perf_counter()
import torch
between = time.perf_counter()
import helion
end = time.perf_counter()
# Names are loaded on first use: this is what a file with a kernel really imports.
import helion.language
helion.kernel
print(end - start, end - between, time.perf_counter() - between)
"""

FIRST_BIND = """
import time
start = time.perf_counter()
import torch, helion
from benchmarks.cases_matmul import matmul_case
case = matmul_case(4096, 4096, 4096)
args = case.fake_args()
between = time.perf_counter()
case.kernel.bind(args)
end = time.perf_counter()
print(end - start, end - between)
"""

# Two inputs of 1 TiB each. A small bind first, so that only the size differs.
HUGE_BIND = """
import resource
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from examples.add import add
def bind(numel):
    with FakeTensorMode():
        args = tuple(torch.empty(numel, device="cuda") for _ in range(2))
    add.bind(args)
def peak_bytes():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
bind(1 << 10)
before = peak_bytes()
bind(1 << 38)
print(peak_bytes() - before)
"""


@dataclass(frozen=True)
class Row:
    """One measured duration; ``limit_s`` and ``aim_s`` are None where none is set."""

    name: str
    median_s: float
    low_s: float
    high_s: float
    samples: int
    limit_s: float | None = None
    aim_s: float | None = None


def row_of(
    name: str,
    times: Iterable[float],
    limit_s: float | None = None,
    aim_s: float | None = None,
) -> Row:
    """Return the median and the extremes of ``times``."""
    ordered = sorted(times)
    median = statistics.median(ordered)
    return Row(name, median, ordered[0], ordered[-1], len(ordered), limit_s, aim_s)


def use_few_cores() -> None:
    """Restrict this process and those it starts to as many cores as CI has."""
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:CORES]))


# ---- in fresh processes ----


def run_fresh(code: str) -> list[float]:
    """Run ``code`` in a new interpreter and return the numbers that it prints."""
    path = os.pathsep.join(filter(None, [str(record.ROOT), os.getenv("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        cwd=record.ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-2000:])
    return [float(word) for word in done.stdout.split()]


def import_rows(repeats: int) -> list[Row]:
    """Time the imports; runs alternate, so that a busy spell hits all alike."""
    run_fresh(IMPORT_HELION)  # writes the bytecode caches
    torch_s, helion_s = [], []
    for _ in range(repeats):
        torch_s += run_fresh(IMPORT_TORCH)
        helion_s.append(run_fresh(IMPORT_HELION))
    both_s, added_s, used_s = zip(*helion_s)
    return [
        row_of("import torch", torch_s),
        row_of("import torch, helion", both_s),
        row_of("import helion, after torch", added_s, 0.5, 0.3),
        row_of("the same with helion.kernel and language", used_s, 0.5, 0.3),
    ]


def first_bind_rows(repeats: int) -> list[Row]:
    """Time the first bind of a process, with and without the imports before it."""
    run_fresh(FIRST_BIND)
    pairs = [run_fresh(FIRST_BIND) for _ in range(repeats)]
    return [
        row_of("first bind of matmul, imports included", (pair[0] for pair in pairs)),
        row_of("first bind of matmul, after the imports", (pair[1] for pair in pairs)),
    ]


def huge_bind_bytes() -> int:
    """Return how much the peak memory grows when 1 TiB inputs are bound."""
    return int(run_fresh(HUGE_BIND)[0])


# ---- in this process, warm ----


def timed(fn: Callable[[], Any]) -> float:
    """Return the seconds that one call takes."""
    start = time.perf_counter()
    fn()
    return time.perf_counter() - start


def fresh_kernel(name: str) -> tuple[helion.Kernel, tuple[torch.Tensor, ...]]:
    """Return a kernel that nothing has bound yet, with arguments of real size."""
    import helion
    from benchmarks.suite import CASES

    case = CASES[SUITE_NAMES[name]]
    return helion.kernel(case.kernel.fn), case.fake_args()


def fresh_bound(name: str) -> Any:
    """Return a bound kernel that has emitted nothing yet."""
    kernel, args = fresh_kernel(name)
    return kernel.bind(args)


def stage_1_row(name: str, repeats: int) -> Row:
    """Time binding in a process that has bound this kernel's twin before."""
    fresh_bound(name)
    pairs = [fresh_kernel(name) for _ in range(repeats)]
    times = [timed(lambda k=kernel, a=args: k.bind(a)) for kernel, args in pairs]
    return row_of(f"stage 1 of {name}, warm", times, 0.150, 0.100)


def stage_2_rows(name: str) -> list[Row]:
    """Time seeded random Configs: text alone, then text and loading."""
    warm, emitted, loaded = (fresh_bound(name) for _ in range(3))
    warm.compile_config(warm.config_spec.default_config())
    configs = random_configs(emitted)
    texts = [timed(lambda c=config: emitted.to_triton_code(c)) for config in configs]
    modules = [timed(lambda c=config: loaded.compile_config(c)) for config in configs]
    return [
        row_of(f"stage 2 of {name}, per Config", texts, 0.015, 0.010),
        row_of(f"stage 2 of {name}, module loaded", modules),
    ]


def random_configs(bound: Any) -> list[Any]:
    """Return the seeded random Configs of one kernel."""
    spec = bound.config_spec
    return [spec.random_config(random.Random(seed)) for seed in range(CONFIGS)]


def is_same_in_threads(name: str) -> bool:
    """Say whether eight threads on one bound kernel emit what one thread does."""
    serial, shared = fresh_bound(name), fresh_bound(name)
    configs = random_configs(serial)
    expected = [serial.to_triton_code(config) for config in configs]
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(shared.to_triton_code, configs)) == expected


# ---- the report ----


def measure_all(repeats: int) -> dict[str, Any]:
    """Run every measurement; one that fails leaves its error and no number."""
    problems: dict[str, str] = {}
    facts: dict[str, Any] = {"same_text_in_threads": {}}
    rows: list[Row] = []

    def attempt(step: str, fn: Callable[[], Any]) -> Any:
        print(f"{step} ...", file=sys.stderr, flush=True)
        try:
            return fn()
        except Exception as err:  # the other steps still have something to show
            problems[step] = f"{type(err).__name__}: {err}"
            return None

    partial = functools.partial
    rows += attempt("imports", partial(import_rows, repeats)) or []
    rows += attempt("first bind", partial(first_bind_rows, repeats)) or []
    for name in STAGE_1:
        row = attempt(f"stage 1 of {name}", partial(stage_1_row, name, 2 * repeats))
        rows += [row] if row else []
    for name in STAGE_2:
        rows += attempt(f"stage 2 of {name}", partial(stage_2_rows, name)) or []
        facts["same_text_in_threads"][name] = attempt(
            f"threads on {name}", partial(is_same_in_threads, name)
        )
    facts["huge_bind_bytes"] = attempt("bind of 1 TiB", huge_bind_bytes)
    return {"rows": [asdict(row) for row in rows], **facts, "problems": problems}


def show(report: dict[str, Any]) -> None:
    """Print the rows beside import torch and their limits."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=110)
    table = Table(title=f"compile time on {report['cores']} cores")
    table.add_column("what")
    for head in ("median", "range", "x import torch", "limit", "aim", ""):
        table.add_column(head, justify="right")
    unit_s = next((r["median_s"] for r in report["rows"]), None)
    for row in report["rows"]:
        table.add_row(*cells_of(row, unit_s))
    console.print(table)
    print(f"{THREADS} threads emit the serial text: {report['same_text_in_threads']}")
    print(f"peak memory grown by binding 1 TiB inputs: {report['huge_bind_bytes']} B")
    for step, text in report["problems"].items():
        print(f"{step} failed: {text}")


def cells_of(row: dict[str, Any], unit_s: float | None) -> list[str]:
    """Return the row of one duration."""
    limit_s, aim_s = row["limit_s"], row["aim_s"]
    verdict = "" if limit_s is None else "over"
    if limit_s is not None and row["median_s"] <= limit_s:
        verdict = "ok"
    return [
        row["name"],
        duration(row["median_s"]),
        f"{duration(row['low_s'])}..{duration(row['high_s'])}",
        f"{row['median_s'] / unit_s:.3f}" if unit_s else "",
        duration(limit_s),
        duration(aim_s),
        verdict,
    ]


def duration(seconds: float | None) -> str:
    """Return a duration with its unit."""
    if seconds is None:
        return ""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.1f} ms"


def main() -> int:
    """Measure, print and write; return 0 if every measurement came through."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    use_few_cores()
    load = os.getloadavg()[0]
    found = measure_all(parser.parse_args().repeats)
    report = {
        **record.circumstances(),
        "machine": platform.machine(),
        "load_before": load,
        **found,
    }
    show(report)
    record.write("compile_time", json.loads(json.dumps(report)))
    return int(bool(report["problems"]))


if __name__ == "__main__":
    sys.exit(main())
