"""The tables of the GPU benchmark: every case, the targets, the random shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks import record, targets
from scripts.page_text import MISSING, described, number, table, text_of

HEAD = (
    "kernel",
    "helion",
    "spread",
    "eager",
    "compile",
    "autotune",
    "library",
    "floor",
    "share",
    "best other",
    "ratio",
)
COLUMNS = ("eager", "compile", "autotune")


def gpu_table() -> str:
    """Return the times of the kernels beside their rivals, a table a run."""
    runs = record.gpu_runs()
    if not runs:
        return f"{MISSING}\n"
    return "\n".join(run_table(found) for found in runs)


def run_table(found: Mapping[str, Any]) -> str:
    """Return the table of one run."""
    machine = found["machine"]
    ceilings = machine.get("ceilings") or {}
    rates = ", ".join(
        f"{name} {number(rate / 1e12, '.0f')} TFLOP/s"
        for name, rate in ceilings.items()
        if name != "bytes_per_s"
    )
    copy = ceilings.get("bytes_per_s")
    clock = machine.get("busy", {}).get("clocks.sm", MISSING)
    rows = [case_row(case, outcome) for case, outcome in found["cases"].items()]
    return (
        f"### {record.gpu_name(found)}\n\n"
        f"{described(found)}"
        f"Measured in the same run: copy {number(copy and copy / 1e12, '.2f')} TB/s, "
        f"products {rates or MISSING}; clock {clock} after them. Times in ms.\n\n"
        f"{table(HEAD, rows)}\n"
        f"{overhead_text(machine.get('host_overhead'))}"
    )


def case_row(case: str, outcome: Mapping[str, Any]) -> list[str]:
    """Return the row of one kernel; what there is no rival or no time for is empty."""
    times = {name: row for name, row in outcome.get("times", {}).items() if row}
    own = times.get("helion")
    spread = own and (own["high"] - own["low"]) / own["ms"]
    best = outcome.get("best")
    return [
        outcome.get("title", case),
        time_text(outcome, "helion"),
        text_of(spread, ".1%"),
        *(time_text(outcome, name) for name in COLUMNS),
        library_text(times),
        text_of(outcome.get("floor_ms"), ".4f"),
        text_of(outcome.get("share_of_floor"), ".0%"),
        best or "",
        text_of(outcome.get("ratio"), ".2f"),
    ]


def time_text(outcome: Mapping[str, Any], name: str) -> str:
    """Return a time, or that it failed; a star marks one that the host is part of."""
    row = outcome.get("times", {}).get(name)
    if row:
        return f"{row['ms']:.4f}" + ("*" if row.get("by") == "calls" else "")
    return "failed" if name in outcome.get("problems", {}) else ""


def library_text(times: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the best time of calls made for the job, with their name."""
    others = set(times) - {"helion", *COLUMNS, "fast accumulation"}
    best = min(others, key=lambda name: times[name]["ms"], default=None)
    if best is None:
        return ""
    star = "*" if times[best].get("by") == "calls" else ""
    name = "" if best == "library" else f" ({best})"
    return f"{times[best]['ms']:.4f}{star}{name}"


def overhead_text(overhead: Mapping[str, Any] | None) -> str:
    """Return a sentence on what a call costs the host."""
    if not overhead:
        return f"Host time of a call: {MISSING}.\n"
    parts = [f"{name} {row['host_us']:.1f} us" for name, row in overhead.items()]
    return f"Host time of a call, tiny add: {', '.join(parts)}.\n"


def targets_table() -> str:
    """Return what was to be reached, and what was, by the latest time of each case."""
    runs = record.gpu_runs()
    if not runs:
        return f"{MISSING}\n"
    cases = {name: case for run in runs for name, case in run["cases"].items()}
    head = ("cases", "to reach", "least", "reached by", "", "missed by")
    return table(head, list(targets.rows(cases)))


def draw_table() -> str:
    """Return the ratios on random shapes, by family."""
    runs = record.drawn_runs()
    if not runs:
        return f"{MISSING}\n"
    found = runs[0]
    families = record.by_family(found["cases"])
    count = len(found["cases"])
    wanted = f"to reach: mean {targets.DRAW_MEAN}, least {targets.DRAW_LEAST}"
    return (
        f"{record.gpu_name(found)}. {described(found)}"
        f"{count} shapes, seed {found['seed']}; {wanted}.\n\n"
        + table(
            ("family", "geometric mean", "least ratio", ""),
            list(targets.draw_rows(families)),
        )
    )
