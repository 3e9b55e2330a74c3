"""Fill the measured tables of the docs from the files in benchmarks/results."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts import performance_gpu, performance_plots
from scripts.page_text import MISSING, described, table

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "docs" / name for name in ("performance.md", "reductions.md")]
RESULTS = ROOT / "benchmarks" / "results"
BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def read_results(pattern: str) -> list[dict[str, Any]]:
    """Return the contents of the result files that match, by name."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob(pattern))]


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
    "gpu": performance_gpu.gpu_table,
    "targets": performance_gpu.targets_table,
    "draw": performance_gpu.draw_table,
    "plots": performance_plots.links,
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
    parser.add_argument("--plots", action="store_true", help="draw the plots anew too")
    options = parser.parse_args()
    is_check = options.check
    if options.plots:
        performance_plots.draw()
    old = [page for page in PAGES if filled(page.read_text()) != page.read_text()]
    for page in old:
        if is_check:
            print(f"docs/{page.name} is old: run python -m scripts.performance_page")
        else:
            page.write_text(filled(page.read_text()))
    return int(is_check and bool(old))


if __name__ == "__main__":
    sys.exit(main())
