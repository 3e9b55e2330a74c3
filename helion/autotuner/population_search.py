"""Searches that keep a population of flat configs with their times."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from helion.autotuner.base_search import BaseSearch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from helion.autotuner.config_generation import FlatConfig
    from helion.autotuner.measurement import Measurement
    from helion.runtime.config import Config


@dataclass(frozen=True)
class PopulationMember:
    """A flat config and its milliseconds; infinite: it does not work."""

    flat: FlatConfig
    config: Config
    perf_ms: float = math.inf

    def __lt__(self, other: PopulationMember) -> bool:
        return self.perf_ms < other.perf_ms


class PopulationBasedSearch(BaseSearch):
    """Works on members; only configs that are new to the search are timed."""

    def members(self, flats: Iterable[Sequence[Any]]) -> list[PopulationMember]:
        """Measure flat configs, all of them legal."""
        configs = [self.space.unflatten(flat) for flat in flats]
        found = self.measure_batch(configs)
        return [self._member(*pair) for pair in zip(configs, found)]

    def _member(self, config: Config, found: Measurement) -> PopulationMember:
        # A filter may have put another config in its place.
        config = found.config if found.is_ok else config
        return PopulationMember(self.space.flatten(config), config, found.perf_ms)

    def first_members(self, count: int) -> list[PopulationMember]:
        """Measure the default config and random ones."""
        configs = self.space.random_population(count)
        return self.members(map(self.space.flatten, configs))
