"""The space of configs and the searches through it; names load on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from helion.autotuner.base_search import (
        BaseSearch,
        register_search,
    )
    from helion.autotuner.benchmarking import (
        ClockTimer,
        EventTimer,
        Runnable,
        Timer,
    )
    from helion.autotuner.config_fragment import (
        BlockSizeFragment,
        BooleanFragment,
        EnumFragment,
        IntegerFragment,
        ListOf,
        NumWarpsFragment,
        PermutationFragment,
        PowerOfTwoFragment,
    )
    from helion.autotuner.config_generation import (
        ConfigGeneration,
        FlatConfig,
    )
    from helion.autotuner.config_spec import ConfigSpec
    from helion.autotuner.differential_evolution import DifferentialEvolutionSearch
    from helion.autotuner.finite_search import FiniteSearch
    from helion.autotuner.measurement import (
        Measurement,
        SearchMetrics,
        Status,
        register_post_autotune_hook,
    )
    from helion.autotuner.population_search import (
        PopulationBasedSearch,
        PopulationMember,
    )
    from helion.autotuner.random_search import RandomSearch
    from helion.autotuner.searches import (
        make_search,
        search_named,
    )

# Where the names are, by the module of this package.
_HOMES = {
    "base_search": (
        "BaseSearch",
        "register_search",
    ),
    "benchmarking": (
        "ClockTimer",
        "EventTimer",
        "Runnable",
        "Timer",
    ),
    "config_fragment": (
        "BlockSizeFragment",
        "BooleanFragment",
        "EnumFragment",
        "IntegerFragment",
        "ListOf",
        "NumWarpsFragment",
        "PermutationFragment",
        "PowerOfTwoFragment",
    ),
    "config_generation": (
        "ConfigGeneration",
        "FlatConfig",
    ),
    "config_spec": ("ConfigSpec",),
    "differential_evolution": ("DifferentialEvolutionSearch",),
    "finite_search": ("FiniteSearch",),
    "measurement": (
        "Measurement",
        "SearchMetrics",
        "Status",
        "register_post_autotune_hook",
    ),
    "population_search": (
        "PopulationBasedSearch",
        "PopulationMember",
    ),
    "random_search": ("RandomSearch",),
    "searches": (
        "make_search",
        "search_named",
    ),
}

__all__ = [
    "BaseSearch",
    "BlockSizeFragment",
    "BooleanFragment",
    "ClockTimer",
    "ConfigGeneration",
    "ConfigSpec",
    "DifferentialEvolutionSearch",
    "EnumFragment",
    "EventTimer",
    "FiniteSearch",
    "FlatConfig",
    "IntegerFragment",
    "ListOf",
    "Measurement",
    "NumWarpsFragment",
    "PermutationFragment",
    "PopulationBasedSearch",
    "PopulationMember",
    "PowerOfTwoFragment",
    "RandomSearch",
    "Runnable",
    "SearchMetrics",
    "Status",
    "Timer",
    "make_search",
    "register_post_autotune_hook",
    "register_search",
    "search_named",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its home."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
