"""Lowering objects: prepared once per node, they emit its code under any Config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from .. import exc
from . import codegen_control_flow
from .compiler_pass import compiler_pass
from .device_ir import INTERNAL_FOLDS, _get_symnode, _host_tensor
from .lowering_kinds import (
    KINDS,
    APIFuncLowering,
    ControlFlowLowering,
    Lowering,
)
from .op_registry import Op

if TYPE_CHECKING:
    from .compile_environment import CompileEnvironment
    from .device_ir import DeviceIR


@compiler_pass("lower")
def prepare_lowerings(ir: DeviceIR, env: CompileEnvironment) -> DeviceIR:
    """Store a lowering on every call node of every graph."""
    for info in ir.graphs:
        for node in info.graph.nodes:
            if node.op == "call_function" and "lowering" not in node.meta:
                node.meta["lowering"] = lowering_of(node, env)
    return ir


def lowering_of(node: fx.Node, env: CompileEnvironment) -> Lowering:
    """Choose the lowering of a node; a typed error at the user's line if none."""
    try:
        return _lowering_of(node.target, node, env)
    except exc.Base as error:
        error.with_location(node.meta.get("location"))
        raise


def _lowering_of(target: Any, node: fx.Node, env: CompileEnvironment) -> Lowering:
    if isinstance(target, Op):
        rule = target.codegen.get(env.backend.name)
        if rule is None:
            raise exc.BackendImplementationMissing(
                backend=env.backend.name, detail=f"codegen of hl.{target.name}"
            )
        return APIFuncLowering(target, rule)
    if target in (_host_tensor, _get_symnode):
        return ControlFlowLowering(codegen_control_flow.RULES[target])
    if target in codegen_control_flow.RULES:
        is_effect = target is not codegen_control_flow.getitem
        pure = target is codegen_control_flow.mask_to
        return ControlFlowLowering(
            codegen_control_flow.RULES[target], is_effect and not pure
        )
    if target in INTERNAL_FOLDS:
        rule = env.backend.aten_rule(target)
        assert rule is not None
        return KINDS[rule.kind](rule)
    if isinstance(target, torch._ops.OpOverload):
        rule = env.backend.aten_rule(target) or env.backend.fallback_rule(node)
        if rule is not None:
            return KINDS[rule.kind](rule)
        raise exc.BackendUnsupported(
            backend=env.backend.name, detail=f"the operator {target} in a device loop"
        )
    raise AssertionError(f"no lowering for {node.format_node()}")
