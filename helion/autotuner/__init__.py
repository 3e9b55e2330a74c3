"""The space of configs and the searches through it; names load on first use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from helion.autotuner.config_fragment import (
        BlockSizeFragment,
        BooleanFragment,
        EnumFragment,
        IntegerFragment,
        ListOf,
        NumWarpsFragment,
        PermutationFragment,
        PowerOfTwoFragment,
    )
    from helion.autotuner.config_spec import ConfigSpec

_FRAGMENTS = "helion.autotuner.config_fragment"
_HOMES = {
    "BlockSizeFragment": _FRAGMENTS,
    "BooleanFragment": _FRAGMENTS,
    "EnumFragment": _FRAGMENTS,
    "IntegerFragment": _FRAGMENTS,
    "ListOf": _FRAGMENTS,
    "NumWarpsFragment": _FRAGMENTS,
    "PermutationFragment": _FRAGMENTS,
    "PowerOfTwoFragment": _FRAGMENTS,
    "ConfigSpec": "helion.autotuner.config_spec",
}

__all__ = [
    "BlockSizeFragment",
    "BooleanFragment",
    "ConfigSpec",
    "EnumFragment",
    "IntegerFragment",
    "ListOf",
    "NumWarpsFragment",
    "PermutationFragment",
    "PowerOfTwoFragment",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module 'helion.autotuner' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
