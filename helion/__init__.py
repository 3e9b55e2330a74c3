"""helion: a Python-embedded language for tensor kernels, PyTorch with tiles.

``import helion; import helion.language as hl`` is the conventional import. Names are
loaded on first use, so that the import itself stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from helion._math import cdiv, next_power_of_2

if TYPE_CHECKING:
    from helion import exc, language, runtime
    from helion._compiler.specialized_value import is_specialized
    from helion._metrics import metrics
    from helion.runtime.config import Config
    from helion.runtime.kernel import Kernel, jit, kernel
    from helion.runtime.settings import RefMode, Settings

__version__ = "0.1.0"

__all__ = [
    "Config",
    "Kernel",
    "RefMode",
    "Settings",
    "cdiv",
    "exc",
    "is_specialized",
    "jit",
    "kernel",
    "language",
    "metrics",
    "next_power_of_2",
    "runtime",
]

# Public name -> defining module; a name missing here is a submodule.
_HOMES = {
    "Config": "helion.runtime.config",
    "Kernel": "helion.runtime.kernel",
    "RefMode": "helion.runtime.settings",
    "Settings": "helion.runtime.settings",
    "is_specialized": "helion._compiler.specialized_value",
    "jit": "helion.runtime.kernel",
    "kernel": "helion.runtime.kernel",
    "metrics": "helion._metrics",
}
_SUBMODULES = ("autotune", "autotuner", "exc", "language", "runtime")


def __getattr__(name: str) -> Any:
    """Load a public name from its home and keep it for the next look-up."""
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _SUBMODULES:
        value = importlib.import_module(f"helion.{name}")
    else:
        raise AttributeError(f"module 'helion' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
