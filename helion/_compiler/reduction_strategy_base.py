"""What a fold and a reduction strategy answer, and the strategy for whole axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import ast

    import torch

    from .codegen_state import CodegenState


@dataclass(frozen=True)
class Chunk:
    """The elements that one turn of a loop folds: how many, and how many before it."""

    before: ast.expr
    count: ast.expr


class Fold(Protocol):
    """One way to fold an axis, as the backend spells it.

    A fold may need several accumulators (a value and its index); ``parts`` are the
    folds of one tile, one for each accumulator, in the shape of the result. ``kind``
    names them in the emitted text.
    """

    @property
    def kind(self) -> str: ...

    def parts(self, state: CodegenState, chunk: Chunk | None) -> list[ast.expr]:
        """Return the fold of a tile; ``chunk`` None: it holds the whole axis."""
        ...

    def initial(self, state: CodegenState) -> list[ast.expr]:
        """Return what the accumulators hold before the loop."""
        ...

    def combine(
        self,
        state: CodegenState,
        names: list[str],
        parts: list[ast.expr],
        chunk: Chunk,
    ) -> list[ast.stmt]:
        """Return the statements that fold a chunk's parts into the accumulators."""
        ...

    def merge(
        self, state: CodegenState, stacks: list[ast.expr], counts: ast.expr
    ) -> list[ast.expr]:
        """Return the accumulators of all splits as one.

        ``stacks`` have the splits as their first dim; ``counts`` tells how many
        elements each split folded, in the rank of the stacks.
        """
        ...

    def finish(self, state: CodegenState, parts: list[ast.expr]) -> Any:
        """Return the node's result, or the list of its results."""
        ...

    def dtypes(self, state: CodegenState) -> list[torch.dtype]:
        """Return the dtypes of the accumulators."""
        ...


class ReductionStrategy:
    """Base: emits one reduction of a value along an axis."""

    def codegen_reduction(self, state: CodegenState, fold: Fold) -> Any:
        """Return the expression of the reduced value, or the list of them."""
        raise NotImplementedError


class PersistentReductionStrategy(ReductionStrategy):
    """The value holds the whole axis: one fold."""

    def codegen_reduction(self, state: CodegenState, fold: Fold) -> Any:
        parts = fold.parts(state, None)
        return fold.finish(state, [state.lift(p, "fold") for p in parts])
