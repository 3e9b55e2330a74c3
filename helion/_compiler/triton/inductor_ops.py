"""Ops that we do not own: Inductor's decompositions and bodies for Triton."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from ..inductor_adapter import inductor_decompositions
from .pointwise_ops import POINTWISE

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch._ops import OpOverload

# The modules that texts of ``InductorPointwise.render`` may name.
IMPORTS = {
    "libdevice": "from torch._inductor.runtime.triton_helpers import libdevice",
    "tl_math": "from torch._inductor.runtime.triton_helpers import math as tl_math",
    "triton_helpers": "from torch._inductor.runtime import triton_helpers",
}


@functools.cache
def decompositions() -> dict[OpOverload, Callable[..., Any]]:
    """Return Inductor's decompositions of the ops that have no rule of ours."""
    table = inductor_decompositions()
    return {op: fn for op, fn in table.items() if op not in POINTWISE}


def decomposition(op: OpOverload) -> Callable[..., Any] | None:
    """Return how to decompose an op; loads Inductor only for ops we do not own."""
    return None if op in POINTWISE else decompositions().get(op)
