"""Check and time every example at its real size, beside PyTorch eager and compiled.

Each check runs in a process of its own, side by side with others, so that one that
crashes or hangs costs only itself. The timings run one by one, in one process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from benchmarks import record

LIMIT_S = 240.0
# Check, time beside eager PyTorch or torch.compile too; "times" checks nothing.
ACTIONS = ("check", "eager", "time", "times")


def run_case(name: str, action: str) -> dict[str, Any]:
    """Run one case in a new process; return what it found, or how it ended."""
    command = [sys.executable, "-m", __spec__.name, "--one", action, name]
    started = time.perf_counter()
    try:
        done = subprocess.run(
            command, cwd=record.ROOT, capture_output=True, text=True, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return {"error": f"stopped after {LIMIT_S:.0f} s"}
    seconds = round(time.perf_counter() - started, 1)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        return {"error": "\n".join(lines[-8:]), "seconds": seconds}
    return {**json.loads(done.stdout.splitlines()[-1]), "seconds": seconds}


def one_case(action: str, name: str) -> dict[str, Any]:
    """Check or time one case in this process."""
    from examples._catalog import CASES
    from helion import _testing

    case = next(case for case in CASES if case.name == name)
    if action == "check":
        return {"largest_error": _testing.check(case, "cuda")}
    args = case.make_args("cuda", False)
    times = {
        "helion": _testing.median_ms(case.kernel, args, "cuda"),
        "eager": _testing.median_ms(case.reference, args, "cuda"),
    }
    if action == "time":
        compiled = _testing.compiled_ms(case, args)
        times |= {"compile": compiled} if compiled else {}
    return {"ms": {way: round(ms, 5) for way, ms in times.items()}}


def all_cases(
    names: Sequence[str], action: str, jobs: int, limit_s: float
) -> dict[str, dict[str, Any]]:
    """Check the cases, time those that are right, and print each as it is done."""
    started = time.perf_counter()
    found: dict[str, dict[str, Any]] = {}
    if action != "times":
        with ThreadPoolExecutor(jobs) as pool:
            results = pool.map(lambda name: run_case(name, "check"), names)
            for name, result in zip(names, results):
                found[name] = result
                print(name, result.get("error", "right"), flush=True)
    for name in names if action != "check" else ():
        if "error" in found.setdefault(name, {}):
            continue
        if time.perf_counter() - started > limit_s:
            break
        try:
            timed = one_case("time" if action == "time" else "eager", name)
        except Exception as error:
            timed = {"error": f"{type(error).__name__}: {error}"}
        found[name] |= timed
        print(name, timed, flush=True)
    return found


def main() -> int:
    """Run the chosen cases; return 1 if one of them failed."""
    from examples._catalog import CASES

    parser = argparse.ArgumentParser(prog="scripts/gpu_examples", description=__doc__)
    parser.add_argument("case", nargs="*", help="names of cases; default: all")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--action", choices=ACTIONS, default="time")
    parser.add_argument("--jobs", type=int, default=min(8, os.cpu_count() or 1))
    parser.add_argument("--limit-s", type=float, default=540)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one_case(options.one, options.case[0])))
        return 0
    names = options.case or [case.name for case in CASES]
    cases = all_cases(names, options.action, options.jobs, options.limit_s)
    gpu = {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    record.write("examples", {**record.circumstances(), **gpu, "cases": cases})
    failed = [name for name, result in cases.items() if "error" in result]
    print(f"{len(cases) - len(failed)} of {len(cases)} cases are right", *failed)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
