"""Importing this module registers the compile-time rules of the language."""

from __future__ import annotations

from . import memory_rules, random_rules, reduce_rules, scan_rules, value_rules

FAMILIES = (memory_rules, random_rules, reduce_rules, scan_rules, value_rules)
