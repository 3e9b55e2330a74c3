"""The long tail of pointwise ops: bodies made by Inductor, printed as Triton text.

Every use of ``torch._inductor`` for pointwise ops is here; it is imported when the
first op needs it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import types
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import sympy
import torch
from torch.utils import _pytree as pytree

from .. import exc

if TYPE_CHECKING:
    from torch._ops import OpOverload

Emit = Callable[[str], str]
_UPCAST = (torch.float16, torch.bfloat16)
_INDEX = sympy.Function("index")
_NAME = "input"


@dataclasses.dataclass(frozen=True)
class TensorInput:
    """Stands for the tensor operand ``index``; a 0-d one promotes weakly."""

    index: int
    dtype: torch.dtype
    size: Sequence[Any]


@dataclasses.dataclass(frozen=True)
class InductorPointwise:
    """The body of a lowered op; one IR node and dtype for each of its outputs."""

    op: OpOverload
    inputs: tuple[TensorInput, ...]
    outputs: tuple[Any, ...]
    graph: Any

    def dtype(self, output: int = 0) -> torch.dtype:
        return self.outputs[output].get_dtype()

    def render(self, operands: Sequence[str], emit: Emit, output: int = 0) -> str:
        """Return Triton text of one output, of exactly its dtype.

        ``operands`` are the texts of the tensors, of their own dtypes; ``emit`` assigns
        an expression to a fresh variable and returns its name. The text may use
        ``tl``, ``tl_math``, ``libdevice`` and ``triton_helpers``.
        """
        node = self.outputs[output]
        size = node.get_size()
        variables = [sympy.Symbol(f"i{axis}") for axis in range(len(size))]
        loads = _Loads(self, operands, variables)
        try:
            with _printing(self.graph, loads, emit):
                result = node.make_loader()(variables)
        except exc.Base:
            raise
        except Exception as error:
            raise _failure(self.op, error) from error
        return _cast_result(str(result), self.dtype(output))


def inductor_decompositions() -> dict[Any, Callable[..., Any]]:
    """Return Inductor's own decomposition table."""
    from torch._inductor.decomposition import select_decomp_table

    return dict(select_decomp_table())


def lower_pointwise(
    op: Any, args: Sequence[Any], kwargs: dict[str, Any]
) -> InductorPointwise | None:
    """Lower an op whose tensor arguments are ``TensorInput``.

    Returns ``None`` if Inductor has no pointwise body for it.
    """
    from torch._inductor.lowering import fallbacks, lowerings

    if op not in lowerings or op in fallbacks:
        return None
    leaves, spec = pytree.tree_flatten((tuple(args), dict(kwargs)))
    inputs = tuple(leaf for leaf in leaves if isinstance(leaf, TensorInput))
    sizes = _StaticSizes()
    graph = _new_graph()
    with _lowering_scope(graph):
        boxes = [_box(x, sizes) if isinstance(x, TensorInput) else x for x in leaves]
        boxed_args, boxed_kwargs = pytree.tree_unflatten(boxes, spec)
        try:
            result = lowerings[op](*boxed_args, **boxed_kwargs)
        except exc.Base:
            raise
        except Exception as error:  # whatever Inductor asserts about its arguments
            raise _failure(op, error) from error
    outputs = tuple(result) if isinstance(result, (tuple, list)) else (result,)
    if graph.operations or not all(_is_pointwise(node) for node in outputs):
        return None
    return InductorPointwise(op, inputs, outputs, graph)


class _StaticSizes:
    """Gives each distinct extent an integer, so that no guard is ever needed."""

    def __init__(self) -> None:
        self.known: dict[Any, int] = {}

    def of(self, extent: Any) -> sympy.Integer:
        if isinstance(extent, torch.SymInt):
            extent = extent.node.expr
        if isinstance(extent, (int, sympy.Integer)) and int(extent) <= 1:
            return sympy.Integer(int(extent))
        return sympy.Integer(self.known.setdefault(extent, 1009 + len(self.known)))


def _box(tensor: TensorInput, sizes: _StaticSizes) -> Any:
    """Make an IR node that loads an operand; the index stays visible to the loader."""
    from torch._inductor import ir
    from torch._inductor.virtualized import ops

    def load(index: Sequence[Any]) -> Any:
        return ops.load(f"{_NAME}{tensor.index}", _INDEX(*index))

    return ir.TensorBox.create(
        ir.Pointwise(
            device=_device(),
            dtype=tensor.dtype,
            inner_fn=load,
            ranges=[sizes.of(extent) for extent in tensor.size],
        )
    )


def _device() -> torch.device:
    return torch.device("cuda", 0)


def _is_pointwise(node: Any) -> bool:
    """Say whether a node is loaded without any buffer of its own."""
    from torch._inductor import ir

    while isinstance(node, (ir.TensorBox, ir.StorageBox, ir.BaseView)):
        node = node.data
    return isinstance(node, (ir.Pointwise, ir.Constant, ir.IndexingConstant))


def _new_graph() -> Any:
    from torch._inductor.graph import GraphLowering

    empty = torch.fx.Graph()
    empty.output(())
    return GraphLowering(torch.fx.GraphModule({}, empty))


@contextlib.contextmanager
def _lowering_scope(graph: Any) -> Iterator[None]:
    """Set the context that lowerings expect."""
    from torch._inductor.virtualized import V

    node = torch.fx.Graph().placeholder("helion")
    with (
        V.set_graph_handler(graph),
        graph.set_current_device(_device()),
        V.set_current_node(node),
    ):
        yield


@contextlib.contextmanager
def _printing(graph: Any, loads: _Loads, emit: Emit) -> Iterator[None]:
    """Set the context in which a body prints itself."""
    from torch._inductor.virtualized import V

    handler = _handler_class()(loads, emit)
    cse = types.SimpleNamespace(varname_map={}, generate=handler.generate)
    kernel = types.SimpleNamespace(min_elem_per_thread=0, cse=cse, compute=None)
    with (
        _lowering_scope(graph),
        V.set_kernel_handler(kernel),
        V.set_ops_handler(handler),
    ):
        yield


class _Loads:
    """Turns loads of the body into operand texts, computed on in float32."""

    def __init__(
        self,
        lowered: InductorPointwise,
        operands: Sequence[str],
        variables: Sequence[sympy.Symbol],
    ) -> None:
        self.lowered = lowered
        self.operands = operands
        self.variables = variables

    def load(self, name: str, index: Any) -> tuple[str, torch.dtype]:
        position = int(name.removeprefix(_NAME)) if name.startswith(_NAME) else -1
        tensor = next((t for t in self.lowered.inputs if t.index == position), None)
        if tensor is None or not isinstance(index, _INDEX):
            raise _unsupported(self.lowered.op, "a buffer of its own")
        self._require_identity(tensor, index.args)
        text = self.operands[position]
        if tensor.dtype in _UPCAST:
            return f"{text}.to(tl.float32)", torch.float32
        return text, tensor.dtype

    def _require_identity(self, tensor: TensorInput, index: Sequence[Any]) -> None:
        """Check that the load is of the same element, or of a broadcast one."""
        skipped = len(self.variables) - len(index)
        expected = self.variables[skipped:] if skipped >= 0 else ()
        same = len(expected) == len(index) and all(
            given == wanted or (_is_one(extent) and given == 0)
            for given, wanted, extent in zip(index, expected, tensor.size, strict=True)
        )
        if not same:
            raise _unsupported(self.lowered.op, "moved elements")


def _is_one(extent: Any) -> bool:
    if isinstance(extent, torch.SymInt):
        extent = extent.node.expr
    return isinstance(extent, (int, sympy.Integer)) and int(extent) == 1


def _unsupported(op: Any, what: str) -> exc.BackendUnsupported:
    return exc.BackendUnsupported(backend="triton", detail=f"{op}: {what}")


def _failure(op: Any, error: Exception) -> exc.BackendUnsupported:
    """Return a typed error for what went wrong inside Inductor."""
    reason = str(error).strip().splitlines() or [""]
    return exc.BackendUnsupported(
        backend="triton",
        detail=f"the operator {op} in a device loop ({type(error).__name__}: "
        f"{reason[0]})",
        hint="write it with pointwise operators, reductions and loads, or call it in "
        "host code",
    )


def _cast_result(text: str, dtype: torch.dtype) -> str:
    from torch._inductor.utils import triton_type

    if dtype == torch.bool:
        return f"({text}).to(tl.int1)"
    return f"({text}).to({triton_type(dtype)})"


@functools.cache
def _handler_class() -> type:
    """Make the ops handler; its base class lives in Inductor."""
    from torch._inductor.codegen.common import CSEVariable
    from torch._inductor.codegen.triton import TritonOverrides
    from torch._inductor.dtype_propagation import DtypePropagationOpsHandler
    from torch._inductor.ops_handler import DefaultHandler
    from torch.utils._sympy.value_ranges import ValueRanges

    class PrintTriton(DefaultHandler):
        """Prints each op by Inductor's Triton overrides and names its result."""

        def __init__(self, loads: _Loads, emit: Emit) -> None:
            self.loads = loads
            self.emit = emit
            self.dtypes = DtypePropagationOpsHandler()

        def generate(self, _: Any, text: str, *, dtype: Any, shape: Any = None) -> Any:
            return self._named(text, dtype, shape)

        def _named(self, text: str, dtype: Any, shape: Any = ("BLOCK",)) -> Any:
            name = text if text.isidentifier() else self.emit(text)
            return CSEVariable(name, ValueRanges.unknown(), dtype, shape)

        def load(self, name: str, index: Any) -> Any:
            return self._named(*self.loads.load(name, index))

        def constant(self, value: Any, dtype: torch.dtype) -> Any:
            text = TritonOverrides.constant(value, dtype)
            return self._named(text, self.dtypes.constant(value, dtype), ())

        def index_expr(self, expr: Any, dtype: torch.dtype) -> Any:
            raise _unsupported(self.loads.lowered.op, "positions of elements")

        def masked(self, mask: Any, body: Callable[[], Any], other: Any) -> Any:
            value = body()
            other = self.constant(other, value.dtype)
            return self.where(mask, value, other)

        def frexp(self, x0: Any) -> tuple[Any, Any]:
            pair = f"triton_helpers.frexp({x0})"
            # Infinities and NaN have no exponent; libdevice's is the lowest integer.
            finite = f"(tl.abs({x0}) < float('inf'))"
            return (
                self._named(f"{pair}[0]", x0.dtype),
                self._named(f"tl.where({finite}, {pair}[1], 0)", torch.int32),
            )

        def _default(self, name: str, args: Any, kwargs: Any) -> Any:
            method = getattr(TritonOverrides, name, None)
            rule = getattr(self.dtypes, name, None)
            if method is None or rule is None:
                raise _unsupported(self.loads.lowered.op, f"ops.{name}")
            try:
                text = method(*args, **kwargs)
            except NotImplementedError as error:
                raise _unsupported(self.loads.lowered.op, f"ops.{name}") from error
            return self._named(str(text), rule(*args, **kwargs))

    return PrintTriton
