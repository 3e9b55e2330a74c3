"""torch.einsum in device code: products of two operands, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_letters
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .aten_decompositions import compute_dtype
from .function_modes import DEVICE_HANDLERS, handles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .graph_tracer import GraphTracer

aten = torch.ops.aten


@dataclass(frozen=True)
class Labeled:
    """A value with one letter for each of its dims."""

    value: torch.Tensor
    labels: str

    def sum_out(self, kept: set[str]) -> Labeled:
        """Fold the dims whose letters are not kept."""
        gone = [d for d, label in enumerate(self.labels) if label not in kept]
        if not gone:
            return self
        return Labeled(
            self.value.sum(gone), "".join(x for x in self.labels if x in kept)
        )

    def laid_out(self, labels: Sequence[str]) -> torch.Tensor:
        """Return the value with dims in another order, size 1 where it has none."""
        own = [label for label in labels if label in self.labels]
        order = [self.labels.index(label) for label in own]
        value = self.value
        if order != sorted(order):
            value = value.permute(order)
        for dim, label in enumerate(labels):
            if label not in self.labels:
                value = value.unsqueeze(dim)
        return value


@handles(DEVICE_HANDLERS, torch.einsum)
def device_einsum(tracer: GraphTracer, equation: Any, *operands: Any) -> torch.Tensor:
    """Contract the operands from left to right.

    Two operands with dims of their own and one summed dim are a matrix product; all
    others are products of elements, summed in float32 where the operands are narrower.
    """
    if not isinstance(equation, str):
        raise exc.TypeInferenceError("torch.einsum takes its equation as a string here")
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    inputs, result = _parse(equation, [value.dim() for value in operands])
    terms = [Labeled(v, labels) for v, labels in zip(operands, inputs)]
    total = terms[0]
    if len(terms) == 1:
        return total.sum_out(set(result)).laid_out(result)
    for index, term in enumerate(terms[1:], 1):
        later = set(result).union(*(other.labels for other in terms[index + 1 :]))
        total = _contract(total, term, later)
    return total.laid_out(result)


def _contract(left: Labeled, right: Labeled, kept: set[str]) -> Labeled:
    """Multiply two terms and fold the letters that nothing needs any more."""
    left = left.sum_out(kept | set(right.labels))
    right = right.sum_out(kept | set(left.labels))
    both = [label for label in left.labels if label in right.labels]
    batch = [label for label in both if label in kept]
    summed = [label for label in both if label not in kept]
    rows = [label for label in left.labels if label not in both]
    columns = [label for label in right.labels if label not in both]
    labels = "".join(batch + rows + columns)
    if len(rows) == len(columns) == len(summed) == 1 and len(batch) <= 1:
        a = left.laid_out(batch + rows + summed)
        b = right.laid_out(batch + summed + columns)
        return Labeled(a @ b, labels)
    every = batch + rows + columns + summed
    a, b = left.laid_out(every), right.laid_out(every)
    if not summed:
        return Labeled(a * b, labels)
    dtype = torch.promote_types(a.dtype, b.dtype)
    wide = compute_dtype(dtype)
    dims = list(range(len(labels), len(every)))
    return Labeled((a.to(wide) * b.to(wide)).sum(dims).to(dtype), labels)


def _parse(equation: str, ranks: list[int]) -> tuple[list[str], str]:
    """Return the letters of each operand and of the result, '...' spelled out."""
    text = equation.replace(" ", "")
    left, arrow, result = text.partition("->")
    inputs = left.split(",")
    if len(inputs) != len(ranks):
        raise exc.TypeInferenceError(
            f"{equation!r} names {len(inputs)} operands, {len(ranks)} were given"
        )
    spare = [letter for letter in ascii_letters if letter not in text]
    hidden = [r - len(t) + 3 for t, r in zip(inputs, ranks) if "..." in t]
    extra = "".join(spare[: max(hidden, default=0)])
    if not arrow:
        result = _implied(left.replace(".", ""), "..." in text)
    spelled = [_spell(t, r, extra) for t, r in zip(inputs, ranks)]
    for labels, rank in zip(spelled, ranks):
        if len(labels) != rank or len(set(labels)) != rank or not _is_word(labels):
            raise exc.TypeInferenceError(
                f"{labels!r} in {equation!r} does not name {rank} different dims"
            )
    result = result.replace("...", extra)
    if len(set(result)) != len(result) or not set(result) <= set("".join(spelled)):
        raise exc.TypeInferenceError(f"the result of {equation!r} is not defined")
    return spelled, result


def _is_word(labels: str) -> bool:
    return not labels or labels.isalpha()


def _spell(text: str, rank: int, extra: str) -> str:
    """Put letters in place of an ellipsis, the last ones for the last dims."""
    count = rank - len(text) + 3
    return text.replace("...", extra[len(extra) - count :] if count else "")


def _implied(letters: str, has_ellipsis: bool) -> str:
    """Return the result that an equation without '->' means."""
    once = sorted(x for x in set(letters) - {","} if letters.count(x) == 1)
    return ("..." if has_ellipsis else "") + "".join(once)
