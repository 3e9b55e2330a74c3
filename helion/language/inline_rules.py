"""How inline Triton and assembly are traced and emitted."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .._compiler import symbols
from .._compiler.ast_extension import as_expr, assign, expr, statements
from .._compiler.error_text import describe
from . import _decorators
from .inline_ops import (
    inline_asm_elementwise,
    inline_triton,
    pure_asm,
    triton_kernel,
)
from .inline_source import InlineSource
from .jit_functions import define, find_function

if TYPE_CHECKING:
    from .._compiler.codegen_state import CodegenState
    from .._compiler.graph_tracer import GraphTracer

_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class _Touched:
    """A host tensor that foreign code may read and write."""

    tensor: torch.Tensor


# -- arguments and results -----------------------------------------------------------


def _named_args(op: str, args: Any) -> tuple[list[str], list[Any]]:
    """Return the names and the values of arguments; positions are names, too."""
    if isinstance(args, dict) and all(isinstance(name, str) for name in args):
        return list(args), list(args.values())
    if not isinstance(args, (list, tuple)):
        raise exc.InvalidAPIUsage(
            f"{op}: args must be a list, a tuple or a dict, not {describe(args)}"
        )
    return [str(i) for i in range(len(args))], list(args)


def _traced_arg(tracer: GraphTracer, op: str, value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        is_host = tracer.env.host_origin(value) is not None
        return tracer.host_node(value) if is_host else value
    value = getattr(value, "value", value)  # an hl.constexpr
    if isinstance(value, (*_PLAIN, *symbols.SymValue)):
        return value
    raise exc.InvalidAPIUsage(
        f"{op}: an argument is {describe(value)}, but must be a tensor or a number",
        hint="of a tile, pass tile.index, tile.begin or tile.block_size",
    )


def _results(tracer: GraphTracer, op: str, likes: Any) -> Any:
    """Return fresh values like the given ones: one, a tuple of them, or None."""
    if likes is None:
        return None
    several = isinstance(likes, (list, tuple))
    given = list(likes) if several else [likes]
    for like in given:
        is_tensor = isinstance(like, torch.Tensor)
        if not is_tensor or tracer.env.host_origin(like) is not None:
            what = "a host tensor" if is_tensor else describe(like)
            raise exc.InvalidAPIUsage(
                f"{op}: output_like holds device tensors, not {what}",
                hint="load a tile first, or make one with hl.zeros",
            )
    if not given:
        raise exc.InvalidAPIUsage(f"{op}: output_like is empty; None means no result")
    fresh = [tracer.like(like) for like in given]
    return tuple(fresh) if several else fresh[0]


def _is_host(value: Any) -> bool:
    target = getattr(value, "target", None)
    return getattr(target, "__name__", "") == "_host_tensor"


def _emitted_args(state: CodegenState, position: int) -> list[ast.expr]:
    """Return the arguments as expressions; host tensors are pointers."""
    given: Any = state.node.args[position]
    found: list[ast.expr] = []
    for value in given:
        if _is_host(value):
            found.append(_pointer(state, value))
        elif isinstance(value, str):
            found.append(ast.Constant(value=value))
        else:
            found.append(as_expr(state.resolve(value)))
    return found


def _pointer(state: CodegenState, node: torch.fx.Node) -> ast.expr:
    launch, tensor = state.launch, node.meta["val"]
    touched = _Touched(tensor)
    launch.order_after_store(touched)
    launch.note_store(touched)
    return expr(launch.tensor_arg(str(node.args[0]), launch.env.host_origin(tensor)))


def _checked_results(state: CodegenState, value: ast.expr) -> Any:
    """Name the result(s); dtypes and shapes are checked when Triton compiles."""
    if state.value is None:
        return value
    name = state.launch.new_var("inline")
    state.launch.emit(assign(name, value))
    if isinstance(state.value, torch.Tensor):
        return _checked(state, expr(name), state.value)
    return [
        _checked(state, state.lift(expr(f"{name}[{i}]"), "inline"), fake)
        for i, fake in enumerate(state.value)
    ]


def _checked(state: CodegenState, value: ast.expr, fake: torch.Tensor) -> ast.expr:
    groups = state.launch.merged_dims(list(fake.shape))
    dtype = ast.unparse(state.dtype_expr(fake.dtype))
    name = ast.unparse(value)
    kind = f"output_like is of {dtype}"
    state.launch.emit(
        *statements(f"tl.static_assert({name}.dtype == {dtype}, {kind!r})")
    )
    rank = f"output_like has {len(groups)} dims here"
    check = f"tl.static_assert(len({name}.shape) == {len(groups)}, {rank!r})"
    state.launch.emit(*statements(check))
    for dim, group in enumerate(groups):
        size = state.launch.dim_text(group)
        text = f"dim {dim} of output_like has another size"
        check = f"tl.static_assert({name}.shape[{dim}] == {size}, {text!r})"
        state.launch.emit(*statements(check))
    return value


# -- inline Triton -------------------------------------------------------------------


@_decorators.type_propagation(inline_triton)
def inline_triton_trace(
    tracer: GraphTracer, triton_source: Any, args: Any, output_like: Any
) -> Any:
    op = "hl.inline_triton"
    names, values = _named_args(op, args)
    results = _results(tracer, op, output_like)
    source = InlineSource.parse(op, triton_source, names, results is not None)
    listed = source.result_count(op)
    wanted = len(results) if isinstance(results, tuple) else 1
    if results is not None and listed not in (None, wanted):
        raise exc.InvalidAPIUsage(
            f"{op}: the source gives {listed} values, but output_like {wanted}"
        )
    values = [_traced_arg(tracer, op, value) for value in values]
    return tracer.emit(inline_triton, (source.text, values), results)


@_decorators.codegen(inline_triton)
def inline_triton_codegen(state: CodegenState) -> Any:
    launch, text = state.launch, state.node.args[0]
    assert isinstance(text, str)
    args = _emitted_args(state, 1)
    source = InlineSource(text)
    body = source.filled("hl.inline_triton", args, launch.new_var)
    last = body[-1]
    if state.value is None or not isinstance(last, ast.Expr):
        launch.emit(*body)
        return expr("None")
    launch.emit(*body[:-1])
    return _checked_results(state, last.value)


@_decorators.type_propagation(triton_kernel)
def triton_kernel_trace(
    tracer: GraphTracer, triton_source_or_fn: Any, args: Any, output_like: Any
) -> Any:
    op = "hl.triton_kernel"
    function = find_function(tracer, triton_source_or_fn)
    names, values = _named_args(op, args)
    keys = names if isinstance(args, dict) else None
    results = _results(tracer, op, output_like)
    values = [_traced_arg(tracer, op, value) for value in values]
    function = _Function(function, tracer.namespace)
    return tracer.emit(triton_kernel, (function, values, keys), results)


class _Function:
    """A jit function, or the text of one, as an argument of a node."""

    def __init__(self, given: Any, namespace: dict[str, Any]) -> None:
        self.given = given
        self.globals_ = namespace

    def __deepcopy__(self, memo: dict[int, object]) -> _Function:
        return self

    def __repr__(self) -> str:
        text = self.given if isinstance(self.given, str) else self.given.fn.__name__
        return f"<triton {text.splitlines()[0]}>"


@_decorators.codegen(triton_kernel)
def triton_kernel_codegen(state: CodegenState) -> Any:
    function, keys = state.node.args[0], state.node.args[2]
    assert isinstance(function, _Function)
    known: Any = state.launch.helpers.emitted
    name = define(function.given, function.globals_, known)
    args = _emitted_args(state, 1)
    holes = {f"a{i}": arg for i, arg in enumerate(args)}
    texts = [f"{{{hole}}}" for hole in holes]
    if isinstance(keys, (list, tuple)):
        texts = [f"{key}={text}" for key, text in zip(keys, texts, strict=True)]
    return _checked_results(state, expr(f"{name}({', '.join(texts)})", **holes))


# -- inline assembly -----------------------------------------------------------------


@_decorators.type_propagation(inline_asm_elementwise)
def inline_asm_trace(tracer: GraphTracer, *given: Any, **options: Any) -> Any:
    op = "hl.inline_asm_elementwise"
    bound: dict[str, Any] = inline_asm_elementwise.bind(given, options)
    asm, constraints, args, dtype, is_pure, pack = bound.values()
    dtypes = _checked_asm(op, (asm, constraints, args, dtype, is_pure, pack))
    values = [_asm_arg(tracer, op, value) for value in args]
    shape = list(torch.broadcast_shapes(*(v.size() for v in values))) or [1]
    if any(v.dim() == 0 for v in values) and all(v.dim() == 0 for v in values):
        shape = [] if values else [1]
    fresh = tuple(tracer.new_value(shape, d) for d in dtypes)
    result = fresh if isinstance(dtype, (list, tuple)) else fresh[0]
    target = pure_asm if is_pure else inline_asm_elementwise
    return tracer.emit(target, (asm, constraints, values, pack), result)


def _checked_asm(op: str, given: tuple[Any, ...]) -> list[torch.dtype]:
    """Return the dtypes of the results; InvalidAPIUsage for misuse."""
    asm, constraints, args, dtype, is_pure, pack = given
    dtypes = list(dtype) if isinstance(dtype, (list, tuple)) else [dtype]
    rules = {
        "asm must be a string literal": isinstance(asm, str),
        "constraints must be a string literal": isinstance(constraints, str),
        "args must be a list or tuple of tensors": isinstance(args, (list, tuple)),
        "dtype must name at least one dtype": bool(dtypes),
        "dtype must be a torch.dtype or a sequence of them": all(
            isinstance(d, torch.dtype) for d in dtypes
        ),
        "is_pure must be True or False": isinstance(is_pure, bool),
        "pack must be a positive int": isinstance(pack, int) and pack > 0,
    }
    for rule, holds in rules.items():
        if not holds:
            raise exc.InvalidAPIUsage(f"{op}: {rule}")
    return dtypes


def _asm_arg(tracer: GraphTracer, op: str, value: Any) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise exc.InvalidAPIUsage(
            f"{op}: args are tensors, not {describe(value)}",
            hint="make a tensor of a number with hl.full",
        )
    origin = tracer.env.host_origin(value)
    if origin is not None:
        raise exc.HostTensorDirectUsage(name=origin.host_str(), op=op)
    return value


@_decorators.codegen(pure_asm)
def pure_asm_codegen(state: CodegenState) -> Any:
    return _asm_call(state, is_pure=True)


@_decorators.codegen(inline_asm_elementwise)
def inline_asm_codegen(state: CodegenState) -> Any:
    return _asm_call(state, is_pure=False)


def _asm_call(state: CodegenState, is_pure: bool) -> Any:
    asm, constraints, given, pack = state.node.args
    assert isinstance(given, (list, tuple))
    several = not isinstance(state.value, torch.Tensor)
    fakes = list(state.value) if several else [state.value]
    shape = list(fakes[0].shape)
    holes: dict[str, Any] = {
        "asm": ast.Constant(value=str(asm)),
        "constraints": ast.Constant(value=str(constraints)),
    }
    for index, value in enumerate(given):
        assert isinstance(value, torch.fx.Node)
        own = list(value.meta["val"].shape)
        holes[f"a{index}"] = state.launch.align(state.values[value], own, shape)
    args = ", ".join(f"{{a{i}}}" for i in range(len(given)))
    names = [ast.unparse(state.dtype_expr(fake.dtype)) for fake in fakes]
    dtype = f"({', '.join(names)},)" if several else names[0]
    call = expr(
        f"tl.inline_asm_elementwise(asm={{asm}}, constraints={{constraints}}, "
        f"args=[{args}], dtype={dtype}, is_pure={is_pure}, pack={pack})",
        **holes,
    )
    result = state.lift(call, "asm")
    parts = [expr("{r}[" + str(i) + "]", r=result) for i in range(len(fakes))]
    parts = parts if several else [result]
    if not given:
        parts = [expr("tl.broadcast_to({p}, [1])", p=part) for part in parts]
    return parts if several else parts[0]
