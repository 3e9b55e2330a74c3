"""Kinds of lowering: how a node becomes code, and what its padded lanes hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import fx

    from .backend import AtenRule
    from .codegen_state import CodegenState
    from .op_registry import Op

Unknown = None


class Lowering:
    """How one node becomes code, and what its padded lanes hold."""

    @property
    def is_pure(self) -> bool:
        """Whether a node without readers can be left out."""
        return True

    def codegen(self, state: CodegenState) -> Any:
        """Return the expression (or list of them) of the node's result."""
        raise NotImplementedError

    def masked_value(self, node: fx.Node, known: Callable[[Any], Any]) -> Any:
        """Return the constant in the result's padded lanes, None if unknown."""
        return Unknown


@dataclass
class APIFuncLowering(Lowering):
    """A language op: its own codegen rule."""

    op: Op[..., Any]
    rule: Callable[[CodegenState], Any]

    @property
    def is_pure(self) -> bool:
        return not self.op.flags.impure

    def codegen(self, state: CodegenState) -> Any:
        return self.rule(state)

    def masked_value(self, node: fx.Node, known: Callable[[Any], Any]) -> Any:
        rule = self.op.masked_value
        return rule(node) if rule is not None else Unknown


@dataclass
class AtenLowering(Lowering):
    """An ATen operator with a rule of the backend."""

    rule: AtenRule

    def codegen(self, state: CodegenState) -> Any:
        return self.rule.codegen(state)

    def masked_value(self, node: fx.Node, known: Callable[[Any], Any]) -> Any:
        if self.rule.masked_value is None:
            return Unknown
        return self.rule.masked_value(node, known)


class PointwiseLowering(AtenLowering):
    """Each result element comes from the operands' elements at the same place."""


class ReductionLowering(AtenLowering):
    """Folds one axis; the strategy of the axis decides how."""


class SimpleLowering(AtenLowering):
    """Views, creation, products: emitted as one Triton call."""


KINDS: dict[str, type[AtenLowering]] = {
    "pointwise": PointwiseLowering,
    "reduction": ReductionLowering,
    "simple": SimpleLowering,
}


@dataclass
class ControlFlowLowering(Lowering):
    """Loops, branches and the nodes that bring host values in."""

    rule: Callable[[CodegenState], Any]
    is_effect: bool = False

    @property
    def is_pure(self) -> bool:
        return not self.is_effect

    def codegen(self, state: CodegenState) -> Any:
        return self.rule(state)
