"""The checks that every pass does in debug mode."""

from __future__ import annotations

import operator

import pytest
from torch import fx

from helion._compiler.compiler_pass import verify
from helion._compiler.device_ir import DeviceIR, GraphInfo, RolledReduction


def graph_without_value() -> GraphInfo:
    graph = fx.Graph()
    graph.call_function(operator.add, (1, 2))
    graph.output([])
    return GraphInfo(0, graph)


def test_verify_looks_at_clones() -> None:
    ir = DeviceIR()
    verify(ir)
    ir.rolled_reductions[0] = RolledReduction(0, {0: graph_without_value()}, {})
    with pytest.raises(AssertionError, match="operator.add"):
        verify(ir)


def test_verify_looks_at_joint_clones() -> None:
    ir = DeviceIR(joint_rolls={(0, 1): {0: graph_without_value()}})
    with pytest.raises(AssertionError, match="operator.add"):
        verify(ir)
