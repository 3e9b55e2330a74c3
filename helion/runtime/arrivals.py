"""Counters for launches in which the last program of a tile does what is left.

A launch finds its counters at zero and leaves them so. Launches of one stream run one
after the other, and therefore share theirs.
"""

from __future__ import annotations

import threading

import torch

LEAST_COUNTERS = 4096

# By device and stream. A stream that is being captured has none here: the graph may
# run beside anything else, so that it has to have its own.
_counters: dict[tuple[int, int], torch.Tensor] = {}
_lock = threading.Lock()


def arrival_counters(count: int, device: torch.device) -> torch.Tensor:
    """Return at least ``count`` zeros for a launch on the current stream."""
    if device.type != "cuda" or _is_traced() or not torch.cuda.is_available():
        return torch.zeros([count], dtype=torch.int32, device=device)
    index = torch.cuda.current_device() if device.index is None else device.index
    if torch.cuda.is_current_stream_capturing():
        return torch.zeros([count], dtype=torch.int32, device=device)
    key = (index, torch.cuda.current_stream(index).cuda_stream)
    found = _counters.get(key)
    if found is not None and found.numel() >= count:
        return found
    with _lock:
        size = max(1 << max(count - 1, 0).bit_length(), LEAST_COUNTERS)
        made = torch.zeros([size], dtype=torch.int32, device=device)
        _counters[key] = made
    return made


def _is_traced() -> bool:
    """Whether tensors are being made by a mode, which makes fakes for example."""
    return torch._C._len_torch_dispatch_stack() > 0
