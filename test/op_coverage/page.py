"""Keeps the outcomes of all ways in one file, and writes docs/op_coverage.md of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from test.op_coverage.case import Case
from test.op_coverage.compare import TOLERANCES
from test.op_coverage.runner import CASES, Outcome

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "op_coverage.md"
RESULTS = ROOT / "benchmarks" / "results" / "op_coverage.json"
WAYS = ("eager", "interpreted", "compiled")
SHORT = {
    torch.float32: "f32",
    torch.float64: "f64",
    torch.float16: "f16",
    torch.bfloat16: "bf16",
    torch.int8: "i8",
    torch.int16: "i16",
    torch.int32: "i32",
    torch.int64: "i64",
    torch.uint8: "u8",
    torch.bool: "bool",
    torch.float8_e4m3fn: "e4m3",
    torch.float8_e5m2: "e5m2",
}

INTRODUCTION = Path(__file__).with_name("introduction.md")


def key(case: Case) -> str:
    """Return the name of a case among all."""
    return f"{case.family}: {case}"


def load() -> dict[str, Any]:
    """Return the recorded outcomes by way."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def record(found: Iterable[Outcome], facts: dict[str, Any]) -> dict[str, Any]:
    """Merge outcomes into the recorded ones; ``facts`` say where they come from."""
    known = load()
    found = list(found)
    names = [key(case) for case in CASES]
    for way in WAYS:
        mine = [outcome for outcome in found if outcome.way == way]
        table = known.setdefault(way, {"facts": {}, "cases": {}})
        if mine:
            table["facts"] = facts
        for outcome in mine:
            name = SHORT[outcome.job.dtype]
            dtypes = table["cases"].setdefault(key(outcome.job.case), {})
            dtypes[name] = "yes" if outcome.status == "yes" else _other(outcome)
        known_cases = table["cases"]
        table["cases"] = {k: known_cases[k] for k in names if k in known_cases}
    return known


def _other(outcome: Outcome) -> str:
    reason = outcome.detail.partition(":")[0]
    return f"{outcome.status}: {reason if outcome.status == 'refused' else ''}".rstrip(
        ": "
    )


def write(known: dict[str, Any]) -> None:
    """Write the file of outcomes and the page."""
    lines = []
    for way, table in known.items():
        rows = [
            f"   {json.dumps(k)}: {json.dumps(v)}" for k, v in table["cases"].items()
        ]
        facts = json.dumps(table["facts"])
        body = ",\n".join(rows)
        lines.append(
            f' "{way}": {{\n  "facts": {facts},\n  "cases": {{\n{body}\n  }}\n }}'
        )
    RESULTS.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    PAGE.write_text(page(known))


def page(known: dict[str, Any]) -> str:
    """Return the text of docs/op_coverage.md."""
    limits = ", ".join(f"{SHORT[d]} {limit:g}" for d, limit in TOLERANCES.items())
    lines = [
        INTRODUCTION.read_text().replace("{tolerances}", limits),
        "## Where it was run",
        "",
    ]
    lines += [_facts(way, known.get(way)) for way in WAYS]
    families = dict.fromkeys(case.family for case in CASES)
    for family in families:
        rows = [case for case in CASES if case.family == family]
        lines += ["", f"## {family[0].upper()}{family[1:]}", ""]
        lines += [f"| expression | dtypes | {' | '.join(WAYS)} | note |"]
        lines += ["| --- | --- | --- | --- | --- | --- |"]
        lines += [_row(case, known) for case in rows]
    return "\n".join(lines) + "\n"


def _facts(way: str, table: dict[str, Any] | None) -> str:
    if not table or not table["cases"]:
        return f"- {way}: not yet"
    facts = table["facts"]
    versions = facts.get("versions", {})
    place = facts.get("device", "CPU")
    return (
        f"- {way}: {len(table['cases'])} of {len(CASES)} expressions; "
        f"{place}, torch {versions.get('torch')}, Triton {versions.get('triton')}"
    )


def _row(case: Case, known: dict[str, Any]) -> str:
    tables = [known.get(way, {"cases": {}})["cases"].get(key(case), {}) for way in WAYS]
    dtypes = [SHORT[d] for d in case.dtypes]
    seen = [d for d in dtypes if any(d in table for table in tables)]
    text = str(case).replace("|", "\\|")
    cells = [_cell(table, seen) for table in tables]
    return f"| `{text}` | {' '.join(seen)} | {' | '.join(cells)} | {case.note} |"


def _cell(table: dict[str, str], seen: list[str]) -> str:
    if not table:
        return ""
    missing = [d for d in seen if d not in table]
    if missing:
        return f"{_cell(table, list(table))}; torch has no {', '.join(missing)} here"
    others = {d: status for d, status in table.items() if status != "yes"}
    if not others:
        return "yes"
    if len(set(others.values())) == 1 and len(others) == len(table):
        return next(iter(others.values()))
    return "yes; " + ", ".join(f"{d} {status}" for d, status in others.items())


def unexplained(known: dict[str, Any]) -> list[str]:
    """Return what the page shows without a reason."""
    cases = {key(case): case for case in CASES}
    found = []
    for way, table in known.items():
        for name, dtypes in table["cases"].items():
            bad = {d: s for d, s in dtypes.items() if s != "yes"}
            if bad and name in cases and not cases[name].refused:
                found.append(f"{way} {name}: {bad}")
    return found
