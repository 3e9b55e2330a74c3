"""How a traced node gets its lowering: the names by which the notes know this step.

The lowering classes and the choice among them stand in ``lowering``; what comes from
Inductor, in ``inductor_adapter``; the replay of a graph, in ``graph_interpreter``.
"""

from __future__ import annotations

from .graph_interpreter import interpret_graph as codegen_call_with_graph
from .lowering import prepare_lowerings as prepare_graph_lowerings
from .lowering_kinds import (
    APIFuncLowering,
    Lowering,
    PointwiseLowering,
    ReductionLowering,
    SimpleLowering,
)

__all__ = [
    "APIFuncLowering",
    "Lowering",
    "PointwiseLowering",
    "ReductionLowering",
    "SimpleLowering",
    "codegen_call_with_graph",
    "prepare_graph_lowerings",
]
