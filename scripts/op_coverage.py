"""Run the cases of test/op_coverage, record how each comes out, and write the page."""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import torch

from benchmarks import record
from test.op_coverage import page, runner
from test.op_coverage.case import Case

# Cases that one process takes at a time.
PART = 200
CHOICES = ("eager", "interpreted", "compiled", "assembled")


def arguments() -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ways", default="eager,interpreted", help=", ".join(CHOICES))
    parser.add_argument("--dtypes", default="", help="float32,int8,...; else all")
    parser.add_argument("--match", default="", help="only expressions with this text")
    parser.add_argument("--jobs", type=int, default=1, help="processes; 1: this one")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    return parser.parse_args()


def main() -> int:
    """Print what does not agree; the exit status says whether anything did not."""
    options = arguments()
    names = [name for name in options.dtypes.split(",") if name]
    dtypes = [getattr(torch, name) for name in names] or None
    chosen = [case for case in runner.CASES if options.match in page.key(case)]
    failed = 0
    for way in options.ways.split(","):
        started = time.perf_counter()
        found = outcomes(chosen, dtypes, way, options.jobs)
        wrong = [outcome for outcome in found if not outcome.is_expected]
        print(*wrong, sep="\n")
        seconds = time.perf_counter() - started
        print(
            f"{way}: {len(found)} runs, {len(wrong)} not as expected, {seconds:.0f} s"
        )
        failed += len(wrong)
        if way != "assembled" and not options.dry:
            page.write(page.record(found, _facts(way)))
    if page.RESULTS.parent != record.results_folder():
        shutil.copy(page.RESULTS, record.results_folder())
    return int(failed > 0)


def outcomes(
    chosen: list[Case], dtypes: list[torch.dtype] | None, way: str, processes: int
) -> list[runner.Outcome]:
    """Run cases with dtypes (None: all of them), in several processes if wanted."""
    jobs = runner.jobs_of(chosen, dtypes)
    if processes == 1:
        return runner.run(jobs, way)
    places = {id(case): place for place, case in enumerate(runner.CASES)}
    jobs.sort(key=lambda job: str(job.dtype))
    named = [(places[id(job.case)], job.dtype) for job in jobs]
    parts = [named[start : start + PART] for start in range(0, len(named), PART)]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn) as pool:
        done = pool.map(_part, parts, [way] * len(parts))
        return [outcome for part in done for outcome in _named(part, way)]


Named = list[tuple[int, torch.dtype, str, str]]


def _part(jobs: list[tuple[int, torch.dtype]], way: str) -> Named:
    """Run some jobs, given by the places of their cases; cases cannot be pickled."""
    torch.set_num_threads(1)
    found = runner.run([runner.Job(runner.CASES[p], dtype) for p, dtype in jobs], way)
    places = {id(case): place for place, case in enumerate(runner.CASES)}
    return [(places[id(o.job.case)], o.job.dtype, o.status, o.detail) for o in found]


def _named(part: Named, way: str) -> list[runner.Outcome]:
    return [
        runner.Outcome(runner.Job(runner.CASES[place], dtype), way, status, detail)
        for place, dtype, status, detail in part
    ]


def _facts(way: str) -> dict[str, object]:
    device = torch.cuda.get_device_name() if way == "compiled" else "CPU"
    return {**record.circumstances(), "device": device}


if __name__ == "__main__":
    sys.exit(main())
