"""Graphs written by hand, as tracing would leave them, and what they compute."""

from __future__ import annotations

import operator
import types
from dataclasses import dataclass

import torch
from torch import fx
from torch.fx.node import map_arg

from helion._compiler.backend import AtenRule
from helion._compiler.codegen_control_flow import RULES
from helion._compiler.device_ir import (
    DeviceIR,
    RootGraphInfo,
    _host_tensor,
    _mask_to,
    _reduction_loop,
)
from helion._compiler.lowering_kinds import (
    APIFuncLowering,
    ControlFlowLowering,
    PointwiseLowering,
    ReductionLowering,
    SimpleLowering,
)
from helion._compiler.node_masking import IDENTITIES
from helion._compiler.op_registry import Op
from helion._compiler.triton.pointwise_ops import POINTWISE
from helion.language.memory_ops import load, store

aten = torch.ops.aten


@dataclass
class Axis:
    block_id: int
    extent: int
    is_reduction: bool
    parents: tuple[int, ...] = ()

    @property
    def numel(self):
        return self.extent

    def size_hint(self):
        return self.extent


class Env:
    """The axes of a compile: tiles T and K, reduced R and S."""

    settings = types.SimpleNamespace(debug=True)

    def __init__(self):
        kinds = {T: False, K: False, R: True, S: True}
        self.block_sizes = [
            Axis(i, extent, kind) for i, (extent, kind) in enumerate(kinds.items())
        ]

    def block_of(self, extent):
        found = [b for b in self.block_sizes if b.extent == extent]
        return found[0] if found else None


T, K, R, S = 6, 7, 10, 9
TILE_T, TILE_K = ("tile", 0), ("tile", 1)
FULL_R, FULL_S = ("full", 2), ("full", 3)
EXTENTS = {TILE_T: T, TILE_K: K, FULL_R: R, FULL_S: S}


class GraphWriter:
    """Appends nodes with the value and the lowering that they would have."""

    def __init__(self):
        self.graph = fx.Graph()
        self.hosts = {}

    def host(self, name, *shape):
        value = torch.empty(shape, device="meta")
        self.hosts[name] = self.node(_host_tensor, (name,), value)
        return self.hosts[name]

    def node(self, target, args, value, kwargs=None):
        node = self.graph.call_function(target, args, kwargs)
        node.meta.update(val=value, lowering=lowering_for(target), location=None)
        return node

    def placeholder(self, *shape):
        node = self.graph.placeholder("arg")
        node.meta["val"] = torch.empty(shape, device="meta")
        return node

    def load(self, host, *index):
        dims = []
        for entry in index:
            if entry[0] == "tensor":
                dims += entry[1].meta["val"].shape
            elif entry[0] != "scalar":
                dims.append(EXTENTS.get(entry, 1))
        return self.node(
            load, (host, list(index), None, None), torch.empty(dims, device="meta")
        )

    def store(self, host, index, value):
        return self.node(store, (host, list(index), value, None), None)

    def call(self, target, *args, **kwargs):
        value = target(*map_arg(args, lambda n: n.meta["val"]), **kwargs)
        return self.node(target, args, value, kwargs)

    def full(self, shape, value):
        return self.call(aten.full.default, shape, value, device="meta")

    def finish(self, *results):
        self.graph.output(list(results))
        return DeviceIR([RootGraphInfo(0, self.graph)], [0])


def lowering_for(target):
    if isinstance(target, Op):
        return APIFuncLowering(target, lambda state: None)
    if target in RULES:
        return ControlFlowLowering(RULES[target], target.__name__.endswith("loop"))
    if target in POINTWISE:
        return PointwiseLowering(AtenRule(lambda state: None, pointwise_mask))
    kind = ReductionLowering if target in IDENTITIES else SimpleLowering
    return kind(AtenRule(lambda state: None))


def pointwise_mask(node, known):
    inputs = [known(a) for a in node.args]
    return POINTWISE[node.target].masked_value(inputs, node.meta["val"].dtype)


class Machine:
    """Runs graphs on real tensors, a reduced axis in chunks inside its loops."""

    def __init__(self, graphs, hosts, chunk=4):
        self.graphs = graphs
        self.hosts = {name: value.clone() for name, value in hosts.items()}
        self.chunk = chunk

    def run(self, info, inputs=(), lanes=None):
        values, arguments = {}, iter(inputs)
        for node in info.graph.nodes:
            if node.op == "placeholder":
                values[node] = next(arguments)
            elif node.op == "call_function":
                args = map_arg(node.args, lambda n: values[n])
                values[node] = self.step(node, args, lanes)
        return [values[n] for n in info.outputs]

    def step(self, node, args, lanes):
        if node.target is _host_tensor:
            return self.hosts[args[0]]
        if node.target in (load, store):
            where = tuple(self.index(e, lanes) for e in args[1])
            if node.target is load:
                return args[0][where].clone()
            args[0][where] = args[2]
            return None
        if node.target is _reduction_loop:
            return self.loop(*args)
        if node.target is _mask_to:
            return args[0]
        if node.target is operator.getitem:
            return args[0][args[1]]
        kwargs = {k: v for k, v in node.kwargs.items() if k != "device"}
        return node.target(*args, **kwargs)

    def index(self, entry, lanes):
        if entry[0] in ("scalar", "tensor"):
            return entry[1]
        return lanes[1] if lanes and entry == ("full", lanes[0]) else slice(None)

    def loop(self, graph_id, inputs):
        info = self.graphs[graph_id]
        size = {2: R, 3: S}[info.block_id]
        total = None
        for begin in range(0, size, self.chunk):
            lanes = slice(begin, min(begin + self.chunk, size))
            parts = self.run(info, inputs, (info.block_id, lanes))
            total = parts if total is None else self.combine(info, total, parts)
        return total

    def combine(self, info, total, parts):
        rules = {aten.sum.dim_IntList: torch.add, aten.amax.default: torch.maximum}
        return [
            rules[node.target](old, new)
            for node, old, new in zip(info.outputs, total, parts, strict=True)
        ]
