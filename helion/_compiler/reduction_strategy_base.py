"""What every reduction strategy answers, and the one for whole axes in a tile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .codegen_state import CodegenState


@dataclass(frozen=True)
class ReductionOp:
    """One fold as the backend knows it: its kind, identity and accumulator dtype."""

    kind: str
    identity: Any
    dim: int
    has_index: bool = False


class ReductionStrategy:
    """Base: emits one reduction of a value along an axis."""

    def codegen_reduction(self, state: CodegenState, op: ReductionOp) -> Any:
        """Return the expression of the reduced value."""
        raise NotImplementedError


class PersistentReductionStrategy(ReductionStrategy):
    """The value holds the whole axis: one fold."""

    def codegen_reduction(self, state: CodegenState, op: ReductionOp) -> Any:
        return state.env.backend.reduction.fold(state, op)
