"""The cache hints that a Config gives loads and stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .codegen_state import CodegenState


def load_options(state: CodegenState) -> str:
    """Return the hints of a load; a policy that the source names goes first."""
    node = state.node
    policy = node.args[3] if len(node.args) > 3 else None
    if policy is None:
        modifier = _choice(state, "load_cache_modifiers", node.meta["load_site"])
        if modifier:
            # The machine has no instruction with both.
            return f", cache_modifier={modifier!r}"
        chosen = _choice(state, "load_eviction_policies", node.meta["load_site"])
        policy = f"evict_{chosen}" if chosen else node.meta.get("eviction")
    return "" if policy is None else f", eviction_policy={policy!r}"


def store_options(state: CodegenState) -> str:
    """Return the hints of a store."""
    site = state.node.meta["store_site"]
    modifier = _choice(state, "store_cache_modifiers", site)
    return f", cache_modifier={modifier!r}" if modifier else ""


def _choice(state: CodegenState, knob: str, site: int) -> str:
    values = state.launch.config.get(knob) or ""
    return values if isinstance(values, str) else values[site]
