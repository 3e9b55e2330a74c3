"""Where results go, and what stands beside every number: versions, machine, rivals."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
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


def ratios(times: Mapping[str, Mapping[str, Any] | None]) -> dict[str, float]:
    """Return how many times as long as helion PyTorch takes, as it is and compiled.

    As it is means the faster of ``eager`` and ``library``.
    """
    ms = {name: row["ms"] for name, row in times.items() if row}
    own = ms.get("helion")
    as_is = [ms[name] for name in ("eager", "library") if name in ms]
    found: dict[str, float] = {}
    if own and as_is:
        found["eager"] = min(as_is) / own
    if own and "compile" in ms:
        found["compile"] = ms["compile"] / own
    return found


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
