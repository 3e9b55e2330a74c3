"""Run random legal Configs of every example and compare them with float64.

Each portion of a family runs in a process of its own, side by side with others; one
that crashes or hangs costs the Config it was at, and the rest goes on in a new process.
``--seed`` is the first of the seeds, so that several calls can share the work.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from benchmarks import record

PORTION = 50
SILENCE_S = 120.0


@dataclass(frozen=True)
class Portion:
    """Seeds of one family."""

    family: str
    seeds: range


def run_portion(portion: Portion, options: Any) -> list[dict[str, Any]]:
    """Run a portion in processes of its own; return what became of each Config."""
    found: list[dict[str, Any]] = []
    left = portion.seeds
    while left and time.perf_counter() < options.end:
        rows, code = run_process(Portion(portion.family, left), options)
        found += rows
        left = range(left.start + len(rows), left.stop)
        if left and time.perf_counter() < options.end:
            found.append(_lost(portion.family, left.start, code))
            left = range(left.start + 1, left.stop)
    return found


def _lost(family: str, seed: int, code: int) -> dict[str, Any]:
    """Return the outcome of a Config whose process ended by itself or was ended."""
    verdict = "hung" if code == -signal.SIGKILL else "crashed"
    text = f"the process ended with {code}"
    return {"case": family, "seed": seed, "verdict": verdict, "detail": text}


def run_process(portion: Portion, options: Any) -> tuple[list[dict[str, Any]], int]:
    """Run seeds until the process ends, hangs or time is up.

    Returns the outcomes that it reported, and the code it ended with.
    """
    seeds = portion.seeds
    command = [sys.executable, "-m", __spec__.name, "--one", portion.family]
    command += ["--seed", str(seeds.start), "--count", str(len(seeds))]
    environment = dict(os.environ)
    if options.interpreted:
        environment |= {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
        command.append("--interpreted")
    if options.real:
        command.append("--real")
    process = subprocess.Popen(
        command,
        cwd=record.ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return list(_reports(process, options.end)), process.wait()


def _reports(process: subprocess.Popen[str], end: float) -> Iterator[dict[str, Any]]:
    """Yield the lines of a process, which is ended when it is silent or late."""
    assert process.stdout is not None
    while True:
        left = max(min(SILENCE_S, end - time.perf_counter()), 0)
        alarm = threading.Timer(left, process.kill)
        alarm.start()
        line = process.stdout.readline()
        alarm.cancel()
        if not line:
            return
        if line.startswith("{"):
            yield json.loads(line)


def one_portion(portion: Portion, options: Any) -> None:
    """Run a portion in this process and print an outcome a line."""
    from test.random_configs import judged

    if options.interpreted:
        import torch

        from test import triton_interpreter

        torch.set_num_threads(1)
        triton_interpreter.install(check_bounds=True)
    for seed in portion.seeds:
        device = "cpu" if options.interpreted else "cuda"
        outcome = judged(portion.family, seed, device, not options.real)
        print(json.dumps(dataclasses.asdict(outcome)), flush=True)


def portions(names: Sequence[str], first: int, count: int) -> list[Portion]:
    """Return portions of all families, so ordered that each family gets its turn."""
    starts = range(first, first + count, PORTION)
    return [
        Portion(name, range(start, min(start + PORTION, first + count)))
        for start in starts
        for name in names
    ]


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return how many Configs had which outcome, and those that did not go well."""
    counts = Counter(row["verdict"] for row in rows)
    bad = [row for row in rows if row["verdict"] not in ("right", "resources")]
    reasons = Counter(
        row["detail"].strip().splitlines()[-1][:200]
        for row in rows
        if row["verdict"] == "resources"
    )
    return {"tested": len(rows), **counts, "resources_by_reason": reasons, "bad": bad}


def main() -> int:
    """Run the chosen families; return 1 if a result was wrong or a Config failed."""
    from test.random_configs import families

    parser = argparse.ArgumentParser(
        prog="scripts/gpu_random_configs", description=__doc__
    )
    parser.add_argument("family", nargs="*", help="example files; default: all")
    parser.add_argument("--count", type=int, default=300, help="Configs of each family")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--limit-s", type=float, default=540)
    parser.add_argument("--interpreted", action="store_true", help="on the CPU")
    parser.add_argument("--real", action="store_true", help="arguments of real size")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        seeds = range(options.seed, options.seed + options.count)
        one_portion(Portion(options.one, seeds), options)
        return 0
    options.end = time.perf_counter() + options.limit_s
    work = portions(options.family or list(families()), options.seed, options.count)
    rows: list[dict[str, Any]] = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for found in pool.map(lambda portion: run_portion(portion, options), work):
            rows += found
            for row in summary(found)["bad"]:
                print(json.dumps(row), flush=True)
    result = {"seed": options.seed, **summary(rows)}
    record.write("random_configs", {**record.circumstances(), **result})
    print(json.dumps({key: result[key] for key in result if key != "bad"}, indent=1))
    return int(bool(result["bad"]))


if __name__ == "__main__":
    sys.exit(main())
