"""Fill the measured tables of the docs from the files in benchmarks/results."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import record

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "docs" / name for name in ("performance.md", "reductions.md")]
RESULTS = ROOT / "benchmarks" / "results"
BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
MISSING = "not measured yet"


def read_results(pattern: str) -> list[dict[str, Any]]:
    """Return the contents of the result files that match, by name."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob(pattern))]


def gpu_runs() -> list[dict[str, Any]]:
    """Return the benchmark runs by GPU, the latest first, without sweeps and tests.

    Each has only the cases that no later run on that GPU measured again.
    """
    runs = [found for found in read_results("gpu_*.json") if "machine" in found]
    runs.sort(key=measured_at, reverse=True)
    runs.sort(key=gpu_name)
    seen: set[tuple[str, str]] = set()
    kept: list[dict[str, Any]] = []
    for run in runs:
        cases = {(gpu_name(run), case): found for case, found in run["cases"].items()}
        fresh = {key[1]: cases[key] for key in cases if key not in seen}
        seen.update(cases)
        if fresh:
            kept.append({**run, "cases": fresh})
    return kept


def measured_at(run: dict[str, Any]) -> str:
    """Return when a run began; texts compare as times do."""
    return run.get("time", run["date"])


def gpu_name(run: dict[str, Any]) -> str:
    """Return the GPU of a run."""
    return run["machine"].get("gpu", "a GPU that did not say its name")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *rows))


def number(value: float | None, spec: str) -> str:
    """Return a formatted number, or say that there is none."""
    return MISSING if value is None else format(value, spec)


def described(found: dict[str, Any]) -> str:
    """Return one line on when and with what a file was measured."""
    versions = ", ".join(f"{name} {text}" for name, text in found["versions"].items())
    return f"Commit {found['commit']}, {found['date']}; {versions}.\n\n"


# ---- one function a table ----


def compile_time_table() -> str:
    """Return the compile times, absolute and beside import torch."""
    results = read_results("compile_time.json")
    if not results or not results[0]["rows"]:
        return f"{MISSING}\n"
    found = results[0]
    unit_s = found["rows"][0]["median_s"]
    rows = [
        [
            row["name"],
            f"{1e3 * row['median_s']:.1f}",
            f"{row['median_s'] / unit_s:.3f}",
            "" if row["limit_s"] is None else f"{1e3 * row['limit_s']:.0f}",
            "" if row["aim_s"] is None else f"{1e3 * row['aim_s']:.0f}",
        ]
        for row in found["rows"]
    ]
    head = ("what", "median ms", "x import torch", "limit ms", "aim ms")
    same = {True: "yes", False: "no"}
    threads = ", ".join(
        f"{name} {same.get(is_same, MISSING)}"
        for name, is_same in found["same_text_in_threads"].items()
    )
    grown = found["huge_bind_bytes"]
    memory = MISSING if grown is None else f"{grown / 2**20:.1f} MiB"
    return (
        f"{found['cores']} cores of {found['cpu']}. {described(found)}"
        f"{table(head, rows)}\n"
        f"Eight threads emit the same text as one: {threads}.\n"
        f"Peak memory grown by binding two inputs of 1 TiB: {memory}.\n"
    )


def gpu_table() -> str:
    """Return the times of the kernels beside their rivals, a table a run."""
    runs = gpu_runs()
    if not runs:
        return f"{MISSING}\n"
    return "\n".join(one_gpu_table(found) for found in runs)


GPU_HEAD = (
    "kernel",
    "helion",
    "eager",
    "torch.compile",
    "library",
    "floor",
    "copy",
    "share",
    "x eager",
    "x compile",
)


def one_gpu_table(found: dict[str, Any]) -> str:
    """Return the table of one run."""
    machine = found["machine"]
    ceilings = machine.get("ceilings") or {}
    copy, product = ceilings.get("bytes_per_s"), ceilings.get("flops_per_s")
    clocks = machine.get("busy", {})
    rows = [gpu_row(case, outcome) for case, outcome in found["cases"].items()]
    return (
        f"### {gpu_name(found)}\n\n"
        f"{described(found)}"
        f"Measured in the same run: copy {number(copy and copy / 1e12, '.2f')} TB/s, "
        f"bf16 product {number(product and product / 1e12, '.0f')} TFLOP/s; "
        f"clock {clocks.get('clocks.sm', MISSING)} after them. Times in ms.\n\n"
        f"{table(GPU_HEAD, rows)}\n"
        f"{overhead_text(machine.get('host_overhead'))}"
    )


def gpu_row(case: str, outcome: dict[str, Any]) -> list[str]:
    """Return the row of one kernel; what there is no rival or no time for is empty."""
    times, problems = outcome.get("times", {}), outcome.get("problems", {})
    shown = []
    for name in ("helion", "eager", "compile", "library"):
        ms = (times.get(name) or {}).get("ms")
        has_failed = any(step.split(" ")[0] == name for step in problems)
        shown.append("failed" if ms is None and has_failed else text_of(ms, ".3f"))
    ratios = record.ratios(times)
    return [
        outcome.get("title", case),
        *shown,
        text_of(outcome.get("floor_ms"), ".3f"),
        text_of((times.get("copy") or {}).get("ms"), ".3f"),
        text_of(outcome.get("share_of_floor"), ".0%"),
        *(text_of(ratios.get(name), ".2f") for name in ("eager", "compile")),
    ]


def text_of(value: float | None, spec: str) -> str:
    """Return a formatted number, empty if there is none."""
    return "" if value is None else format(value, spec)


def overhead_text(overhead: dict[str, Any] | None) -> str:
    """Return a sentence on what a call costs the host."""
    if not overhead:
        return f"Host time of a call: {MISSING}.\n"
    parts = [f"{name} {row['host_us']:.1f} us" for name, row in overhead.items()]
    return f"Host time of a call, tiny add: {', '.join(parts)}.\n"


def call_overhead_table() -> str:
    """Return what a call that only launches costs the host."""
    results = read_results("call_overhead.json")
    if not results:
        return f"{MISSING}\n"
    found = results[0]
    rows = [[name, f"{us:.1f}"] for name, us in found["us_per_call"].items()]
    place = f"Host of an {found['gpu']}, {found['cpu']}. {described(found)}"
    return place + table(("call", "us"), rows)


def numerics_table() -> str:
    """Return how the numerics tests went on the GPU."""
    results = read_results("gpu_numerics.json")
    if not results:
        return f"{MISSING}\n"
    found = results[0]
    closing = found["closing_line"] or "no closing line: the run was cut off"
    return f"{found['gpu']}: {closing}. {described(found)}"


def errors_table() -> str:
    """Return the rounding errors of long reductions beside torch's."""
    results = read_results("reduction_errors.json")
    if not results:
        return f"{MISSING}\n"
    found = results[0]
    head = ("reduction", "length", "helion", "torch, float32")
    rows = [
        [
            row["method"],
            f"{row['length']:,}",
            f"{row['helion']:.1e}",
            f"{row['torch']:.1e}",
        ]
        for row in found["errors"]
    ]
    place = f"{found['gpu']}, {found['way']}; {found['rows']} rows of {found['data']}. "
    return f"{place}{described(found)}{table(head, rows)}"


def examples_table() -> str:
    """Return the times of the examples at real sizes, beside PyTorch's."""
    results = read_results("examples_*.json")
    if not results:
        return f"{MISSING}\n"
    found = results[0]
    rows = []
    for name, case in found["cases"].items():
        ms = case.get("ms", {})
        ratio = f"{ms['eager'] / ms['helion']:.2f}" if ms else "-"
        checked = "no" if "error" in case else "yes"
        rows.append(
            [name, checked, *(_ms(ms.get(w)) for w in ("helion", "eager")), ratio]
        )
    head = ("case", "right", "ms", "PyTorch eager, ms", "ratio")
    return f"{found['gpu']}. {described(found)}{table(head, rows)}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


TABLES: dict[str, Callable[[], str]] = {
    "compile_time": compile_time_table,
    "gpu": gpu_table,
    "call_overhead": call_overhead_table,
    "numerics": numerics_table,
    "errors": errors_table,
    "examples": examples_table,
}


def filled(text: str) -> str:
    """Return the page with its tables made anew."""
    return BLOCK.sub(
        lambda match: f"{match[1]}{TABLES[match[2]]().rstrip()}\n{match[3]}", text
    )


def main() -> int:
    """Rewrite the pages; with --check only say whether they are up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    is_check = parser.parse_args().check
    old = [page for page in PAGES if filled(page.read_text()) != page.read_text()]
    for page in old:
        if is_check:
            print(f"docs/{page.name} is old: run python -m scripts.performance_page")
        else:
            page.write_text(filled(page.read_text()))
    return int(is_check and bool(old))


if __name__ == "__main__":
    sys.exit(main())
