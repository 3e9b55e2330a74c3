"""torch's random functions while a kernel is traced: a seed for each textual call."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..language.distributions import RANDOM_FUNCTIONS, Site
from . import symbols
from .function_modes import DEVICE_HANDLERS, Handler
from .variable_origin import SeedOrigin

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from .graph_tracer import GraphTracer

_WALKER = "helion._compiler.evaluator"


@dataclass(frozen=True)
class TracedSite(Site):
    """A random call that is being traced."""

    tracer: GraphTracer

    def seed(self) -> Any:
        env, seeds = self.tracer.env, self.tracer.seeds
        place = _place(self.tracer)
        if place not in seeds:
            value = symbols.unbacked_symint(env.shape_env)
            env.symbol_origins[value.node.expr] = SeedOrigin(len(seeds))
            seeds[place] = value
        return seeds[place]

    def sizes(self, value: torch.Tensor) -> list[Any]:
        return [self.tracer.env.size_of(extent) for extent in value.size()]

    def check_device(self, device: Any) -> None:
        self.tracer.env.check_device(device)


def _place(tracer: GraphTracer) -> tuple[Any, ...]:
    """Return where the running call stands: in the kernel, and in helpers of it."""
    node = tracer.call_node
    assert node is not None, "only calls are random"
    place: list[Any] = [node.lineno, node.col_offset, node.end_lineno]
    place.append(node.end_col_offset)
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") != _WALKER:
        place += [frame.f_code, frame.f_lasti]
        frame = frame.f_back
    return tuple(place)


def _handler(function: Callable[..., torch.Tensor]) -> Handler:
    def handler(tracer: GraphTracer, *args: Any, **kwargs: Any) -> torch.Tensor:
        return function(TracedSite(tracer), *args, **kwargs)

    return handler


for _function, _meaning in RANDOM_FUNCTIONS.items():
    DEVICE_HANDLERS[_function] = _handler(_meaning)
