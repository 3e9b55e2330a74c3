"""Facts of the device at hand."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

# Where there is no device to ask (the interpreter, offline emission).
FALLBACK_SMS = 4


@functools.cache
def num_sms(device: str, reserved: int = 0) -> int:
    """Return how many programs of a persistent kernel run side by side."""
    kind = torch.device(device)
    if kind.type != "cuda" or not torch.cuda.is_available():
        return FALLBACK_SMS
    properties = torch.cuda.get_device_properties(kind)
    return max(properties.multi_processor_count - reserved, 1)


def on_device(device: torch.device, run: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``run`` with ``device`` as the current one, which launches need.

    Where there is only one GPU, that is ``run`` itself.
    """
    if device.type != "cuda" or torch.cuda.device_count() < 2:
        return run
    index = device.index

    def run_there(*args: Any) -> Any:
        if torch.cuda.current_device() == index:
            return run(*args)
        with torch.cuda.device(index):
            return run(*args)

    return run_there
