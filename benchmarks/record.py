"""Where results go, and what stands beside every number: versions, machine, rivals."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def results_folder() -> Path:
    """Return the folder that ``OUT`` names, else the one that the project keeps."""
    folder = Path(os.environ.get("OUT") or RESULTS)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write(name: str, data: dict[str, Any]) -> Path:
    """Write ``data`` as ``<name>.json`` in one step, and return the file."""
    path = results_folder() / f"{name}.json"
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(data, indent=1, default=str) + "\n")
    draft.replace(path)
    return path


def circumstances() -> dict[str, Any]:
    """Return what a reader needs to judge or repeat a measurement."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
        "date": now.strftime("%Y-%m-%d"),
        "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": _commit(),
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in ("torch", "triton")},
        },
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
    }


def gpu_runs(folder: Path | None = None) -> list[dict[str, Any]]:
    """Return the benchmark runs by GPU, the latest first, draws left out.

    Each has only the cases that no later run on that GPU measured again; those without
    a family are of an earlier suite, or broke off.
    """
    paths = sorted((folder or RESULTS).glob("gpu_*.json"))
    runs = [json.loads(path.read_text()) for path in paths]
    runs = [run for run in runs if "machine" in run and "seed" not in run]
    runs.sort(key=measured_at, reverse=True)
    runs.sort(key=gpu_name)
    seen: set[tuple[str, str]] = set()
    kept: list[dict[str, Any]] = []
    for run in runs:
        cases = {
            (gpu_name(run), name): found
            for name, found in run["cases"].items()
            if "family" in found
        }
        fresh = {key[1]: cases[key] for key in cases if key not in seen}
        seen.update(cases)
        if fresh:
            kept.append({**run, "cases": fresh})
    return kept


def drawn_runs(folder: Path | None = None) -> list[dict[str, Any]]:
    """Return the runs over random shapes, the latest first."""
    paths = sorted((folder or RESULTS).glob("gpu_*.json"))
    runs = [json.loads(path.read_text()) for path in paths]
    drawn = [run for run in runs if "machine" in run and "seed" in run]
    return sorted(drawn, key=measured_at, reverse=True)


def measured_at(run: Mapping[str, Any]) -> str:
    """Return when a run began; texts compare as times do."""
    return run.get("time", run["date"])


def gpu_name(run: Mapping[str, Any]) -> str:
    """Return the GPU of a run."""
    return run["machine"].get("gpu", "a GPU that did not say its name")


def best_rival(
    times: Mapping[str, Mapping[str, Any]], shown: Container[str] = ()
) -> str | None:
    """Return which of the others is fastest, None: there is none.

    Those in ``shown`` do not count.
    """
    rivals = [name for name in times if name != "helion" and name not in shown]
    return min(rivals, key=lambda name: times[name]["ms"], default=None)


def by_family(
    cases: Mapping[str, Mapping[str, Any]],
) -> dict[str, tuple[float, float]]:
    """Return the geometric mean and the least of the ratios of each family."""
    found: dict[str, list[float]] = {}
    for case in cases.values():
        if case.get("ratio"):
            found.setdefault(case["family"], []).append(case["ratio"])
    return {
        family: (statistics.geometric_mean(ratios), min(ratios))
        for family, ratios in found.items()
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def _commit() -> str:
    """Return the commit measured, with a plus sign if files differ from it.

    ``HELION_COMMIT`` names it where the files are measured without their repository.
    """
    if named := os.environ.get("HELION_COMMIT"):
        return named
    describe = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+"]
    try:
        done = subprocess.run(describe, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"
