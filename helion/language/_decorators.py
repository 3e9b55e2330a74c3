"""Decorators that make an op and fill the slots of its rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from .._compiler.op_registry import DEFAULT_BACKEND, Op, OpFlags, as_op

P = ParamSpec("P")
R = TypeVar("R")
RuleT = TypeVar("RuleT", bound=Callable[..., Any])


def api(
    *,
    is_device_only: bool = False,
    is_host_only: bool = False,
    tiles_as_sizes: bool = False,
    impure: bool = False,
) -> Callable[[Callable[P, R]], Op[P, R]]:
    """Make an op of a function whose body is the eager reference.

    Args:
        is_device_only: compiled kernels may call it only in device loops.
        is_host_only: compiled kernels may call it only outside device loops.
        tiles_as_sizes: tiles among the arguments stand for their size.
        impure: calls have an effect, so they are kept even if nothing uses them.
    """
    flags = OpFlags(is_device_only, is_host_only, tiles_as_sizes, impure)

    def decorate(function: Callable[P, R]) -> Op[P, R]:
        return Op(function, flags)

    return decorate


def fake(op: object) -> Callable[[RuleT], RuleT]:
    """Make the decorated function give the op's result on fake tensors."""

    def decorate(rule: RuleT) -> RuleT:
        as_op(op).fake = rule
        return rule

    return decorate


def type_propagation(op: object) -> Callable[[RuleT], RuleT]:
    """Make the decorated function give the type of the op's result."""

    def decorate(rule: RuleT) -> RuleT:
        as_op(op).type_propagation = rule
        return rule

    return decorate


def codegen(op: object, backend: str = DEFAULT_BACKEND) -> Callable[[RuleT], RuleT]:
    """Make the decorated function emit the op's code for ``backend``."""

    def decorate(rule: RuleT) -> RuleT:
        as_op(op).codegen[backend] = rule
        return rule

    return decorate


def masked_value(op: object) -> Callable[[RuleT], RuleT]:
    """Make the decorated function tell what masked lanes of the result hold."""

    def decorate(rule: RuleT) -> RuleT:
        as_op(op).masked_value = rule
        return rule

    return decorate
