"""Configs for a search to try: the default, random ones, neighbours, mutants."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from helion import exc
from helion.autotuner.config_knobs import LEGACY_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from helion.autotuner.config_fragment import Fragment
    from helion.autotuner.config_spec import ConfigSpec
    from helion.runtime.config import Config

FlatConfig = list[Any]

# Other grids do not have them: they could forbid an override of ``pid_type``.
_PERSISTENT_ONLY = ("num_sm_multiplier", "maxnreg")

# A small space is exhausted after some draws that are all known.
_TRIES = 20


class ConfigGeneration:
    """The space of one kernel's configs as a search walks it.

    A flat config is the list of values in the order of ``spec.knobs()``. All configs
    that come out are legal, normalized, and have the values of ``overrides``.
    """

    def __init__(
        self,
        spec: ConfigSpec,
        *,
        default: Mapping[str, Any] | None = None,
        overrides: Mapping[str, Any] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.spec = spec
        self.rng = rng or random.Random()
        chosen = spec.default_config() if default is None else default
        self._pins = self._pinned(chosen, overrides) if overrides else {}
        self._default = self.legal(chosen)

    @property
    def fragments(self) -> list[Fragment]:
        """The range of each value of a flat config."""
        return [fragment for _, _, fragment in self.spec.knobs()]

    def legal(self, config: Mapping[str, Any]) -> Config:
        """Return a config in its complete form, with the overrides.

        Raises:
            exc.InvalidConfig: it has values that the kernel does not allow.
        """
        if not self._pins:
            return self.spec.normalize(config)
        flat = self.spec.flatten(config)
        for place, value in self._pins.items():
            flat[place] = value
        return self.spec.unflatten(flat)

    def _pinned(
        self, default: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> dict[int, Any]:
        """Return the overrides by their places in a flat config."""
        names = {LEGACY_NAMES.get(name, name) for name in overrides}
        taken = names.union(_PERSISTENT_ONLY)
        free = {key: value for key, value in default.items() if key not in taken}
        given = self.spec.normalize({**free, **overrides})
        return {
            place: given[key] if index is None else given[key][index]
            for place, (key, index, _) in enumerate(self.spec.knobs())
            if key in names
        }

    # ---- flat and back ----

    def flatten(self, config: Mapping[str, Any]) -> FlatConfig:
        return self.spec.flatten(config)

    def unflatten(self, flat: Sequence[Any]) -> Config:
        """Make a config of values, repairing what conflicts."""
        return self.legal(self.spec.unflatten(flat))

    # ---- single configs ----

    def default(self) -> Config:
        """Return the config that is used without a search."""
        return self._default

    def default_flat(self) -> FlatConfig:
        return self.flatten(self._default)

    def random(self) -> Config:
        """Draw a config."""
        return self.legal(self.spec.random_config(self.rng))

    def random_flat(self) -> FlatConfig:
        return self.flatten(self.random())

    # ---- many configs ----

    def random_population(
        self, count: int, seeds: Sequence[Mapping[str, Any]] = ()
    ) -> list[Config]:
        """Return different configs: the default, ``seeds``, then random ones.

        They are at most ``count``, less in a small space.
        """
        found = dict.fromkeys([self.default(), *map(self.legal, seeds)])
        failures = 0
        while len(found) < count and failures < _TRIES:
            try:
                drawn = self.random()
            except exc.InvalidConfig:
                failures += 1
                continue
            failures = 0 if drawn not in found else failures + 1
            found[drawn] = None
        return list(found)[:count]

    def neighbors(self, config: Mapping[str, Any], radius: int = 1) -> list[Config]:
        """Return the configs that differ from ``config`` by one step of one value."""
        flat = self.flatten(config)
        found = dict.fromkeys(self._legal_ones(self._steps(flat, radius)))
        found.pop(self.unflatten(flat), None)
        return list(found)

    def _steps(self, flat: FlatConfig, radius: int) -> Iterator[FlatConfig]:
        for place, fragment in enumerate(self.fragments):
            for near in fragment.pattern_neighbors(flat[place], radius):
                yield [*flat[:place], near, *flat[place + 1 :]]

    def _legal_ones(self, flats: Iterator[FlatConfig]) -> Iterator[Config]:
        for flat in flats:
            try:
                yield self.unflatten(flat)
            except exc.InvalidConfig:
                continue

    def mutate(
        self, flat: FlatConfig, others: Sequence[FlatConfig], crossover_rate: float
    ) -> FlatConfig:
        """Return ``flat`` with values moved as three other flat configs suggest.

        Each value becomes the first other one's, moved in the direction in which the
        second differs from the third, with the given probability; one always does.
        """
        first, second, third = others
        fragments = self.fragments
        if not fragments:
            return list(flat)
        certain = self.rng.randrange(len(fragments))
        result = list(flat)
        for i, fragment in enumerate(fragments):
            if i == certain or self.rng.random() < crossover_rate:
                triple = first[i], second[i], third[i]
                result[i] = fragment.differential_mutation(*triple)
        return result
