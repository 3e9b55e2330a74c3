"""Plots of the GPU benchmark as SVG: the roofline, shares of the floor, ratios.

They are drawn by hand (``python -m scripts.performance_page --plots``), since only that
needs matplotlib.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import record, targets

IMAGES = record.ROOT / "docs" / "images"
OURS, OTHERS, LINE = "#1f6f8b", "#b5b5b5", "#444444"
Cases = Mapping[str, Mapping[str, Any]]


def links() -> str:
    """Return the images that there are, for the page."""
    found = [name for name in PLOTS if (IMAGES / f"{name}.svg").exists()]
    return "\n".join(f"![{name}](images/{name}.svg)" for name in found) or "none yet\n"


def draw(folder: Path = IMAGES) -> list[Path]:
    """Draw all plots from the latest times; return the files."""
    pyplot = plotting()
    runs = record.gpu_runs()
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, plot in PLOTS.items() if runs else ():
        figure = plot(runs)
        path = folder / f"{name}.svg"
        figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
        pyplot.close(figure)
        files.append(path)
    return files


def plotting() -> Any:
    """Return matplotlib's pyplot, set up so that a plot is the same each time."""
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    matplotlib.rcParams.update(
        {
            "svg.hashsalt": "helion",
            "svg.fonttype": "none",
            "font.size": 8,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )
    return importlib.import_module("matplotlib.pyplot")


def timed_cases(runs: Sequence[Mapping[str, Any]]) -> Cases:
    """Return the cases with a time, by family, in the order of the runs."""
    cases = {
        name: case
        for run in runs
        for name, case in run["cases"].items()
        if case.get("times", {}).get("helion") and case.get("family")
    }
    families = list(dict.fromkeys(case["family"] for case in cases.values()))
    order = sorted(cases, key=lambda name: families.index(cases[name]["family"]))
    return {name: cases[name] for name in order}


def roofline(runs: Sequence[Mapping[str, Any]]) -> Any:
    """Return operations a second over operations a byte, below the measured roofs."""
    pyplot = plotting()
    ceilings = runs[0]["machine"].get("ceilings") or {}
    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    products = {n: c for n, c in timed_cases(runs).items() if c.get("flops")}
    copy = ceilings.get("bytes_per_s", 0.0)
    for name, rate in ceilings.items():
        if name == "bytes_per_s" or not copy:
            continue
        corner = rate / copy
        intensities, rates = [1.0, corner, 1e5], [copy, rate, rate]
        axes.plot(intensities, [r / 1e12 for r in rates], color=LINE, lw=0.8)
        axes.annotate(name, (6e4, rate / 1e12), va="bottom", color=LINE)
    for label, color, marker in (("best", OTHERS, "s"), ("helion", OURS, "o")):
        points = []
        for case in products.values():
            row = case["times"].get(case.get("best") if label == "best" else label)
            if row:
                rate = case["flops"] / (row["ms"] * 1e9)
                points.append((case["flops"] / case["bytes"], rate))
        if points:
            name = "helion" if label == "helion" else "fastest other"
            x, y = zip(*points)
            axes.scatter(x, y, s=16, color=color, marker=marker, label=name)
    axes.set(xscale="log", yscale="log", ylabel="TFLOP/s", xlim=(1, 1e5))
    axes.set_xlabel("operations per byte that must be moved")
    axes.set_title("Roofline of the products, measured roofs")
    axes.legend(frameon=False)
    return figure


def bars(
    cases: Cases, key: str, title: str, wanted: Mapping[str, float], cap: float
) -> Any:
    """Return one bar a case, with a tick where its target is."""
    pyplot = plotting()
    shown = {name: case[key] for name, case in cases.items() if case.get(key)}
    figure, axes = pyplot.subplots(figsize=(7, 0.6 + 0.15 * len(shown)))
    names, places = list(shown), list(range(len(shown)))
    missed = [shown[name] < wanted.get(name, 0.0) for name in names]
    colors = ["#c0504d" if is_missed else OURS for is_missed in missed]
    axes.barh(places, [min(shown[n], cap) for n in names], color=colors, height=0.7)
    for place, name in enumerate(names):
        if name in wanted:
            axes.plot([wanted[name]] * 2, [place - 0.45, place + 0.45], color="black")
        text = f"{shown[name]:.2f}"
        axes.annotate(text, (min(shown[name], cap), place), va="center", fontsize=6)
    axes.set_yticks(places, names, fontsize=6)
    axes.invert_yaxis()
    axes.axvline(1.0, color=LINE, lw=0.6)
    axes.set(xlim=(0, cap * 1.05), title=title, ylim=(len(shown) - 0.4, -0.6))
    return figure


def wanted_by(by: str) -> dict[str, float]:
    """Return the highest target of each case that is a share or a ratio."""
    found: dict[str, float] = {}
    for target in targets.TARGETS:
        for name in target.names() if target.by == by else ():
            found[name] = max(target.wanted, found.get(name, 0.0))
    return found


def shares(runs: Sequence[Mapping[str, Any]]) -> Any:
    """Return how near each case comes to its floor."""
    title = "Share: floor over our time; a tick is the target, red is missed"
    cases = timed_cases(runs)
    return bars(cases, "share_of_floor", title, wanted_by("share"), 1.2)


def ratios(runs: Sequence[Mapping[str, Any]]) -> Any:
    """Return how many times as long as ours the fastest other implementation takes."""
    title = "Ratio: time of the fastest other over ours; a tick is the target"
    return bars(timed_cases(runs), "ratio", title, wanted_by("ratio"), 3.0)


PLOTS = {"roofline": roofline, "shares": shares, "ratios": ratios}
