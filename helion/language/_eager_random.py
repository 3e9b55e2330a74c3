"""torch's random functions in eager loops: the numbers of the compiled kernel."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from . import _eager
from ._eager_axes import tiled_shape
from .distributions import RANDOM_FUNCTIONS, Site
from .random_ops import draw_seed

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch


class EagerSite(Site):
    """A random call in a running loop; its turns and tiles share one seed."""

    def seed(self) -> int:
        seeds = _eager.launch_seeds()
        place = _place()
        if place not in seeds:
            seeds[place] = draw_seed()
        return seeds[place]

    def sizes(self, value: torch.Tensor) -> list[Any]:
        return tiled_shape(value, _eager.running_tiles())

    def check_device(self, device: Any) -> None:
        return None


def _place() -> tuple[Any, ...]:
    """Return where all running calls stand in their texts."""
    place: list[Any] = []
    frame = sys._getframe(2)
    while frame is not None:
        place += [frame.f_code, frame.f_lasti]
        frame = frame.f_back
    return tuple(place)


def _handler(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def handler(*args: Any, **kwargs: Any) -> torch.Tensor:
        return function(EagerSite(), *args, **kwargs)

    return handler


_eager.add_handlers({f: _handler(meaning) for f, meaning in RANDOM_FUNCTIONS.items()})
