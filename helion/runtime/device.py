"""Facts of the device at hand."""

from __future__ import annotations

import functools

import torch

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
