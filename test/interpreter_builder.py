"""The repaired operations of Triton's interpreter: numbers, memory, bounds.

Small floats (bfloat16, fp8) are stored as integers by the interpreter: arithmetic on
them is done in float32 and rounded once per operation, as the hardware does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import triton.language as tl
from triton.runtime import interpreter
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

from test.interpreted_libdevice import evaluate

SMALL_FLOATS: dict[tl.dtype, torch.dtype] = {
    tl.bfloat16: torch.bfloat16,
    tl.float8e4nv: torch.float8_e4m3fn,
    tl.float8e5: torch.float8_e5m2,
    tl.float8e4b8: torch.float8_e4m3fnuz,
    tl.float8e5b16: torch.float8_e5m2fnuz,
}
IR = interpreter._ir
Region = tuple[int, int]
MISSING = object()


class OutOfBounds(IndexError):
    """An unmasked lane of a kernel touched memory outside the tensor it was given."""


class State:
    """What the running launch needs to know; one launch runs at a time."""

    check_bounds = False
    running = False
    strict_bool = False
    regions: list[Region] = []
    loads: Counter[Region | None] | None = None


# Numbers: raw bits <-> values


def _decode_table(dtype: torch.dtype) -> np.ndarray:
    return torch.arange(256, dtype=torch.uint8).view(dtype).float().numpy()


_TABLES = {t: _decode_table(d) for t, d in SMALL_FLOATS.items() if t is not tl.bfloat16}


def decode(bits: np.ndarray, dtype: tl.dtype) -> np.ndarray:
    """The float32 values of an array of bfloat16 or fp8 bits."""
    if dtype == tl.bfloat16:
        return np.asarray(np.asarray(bits, np.uint32) << np.uint32(16)).view(np.float32)
    return np.asarray(_TABLES[dtype][bits])


def encode(values: np.ndarray, dtype: tl.dtype) -> np.ndarray:
    """The bits of values rounded to nearest even; fp8 saturates as in hardware."""
    single = np.array(values, dtype=np.float32)
    target = SMALL_FLOATS[dtype]
    if dtype != tl.bfloat16:
        limit = torch.finfo(target).max
        single = np.clip(single, -limit, limit)
        return torch.from_numpy(single).to(target).view(torch.uint8).numpy()
    bits = single.view(np.uint32)
    rounded = (bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16
    return np.where(np.isnan(single), 0x7FFF, rounded).astype(np.uint16)


def _values(handle: TensorHandle) -> np.ndarray:
    dtype = handle.dtype.scalar
    return decode(handle.data, dtype) if dtype in SMALL_FLOATS else handle.data


def _np_dtype(dtype: tl.dtype) -> np.dtype:
    return interpreter._get_np_dtype(dtype)


def _handle(values: np.ndarray, dtype: tl.dtype) -> TensorHandle:
    dtype = dtype.scalar
    values = np.asarray(values)
    if dtype in SMALL_FLOATS:
        return TensorHandle(encode(values, dtype), dtype)
    return TensorHandle(values.astype(_np_dtype(dtype), copy=False), dtype)


def _toward_zero(exact: np.ndarray, nearest: TensorHandle) -> TensorHandle:
    """Step back the lanes that rounding to nearest moved away from zero."""
    overshot = np.abs(_values(nearest).astype(np.float64)) > np.abs(exact)
    raw = nearest.data.view(f"u{nearest.data.itemsize}")
    raw = np.where(overshot, raw - 1, raw).astype(raw.dtype)
    return TensorHandle(raw.view(nearest.data.dtype), nearest.dtype)


def _poison(shape: tuple[int, ...], dtype: tl.dtype) -> np.ndarray:
    np_dtype = _np_dtype(dtype)
    if dtype in SMALL_FLOATS:
        return encode(np.full(shape, np.nan, np.float32), dtype)
    if np_dtype.kind == "f":
        return np.full(shape, np.nan, np_dtype)
    fill = int.from_bytes(b"\xab" * np_dtype.itemsize, "little")
    raw = np.full(shape, fill, f"u{np_dtype.itemsize}")
    return raw.astype(bool) if np_dtype.kind == "b" else raw.view(np_dtype)


# The builder: one method per IR operation


def _arithmetic(op: Callable[..., np.ndarray]) -> Callable[..., TensorHandle]:
    def method(self: InterpreterBuilder, *args: TensorHandle) -> TensorHandle:
        return _handle(op(*map(_values, args)), args[-1].dtype)

    return method


def _comparison(op: Callable[..., np.ndarray]) -> Callable[..., TensorHandle]:
    def method(
        self: InterpreterBuilder, a: TensorHandle, b: TensorHandle
    ) -> TensorHandle:
        return _handle(op(_values(a), _values(b)), tl.int1)

    return method


def _fma(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return x.astype(np.float64) * y + z


class RepairedBuilder:
    """Methods that replace those of the interpreter's builder."""

    _original_rmw = InterpreterBuilder.create_atomic_rmw
    _original_cas = InterpreterBuilder.create_atomic_cas

    create_fadd = _arithmetic(np.add)
    create_fsub = _arithmetic(np.subtract)
    create_fmul = _arithmetic(np.multiply)
    create_fdiv = create_precise_divf = _arithmetic(np.divide)
    create_frem = _arithmetic(np.fmod)
    create_fma = _arithmetic(_fma)
    create_maximumf = _arithmetic(np.maximum)
    create_minimumf = _arithmetic(np.minimum)
    create_maxnumf = _arithmetic(np.fmax)
    create_minnumf = _arithmetic(np.fmin)
    create_erf = _arithmetic(lambda x: evaluate("erf", x))
    create_icmpEQ = create_fcmpOEQ = create_fcmpUEQ = _comparison(np.equal)
    create_icmpNE = create_fcmpONE = create_fcmpUNE = _comparison(np.not_equal)
    create_icmpSLT = create_icmpULT = create_fcmpOLT = _comparison(np.less)
    create_icmpSLE = create_icmpULE = create_fcmpOLE = _comparison(np.less_equal)
    create_icmpSGT = create_icmpUGT = create_fcmpOGT = _comparison(np.greater)
    create_icmpSGE = create_icmpUGE = create_fcmpOGE = _comparison(np.greater_equal)

    def get_bf16(self, value: float) -> TensorHandle:
        return _handle(np.array([value]), tl.bfloat16)

    def create_clampf(
        self, x: TensorHandle, low: TensorHandle, high: TensorHandle, nan: object
    ) -> TensorHandle:
        if nan == IR.PROPAGATE_NAN.ALL:
            return _handle(np.clip(_values(x), _values(low), _values(high)), x.dtype)
        clamped = np.fmin(np.fmax(_values(x), _values(low)), _values(high))
        return _handle(clamped, x.dtype)

    def cast_impl(self, src: TensorHandle, dst_type: tl.dtype) -> TensorHandle:
        return _handle(_values(src), dst_type)

    def create_fp_to_fp(
        self, src: TensorHandle, dst_type: tl.dtype, rounding: object
    ) -> TensorHandle:
        nearest = _handle(_values(src), dst_type)
        if rounding == IR.ROUNDING_MODE.RTZ:
            return _toward_zero(_values(src), nearest)
        return nearest

    def create_int_to_ptr(self, src: TensorHandle, dst_type: tl.dtype) -> TensorHandle:
        data = src.data.astype(np.uint64)
        return TensorHandle(data, dst_type.scalar, {"region": None})

    def create_dot(
        self, a: TensorHandle, b: TensorHandle, d: TensorHandle, *_: object
    ) -> TensorHandle:
        exact = a.dtype.scalar.is_int() or a.dtype.scalar.is_fp64()
        # BLAS does float64 only; products of int8 stay exact in it.
        wide = np.float64 if exact else np.float32
        product = np.matmul(_values(a).astype(wide), _values(b).astype(wide))
        if d.dtype.scalar.is_int():
            return _handle(product.astype(np.int64) + d.data, d.dtype)
        return _handle(product + _values(d).astype(wide), d.dtype)

    def create_dot_scaled(self, *args: Any) -> TensorHandle:
        a, a_scale, _, b, b_scale, _, _, a_packed_on_k, b_packed_on_k, acc = args
        left = _scaled(a, a_scale, -1 if a_packed_on_k else -2)
        right = b.data.swapaxes(-1, -2)
        right = TensorHandle(right, b.dtype)
        right = _scaled(right, b_scale, -1 if b_packed_on_k else -2)
        product = np.matmul(left, right.swapaxes(-1, -2))
        return _handle(product + _values(acc), acc.dtype)

    def create_masked_load(
        self, ptrs: TensorHandle, mask: Any, other: TensorHandle | None, *_: object
    ) -> TensorHandle:
        dtype = ptrs.get_element_ty()
        lanes = _lanes(mask)
        _check_access("load", ptrs, lanes)
        if State.loads is not None:
            read = np.count_nonzero(np.broadcast_to(lanes, ptrs.data.shape))
            State.loads[ptrs.attr.get("region")] += int(read)
        if other is not None:
            fill = other.data
        elif State.check_bounds and ptrs.data.size > 1:
            fill = _poison(ptrs.data.shape, dtype)
        else:
            # Triton drops an ``other`` of one zero element, as it is false.
            fill = np.zeros(ptrs.data.shape, _np_dtype(dtype))
        data = interpreter._interpreter.load(ptrs.data, lanes, fill, _np_dtype(dtype))
        return TensorHandle(data, dtype)

    def create_masked_store(
        self, ptrs: TensorHandle, value: TensorHandle, mask: Any, *_: object
    ) -> None:
        lanes = _lanes(mask)
        _check_access("store", ptrs, lanes)
        want = _np_dtype(ptrs.get_element_ty()).itemsize
        if value.data.itemsize != want:
            raise TypeError(f"store of {value.dtype} through {ptrs.dtype}")
        interpreter._interpreter.store(ptrs.data, value.data, lanes)

    def create_tensor_pointer_load(
        self, ptr: Any, boundary_check: object, padding: object, *rest: object
    ) -> TensorHandle:
        ptrs, mask = ptr.materialize_pointers(boundary_check)
        return self.create_masked_load(ptrs, mask, _padding(ptrs, padding))

    def create_descriptor_load(
        self, desc: Any, indices: list[TensorHandle], *_: object
    ) -> TensorHandle:
        ptrs, mask = desc.materialize_pointers(indices)
        return self.create_masked_load(ptrs, mask, _padding(ptrs, desc.padding))

    def create_descriptor_reduce(
        self, kind: Any, desc: Any, value: TensorHandle, indices: list[TensorHandle]
    ) -> None:
        ptrs, mask = desc.materialize_pointers(indices)
        floating = value.dtype.scalar.is_floating() and kind.name == "ADD"
        op = getattr(IR.ATOMIC_OP, "FADD" if floating else kind.name)
        lanes = TensorHandle(mask, tl.int1)
        sem = IR.MEM_SEMANTIC.RELAXED
        self.create_atomic_rmw(op, ptrs, value, lanes, sem, None)

    def create_atomic_rmw(
        self, op: Any, ptr: TensorHandle, val: TensorHandle, mask: TensorHandle,
        sem: Any, scope: Any,
    ) -> TensorHandle:  # fmt: skip
        _check_access("atomic", ptr, mask.data)
        if op == IR.ATOMIC_OP.FADD and val.data.itemsize == 2:
            return _add_lane_by_lane(ptr, val, mask)
        return self._original_rmw(op, ptr, val, mask, sem, scope)

    def create_atomic_cas(
        self,
        ptr: TensorHandle,
        cmp: TensorHandle,
        val: TensorHandle,
        sem: Any,
        scope: Any,
    ) -> TensorHandle:
        _check_access("atomic", ptr, np.ones(ptr.data.shape, bool))
        return self._original_cas(ptr, cmp, val, sem, scope)

    def create_extern_elementwise(
        self, lib: str, path: str, symbol: str, args: list[TensorHandle],
        ret_type: tl.dtype, is_pure: bool,
    ) -> TensorHandle:  # fmt: skip
        result = evaluate(symbol, *(handle.data for handle in args))
        return _handle(result, ret_type)


# The eight magnitudes of a 4-bit float (e2m1); the fourth bit is the sign.
_E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
_E2M1 = np.concatenate([_E2M1, -_E2M1])


def _scaled(
    operand: TensorHandle, scale: TensorHandle | None, pack_axis: int
) -> np.ndarray:
    """The float32 values of [..., row, k], times 2**(scale - 127) per 32 along k."""
    if operand.dtype.scalar.is_int():
        low, high = operand.data & 0xF, operand.data >> 4
        pairs = np.stack([low, high], axis=pack_axis if pack_axis == -1 else -2)
        shape = list(operand.data.shape)
        shape[pack_axis] *= 2
        values = _E2M1[pairs.reshape(shape)]
    else:
        values = _values(operand).astype(np.float32)
    if scale is None:
        return values
    exponents = scale.data.view(np.uint8).astype(np.int32) - 127
    factor = values.shape[-1] // scale.data.shape[-1]
    return values * np.repeat(np.ldexp(np.float32(1), exponents), factor, axis=-1)


def _padding(ptrs: TensorHandle, padding: object) -> TensorHandle | None:
    if padding is None:
        return None
    dtype = ptrs.get_element_ty()
    fill = np.nan if padding == IR.PADDING_OPTION.PAD_NAN else 0
    return _handle(np.full(ptrs.data.shape, fill), dtype)


def _lanes(mask: Any) -> np.ndarray:
    return mask if isinstance(mask, np.ndarray) else mask.data


def _add_lane_by_lane(
    ptr: TensorHandle, val: TensorHandle, mask: TensorHandle
) -> TensorHandle:
    """Add 16-bit floats in lane order, so that lanes with equal addresses all count."""
    old = np.zeros(val.data.shape, val.data.dtype)
    one = np.ones(1, bool)
    dtype = val.dtype.scalar
    for lane in zip(
        *np.nonzero(np.broadcast_to(mask.data, val.data.shape)), strict=True
    ):
        where = ptr.data[lane].reshape(1)
        before = interpreter._interpreter.load(
            where, one, old[lane].reshape(1), old.dtype
        )
        term = TensorHandle(val.data[lane].reshape(1), dtype)
        after = _handle(_values(TensorHandle(before, dtype)) + _values(term), dtype)
        interpreter._interpreter.store(where, after.data, one)
        old[lane] = before[0]
    return TensorHandle(old, dtype)


# Bounds: every pointer remembers the storage it came from

KEEPS_REGION = tuple(
    f"create_{name}"
    for name in (
        "addptr splat unsplat broadcast bitcast expand_dims reshape trans select cat"
    ).split()
)


def keeping_region(method: Callable[..., TensorHandle]) -> Callable[..., TensorHandle]:
    def wrapped(self: InterpreterBuilder, *args: Any) -> TensorHandle:
        result = method(self, *args)
        handles = [a for a in args if isinstance(a, TensorHandle)]
        found = [a.attr["region"] for a in handles if "region" in a.attr]
        if found and all(region == found[0] for region in found):
            result.attr["region"] = found[0]
        return result

    return wrapped


def with_base_region(method: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(self: Any, *args: Any) -> Any:
        ptrs, masks = method(self, *args)
        if "region" in self.base.attr:
            ptrs.attr["region"] = self.base.attr["region"]
        return ptrs, masks

    return wrapped


def _check_access(what: str, ptrs: TensorHandle, mask: np.ndarray) -> None:
    region = ptrs.attr.get("region", MISSING)
    if not State.check_bounds or region is None:
        return
    active = ptrs.data[np.broadcast_to(mask, ptrs.data.shape)].astype(np.uint64)
    size = _np_dtype(ptrs.get_element_ty()).itemsize
    inside = np.zeros(active.shape, bool)
    regions = State.regions if region is MISSING else [region]
    for start, end in regions:
        inside |= (active >= start) & (active <= max(end - size, 0)) & (end > start)
    if not inside.all():
        start, end = regions[0]
        offset = int(active[~inside][0]) - start
        builder = interpreter.interpreter_builder
        raise OutOfBounds(
            f"{what} at byte {offset} of a storage of {end - start} bytes, "
            f"{int((~inside).sum())} lanes, program {builder.grid_idx}"
        )
