"""Numbers loads, stores and atomics, so that their tunables keep their meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..language.memory_ops import load, store
from .compiler_pass import compiler_pass
from .op_registry import Op

if TYPE_CHECKING:
    from torch import fx

    from .compile_environment import CompileEnvironment
    from .device_ir import DeviceIR


@compiler_pass("number")
def number_accesses(ir: DeviceIR, env: CompileEnvironment) -> DeviceIR:
    """Give every access site its number, in source order; clones share it."""
    spec = env.config_spec
    loads = stores = accesses = atomics = 0
    for node in _source_order(ir):
        if node.target is load:
            node.meta["load_site"], node.meta["site"] = loads, accesses
            loads, accesses = loads + 1, accesses + 1
        elif node.target is store:
            node.meta["store_site"], node.meta["site"] = stores, accesses
            stores, accesses = stores + 1, accesses + 1
        elif isinstance(node.target, Op) and node.target.name.startswith("atomic_"):
            node.meta["atomic_site"] = atomics
            atomics += 1
    spec.num_loads, spec.num_stores = loads, stores
    spec.num_memory_ops, spec.num_atomics = accesses, atomics
    return ir


def _source_order(ir: DeviceIR) -> list[fx.Node]:
    nodes = [n for g in ir.graphs for n in g.graph.nodes if n.op == "call_function"]

    def place(node: fx.Node) -> tuple[int, int]:
        location = node.meta.get("location")
        return (location.lineno, location.col) if location is not None else (0, 0)

    return sorted(nodes, key=place)
