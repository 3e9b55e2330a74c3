"""A device that takes as long as a formula says, and kernels with planted faults."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

import helion
import helion.language as hl
from helion import Config, Settings
from helion.runtime.bound_kernel import BoundKernel


@helion.kernel
def add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return ``x + y``."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size()):
        out[tile] = x[tile] + y[tile]
    return out


def matrices(rows: int = 64, columns: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two arguments for ``add``."""
    return torch.randn(rows, columns), torch.randn(rows, columns)


def area_cost(config: Mapping[str, Any]) -> float:
    """Return milliseconds that are least for tiles of 16 x 32 and 2 warps."""
    rows, columns = (size.bit_length() for size in config["block_sizes"])
    warps = config["num_warps"].bit_length()
    return 1.0 + abs(rows - 5) + abs(columns - 6) + abs(warps - 2)


class SimulatedClock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class SimulatedTimer:
    """Returns what a formula says, with noise; ``calls`` lists what was timed."""

    def __init__(
        self,
        cost: Callable[[Config], float] = area_cost,
        noise: float = 0.0,
        seed: int = 0,
        clock: SimulatedClock | None = None,
        seconds: float = 1.0,
    ) -> None:
        self.cost = cost
        self.noise = noise
        self.rng = random.Random(seed)
        self.clock = clock or SimulatedClock()
        self.seconds = seconds
        self.calls: list[tuple[str, list[Config]]] = []

    @property
    def trials(self) -> list[Config]:
        """The configs that were timed alone, in order."""
        return [configs[0] for desc, configs in self.calls if desc == "trial"]

    def __call__(
        self, callables: Sequence[Any], *, repeat: int | None, desc: str
    ) -> list[float]:
        configs = [call.config for call in callables]
        self.calls.append((desc, configs))
        self.clock.now += self.seconds * len(configs)
        off = [1 + self.noise * self.rng.uniform(-1, 1) for _ in configs]
        return [self.cost(config) * share for config, share in zip(configs, off)]


Fault = Exception | str | None


class SimulatedKernel:
    """The space of ``add`` with runs that are right, wrong, or fail as planted.

    ``faults`` tells of a config: an error (raised by its run), "wrong", or None.
    """

    def __init__(
        self,
        faults: Callable[[Config], Fault] = lambda config: None,
        text_of: Callable[[Config], Any] = lambda config: config,
        default: Config | None = None,
        configs: Sequence[Mapping[str, Any]] = (),
        **settings: Any,
    ) -> None:
        chosen = {"autotune_log_level": 0, "autotune_random_seed": 0, **settings}
        self.bound: BoundKernel = add.bind(matrices())
        self.settings = Settings(**chosen)
        self.configs = [Config(**config) for config in configs]
        self.device = torch.device("cpu")
        self.name = "simulated"
        self.faults = faults
        self.text_of = text_of
        self.default = default
        self.events: list[str] = []
        self.compiles: Counter[Config] = Counter()
        self.written: list[torch.Tensor] = []

    @property
    def config_spec(self) -> Any:
        return self.bound.config_spec

    def default_config(self) -> Config:
        if self.default is not None:
            return self.config_spec.normalize(self.default)
        return self.bound.default_config()

    def plain_arguments(self, args: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(args)

    def written_tensors(self, args: Sequence[Any]) -> list[torch.Tensor]:
        return self.written

    def bench_compile_config(self, config: Mapping[str, Any]) -> Callable[..., Any]:
        chosen = self.config_spec.normalize(config)
        if chosen not in self.compiles:
            self.events.append("compile")
            self.compiles[chosen] += 1

        def function(*args: torch.Tensor) -> torch.Tensor:
            self.events.append("run")
            fault = self.faults(chosen)
            if isinstance(fault, Exception):
                raise fault
            result = self.right(*args)
            if fault == "wrong":
                result[-1, -1] += 1.0
            return result

        return function

    def right(self, *args: torch.Tensor) -> torch.Tensor:
        """What a run computes."""
        return args[0] + args[1]

    def get_cached_path(self, config: Mapping[str, Any]) -> str | None:
        return str(self.text_of(self.config_spec.normalize(config)))

    def run_reference(self, *args: Any) -> Any:
        self.events.append("reference")
        return self.right(*args)

    def format_kernel_decorator(
        self, config: Mapping[str, Any], settings: Settings | None = None
    ) -> str:
        return self.bound.format_kernel_decorator(config, settings)
