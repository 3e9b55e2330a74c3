"""Finds sums of products in loops that may be computed transposed: y.T @ x.T.

Hopper's fast matrix instruction takes 64 rows of its first operand and 8 columns or
more of its second. A product with few rows and many columns fits it when both trade
places; the sum stays transposed in the loop and is turned round once behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from ..language.matmul_ops import dot
from .compiler_pass import compiler_pass
from .device_ir import ForLoopGraphInfo, _for_loop
from .node_args import fake_arg, int_arg, raw_arg, shape_of

if TYPE_CHECKING:
    from .compile_environment import CompileEnvironment
    from .device_function import DeviceFunction
    from .device_ir import DeviceIR, GraphInfo

aten = torch.ops.aten
_SUMS: dict[Any, tuple[int, int, int]] = {dot: (2, 0, 1), aten.addmm.default: (0, 1, 2)}
"""Where each product has the sum so far, and its factors."""
_SITE = "swap_site"


@compiler_pass("swaps")
def find_swaps(ir: DeviceIR, env: CompileEnvironment) -> DeviceIR:
    """Number the products that a loop adds up and does nothing else with."""
    count = 0
    for info in ir.graphs:
        for loop in info.graph.find_nodes(op="call_function", target=_for_loop):
            body = ir.graphs[int_arg(loop, 0)]
            assert isinstance(body, ForLoopGraphInfo)
            inside = [body.placeholders[i] for i in raw_arg(loop, 3)]
            for place, total in zip(inside, body.outputs, strict=True):
                if _is_sum(place, total) and _SITE not in total.meta:
                    total.meta[_SITE] = count
                    count += 1
    env.config_spec.num_swaps = count
    return ir


def _is_sum(place: fx.Node, total: fx.Node) -> bool:
    """Whether ``total`` is a product added to ``place``, and both have no other use."""
    if total.target not in _SUMS or len(total.users) != 1 or len(place.users) != 1:
        return False
    at, left, right = _SUMS[total.target]
    if total.args[at] is not place or len(shape_of(total)) != 2 or total.kwargs:
        return False
    if list(raw_arg(total.graph.output_node(), 0)).count(total) != 1:
        return False
    dtype = total.meta["val"].dtype
    factors = [fake_arg(total, index).dtype for index in (left, right)]
    is_kind = all(f.is_floating_point == dtype.is_floating_point for f in factors)
    is_wide = dtype in (torch.float32, torch.int32) and torch.float64 not in factors
    return is_kind and is_wide and place.meta["val"].dtype == dtype


def swapped_outputs(fn: DeviceFunction, info: GraphInfo) -> list[int]:
    """Return which results of a loop body the Config wants transposed in the loop."""
    chosen = fn.config.swap_products
    found = []
    for index, node in enumerate(info.outputs):
        site = node.meta.get(_SITE) if node.target in _SUMS else None
        if site is None or not chosen[site]:
            continue
        _, left, right = _SUMS[node.target]
        sizes = {*shape_of(node.args[left]), *shape_of(node.args[right])}
        if not any(size == 1 or fn.is_single(size) for size in sizes):
            found.append(index)
    return found
