"""Importing this module registers the compile-time rules of the language."""

from __future__ import annotations

from . import memory_rules
from . import value_rules

FAMILIES = (memory_rules, value_rules)
