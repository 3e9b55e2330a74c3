"""``DifferentialEvolutionSearch``: configs move by the differences of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from helion import exc
from helion.autotuner.base_search import register_search
from helion.autotuner.population_search import PopulationBasedSearch, PopulationMember

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from helion.autotuner.config_generation import FlatConfig
    from helion.autotuner.tunable_kernel import TunableKernel
    from helion.runtime.config import Config


@register_search("DifferentialEvolutionSearch")
class DifferentialEvolutionSearch(PopulationBasedSearch):
    """Keeps a population; in each generation a mutant challenges every member.

    A mutant takes most values from a random member, moved in the direction in which
    two others differ, and replaces its parent if it is faster. The first population is
    the best half of twice as many configs: the default one and random ones.
    """

    efforts: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"population_size": 20, "max_generations": 8}
    }

    def __init__(
        self,
        kernel: TunableKernel,
        args: Sequence[Any],
        population_size: int = 40,
        max_generations: int = 20,
        crossover_rate: float = 0.8,
        **options: Any,
    ) -> None:
        """``autotune_max_generations`` goes before ``max_generations``."""
        super().__init__(kernel, args, **options)
        limit = self.settings.autotune_max_generations
        self.population_size = population_size
        self.max_generations = max_generations if limit is None else limit
        self.crossover_rate = crossover_rate
        self.population: list[PopulationMember] = []

    def run(self) -> Config:
        first = self.first_members(2 * self.population_size)
        self.population = sorted(first)[: self.population_size]
        # Three others are needed for a mutant; so small a space is known by now.
        if len(self.population) > 3:
            for _ in range(self.max_generations):
                if self.is_over():
                    break
                self.evolve()
                self.generation_done()
        return min(self.population).config

    def evolve(self) -> None:
        """Let a mutant challenge each member."""
        mutants = [self._mutant(place) for place in range(len(self.population))]
        pairs = zip(self.population, self.members(mutants))
        self.population = [min(pair) for pair in pairs]

    def _mutant(self, place: int) -> FlatConfig:
        flats = [member.flat for member in self.population]
        others = self.rng.sample([*flats[:place], *flats[place + 1 :]], 3)
        mutant = self.space.mutate(flats[place], others, self.crossover_rate)
        try:
            self.space.unflatten(mutant)
        except exc.InvalidConfig as error:
            self.log.debug(f"a mutant is not legal: {error}")
            return self.space.random_flat()
        return mutant
