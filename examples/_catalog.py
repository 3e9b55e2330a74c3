"""The cases of every example in this folder, in order of the files' names."""

from __future__ import annotations

import importlib
import pkgutil

import examples
from helion._testing import Case

__all__ = ["CASES", "Case"]


def _collect() -> list[Case]:
    names = sorted(module.name for module in pkgutil.iter_modules(examples.__path__))
    modules = [
        importlib.import_module(f"examples.{name}")
        for name in names
        if not name.startswith("_")
    ]
    return [case for module in modules for case in module.CASES]


CASES: list[Case] = _collect()
