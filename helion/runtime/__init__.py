"""Deciding, binding and launching kernels; names load on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from helion.runtime.bound_kernel import BoundKernel
    from helion.runtime.config import Config
    from helion.runtime.kernel import Kernel
    from helion.runtime.launcher import default_launcher
    from helion.runtime.settings import Settings

_HOMES = {
    "BoundKernel": "helion.runtime.bound_kernel",
    "Config": "helion.runtime.config",
    "Kernel": "helion.runtime.kernel",
    "Settings": "helion.runtime.settings",
    "default_launcher": "helion.runtime.launcher",
}

__all__ = [
    "BoundKernel",
    "Config",
    "Kernel",
    "Settings",
    "default_launcher",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module 'helion.runtime' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
