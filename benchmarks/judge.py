"""Judges the cost model by measured Configs: order, regret, resources.

``python -m benchmarks.judge results/*_sweep.jsonl`` takes lines with ``case``,
``config`` and ``ms`` (one of ``benchmarks.suite``). Regret is the time of the model's
first choice over that of the best Config measured.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import suite
from helion import exc
from helion._compiler.kernel_facts import KernelFacts
from helion.autotuner.cost_model import Estimate, estimate
from helion.autotuner.device_facts import DeviceFacts, offline_facts
from helion.runtime.config import Config


@dataclass(frozen=True)
class Verdict:
    """How the model did on the Configs of one case.

    ``order`` is Spearman's rank correlation; ``off`` the geometric mean of model over
    measured time; ``given`` the regret of the default Config where it was measured.
    """

    case: str
    count: int
    order: float
    regret: float
    off: float
    given: float | None
    illegal: int


@dataclass(frozen=True)
class Measured:
    """One measured Config of a case, with what the model expects."""

    config: Config
    ms: float
    expected: Estimate
    is_default: bool


def judge(lines: Iterable[str], device: DeviceFacts) -> list[Verdict]:
    """Return a verdict for each case of a sweep."""
    return [_verdict(case, found) for case, found in measured(lines, device)]


def measured(
    lines: Iterable[str], device: DeviceFacts
) -> Iterator[tuple[str, list[Measured]]]:
    """Yield the measured Configs of each case; those that failed are left out."""
    by_case: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        entry = json.loads(line)
        if entry.get("ms") and entry["case"] in suite.CASES:
            by_case.setdefault(entry["case"], []).append(entry)
    for case, entries in by_case.items():
        facts, spec = facts_of(case)
        found = []
        for entry in entries:
            try:
                config = spec.normalize(entry["config"])
            except exc.InvalidConfig:
                continue
            expected = estimate(facts, device, config)
            is_default = bool(entry.get("is_default"))
            found.append(Measured(config, entry["ms"], expected, is_default))
        if len(found) > 1:
            yield case, found


def facts_of(case: str) -> tuple[KernelFacts, Any]:
    """Return facts and Config space of a benchmark case; no GPU is needed."""
    known = suite.CASES[case]
    bound = known.kernel.bind(known.fake_args())
    return bound.facts, bound.config_spec


def _verdict(case: str, found: list[Measured]) -> Verdict:
    best = min(one.ms for one in found)
    legal = [one for one in found if one.expected.legal] or found
    first = min(legal, key=lambda one: one.expected.time_us)
    logs = [math.log(one.expected.time_us / one.ms / 1e3) for one in found]
    given = [one.ms / best for one in found if one.is_default]
    return Verdict(
        case,
        len(found),
        _spearman([one.ms for one in found], [one.expected.time_us for one in found]),
        first.ms / best,
        math.exp(sum(logs) / len(logs)),
        given[0] if given else None,
        sum(not one.expected.legal for one in found),
    )


def _spearman(left: list[float], right: list[float]) -> float:
    ranks = [_ranks(left), _ranks(right)]
    mean = (len(left) - 1) / 2
    pairs = [(a - mean, b - mean) for a, b in zip(*ranks, strict=True)]
    above = sum(a * b for a, b in pairs)
    below = math.sqrt(sum(a * a for a, _ in pairs) * sum(b * b for _, b in pairs))
    return above / below if below else 1.0


def _ranks(values: list[float]) -> list[float]:
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for place in order[start : end + 1]:
            ranks[place] = (start + end) / 2
        start = end + 1
    return ranks


def text_of(verdicts: list[Verdict]) -> str:
    """Return a table, and the means over the cases."""
    lines = [f"{'case':36} {'n':>3} order regret default  off illegal"]
    for one in sorted(verdicts, key=lambda v: -v.regret):
        given = "      -" if one.given is None else f"{one.given:7.2f}"
        lines.append(
            f"{one.case:36} {one.count:3d} {one.order:5.2f} {one.regret:6.2f} {given}"
            f" {one.off:4.2f} {one.illegal or '':>7}"
        )
    if verdicts:
        order = sum(v.order for v in verdicts) / len(verdicts)
        regret = math.exp(sum(math.log(v.regret) for v in verdicts) / len(verdicts))
        lines.append(f"mean order {order:.3f}, geometric mean regret {regret:.3f}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Print the verdicts on the sweeps that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweeps", nargs="+", help="files with a line for each Config")
    parser.add_argument("--arch", default="sm_90")
    options = parser.parse_args(arguments)
    lines = [t for p in options.sweeps for t in Path(p).read_text().splitlines()]
    print(text_of(judge(lines, offline_facts(options.arch))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
