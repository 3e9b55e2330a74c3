"""Warns of sums over K that round each partial product to a narrow dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from .. import exc
from .compiler_pass import compiler_pass
from .device_ir import ForLoopGraphInfo

if TYPE_CHECKING:
    from .compile_environment import CompileEnvironment
    from .device_ir import DeviceIR

aten = torch.ops.aten
_PRODUCTS = (aten.mm.default, aten.bmm.default)
_CASTS = (aten._to_copy.default, torch.ops.prims.convert_element_type.default)


@compiler_pass("warn")
def warn_tiled_products(ir: DeviceIR, env: CompileEnvironment) -> DeviceIR:
    """Name sums in which a loop adds a product of halves to what it carries."""
    for info in ir.graphs:
        if not isinstance(info, ForLoopGraphInfo):
            continue
        for node in info.graph.nodes:
            if node.target is aten.add.Tensor and _rounds(node.args[:2]):
                warning = exc.TiledKMatmulAccumulationWarning()
                warning.with_location(node.meta.get("location"))
                exc.warn(warning, env.settings.ignore_warnings)
    return ir


def _rounds(operands: Any) -> bool:
    sources = [_source(value) for value in operands]
    return any(
        isinstance(product, fx.Node)
        and product.target in _PRODUCTS
        and product.meta["val"].dtype.itemsize < 4
        and isinstance(carried, fx.Node)
        and carried.op == "placeholder"
        for product, carried in (sources, sources[::-1])
    )


def _source(value: Any) -> Any:
    """Return what was cast, through any number of casts."""
    while isinstance(value, fx.Node) and value.target in _CASTS:
        value = value.args[0]
    return value
