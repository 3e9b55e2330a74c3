"""How dtypes, number literals and casts are spelled in Triton."""

from __future__ import annotations

import math

import torch

from ... import exc

HALF_DTYPES = (torch.float16, torch.bfloat16)

_TRITON_NAMES: dict[torch.dtype, str] = {
    torch.bool: "tl.int1",
    torch.int8: "tl.int8",
    torch.int16: "tl.int16",
    torch.int32: "tl.int32",
    torch.int64: "tl.int64",
    torch.uint8: "tl.uint8",
    torch.uint16: "tl.uint16",
    torch.uint32: "tl.uint32",
    torch.uint64: "tl.uint64",
    torch.float16: "tl.float16",
    torch.bfloat16: "tl.bfloat16",
    torch.float32: "tl.float32",
    torch.float64: "tl.float64",
    torch.float8_e4m3fn: "tl.float8e4nv",
    torch.float8_e4m3fnuz: "tl.float8e4b8",
    torch.float8_e5m2: "tl.float8e5",
    torch.float8_e5m2fnuz: "tl.float8e5b16",
}


def triton_dtype(dtype: torch.dtype) -> str:
    """Return the Triton spelling of a torch dtype, such as ``tl.float32``."""
    name = _TRITON_NAMES.get(dtype)
    if name is None:
        raise exc.BackendUnsupported(
            backend="triton", detail=f"tensors of {dtype}, which it has no type for"
        )
    return name


def opmath_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which mathematics with this result is computed."""
    if dtype.is_floating_point and dtype.itemsize < 4:
        return torch.float32
    return dtype


def literal(value: float | int | bool, dtype: torch.dtype | None = None) -> str:
    """Print a Python number as Triton text.

    Without a dtype the text is a weak literal, which takes the type of the tensor
    it meets in a binary operator. With a dtype it is a scalar of exactly that type.
    """
    if dtype is None:
        return _weak_literal(value)
    # Triton makes every constant equal to zero a positive zero.
    if dtype.is_floating_point and value == 0 and math.copysign(1, value) < 0:
        return f"(tl.full([], 0.0, {triton_dtype(dtype)}) * -1.0)"
    return f"tl.full([], {number_text(value, dtype)}, {triton_dtype(dtype)})"


def number_text(value: float | int | bool, dtype: torch.dtype) -> str:
    """Print a number as Python text after converting it to the dtype's category."""
    if dtype == torch.bool:
        return str(bool(value))
    if dtype.is_floating_point:
        return _weak_literal(float(value))
    return _weak_literal(wrap_integer(int(value), dtype))


def wrap_integer(value: int, dtype: torch.dtype) -> int:
    """Reduce an integer modulo 2**bits into the range of an integer dtype."""
    info = torch.iinfo(dtype)
    span = 1 << info.bits
    return (value - info.min) % span + info.min


def fits(value: float | int | bool, dtype: torch.dtype) -> bool:
    """Say whether the dtype holds this number exactly (NaN and inf do fit floats)."""
    if dtype == torch.bool:
        return isinstance(value, bool)
    if not dtype.is_floating_point:
        info = torch.iinfo(dtype)
        return value == int(value) and info.min <= value <= info.max
    value = float(value)
    if not math.isfinite(value):
        return True
    return torch.tensor(value, dtype=torch.float64).to(dtype).item() == value


def cast_text(text: str, src: torch.dtype, dst: torch.dtype) -> str:
    """Convert a Triton tensor expression between dtypes with torch's meaning.

    ``text`` must be a name, a call or in parentheses.
    """
    if src == dst:
        return text
    if dst == torch.bool:
        return f"({_widen_fp8(text, src)} != 0)"
    for via in (*_cast_path(src, dst), dst):
        text = f"{text}.to({triton_dtype(via)})"
    return text


def _cast_path(src: torch.dtype, dst: torch.dtype) -> tuple[torch.dtype, ...]:
    """Return the dtypes that a cast passes through, in order."""
    wide = (torch.float32, torch.float64)
    if dst.is_floating_point:
        # Torch rounds to float32 before it rounds to a narrower type.
        narrow = dst not in wide and src != torch.float32
        from_fp8 = src.is_floating_point and src.itemsize == 1 and dst == wide[1]
        return (torch.float32,) if narrow or from_fp8 else ()
    if not src.is_floating_point:
        return ()
    path = (torch.float32,) if src.itemsize == 1 else ()
    # Out of range conversions are undefined in LLVM; torch wraps small integers.
    if dst.itemsize < 4:
        return (*path, torch.int32)
    return (*path, torch.int64) if dst == torch.uint32 else path


def _widen_fp8(text: str, src: torch.dtype) -> str:
    """Bring an fp8 expression to float32; Triton does no arithmetic on fp8."""
    if src.is_floating_point and src.itemsize == 1:
        return f"{text}.to(tl.float32)"
    return text


def _weak_literal(value: float | int | bool) -> str:
    """Print a number so that Python and Triton read back the same value."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    text = repr(value)
    return f"({text})" if text.startswith("-") else text
