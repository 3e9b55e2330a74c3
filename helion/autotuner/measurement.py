"""What a search knows of one config: its time, or why it has none."""

from __future__ import annotations

import collections
import enum
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from helion.runtime.config import Config


class Status(enum.Enum):
    """How the trial of a config ended; the value is what a summary calls it."""

    OK = "ok"
    INVALID = "invalid"
    FILTERED = "filtered out"
    RESOURCES = "out of resources"
    COMPILER = "failed in the compiler"
    ERROR = "failed"
    TIMEOUT = "timed out"
    ACCURACY = "wrong results"
    SKIPPED = "not tried"


@dataclass(frozen=True)
class Measurement:
    """A config with its median time in milliseconds, infinite unless ``status`` is OK.

    Measurements compare by time. ``compile_s`` is what it took from the config to its
    first result, ``detail`` the reason of a failure.
    """

    config: Config
    perf_ms: float = math.inf
    status: Status = Status.OK
    compile_s: float = 0.0
    detail: str = ""

    @property
    def is_ok(self) -> bool:
        return self.status is Status.OK

    def __lt__(self, other: Measurement) -> bool:
        return self.perf_ms < other.perf_ms

    def __str__(self) -> str:
        if self.is_ok:
            return f"{self.perf_ms:.4f} ms"
        return f"{self.status.value}: {self.detail}" if self.detail else "-"


@dataclass
class SearchMetrics:
    """What a finished search did, as hooks get it.

    ``counts`` has the configs by status; ``same_code`` of them are without a trial of
    their own, because their text is that of another.
    """

    kernel: str
    search: str
    seed: int
    seconds: float = 0.0
    generations: int = 0
    same_code: int = 0
    best_ms: float = math.inf
    default_ms: float = math.inf
    counts: collections.Counter[Status] = field(default_factory=collections.Counter)

    @property
    def num_configs(self) -> int:
        """Configs that were tried."""
        untried = self.counts[Status.SKIPPED] + self.counts[Status.FILTERED]
        return self.counts.total() - untried

    @property
    def num_failed(self) -> int:
        """Configs that were tried and have no time."""
        return self.num_configs - self.counts[Status.OK]

    def failures(self) -> str:
        """Return the failures by class, in words; empty where there are none."""
        kinds = [s for s in Status if s is not Status.OK and self.counts[s]]
        return ", ".join(f"{self.counts[kind]} {kind.value}" for kind in kinds)


_hooks: list[Callable[[SearchMetrics], None]] = []


def register_post_autotune_hook(hook: Callable[[SearchMetrics], None]) -> None:
    """Call ``hook`` with the metrics of every search that ends from now on."""
    _hooks.append(hook)


def run_hooks(metrics: SearchMetrics) -> None:
    """Tell all hooks of a search that has ended."""
    for hook in _hooks:
        hook(metrics)
