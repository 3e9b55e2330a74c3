"""Records torch operations on device values as nodes of FX graphs."""

from __future__ import annotations

import contextlib
import functools
import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import fx
from torch.utils._python_dispatch import TorchDispatchMode

from .. import exc
from . import symbols
from .aten_decompositions import INFERENCE, OWN_DECOMPOSITIONS, in_place_source
from .device_ir import HelperFunctionGraphInfo, _get_symnode, _host_tensor
from .jagged_axes import JaggedAxes
from .jagged_rows import NestedRows

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable, Iterator, Sequence

    from .compile_environment import CompileEnvironment
    from .device_ir import DeviceIR
    from .op_registry import Op
    from .source_location import SourceLocation

# Questions about a tensor, not work on it.
_TRANSPARENT = {
    "aten::sym_size",
    "aten::sym_stride",
    "aten::sym_numel",
    "aten::sym_storage_offset",
    "prim::device",
    "aten::is_contiguous",
}


@dataclass
class GraphBuilder:
    """One graph being recorded; values of outer graphs enter on first use."""

    parent: GraphBuilder | None
    graph: fx.Graph = field(default_factory=fx.Graph)
    nodes: dict[int, tuple[torch.Tensor, fx.Node]] = field(default_factory=dict)
    shared: dict[str, fx.Node] = field(default_factory=dict)
    captured: list[torch.Tensor] = field(default_factory=list)
    mutated: list[torch.Tensor] = field(default_factory=list)
    last_placeholder: fx.Node | None = None

    def placeholder(self, name: str, value: torch.Tensor) -> fx.Node:
        """Append an argument of the graph."""
        if self.last_placeholder is None:
            position = self.graph.inserting_before(next(iter(self.graph.nodes), None))
        else:
            position = self.graph.inserting_after(self.last_placeholder)
        with position:
            node = self.graph.placeholder(name)
        node.meta["val"] = value
        self.last_placeholder = node
        return node

    def bind(self, value: torch.Tensor, node: fx.Node) -> None:
        """Let ``value`` stand for ``node`` from here on."""
        self.nodes[id(value)] = (value, node)

    def owns(self, value: torch.Tensor) -> bool:
        """Whether the tensor was made (or is an argument) in this graph."""
        return id(value) in self.nodes

    def lookup(self, value: torch.Tensor) -> fx.Node | None:
        """Return the node of a device tensor, capturing it from outside."""
        found = self.nodes.get(id(value))
        if found is not None:
            return found[1]
        if self.parent is None or self.parent.lookup(value) is None:
            return None
        node = self.placeholder(f"captured_{len(self.captured)}", value)
        self.captured.append(value)
        self.bind(value, node)
        return node


class GraphTracer(TorchDispatchMode):
    """A dispatch mode that records; ``builder`` is the graph being recorded."""

    def __init__(self, env: CompileEnvironment, ir: DeviceIR) -> None:
        super().__init__()
        self.env = env
        self.ir = ir
        self.builder: GraphBuilder | None = None
        self.builders: list[GraphBuilder] = []
        self.location: SourceLocation | None = None
        self._decompositions: dict[Any, Callable[..., Any]] | None = None
        self._paused = False
        self.in_helper = False  # a combine function is being recorded
        self.call_node: ast.Call | None = None
        self.seeds: dict[object, torch.SymInt] = {}  # of random calls, by their place
        self.namespace: dict[str, Any] = {}  # the globals of the kernel
        self.jagged = JaggedAxes(self)
        self.nested = NestedRows(self)

    @property
    def on_device(self) -> bool:
        """Whether device code is being recorded."""
        return self.builder is not None

    def is_device_value(self, value: torch.Tensor) -> bool:
        """Whether some graph made a tensor, be it out of reach by now."""
        return any(builder.owns(value) for builder in self.builders)

    @contextlib.contextmanager
    def recording(self) -> Iterator[GraphBuilder]:
        """Record into a new graph inside the current one."""
        outer = self.builder
        self.builder = GraphBuilder(outer)
        self.builders.append(self.builder)
        try:
            if outer is None:
                with self:
                    yield self.builder
            else:
                yield self.builder
        finally:
            self.builder = outer

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Run torch operations on fakes without recording them."""
        before, self._paused = self._paused, True
        try:
            # Sizes given here are extents already.
            with torch._C.DisableTorchFunction():
                yield
        finally:
            self._paused = before

    def new_value(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Return a fresh device value that no node stands behind yet."""
        with self.paused():
            return torch.empty(list(shape), dtype=dtype, device=self.env.device)

    def like(self, value: torch.Tensor) -> torch.Tensor:
        """Return a fresh device value of the shape and dtype of another."""
        with self.paused():
            return torch.empty(
                list(value.size()), dtype=value.dtype, device=self.env.device
            )

    def call_op(self, op: Op[..., Any], args: Any, kwargs: Any) -> Any:
        """Trace a call of a language op."""
        if op.flags.is_device_only and not self.on_device:
            raise exc.DeviceAPIOnHost(name=f"hl.{op.name}")
        if self.in_helper:
            raise exc.NotAllowedInHelperFunction(name=f"hl.{op.name}")
        if op.type_propagation is not None:
            # Rules see extents where user code sees symbolic sizes.
            with torch._C.DisableTorchFunction():
                return op.type_propagation(self, *args, **kwargs)
        if op.fake is None:
            return op.reference(*args, **kwargs)
        values = tuple(op.bind(args, kwargs).values())
        with self.paused():
            result = op.fake(*values)
        return self.emit(op, values, result)

    def combine_graph(
        self, function: object, combine: Callable[..., Any], dtypes: tuple[Any, ...]
    ) -> int:
        """Record a combine function of scalars as a graph; return the graph's id.

        ``combine`` takes and returns tuples; one graph serves all calls of a
        ``function`` on the same dtypes.
        """
        for info in self.ir.graphs:
            is_helper = isinstance(info, HelperFunctionGraphInfo)
            if is_helper and info.function is function and info.dtypes == dtypes:
                return info.graph_id
        sides = [], []
        with self.recording() as builder, torch._C._EnableTorchFunction():
            for side, values in zip(("left", "right"), sides, strict=True):
                for index, dtype in enumerate(dtypes):
                    values.append(self.new_value([], dtype))
                    node = builder.placeholder(f"{side}_{index}", values[-1])
                    builder.bind(values[-1], node)
            self.in_helper = True
            try:
                results = combine(*map(tuple, sides))
            finally:
                self.in_helper = False
            self._check_combined(builder, results)
            builder.graph.output([self.node_of(value) for value in results])
        return self.ir.add(HelperFunctionGraphInfo(-1, builder.graph, function, dtypes))

    def _check_combined(self, builder: GraphBuilder, results: Sequence[Any]) -> None:
        outer = (_host_tensor, _get_symnode)
        if builder.captured or any(n.target in outer for n in builder.graph.nodes):
            raise exc.TypeInferenceError(
                "the combine function reads more than its arguments",
                hint="it may use its arguments and constants only",
            )
        if any(result.dim() for result in results):
            raise exc.TypeInferenceError(
                "the combine function of scalars must return scalars"
            )

    # -- nodes -------------------------------------------------------------------

    def emit(self, target: Any, args: tuple[Any, ...], value: Any) -> Any:
        """Append a node for a call and let its result(s) stand for it."""
        builder = self.builder
        assert builder is not None
        args = self.jagged.mask_operands(target, args)
        node = builder.graph.call_function(target, self.to_args(args))
        self._describe(node, value)
        if isinstance(value, torch.Tensor):
            builder.bind(value, node)
        elif isinstance(value, (list, tuple)):
            self.bind_items(node, value)
        return value

    def bind_items(self, node: fx.Node, values: Sequence[Any]) -> None:
        """Make one ``getitem`` node per result of a call."""
        builder = self.builder
        assert builder is not None
        for index, value in enumerate(values):
            item = builder.graph.call_function(operator.getitem, (node, index))
            self._describe(item, value)
            if isinstance(value, torch.Tensor):
                builder.bind(value, item)

    def _describe(self, node: fx.Node, value: Any) -> None:
        node.meta["val"] = value
        node.meta["location"] = self.location

    def to_args(self, value: Any) -> Any:
        """Return arguments with tensors and symbolic scalars replaced by nodes."""
        if isinstance(value, torch.Tensor):
            return self.node_of(value)
        if isinstance(value, symbols.SymValue):
            return self.symnode(value)
        if isinstance(value, (list, tuple)):
            items = [self.to_args(v) for v in value]
            return items if isinstance(value, list) else tuple(items)
        if isinstance(value, dict):
            return {k: self.to_args(v) for k, v in value.items()}
        return value

    def node_of(self, value: torch.Tensor) -> fx.Node:
        """Return the node of a device tensor; host tensors must be loaded first."""
        builder = self.builder
        assert builder is not None
        node = builder.lookup(value)
        if node is not None:
            return node
        origin = self.env.host_origin(value)
        if origin is not None:
            raise exc.HostTensorDirectUsage(name=origin.host_str(), op="device code")
        if value.dim() == 0:
            return self._constant(value)
        raise exc.CantReadOnDevice(f"a tensor of shape {list(value.shape)}")

    def _constant(self, value: torch.Tensor) -> fx.Node:
        constant = getattr(value, "constant", None)
        if constant is None:
            raise exc.CantReadOnDevice("a 0-d tensor made outside the kernel")
        args = ([], constant.item())
        self.emit(torch.ops.aten.full.default, args, value)
        node = self.node_of(value)
        node.kwargs = {"dtype": value.dtype}
        return node

    def host_node(self, value: torch.Tensor) -> fx.Node:
        """Return the ``_host_tensor`` node of a host tensor."""
        origin = self.env.host_origin(value)
        assert origin is not None
        self.env.check_reach(value)
        name = origin.host_str()
        self.ir.host_tensors[name] = self.env.host_tensors[id(value)]
        return self._shared(name, _host_tensor, value)

    def symnode(self, value: Any) -> fx.Node | int:
        """Return the ``_get_symnode`` node of a symbolic scalar."""
        known = symbols.static_int(value)
        if known is not None:
            return known
        return self._shared(str(value.node.expr), _get_symnode, value)

    def _shared(self, name: str, target: Any, value: Any) -> fx.Node:
        builder = self.builder
        assert builder is not None
        key = f"{target.__name__}:{name}"
        if key not in builder.shared:
            node = builder.graph.call_function(target, (name,))
            self._describe(node, value)
            builder.shared[key] = node
        return builder.shared[key]

    # -- torch operations ----------------------------------------------------------

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        quiet = self.builder is None or self._paused
        if quiet or func._schema.name in _TRANSPARENT:
            return func(*args, **kwargs)
        if func._schema.is_mutable:
            return self._in_place(func, args, kwargs)
        own = OWN_DECOMPOSITIONS.get(func)
        if own is not None:
            with self:
                result = own(*args, **kwargs)
            if result is not NotImplemented:
                return result
        if self.env.backend.aten_rule(func) is None:
            if is_composite(func):
                with self:
                    return func.decompose(*args, **kwargs)
            decomposed = self._decompose(func, args, kwargs)
            if decomposed is not NotImplemented:
                return decomposed
        return self._record(func, args, kwargs)

    def _record(self, func: Any, args: Any, kwargs: Any) -> Any:
        if self.jagged.lengths:
            with self:
                args = self.jagged.mask_operands(func, args)
        nodes, options = self.to_args(args), self.to_args(kwargs)
        infer = INFERENCE.get(func)
        value = (func if infer is None else infer)(*args, **kwargs)
        builder = self.builder
        assert builder is not None
        node = builder.graph.call_function(func, nodes, options)
        self._describe(node, value)
        if isinstance(value, (list, tuple)):
            self.bind_items(node, value)
        elif isinstance(value, torch.Tensor):
            builder.bind(value, node)
        return value

    def _decompose(self, func: Any, args: Any, kwargs: Any) -> Any:
        if self._decompositions is None:
            self._decompositions = self.env.backend.decompositions()
        rule = self._decompositions.get(func)
        if rule is None:
            return NotImplemented
        with self:
            return rule(*args, **kwargs)

    def _in_place(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Compute the functional form; the receiver stands for the result."""
        target = args[0]
        builder = self.builder
        assert builder is not None
        if self.env.host_origin(target) is not None:
            raise exc.HostTensorDirectUsage(
                name=self.env.host_tensors[id(target)].origin.host_str(),
                op=str(func),
            )
        source = in_place_source(func)
        with self:
            value = source(*args, **kwargs)
            if value.dtype != target.dtype:
                if not torch.can_cast(value.dtype, target.dtype):
                    raise exc.TorchOpTracingError(
                        f"{value.dtype} result cannot be kept in place in a "
                        f"{target.dtype} tensor"
                    )
                value = value.to(target.dtype)
            if value.shape != target.shape:
                value = value.expand(target.shape)
        node = builder.lookup(value)
        assert node is not None
        if not builder.owns(target) or builder.nodes[id(target)][1].op == "placeholder":
            builder.mutated.append(target)
        builder.bind(target, node)
        return target


@functools.cache
def is_composite(func: Any) -> bool:
    """Whether an operator is defined by others (autograd would have split it)."""
    key = "CompositeImplicitAutograd"
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key)
