"""Check and time the default Configs on a GPU beside PyTorch; see scripts/gpu_bench."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TextIO

import torch

from benchmarks import ahead, draw, jobs, record, targets
from benchmarks.crew import Crew, JobFailed
from benchmarks.suite import CASES, FAMILIES, case_of, chosen_cases

OFFLINE_ARCH = "sm_90"
# Configs of one case that are timed in one go; a hang costs this many.
CHUNK = 12
CHUNK_LIMIT_S = 90.0
CASE_LIMIT_S = 150.0
ASSEMBLY_LIMIT_S = 90.0
WARMING_LIMIT_S = 240.0
DRAW_BUDGET_MS = 25.0

Configs = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line; ``configs`` go by case."""

    cases: tuple[str, ...]
    limit_s: float = 560.0
    ways: jobs.Ways = field(default_factory=jobs.Ways)
    configs: Configs = field(default_factory=dict)
    random: int = 0
    workers: int = 1
    name: str = ""
    seed: int | None = None
    is_sweep: bool = False
    is_dry: bool = False
    is_assembled: bool = False
    is_check: bool = False


class Report:
    """What is known so far: printed, and kept on disk after every step."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.began = time.monotonic()
        self.found: dict[str, Any] = {**record.circumstances(), "cases": {}}
        if options.seed is not None:
            self.found["seed"] = options.seed

    @property
    def left_s(self) -> float:
        """The seconds that are left of what the command may take."""
        return self.options.limit_s - (time.monotonic() - self.began)

    def say(self, text: str) -> None:
        """Print one line with the time since the start."""
        print(f"[{time.monotonic() - self.began:5.0f} s] {text}", flush=True)

    def note_machine(self, machine: dict[str, Any]) -> None:
        """Keep what is known of the machine."""
        self.found["machine"] = machine
        self.say(f"{machine.get('gpu')}: {machine.get('ceilings')}")
        for step, text in machine.get("problems", {}).items():
            self.say(f"  {step}: {text}")

    @property
    def ceilings(self) -> dict[str, float] | None:
        """The measured rates of the machine, None if there are none."""
        return self.found.get("machine", {}).get("ceilings")

    def floor_ms(self, name: str) -> float | None:
        """Return the floor of a case at the measured rates."""
        return case_of(name).floor_ms(self.ceilings) if self.ceilings else None

    def note_case(self, name: str, outcome: dict[str, Any]) -> None:
        """Keep the outcome of a case, with its floor, share and ratio."""
        times = outcome.get("times", {})
        own, floor_ms = times.get("helion"), self.floor_ms(name)
        outcome["floor_ms"] = floor_ms
        outcome["share_of_floor"] = own and floor_ms and floor_ms / own["ms"]
        outcome["best"] = best = record.best_rival(times, case_of(name).shown)
        outcome["ratio"] = best and own and times[best]["ms"] / own["ms"]
        self.found["cases"][name] = outcome
        self.say(f"{name}: {summary_of(outcome)}")
        for step, text in outcome.get("problems", {}).items():
            self.say(f"  {step}: {text[:300]}")
        self.write()

    def write(self) -> None:
        """Write what is known."""
        record.write(self.slug(), self.found)

    def slug(self) -> str:
        """Return the name of the result file: the GPU, and what was chosen if not all.

        Whole families stand for their cases.
        """
        gpu = self.found.get("machine", {}).get("gpu", "")
        words = ["gpu", *re.findall(r"[a-z0-9]+", gpu.lower())]
        if self.options.name:
            return "_".join([*words, self.options.name])
        left = set(self.options.cases)
        if left == set(CASES):
            return "_".join(words)
        for family, names in FAMILIES.items():
            if left.issuperset(names):
                words.append(family)
                left -= set(names)
        return "_".join([*words, *(["some"] if left else [])])[:120]


def summary_of(outcome: Mapping[str, Any]) -> str:
    """Return in a few words how a case came out."""
    own = outcome.get("times", {}).get("helion")
    if not own:
        return "no time"
    words = [f"{own['ms']:.4f} ms"]
    if share := outcome.get("share_of_floor"):
        words.append(f"{share:.0%} of the floor")
    if ratio := outcome.get("ratio"):
        words.append(f"{ratio:.2f}x {outcome['best']}")
    return ", ".join(words)


def result_of(future: Future[Any]) -> Any:
    """Return the result of a job, or the text of what went wrong as a problem."""
    try:
        return future.result()
    except JobFailed as error:
        return {"problems": {"process": str(error)}}


# ---- cases beside their rivals ----


def warm(options: Options, report: Report, arch: str) -> dict[str, Any]:
    """Compile everything in many processes; return the resources of the kernels.

    Nothing is timed meanwhile. Half of the time is the most that this may take.
    """
    kernels: dict[str, Future[Any]] = {}
    rivals: dict[str, Future[Any]] = {}
    crew = Crew(options.workers, ahead.begin_compiler)
    for name in options.cases:
        if options.ways.is_autotuned and case_of(name).autotune:
            job = crew.submit(ahead.warm_rival, name, True, limit_s=WARMING_LIMIT_S)
            rivals[f"{name} autotuned"] = job
    for name in options.cases:
        kernels[name] = crew.submit(
            ahead.assemble, name, None, arch, limit_s=ASSEMBLY_LIMIT_S
        )
        if options.ways.is_compiled:
            rivals[name] = crew.submit(
                ahead.warm_rival, name, False, limit_s=WARMING_LIMIT_S
            )
    deadline = time.monotonic() + report.left_s / 2
    found = {name: outcome_by(job, deadline) for name, job in kernels.items()}
    for name, job in rivals.items():
        outcome = outcome_by(job, deadline)
        if isinstance(outcome, str):
            report.say(f"  not compiled ahead: {name}: {outcome[:200]}")
    crew.end()
    report.say(f"compiled ahead: {len(kernels)} kernels, {len(rivals)} rivals")
    return found


def outcome_by(job: Future[Any], deadline: float) -> Any:
    """Return the result of a job, or in words why there is none by the deadline."""
    try:
        return job.result(max(0.0, deadline - time.monotonic()))
    except LateError:
        return "not done in time"
    except JobFailed as error:
        return str(error)


def run_cases(options: Options, report: Report, gpu: Crew) -> None:
    """Check and time every case, one by one."""
    resources = warm(options, report, arch_of(report))
    for name in options.cases:
        limit_s = min(CASE_LIMIT_S, report.left_s)
        if limit_s < 5:
            report.say(f"no time left for {name} and what follows")
            return
        job = gpu.submit(jobs.time_case, name, options.ways, limit_s=limit_s)
        outcome = result_of(job)
        known = resources.get(name)
        outcome["launches"] = known["launches"] if isinstance(known, dict) else None
        report.note_case(name, outcome)


def arch_of(report: Report) -> str:
    """Return the architecture of the GPU."""
    return report.found["machine"].get("arch", OFFLINE_ARCH)


# ---- many Configs ----


def run_sweep(options: Options, report: Report, gpu: Crew) -> None:
    """Time many Configs of every case while later ones are being compiled."""
    path = record.results_folder() / f"{report.slug()}_sweep.jsonl"
    with Crew(options.workers, ahead.begin_compiler) as crew, path.open("w") as file:
        queued = {
            name: [(config, assembly(crew, name, config, report)) for config in configs]
            for name, configs in configs_of(options, crew)
        }
        for name, assembled in queued.items():
            if report.left_s < 5:
                report.say(f"no time left for {name} and what follows")
                break
            rows = list(sweep_rows(name, assembled, report, gpu))
            write_rows(file, name, rows, report)
    report.say(f"records: {path}")


def configs_of(
    options: Options, crew: Crew
) -> Iterator[tuple[str, list[dict[str, Any] | None]]]:
    """Yield each case with its Configs: the default one, named ones, random ones."""
    drawn = {
        name: crew.submit(ahead.random_configs, name, options.random)
        for name in options.cases
        if options.random
    }
    for name in options.cases:
        found = result_of(drawn[name]) if name in drawn else []
        extra = found if isinstance(found, list) else []
        yield name, [None, *options.configs.get(name, []), *extra]


def assembly(
    crew: Crew, name: str, config: dict[str, Any] | None, report: Report
) -> Future[Any]:
    """Queue the assembly of one Config."""
    arch = arch_of(report)
    return crew.submit(ahead.assemble, name, config, arch, limit_s=ASSEMBLY_LIMIT_S)


def sweep_rows(
    name: str,
    assembled: Sequence[tuple[dict[str, Any] | None, Future[Any]]],
    report: Report,
    gpu: Crew,
) -> Iterator[dict[str, Any]]:
    """Yield one row for every Config of a case: its time, or what went wrong."""
    ready: list[dict[str, Any]] = []
    for config, job in assembled:
        found = outcome_by(job, time.monotonic() + report.left_s)
        if isinstance(found, str):
            yield {"config": config, "error": f"assembly: {found}"}
        else:
            ready.append({**found, "is_default": config is None})
    default = next((one["config"] for one in ready if one["is_default"]), None)
    resources = {json.dumps(one["config"]): one["launches"] for one in ready}
    left = [one["config"] for one in ready]
    while left and report.left_s > 5:
        limit_s = min(CHUNK_LIMIT_S, report.left_s)
        job = gpu.submit(jobs.time_configs, name, left[:CHUNK], limit_s=limit_s)
        rows = result_of(job)
        if isinstance(rows, dict):
            # Which of them it was is not known; the others get no second chance.
            text = rows["problems"]["process"]
            rows = [{"config": config, "error": text} for config in left[:CHUNK]]
        left = left[len(rows) :]
        for row in rows:
            launches = resources.get(json.dumps(row["config"]))
            yield {**row, "launches": launches, "is_default": row["config"] == default}


def write_rows(
    file: TextIO, name: str, rows: Sequence[dict[str, Any]], report: Report
) -> None:
    """Append the rows of a case, one a line, and print the best ones."""
    floor_ms = report.floor_ms(name)
    for row in rows:
        about = {"case": name, "family": case_of(name).family, "floor_ms": floor_ms}
        line = json.dumps({**about, "ms": None, "error": None, **row}, default=str)
        file.write(f"{line}\n")
    file.flush()
    timed = sorted((row for row in rows if row.get("ms")), key=lambda row: row["ms"])
    failed = Counter(
        row["error"].split("\n")[0][:120] for row in rows if "error" in row
    )
    default = next((row for row in rows if row.get("is_default")), {})
    report.say(f"{name}: default {ms_text(default, floor_ms)}; {dict(failed)}")
    for row in timed[:4]:
        report.say(f"  {ms_text(row, floor_ms)} {row['config']}")


def ms_text(row: Mapping[str, Any], floor_ms: float | None) -> str:
    """Return a time and its share of the floor."""
    ms = row.get("ms")
    if not ms:
        return row.get("error", "not timed")
    return f"{ms:.4f} ms" + (f" ({floor_ms / ms:.0%})" if floor_ms else "")


# ---- without a GPU ----


def run_dry(options: Options, report: Report) -> int:
    """Bind, count and emit every case, and assemble it; return how many failed."""
    failed = 0
    with Crew(options.workers, ahead.begin_compiler) as crew:
        pending = []
        for name in options.cases:
            for config in (None, *options.configs.get(name, [])):
                job: Callable[..., Any] = ahead.emit
                rest: tuple[Any, ...] = ()
                if options.is_assembled:
                    job, rest = ahead.assemble, (OFFLINE_ARCH,)
                pending.append((name, crew.submit(job, name, config, *rest)))
        for name, future in pending:
            found = outcome_by(future, time.monotonic() + report.left_s)
            failed += isinstance(found, str)
            report.say(f"{name}: {found}")
    return failed


# ---- the command ----


def run_all(options: Options) -> int:
    """Run what was asked for; return how many kernels have no right result."""
    ahead.share_caches()
    report = Report(options)
    if options.is_dry:
        return run_dry(options, report)
    with Crew(1, jobs.begin_gpu, jobs.is_gpu_broken) as gpu:
        report.note_machine(result_of(gpu.submit(jobs.machine, limit_s=120)))
        if options.is_sweep:
            run_sweep(options, report, gpu)
            return 0
        run_cases(options, report, gpu)
    report.write()
    found = report.found["cases"]
    ratios = record.by_family(found)
    for family, (mean, least) in ratios.items():
        report.say(f"{family}: geometric mean {mean:.2f}, least {least:.2f}")
    if options.seed is None:
        show_targets(found, is_partial=True)
    timed = sum("helion" in case.get("times", {}) for case in found.values())
    return len(options.cases) - timed


def show_targets(cases: Mapping[str, Any], is_partial: bool) -> bool:
    """Print what the cases reach of the targets; say whether one is missed."""
    found = list(targets.rows(cases, is_partial))
    for title, wanted, least, count, verdict, missed in found:
        print(f"{verdict:6} {title:57} {wanted:10} least {least:5} {count}: {missed}")
    return any(row[4] == "missed" for row in found)


def configs_by_case(named: Mapping[str, Any], cases: Sequence[str]) -> Configs:
    """Return the Configs for every case: those of names, families and patterns."""
    for key in named:
        if not any(fits(key, name) for name in CASES):
            raise KeyError(key)
    return {
        name: [config for key in named if fits(key, name) for config in named[key]]
        for name in cases
    }


def fits(key: str, name: str) -> bool:
    """Say whether a family or a pattern means a case."""
    return case_of(name).family == key or fnmatchcase(name, key)


def split_words(words: Sequence[str] | None) -> list[str]:
    """Return what stands between commas."""
    return [part for word in words or () for part in word.split(",") if part]


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="scripts/gpu_bench", description=__doc__)
    add = made.add_argument
    add("--families", action="append", help=f"by commas: {', '.join(FAMILIES)}")
    add("--cases", action="append", help="names, families or patterns, by commas")
    add("--draw", type=int, metavar="N", help="N random shapes a family instead")
    add("--draw-families", action="append", help=f"of {', '.join(draw.DRAWS)}")
    add("--seed", type=int, default=20261121, help="of the draw")
    add("--sweep", metavar="FILE", help='{"case": [{"block_sizes": [1]}]} to time')
    add("--random", type=int, default=0, metavar="N", help="random Configs to time")
    add("--without-compile", action="store_true", help="leave torch.compile out")
    add("--without-autotune", action="store_true", help="leave max-autotune out")
    add("--with-compile", action="store_true", help="torch.compile in a draw too")
    add("--limit-s", type=float, default=560, help="seconds for all; then it stops")
    add("--workers", type=int, default=max(1, len(os.sched_getaffinity(0)) - 1))
    add("--name", default="", help="ends the name of the result file")
    add("--check-targets", action="store_true", help="show what results reach")
    add("--dry-run", action="store_true", help="bind and emit only; needs no GPU")
    add("--assemble", action="store_true", help="a dry run that makes machine code")
    return made


def parse_options(words: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    made = parser()
    args = made.parse_args(words)
    seed = None
    try:
        if args.draw:
            families = split_words(args.draw_families) or list(draw.DRAWS)
            cases = tuple(draw.drawn_names(families, args.draw, args.seed))
            seed = args.seed
        else:
            chosen = split_words([*(args.families or []), *(args.cases or [])])
            cases = chosen_cases(chosen or ["*"])
        named = json.loads(Path(args.sweep).read_text()) if args.sweep else {}
        configs = configs_by_case(named, cases)
    except KeyError as err:
        made.error(f"no such case: {err.args[0]}")
    is_compiled = args.with_compile if args.draw else not args.without_compile
    ways = jobs.Ways(
        is_compiled=is_compiled,
        is_autotuned=is_compiled and not args.without_autotune and not args.draw,
        budget_ms=DRAW_BUDGET_MS if args.draw else jobs.Ways.budget_ms,
    )
    return Options(
        cases=cases,
        limit_s=args.limit_s,
        ways=ways,
        configs=configs,
        random=args.random,
        workers=args.workers,
        name=args.name or ("draw" if args.draw else ""),
        seed=seed,
        is_sweep=bool(args.sweep or args.random),
        is_dry=args.dry_run or args.assemble,
        is_assembled=args.assemble,
        is_check=args.check_targets,
    )


def main() -> int:
    """Run what was asked for; return 0 if every kernel compiled and was right."""
    options = parse_options()
    if options.is_check:
        runs = record.gpu_runs(record.results_folder())
        cases = {name: case for run in runs for name, case in run["cases"].items()}
        return int(show_targets(cases, is_partial=False))
    if not options.is_dry and not torch.cuda.is_available():
        print("no CUDA device here; --dry-run shows what would be compiled")
        return 2
    return int(run_all(options) > 0)


if __name__ == "__main__":
    sys.exit(main())
