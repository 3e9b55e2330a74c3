"""Typed access to the arguments of graph nodes."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx


def raw_arg(node: fx.Node, index: int) -> Any:
    """Return an argument as the node holds it."""
    return node.args[index]


def int_arg(node: fx.Node, index: int) -> int:
    """Return an argument that is a plain number: a dim, a block or a graph id."""
    value = node.args[index]
    assert isinstance(value, int), f"argument {index} of {node.format_node()}"
    return value


def node_arg(node: fx.Node, index: int) -> fx.Node:
    """Return an argument that is the result of another node."""
    value = node.args[index]
    assert isinstance(value, fx.Node), f"argument {index} of {node.format_node()}"
    return value


def first_value(node: fx.Node) -> Any:
    """Return the fake result of a node, the first one of several."""
    value = node.meta["val"]
    return value[0] if isinstance(value, (list, tuple)) else value


def fake_arg(node: fx.Node, index: int) -> Any:
    """Return the fake value of an argument that is the result of another node."""
    return node_arg(node, index).meta["val"]


def shape_of(value: object) -> tuple[int, ...]:
    """Return the extents of a node's tensor; none for scalars, tuples and non-nodes.

    A symbolic size of a host tensor is no extent: it is -1, as a comparison with it
    would become a guard.
    """
    result = value.meta.get("val") if isinstance(value, fx.Node) else None
    sizes = result.shape if isinstance(result, torch.Tensor) else ()
    return tuple(s if isinstance(s, int) else -1 for s in sizes)
