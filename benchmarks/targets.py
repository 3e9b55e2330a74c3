"""What default Configs are to reach on an H200, and what they did reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from benchmarks.suite import CASES, FAMILIES

Cases = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Target:
    """One line of the list: cases by patterns of their names, and the value to reach.

    ``by`` is ``share``, the floor over our time, or ``ratio``, the time of the fastest
    other implementation over ours.
    """

    title: str
    patterns: tuple[str, ...]
    by: str
    wanted: float

    def names(self) -> list[str]:
        """Return the cases meant, in the order of the suite."""
        return [
            name
            for name in CASES
            if any(fnmatchcase(name, pattern) for pattern in self.patterns)
        ]

    def reached(self, cases: Cases) -> dict[str, float | None]:
        """Return the value of each case; None: it has no time."""
        key = {"share": "share_of_floor", "ratio": "ratio"}[self.by]
        return {name: cases.get(name, {}).get(key) for name in self.names()}


TARGETS = (
    Target("pointwise, 64 MB and up", FAMILIES["pointwise"], "share", 0.95),
    Target(
        "softmax, RMS norm, layer norm and dx, 1000 to 16384 wide",
        (
            *(name for name in FAMILIES["softmax"] if "131072" not in name),
            *FAMILIES["rms_norm"],
            *FAMILIES["layer_norm"],
            *FAMILIES["layer_norm_dx"],
        ),
        "share",
        0.90,
    ),
    Target("softmax, 131072 wide", ("softmax_4096x131072",), "share", 0.75),
    Target("cross entropy, 128256 wide", ("cross_entropy_*",), "share", 0.90),
    Target("dweight, dbias, 16384 x 5632", ("layer_norm_dwdb_16384*",), "share", 0.75),
    Target("dweight, dbias, 1152000 x 16", ("layer_norm_dwdb_1152*",), "ratio", 1.3),
    Target(
        "matmul bf16, plain",
        ("matmul_4096x4096x4096", "matmul_8192x8192x8192"),
        "ratio",
        0.95,
    ),
    Target(
        "matmul bf16, bias and activation", FAMILIES["matmul_epilogue"], "ratio", 1.03
    ),
    Target(
        "matmul, thin, long and batched",
        ("matmul_16x8192x8192", "matmul_2048x16384x2048", "bmm_64x1024x1024x1024"),
        "ratio",
        1.0,
    ),
    Target("matmul fp8", FAMILIES["fp8_matmul"], "ratio", 0.92),
    Target("attention, head 64", ("attention_*x64",), "ratio", 0.95),
    Target("attention, head 128", ("attention_*x128",), "ratio", 0.75),
    Target("jagged sums, softmax, attention", FAMILIES["jagged"], "ratio", 1.5),
    Target("every case of the suite", ("*",), "ratio", 0.75),
)
DRAW_MEAN, DRAW_LEAST = 0.95, 0.6


def text_of(value: float | None) -> str:
    """Return a value with two digits after the point."""
    return "none" if value is None else f"{value:.2f}"


def rows(cases: Cases, is_partial: bool = False) -> Iterator[list[str]]:
    """Yield a row a target: title, value, the least, how many cases, verdict, misses.

    What was not measured is missed; ``is_partial`` leaves it out instead.
    """
    for target in TARGETS:
        values = target.reached(cases)
        if is_partial:
            values = {name: value for name, value in values.items() if name in cases}
            if not values:
                continue
        known = [value for value in values.values() if value is not None]
        missed = [
            f"{name} {text_of(value)}"
            for name, value in values.items()
            if value is None or value < target.wanted
        ]
        yield [
            target.title,
            f"{target.by} {target.wanted:.2f}",
            text_of(min(known, default=None)),
            f"{len(values) - len(missed)} of {len(values)}",
            "missed" if missed else "met",
            ", ".join(missed[:12]) + (", ..." if len(missed) > 12 else ""),
        ]


def draw_rows(families: Mapping[str, tuple[float, float]]) -> Iterator[list[str]]:
    """Yield a row a drawn family: geometric mean, least ratio, and the verdict."""
    for family, (mean, least) in families.items():
        is_met = mean >= DRAW_MEAN and least >= DRAW_LEAST
        yield [family, text_of(mean), text_of(least), "met" if is_met else "missed"]
