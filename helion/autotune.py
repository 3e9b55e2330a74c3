"""Another name for ``helion.autotuner``; its names load on first use."""

from __future__ import annotations

from typing import Any

from helion import autotuner
from helion.autotuner import __all__ as __all__


def __getattr__(name: str) -> Any:
    """Return what ``helion.autotuner`` has by this name."""
    return getattr(autotuner, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
