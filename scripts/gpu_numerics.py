"""Run the numerics tests on the GPU and write how many passed."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from benchmarks import record

TESTS = "test/numerics"
CLOSING = re.compile(
    r"^=* ?((?:\d+ [a-z]+(?:, )?)+ in [\d.]+s.*?|no tests ran.*?) ?=*$"
)
COUNT = re.compile(r"(\d+) (passed|failed|skipped|errors?|xfailed|xpassed)")
FAILURE = re.compile(r"^(?:FAILED|ERROR) (test/\S+)")


def pytest_command(extra: Sequence[str]) -> list[str]:
    """Return the command, on several workers where pytest has them."""
    command = [sys.executable, "-m", "pytest", TESTS, "--gpu", "-q", "--color=no"]
    has_workers = importlib.util.find_spec("xdist") is not None
    if has_workers and not any(argument.startswith("-n") for argument in extra):
        cores = len(os.sched_getaffinity(0))
        command += ["-n", os.environ.get("HELION_TEST_JOBS") or str(min(8, cores))]
    return [*command, *extra]


@contextlib.contextmanager
def limited(process: subprocess.Popen[str], limit_s: float) -> Iterator[list[bool]]:
    """End ``process`` and its workers after a time; the list is filled if it came."""
    expired: list[bool] = []

    def end() -> None:
        expired.append(True)
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(limit_s, end)
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()


def run_tests(extra: Sequence[str], limit_s: float) -> dict[str, Any]:
    """Run pytest, pass its output on, and return what it came to."""
    started = time.perf_counter()
    process = subprocess.Popen(
        pytest_command(extra),
        cwd=record.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    closing, failures = "", []
    with limited(process, limit_s) as expired:
        for line in process.stdout:
            print(line, end="", flush=True)
            if match := CLOSING.match(line.strip()):
                closing = match[1]
            elif match := FAILURE.match(line):
                failures.append(match[1])
        code = process.wait()
    return {
        "closing_line": closing,
        **counts_of(closing),
        "failures": failures,
        "exit_code": code,
        "timed_out": bool(expired),
        "seconds": round(time.perf_counter() - started, 1),
    }


def counts_of(closing: str) -> dict[str, int]:
    """Return the numbers in pytest's closing line."""
    counts = {"passed": 0, "failed": 0, "skipped": 0, "errors": 0}
    for number, word in COUNT.findall(closing):
        counts["errors" if word == "error" else word] = int(number)
    return counts


def main() -> int:
    """Run the tests; return pytest's exit status."""
    parser = argparse.ArgumentParser(prog="scripts/gpu_numerics", description=__doc__)
    parser.add_argument(
        "--limit-s", type=float, default=540, help="seconds before it gives up"
    )
    args, extra = parser.parse_known_args()
    has_gpu = torch.cuda.is_available()
    gpu = torch.cuda.get_device_name() if has_gpu else "none"
    outcome = run_tests(extra, args.limit_s)
    summary = {**record.circumstances(), "gpu": gpu, "cuda": torch.version.cuda}
    path = record.write("gpu_numerics", {**summary, **outcome})
    shown = path.relative_to(record.ROOT) if record.ROOT in path.parents else path
    print(f"GPU: {gpu}; summary in {shown}")
    print(outcome["closing_line"] or f"stopped after {outcome['seconds']} s")
    return outcome["exit_code"] if has_gpu else 2


if __name__ == "__main__":
    sys.exit(main())
