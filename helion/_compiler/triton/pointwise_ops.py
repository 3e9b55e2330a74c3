"""The table of pointwise ops that we lower ourselves: ``POINTWISE``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import (
    pointwise_activation,
    pointwise_arith,
    pointwise_logic,
    pointwise_math,
)
from .pointwise_rule import RULES

if TYPE_CHECKING:
    from torch._ops import OpOverload

    from .pointwise_rule import PointwiseRule

# Importing a family registers its rules.
FAMILIES = (
    pointwise_activation,
    pointwise_arith,
    pointwise_logic,
    pointwise_math,
)

POINTWISE: dict[OpOverload, PointwiseRule] = RULES
