"""The GPU that kernels are emitted for, as far as knobs depend on it."""

from __future__ import annotations

import torch

Capability = tuple[int, int]

LEAST_OVERLAPPING: Capability = (9, 0)
LEAST_SPECIALIZING: Capability = (9, 0)
ANY_LOADS_SPECIALIZE: Capability = (10, 0)
STORES_BY_SHARED_MEMORY: Capability = (9, 0)


def gpu_vendor() -> str:
    """Return the maker of the GPUs that this torch is for: ``amd`` or ``nvidia``."""
    return "amd" if torch.version.hip else "nvidia"


def gpu_capability(device: torch.device) -> Capability | None:
    """Return the compute capability of a GPU, None where there is none to ask."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_capability(device)


def no_overlap(device: torch.device) -> str | None:
    """Return why launches on a device cannot overlap, None if they can."""
    if gpu_vendor() != "nvidia":
        return "only NVIDIA GPUs have it"
    found = gpu_capability(device)
    if found is None or found >= LEAST_OVERLAPPING:
        return None
    return f"it needs capability 9.0, and the GPU has {found[0]}.{found[1]}"
