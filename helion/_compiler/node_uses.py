"""What values of a graph are made of and what becomes of them, seen through views."""

from __future__ import annotations

import operator

import torch
from torch import fx

from ..language.memory_ops import load
from ..language.tile import tile_index
from .device_ir import CONTROL_FLOW, _host_tensor, _mask_to, target_name
from .finalize_config import PRODUCTS

aten = torch.ops.aten
VIEWS = {
    aten.unsqueeze.default,
    aten.squeeze.dim,
    aten.expand.default,
    aten.detach.default,
    aten.permute.default,
    aten.transpose.int,
    aten.view.default,
    aten.reshape.default,
    operator.getitem,
    _mask_to,
}
_FREE = {tile_index, _host_tensor}
TURNS = {aten.permute.default, aten.transpose.int}


def is_free(node: fx.Node) -> bool:
    """Whether a value costs no registers: an index, a constant, a shared operand."""
    if node.target in _FREE or target_name(node).startswith(
        ("aten.full", "aten.scalar")
    ):
        return True
    return node.target is load and only_products(node)


def only_products(node: fx.Node) -> bool:
    """Whether all uses of a value, through views, are sides of products."""
    users = list(node.users)
    return bool(users) and all(
        _is_side(user, node) or (user.target in VIEWS and only_products(user))
        for user in users
    )


def _is_side(user: fx.Node, node: fx.Node) -> bool:
    places = PRODUCTS.get(user.target)
    return places is not None and node in [user.args[i] for i in places]


def reaches_product(node: fx.Node) -> bool:
    """Whether a value is part of a side of a product in its graph."""
    seen: set[fx.Node] = set()
    pending = [node]
    while pending:
        current = pending.pop()
        for user in current.users:
            if _is_side(user, current):
                return True
            if user.op == "call_function" and user not in seen:
                seen.add(user)
                if user.target not in CONTROL_FLOW and user.target not in PRODUCTS:
                    pending.append(user)
    return False


def loads_of(node: fx.Node) -> set[fx.Node]:
    """Return the loads that a value is made of, elementwise; itself: of others."""
    if node.target is load:
        return {node}
    kind = type(node.meta.get("lowering")).__name__
    if kind != "PointwiseLowering" and node.target not in VIEWS:
        return set() if is_free(node) else {node}
    return set().union(*(loads_of(n) for n in node.all_input_nodes), set())


def has_load(node: fx.Node) -> bool:
    """Whether a value depends on a load, or on what an outer graph knows."""
    seen, pending = set(), [node]
    while pending:
        current = pending.pop()
        if current.target is load or current.op == "placeholder":
            return True
        if current not in seen:
            seen.add(current)
            pending += current.all_input_nodes
    return False
