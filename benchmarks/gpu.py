"""Check and time the default Configs on a GPU beside PyTorch; see scripts/gpu_bench."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import helion
from benchmarks import gpu_measure as measure
from benchmarks import gpu_sweep as sweeping
from benchmarks import record
from benchmarks.gpu_cases import CASES, GROUPS, Args, GpuCase, chosen_cases

OFFLINE_ARCH = "sm_90"
RIVALS = ("eager", "compile", "library")


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line; ``extra`` goes by case."""

    cases: tuple[str, ...]
    sweep: int
    limit_s: float
    extra: dict[str, list[dict[str, Any]]]
    is_sweep_only: bool = False


@dataclass(frozen=True)
class Job:
    """One piece of work for a process of its own if the last one broke."""

    kind: str
    case: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.case}".strip()


# ---- jobs, in the process that owns the GPU ----


def attempt(problems: dict[str, str], step: str, fn: Callable[[], Any]) -> Any:
    """Return ``fn()``, or None after noting the error under ``step``."""
    try:
        return fn()
    except Exception as err:  # the other steps still have something to show
        problems[step] = sweeping.describe(err)
        return None


def machine_job(options: Options, _: str) -> dict[str, Any]:
    """Measure the ceilings of the GPU and the cost of a call."""
    problems: dict[str, str] = {}
    before = measure.gpu_state()
    return {
        "gpu": torch.cuda.get_device_name(),
        "cuda": torch.version.cuda,
        "idle": before,
        "ceilings": attempt(problems, "ceilings", measure.ceilings),
        "busy": measure.gpu_state(),
        "host_overhead": attempt(problems, "host overhead", measure.host_overhead),
        "problems": problems,
    }


def case_job(options: Options, name: str) -> dict[str, Any]:
    """Check one kernel, then time it and its rivals."""
    case, problems = CASES[name], {}
    seed = random.SystemRandom().getrandbits(32)
    torch.manual_seed(seed)
    args = case.make_args()
    times: dict[str, Any] = {}
    outcome: dict[str, Any] = {
        "title": case.title,
        "group": case.group,
        "seed": seed,
        "flops": case.flops,
        "bytes": case.bytes_moved(),
        "times": times,
        "problems": problems,
    }
    function = attempt(problems, "helion", lambda: right_function(case, args, outcome))
    contenders = {"helion": function, **case.forms(), "helion again": function}
    for label, fn in contenders.items():
        if fn is not None:
            times[label] = attempt(
                problems, label, lambda fn=fn: measure.time_ms(lambda: fn(*args))
            )
    times["compile"] = compiled_time(case, args, problems)
    if not case.flops:
        nbytes = outcome["bytes"]
        times["copy"] = attempt(problems, "copy", lambda: measure.copy_ms(nbytes))
    outcome["gpu_state"] = measure.gpu_state()
    outcome["launches"] = attempt(problems, "resources", lambda: resources_of(name))
    return outcome


def compiled_time(
    case: GpuCase, args: Args, problems: dict[str, str]
) -> dict[str, Any] | None:
    """Return the time of torch.compile for the form of the case that suits it best."""
    rows: list[dict[str, Any]] = []
    for form, fn in case.forms().items():
        # Sizes seen before would make it compile for any size, or give up.
        torch.compiler.reset()
        compiled = torch.compile(fn, dynamic=False)
        row = attempt(
            problems,
            f"compile {form}",
            lambda compiled=compiled: measure.time_ms(lambda: compiled(*args)),
        )
        rows += [{**row, "form": form}] if row else []
    return min(rows, key=lambda row: row["ms"], default=None)


def right_function(
    case: GpuCase, args: Args, outcome: dict[str, Any]
) -> Callable[..., Any]:
    """Return the host function for the default Config once its results are right."""
    timer = sweeping.Timer(case, args)
    config = timer.bound.config_spec.default_config()
    outcome["config"] = dict(config)
    outcome["errors"] = measure.errors_of(case, args, timer.run(config))
    if not all(error["is_right"] for error in outcome["errors"]):
        raise ArithmeticError(f"wrong result: {outcome['errors']}")
    return timer.host_function(config)


def resources_of(name: str) -> list[dict[str, int | None]]:
    """Return registers, shared memory and spills of the default Config."""
    major, minor = torch.cuda.get_device_capability()
    return sweeping.assemble_config(name, None, f"sm_{major}{minor}")


def sweep_job(options: Options, name: str) -> dict[str, Any]:
    """Time random Configs and those that the caller named."""
    torch.manual_seed(random.SystemRandom().getrandbits(32))
    extra = [helion.Config(**config) for config in options.extra.get(name, [])]
    return sweeping.sweep(CASES[name], options.sweep, options.limit_s, extra)


JOBS: dict[str, Callable[[Options, str], dict[str, Any]]] = {
    "machine": machine_job,
    "case": case_job,
    "sweep": sweep_job,
}


def serve(
    connection: Connection,
    jobs: Sequence[Job],
    options: Options,
) -> None:
    """Answer jobs in order until one leaves the GPU unusable for this process."""
    for job in jobs:
        try:
            answer = JOBS[job.kind](options, job.case)
        except Exception as err:
            answer = {"problems": {str(job): sweeping.describe(err)}}
        is_usable = sweeping.is_cuda_usable()
        connection.send((answer, is_usable))
        if not is_usable:
            return
        torch.cuda.empty_cache()


# ---- the process that hands out jobs; it never touches the GPU ----


def answers(
    jobs: Sequence[Job], options: Options
) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Yield the answer to every job; a broken or stuck process is replaced."""
    context = multiprocessing.get_context("spawn")
    left = list(jobs)
    while left:
        mine, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, left, options))
        process.start()
        theirs.close()
        is_usable = True
        while left and is_usable:
            # Compiling in a sweep has its own limit; checks come on top.
            answer, is_usable = receive(mine, 2 * options.limit_s + 60)
            yield left.pop(0), answer
        process.join(30 if is_usable else 0)
        process.kill()


def receive(connection: Connection, limit_s: float) -> tuple[dict[str, Any], bool]:
    """Return the next answer, and whether the process can take another job."""
    try:
        if connection.poll(limit_s):
            return connection.recv()
        text = f"no answer within {limit_s:.0f} s"
    except (EOFError, ConnectionError):
        text = "the process died"
    return {"problems": {"process": text}}, False


def complete(job: Job, answer: dict[str, Any], machine: dict[str, Any]) -> None:
    """Fill in floors, shares and ratios from the measured ceilings."""
    ceilings = machine.get("ceilings")
    if job.kind == "machine" or not ceilings:
        return
    answer["floor_ms"] = floor_ms = CASES[job.case].floor_ms(**ceilings)
    if job.kind == "case":
        times = answer.get("times", {})
        own = times.get("helion")
        answer["share_of_floor"] = own and floor_ms / own["ms"]
        answer["ratios"] = record.ratios(times)
    for row in sweep_rows(answer):
        if "ms" in row:
            row["share_of_floor"] = floor_ms / row["ms"]


def sweep_rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a sweep tells of: the default, the named Configs, the best ones."""
    rows = [found.get("default"), *found.get("extra", []), *found.get("best", [])]
    return [row for row in rows if row]


def jobs_of(options: Options) -> list[Job]:
    """Return what is to be done, in order."""
    jobs = [Job("machine")]
    if not options.is_sweep_only:
        jobs += [Job("case", name) for name in options.cases]
    swept = [name for name in options.cases if options.sweep or options.extra.get(name)]
    return jobs + [Job("sweep", name) for name in swept]


def run_all(options: Options, console: Console) -> dict[str, Any]:
    """Run every job; what is known is on disk after each of them."""
    about, machine = record.circumstances(), {}
    reports: dict[str, dict[str, Any]] = {
        "case": {**about, "machine": {}, "cases": {}},
        "sweep": {**about, "ceilings": None, "cases": {}},
    }
    started, slug = time.perf_counter(), "gpu"
    for job, answer in answers(jobs_of(options), options):
        if job.kind == "machine":
            machine = answer
            slug = slug_of(answer.get("gpu", ""), options.cases)
            reports["case"]["machine"] = answer
            reports["sweep"]["ceilings"] = answer.get("ceilings")
        complete(job, answer, machine)
        seconds = time.perf_counter() - started
        console.print(f"[{seconds:4.0f} s] {job}{summary_of(answer)}", markup=False)
        for step, text in answer.get("problems", {}).items():
            console.print(f"  {step}: {text}", markup=False)
        if job.kind == "machine":
            continue
        reports[job.kind]["cases"][job.case] = answer
        suffix = "_sweep" if job.kind == "sweep" else ""
        record.write(f"{slug}{suffix}", reports[job.kind])
    show(console, reports["case"], reports["sweep"])
    return reports["case"]


def slug_of(gpu: str, cases: Sequence[str]) -> str:
    """Return the name of the result file: the GPU, and the cases if not all.

    Whole groups stand for their cases.
    """
    words, left = ["gpu", *re.findall(r"[a-z0-9]+", gpu.lower())], list(cases)
    if set(left) == set(CASES):
        return "_".join(words)
    for group, names in GROUPS.items():
        if set(names) <= set(left):
            words.append(group)
            left = [name for name in left if name not in names]
    return "_".join([*words, *left])


# ---- what one reads ----


def summary_of(answer: dict[str, Any]) -> str:
    """Return in a few words how a case or a sweep came out, empty if there is none."""
    best = next(iter(answer.get("best", [])), None)
    own = best or answer.get("times", {}).get("helion")
    share = (best or answer).get("share_of_floor")
    if not own:
        return ""
    words = [f": {own['ms']:.3f} ms"]
    words += [f"{share:.0%} of the floor"] if share else []
    words += [
        f"{ratio:.2f}x {name}" for name, ratio in answer.get("ratios", {}).items()
    ]
    return ", ".join(words)


def show(console: Console, report: dict[str, Any], sweeps: dict[str, Any]) -> None:
    """Print one row a kernel, then the best Configs found."""
    table = Table(title=f"ms on {report['machine'].get('gpu', 'an unknown GPU')}")
    table.add_column("kernel")
    for head in ("helion", "20..80 %", "again", *RIVALS, "floor", "share", "error"):
        table.add_column(head, justify="right")
    for name, outcome in report["cases"].items():
        table.add_row(outcome.get("title", name), *cells_of(outcome))
    if report["cases"]:
        console.print(table)
    for name, found in sweeps["cases"].items():
        console.print(f"{name}: {found.get('failures')}", markup=False)
        for row in sweep_rows(found):
            share = row.get("share_of_floor")
            cells = [ms_text(row) or row.get("problem", ""), f"{share or 0:.0%}"]
            console.print(f"  {' '.join(cells)} {row['config']}", markup=False)
    console.print(json.dumps(report["machine"], indent=1, default=str), markup=False)


def cells_of(outcome: dict[str, Any]) -> list[str]:
    """Return the row of one kernel, after its name."""
    times = outcome.get("times", {})
    own, share = times.get("helion"), outcome.get("share_of_floor")
    errors = [error["relative"] for error in outcome.get("errors", [])]
    return [
        ms_text(own),
        f"{own['low']:.3f}..{own['high']:.3f}" if own else "",
        ms_text(times.get("helion again")),
        *(ms_text(times.get(rival)) for rival in RIVALS),
        ms_text({"ms": outcome["floor_ms"]} if "floor_ms" in outcome else None),
        f"{share:.0%}" if share else "",
        f"{max(errors):.1e}" if errors else "",
    ]


def ms_text(row: dict[str, Any] | None) -> str:
    """Return the time in a row, empty if there is none."""
    return f"{row['ms']:.3f}" if row and "ms" in row else ""


# ---- without a GPU ----


def run_offline(options: Options, console: Console) -> int:
    """Emit and assemble the default and random Configs; return how many failed."""
    failed, started = 0, time.perf_counter()
    for name in options.cases:
        seconds = time.perf_counter() - started
        console.print(f"[{seconds:4.0f} s] {name}", markup=False)
        configs: list[helion.Config] = []
        try:
            configs = [sweeping.bind_offline(name).config_spec.default_config()]
            configs += sweeping.random_configs(name, options.sweep)
            configs += [helion.Config(**c) for c in options.extra.get(name, [])]
        except Exception as err:
            failed += 1
            console.print(f"  {sweeping.describe(err)}", markup=False)
        found = sweeping.assembled(name, configs, OFFLINE_ARCH, options.limit_s)
        for config, resources, problem in found if configs else ():
            failed += resources is None
            text = problem if resources is None else resources
            console.print(f"  {dict(config)}\n    {text}", markup=False)
    return failed


def extra_configs(named: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return the Configs for every case: those for its name, then for its group."""
    unknown = set(named) - set(CASES) - set(GROUPS)
    if unknown:
        raise KeyError(", ".join(sorted(unknown)))
    return {
        case.name: [
            config
            for key in dict.fromkeys((case.name, case.group))
            for config in named.get(key, [])
        ]
        for case in CASES.values()
    }


def parse_options(words: Sequence[str] | None = None) -> tuple[Options, bool]:
    """Read the command line and HELION_BENCH_CONFIGS; the flag says: without a GPU."""
    parser = argparse.ArgumentParser(prog="scripts/gpu_bench", description=__doc__)
    parser.add_argument(
        "--cases",
        action="append",
        default=[],
        help=f"groups, cases or patterns, by commas; groups: {', '.join(GROUPS)}; "
        f"cases: {', '.join(CASES)}; default: all",
    )
    parser.add_argument("--sweep", type=int, default=0, help="random Configs per case")
    parser.add_argument(
        "--sweep-only", action="store_true", help="do not time PyTorch beside it"
    )
    parser.add_argument(
        "--limit-s", type=float, default=90, help="seconds for the sweep of one case"
    )
    parser.add_argument(
        "--offline", action="store_true", help="emit and assemble only; needs no GPU"
    )
    args = parser.parse_args(words)
    path = os.environ.get("HELION_BENCH_CONFIGS")
    try:
        cases = chosen_cases(",".join(args.cases or ["*"]).split(","))
        extra = extra_configs(json.loads(Path(path).read_text()) if path else {})
    except KeyError as err:
        parser.error(f"no such case: {err.args[0]}")
    options = Options(cases, args.sweep, args.limit_s, extra, args.sweep_only)
    return options, args.offline


def main() -> int:
    """Run what was asked for; return 0 if every kernel compiled and was right."""
    options, is_offline = parse_options()
    console = Console(width=130)
    if is_offline:
        return int(run_offline(options, console) > 0)
    if not torch.cuda.is_available():
        console.print("no CUDA device here; --offline shows what would be compiled")
        return 2
    report = run_all(options, console)
    times = [outcome.get("times", {}) for outcome in report["cases"].values()]
    return int(not all(found.get("helion") for found in times))


if __name__ == "__main__":
    raise SystemExit(main())
