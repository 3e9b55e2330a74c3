"""Prints every expression of a kernel with the type that was found for it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from .ast_extension import facts

if TYPE_CHECKING:
    from .host_function import HostFunction


def dump_types(host: HostFunction) -> str:
    """Return one line per expression, in source order."""
    lines = []
    for node in ast.walk(host.tree):
        known = facts(node)
        if isinstance(node, ast.For) and known.loop_type is not None:
            place = host.location(node)
            lines.append((place.lineno, place.col, f"loop {known.loop_type.name}"))
        if isinstance(node, ast.expr) and known.type_info is not None:
            place = host.location(node)
            text = f"{ast.unparse(node)}: {known.type_info}"
            lines.append((place.lineno, place.col, text))
    return "\n".join(f"{line}:{col} {text}" for line, col, text in sorted(set(lines)))
