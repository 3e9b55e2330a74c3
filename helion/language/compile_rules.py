"""Importing this module registers the compile-time rules of the language."""

from __future__ import annotations

from . import (
    assert_rules,
    atomic_rules,
    debug_rules,
    histogram_rules,
    inline_rules,
    low_bit_rules,
    matmul_rules,
    memory_rules,
    random_rules,
    reduce_rules,
    scan_rules,
    sort_rules,
    stack_rules,
    value_rules,
)

FAMILIES = (
    assert_rules,
    atomic_rules,
    debug_rules,
    histogram_rules,
    inline_rules,
    low_bit_rules,
    matmul_rules,
    memory_rules,
    random_rules,
    reduce_rules,
    scan_rules,
    sort_rules,
    stack_rules,
    value_rules,
)
