"""Repair Triton's interpreter so that emitted kernels run right on CPU tensors.

For tests only; ``TRITON_INTERPRET=1`` must be set before Triton is imported.
``install()`` replaces parts of Triton's interpreter classes, ``uninstall()`` puts the
originals back, and ``repaired()`` does both around a with block.
"""

from __future__ import annotations

import ast
import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import triton
import triton.language as tl
from triton.runtime import interpreter
from triton.runtime.errors import InterpreterError
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

from test.interpreter_builder import (
    KEEPS_REGION,
    MISSING,
    OutOfBounds,
    RepairedBuilder,
    State,
    keeping_region,
    with_base_region,
)

__all__ = ["OutOfBounds", "install", "repaired", "uninstall"]

_saved: list[tuple[object, str, object]] = []


def install(*, check_bounds: bool = False) -> None:
    """Repair the interpreter; ``check_bounds`` turns wild accesses into IndexError.

    It confines each pointer to the storage of the tensor that it was derived from, and
    fills masked-off lanes of loads without ``other`` with NaN or 0xAB, not with zero.
    """
    if not triton.knobs.runtime.interpret:
        raise RuntimeError(
            "set TRITON_INTERPRET=1 before the repair of its interpreter"
        )
    State.check_bounds = check_bounds
    if _saved:
        return
    for name, method in vars(RepairedBuilder).items():
        if not name.startswith("__"):
            _patch(InterpreterBuilder, name, method)
    for name in KEEPS_REGION:
        _patch(
            InterpreterBuilder, name, keeping_region(getattr(InterpreterBuilder, name))
        )
    for handle in (interpreter.BlockPointerHandle, interpreter.TensorDescHandle):
        method = with_base_region(handle.materialize_pointers)
        _patch(handle, "materialize_pointers", method)
    _patch(interpreter.ASTTransformer, "visit_Assign", _visit_assign)
    _patch(interpreter.ASTTransformer, "visit_BoolOp", _visit_bool_op)
    _patch(interpreter.ASTTransformer, "visit_UnaryOp", _visit_unary_op)
    _patch(interpreter, "_helion_logical", _logical)
    _patch(interpreter, "_implicit_cvt", _convert_argument(interpreter._implicit_cvt))
    _patch(interpreter, "_patch_lang", _patch_lang)
    _patch(
        interpreter.GridExecutor,
        "__call__",
        _run_grid(interpreter.GridExecutor.__call__),
    )
    device_call = interpreter.InterpretedFunction.__call__
    _patch(
        interpreter.InterpretedFunction, "__call__", _call_device_function(device_call)
    )
    interpreter.InterpretedFunction.rewritten_fn.clear()


def uninstall() -> None:
    """Undo ``install``."""
    while _saved:
        owner, name, value = _saved.pop()
        if value is MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, value)
    interpreter.InterpretedFunction.rewritten_fn.clear()


@contextlib.contextmanager
def repaired(*, check_bounds: bool = False) -> Iterator[None]:
    """``install`` for a with block; an earlier install is left as it was."""
    before, fresh = State.check_bounds, not _saved
    install(check_bounds=check_bounds)
    try:
        yield
    finally:
        State.check_bounds = before
        if fresh:
            uninstall()


def _patch(owner: Any, name: str, value: object) -> None:
    _saved.append((owner, name, vars(owner).get(name, MISSING)))
    setattr(owner, name, value)


def _convert_argument(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def convert(arg: Any) -> Any:
        if isinstance(arg, bool):
            return _tensor(np.array([arg]), tl.int1)
        if isinstance(arg, float):
            return _tensor(np.array([arg], np.float32), tl.float32)
        if isinstance(arg, int):
            dtype = tl.str_to_ty(triton.runtime.jit.mangle_type(arg), None)
            return _tensor(np.array([arg], interpreter._get_np_dtype(dtype)), dtype)
        result = original(arg)
        if isinstance(result, tl.tensor) and hasattr(arg, "data_ptr"):
            storage = interpreter._unwrap_tensor(arg).untyped_storage()
            region = (storage.data_ptr(), storage.data_ptr() + storage.nbytes())
            State.regions.append(region)
            result.handle.attr["region"] = region
        return result

    return convert


# Language: loops, logic, reductions and scans over whole blocks at once


def _tensor(data: np.ndarray, dtype: tl.dtype) -> tl.tensor:
    """A scalar tensor for an array of one element, a block for any other."""
    if data.ndim == 0:
        return tl.tensor(TensorHandle(data.reshape(1), dtype), dtype)
    shape_type = tl.block_type(dtype, list(data.shape)) if data.size > 1 else dtype
    return tl.tensor(TensorHandle(data, dtype), shape_type)


def _block(data: np.ndarray, dtype: tl.dtype) -> tl.tensor:
    if data.ndim == 0:
        return _tensor(data, dtype)
    return tl.tensor(TensorHandle(data, dtype), tl.block_type(dtype, list(data.shape)))


def _combined(
    fn: Any, dtypes: list[tl.dtype], left: list, right: list
) -> list[np.ndarray]:
    args = [
        _block(np.asarray(a), t) for a, t in zip(left + right, dtypes * 2, strict=True)
    ]
    result = fn(*args)
    parts = result if isinstance(result, (tuple, tl.tuple)) else (result,)
    arrays = []
    for part, dtype, like in zip(parts, dtypes, left, strict=True):
        part = interpreter.interpreter_semantic.to_tensor(part)
        if part.dtype != dtype:
            raise TypeError(f"combine function turned {dtype} into {part.dtype}")
        arrays.append(np.broadcast_to(part.handle.data.reshape(part.shape), like.shape))
    return arrays


def _combine(
    fn: Any, dtypes: list[tl.dtype], left: list, right: list
) -> list[np.ndarray]:
    """Apply a scalar combine function to whole blocks, lane by lane if it branches."""
    State.strict_bool, before = True, State.strict_bool
    try:
        return _combined(fn, dtypes, left, right)
    except _NeedsScalars:
        pass
    finally:
        State.strict_bool = before
    outputs = [np.empty_like(a) for a in left]
    for lane in np.ndindex(left[0].shape):
        lanes = [[np.asarray(a[lane]) for a in side] for side in (left, right)]
        for output, value in zip(outputs, _combined(fn, dtypes, *lanes), strict=True):
            output[lane] = value.reshape(())
    return outputs


class _NeedsScalars(Exception):
    """A block was used as the condition of a branch."""


def _unpack(input: Any, axis: Any) -> tuple[list[np.ndarray], list[tl.dtype], int]:
    """The arrays with the axis in front, their dtypes, and the axis from the left."""
    tensors = list(input) if isinstance(input, (tuple, tl.tuple)) else [input]
    axis = axis.value if isinstance(axis, tl.constexpr) else axis
    arrays = [np.asarray(t.handle.data) for t in tensors]
    if axis is None:
        arrays, axis = [a.reshape(-1) for a in arrays], 0
    axis = int(axis) % arrays[0].ndim
    return [np.moveaxis(a, axis, 0) for a in arrays], [t.dtype for t in tensors], axis


def _numpy_reduction(fn: Any, dtype: tl.dtype) -> Callable[..., np.ndarray] | None:
    if dtype.primitive_bitwidth < 32:
        return None
    exact = {
        tl.standard._sum_combine: lambda a: np.sum(a, axis=0, dtype=a.dtype),
        tl.standard._elementwise_max: lambda a: np.fmax.reduce(a, axis=0),
        tl.standard._elementwise_min: lambda a: np.fmin.reduce(a, axis=0),
    }
    return exact.get(fn)


def _reduce(
    input: Any, axis: Any, combine_fn: Any, keep_dims: bool = False, **_: object
) -> Any:
    arrays, dtypes, position = _unpack(input, axis)
    flat = (axis.value if isinstance(axis, tl.constexpr) else axis) is None
    if len(arrays) == 1 and (direct := _numpy_reduction(combine_fn, dtypes[0])):
        arrays = [np.asarray(direct(arrays[0]))]
    else:
        while (n := len(arrays[0])) > 1:
            even = [a[: n - n % 2 : 2] for a in arrays]
            odd = [a[1::2] for a in arrays]
            merged = _combine(combine_fn, dtypes, even, odd)
            rest = [a[n - n % 2 :] for a in arrays]
            arrays = [np.concatenate(pair) for pair in zip(merged, rest, strict=True)]
        arrays = [a[0] for a in arrays]
    if keep_dims:
        rank = len((input[0] if len(arrays) > 1 else _first(input)).shape)
        axes = tuple(range(rank)) if flat else (position,)
        arrays = [np.expand_dims(a, axes) for a in arrays]
    outputs = [_block(np.asarray(a), t) for a, t in zip(arrays, dtypes, strict=True)]
    return tuple(outputs) if isinstance(input, (tuple, tl.tuple)) else outputs[0]


def _first(input: Any) -> tl.tensor:
    return input[0] if isinstance(input, (tuple, tl.tuple)) else input


def _scan(
    input: Any, axis: Any, combine_fn: Any, reverse: bool = False, **_: object
) -> Any:
    arrays, dtypes, position = _unpack(input, axis)
    reverse = reverse.value if isinstance(reverse, tl.constexpr) else reverse
    step = -1 if reverse else 1
    arrays = [a[::step] for a in arrays]
    distance = 1
    while distance < len(arrays[0]):
        # Whole blocks keep their power-of-two shape; the head lanes are put back after.
        left = [np.roll(a, distance, axis=0) for a in arrays]
        merged = _combine(combine_fn, dtypes, left, arrays)
        heads = [a[:distance] for a in arrays]
        tails = [a[distance:] for a in merged]
        arrays = [np.concatenate(pair) for pair in zip(heads, tails, strict=True)]
        distance *= 2
    moved = [np.moveaxis(a[::step], 0, position) for a in arrays]
    outputs = [_block(a, t) for a, t in zip(moved, dtypes, strict=True)]
    return tuple(outputs) if isinstance(input, (tuple, tl.tuple)) else outputs[0]


def _range(
    first: Any, second: Any = None, step: Any = 1, **_: object
) -> Iterator[tl.tensor]:
    start, end = (0, first) if second is None else (first, second)
    wide = any(
        isinstance(v, tl.tensor) and v.dtype == tl.int64 for v in (start, end, step)
    )
    dtype = tl.int64 if wide else tl.int32
    step = 1 if step is None else step
    for value in range(*(int(v.__index__()) for v in map(_plain, (start, end, step)))):
        yield _tensor(np.array([value], interpreter._get_np_dtype(dtype)), dtype)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, tl.constexpr) else value


def _bool_of(tensor: tl.tensor) -> bool:
    if tensor.handle.data.size == 1:
        return bool(tensor.handle.data.item())
    if State.strict_bool:
        raise _NeedsScalars
    return True


def _patch_lang(fn: object) -> Any:
    """Make ``tl`` call the interpreter for one launch, all modules of it at once."""
    scope = interpreter._LangPatchScope()
    builder = interpreter.interpreter_builder
    for owner in (tl, tl.core, tl.tensor, tl.math, tl.core.tensor_descriptor_base):
        interpreter._patch_builtin(owner, builder, scope)
    interpreter._patch_lang_tensor(tl.tensor, scope)
    scope.set_attr(tl.tensor, "__index__", lambda self: int(self.handle.data.item()))
    scope.set_attr(tl.tensor, "__bool__", _bool_of)
    for lang in (tl, tl.core):
        interpreter._patch_lang_core(lang, scope)
    for lang in (tl, tl.core):
        scope.set_attr(lang, "range", _range)
        scope.set_attr(lang, "dot_scaled", _with_constexpr_text(lang.dot_scaled))
        scope.set_attr(lang, "reduce", _reduce)
        scope.set_attr(lang, "associative_scan", _scan)
    from triton.language.extra import libdevice
    from triton.language.extra.cuda import libdevice as cuda_libdevice

    interpreter._patch_builtin(cuda_libdevice, builder, scope)
    for name in vars(libdevice):
        if not name.startswith("_") and hasattr(cuda_libdevice, name):
            scope.set_attr(libdevice, name, getattr(cuda_libdevice, name))
    return scope


def _with_constexpr_text(builtin: Callable[..., Any]) -> Callable[..., Any]:
    """``dot_scaled`` asks its format names for ``.value``, as the compiler has it."""

    def call(*args: Any, **kwargs: Any) -> Any:
        args = tuple(tl.constexpr(a) if isinstance(a, str) else a for a in args)
        texts = {k: tl.constexpr(v) for k, v in kwargs.items() if isinstance(v, str)}
        return builtin(*args, **{**kwargs, **texts})

    return call


def _run_grid(original: Callable[..., Any]) -> Callable[..., Any]:
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        State.regions = []
        State.running, before = True, State.running
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return original(self, *args, **kwargs)
            except InterpreterError as error:
                if isinstance(error.__cause__, IndexError):
                    raise error.__cause__ from None
                raise
            finally:
                State.running = before

    return run


def _call_device_function(original: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if State.running:
            return self.rewrite()(*args, **kwargs)
        return original(self, *args, **kwargs)

    return call


# Source: ``and``, ``or``, ``not`` work on blocks, as they do in the compiler


def _logical(kind: str, left: Any, right: Callable[[], Any]) -> Any:
    if isinstance(left, tl.tensor):
        value = left.logical_and if kind == "and" else left.logical_or
        return left.__not__() if kind == "not" else value(right())
    if kind == "not":
        return not left
    return (left and right()) if kind == "and" else (left or right())


def _visit_assign(self: ast.NodeTransformer, node: ast.Assign) -> ast.AST:
    self.generic_visit(node)
    if len(node.targets) > 1:
        raise ValueError("several targets in one assignment: Triton refuses them too")
    convert = ast.parse(
        "interpreter_semantic.to_tensor(value, False)", mode="eval"
    ).body
    assert isinstance(convert, ast.Call)
    convert.args[0] = node.value
    node.value = convert
    return node


def _visit_bool_op(self: ast.NodeTransformer, node: ast.BoolOp) -> ast.AST:
    self.generic_visit(node)
    kind = "and" if isinstance(node.op, ast.And) else "or"
    result = node.values[0]
    for value in node.values[1:]:
        result = _logical_call(kind, result, value)
    return ast.copy_location(result, node)


def _visit_unary_op(self: ast.NodeTransformer, node: ast.UnaryOp) -> ast.AST:
    self.generic_visit(node)
    if not isinstance(node.op, ast.Not):
        return node
    return ast.copy_location(
        _logical_call("not", node.operand, ast.Constant(None)), node
    )


def _logical_call(kind: str, left: ast.expr, right: ast.expr) -> ast.expr:
    call = ast.parse(
        f"_helion_logical({kind!r}, left, lambda: right)", mode="eval"
    ).body
    assert isinstance(call, ast.Call)
    assert isinstance(call.args[2], ast.Lambda)
    call.args[1], call.args[2].body = left, right
    return call
