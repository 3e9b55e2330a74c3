"""What libdevice functions compute, by torch and numpy on the CPU (tests only)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

Function = Callable[..., object]


def evaluate(symbol: str, *args: np.ndarray) -> np.ndarray:
    """The value of a libdevice function, named ``erf`` or by symbol (``__nv_erff``)."""
    name = symbol.removeprefix("__nv_").removeprefix("fast_")
    for candidate in (name, name[:-1]):
        if candidate in _NUMPY:
            return np.asarray(_NUMPY[candidate](*args))
        if candidate in _TORCH:
            tensors = [torch.from_numpy(np.array(a)) for a in args]
            return np.asarray(_TORCH[candidate](*tensors))
    raise NotImplementedError(f"libdevice function {symbol} has no CPU twin yet")


def _round_half_away(x: np.ndarray) -> np.ndarray:
    whole = np.trunc(x)
    return whole + np.copysign((np.abs(x - whole) >= 0.5).astype(x.dtype), x)


def _nearest_even_quotient(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.vectorize(math.remainder, otypes=[x.dtype])(x, y)


def _gamma(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.gamma, otypes=[x.dtype])(x)


def _bits(dtype: str) -> Function:
    return lambda x: np.ascontiguousarray(x).view(dtype)


_TORCH: dict[str, Function] = {
    name: getattr(torch, name)
    for name in (
        "exp exp2 expm1 log log2 log10 log1p sqrt rsqrt sin cos tan sinh cosh tanh "
        "asin acos atan asinh acosh atanh erf erfc erfinv lgamma "
        "atan2 pow hypot copysign nextafter"
    ).split()
} | {
    "normcdf": torch.special.ndtr,
    "normcdfinv": torch.special.ndtri,
    "erfcx": torch.special.erfcx,
    "cyl_bessel_i0": torch.special.i0,
    "cyl_bessel_i1": torch.special.i1,
    "j0": torch.special.bessel_j0,
    "j1": torch.special.bessel_j1,
    "y0": torch.special.bessel_y0,
    "y1": torch.special.bessel_y1,
    "powi": torch.pow,
}

_NUMPY: dict[str, Function] = {
    "divide": np.divide,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "rint": np.rint,
    "nearbyint": np.rint,
    "llrint": np.rint,
    "round": _round_half_away,
    "llround": _round_half_away,
    "fabs": np.abs,
    "abs": np.abs,
    "llabs": np.abs,
    "cbrt": np.cbrt,
    "rcbrt": lambda x: 1 / np.cbrt(x),
    "exp10": lambda x: np.power(x.dtype.type(10), x),
    "tgamma": _gamma,
    "fmod": np.fmod,
    "remainder": _nearest_even_quotient,
    "fdim": lambda x, y: np.where(x > y, x - y, np.where(x <= y, 0, x + y)),
    "fma": lambda x, y, z: x.astype(np.float64) * y + z,
    "ldexp": np.ldexp,
    "scalbn": np.ldexp,
    "ilogb": lambda x: np.frexp(x)[1] - 1,
    "logb": lambda x: np.frexp(x)[1] - 1,
    "sinpi": lambda x: np.sin(np.pi * np.fmod(x, 2)),
    "cospi": lambda x: np.cos(np.pi * np.fmod(x, 2)),
    "isnan": np.isnan,
    "isinf": np.isinf,
    "finite": np.isfinite,
    "isfinite": np.isfinite,
    "signbit": np.signbit,
    "saturate": lambda x: np.fmin(np.fmax(x, 0), 1),
    "fdivide": np.divide,
    "float_as_int": _bits("int32"),
    "float_as_uint": _bits("uint32"),
    "int_as_float": _bits("float32"),
    "uint_as_float": _bits("float32"),
    "double_as_longlong": _bits("int64"),
    "longlong_as_double": _bits("float64"),
    "popc": np.bitwise_count,
    "popcll": np.bitwise_count,
}

# The correctly rounded forms carry the precision in front: fadd_rn, dadd_rn.
for _precision in "fd":
    _NUMPY |= {
        f"{_precision}add_rn": np.add,
        f"{_precision}sub_rn": np.subtract,
        f"{_precision}mul_rn": np.multiply,
        f"{_precision}div_rn": np.divide,
        f"{_precision}sqrt_rn": np.sqrt,
        f"{_precision}rcp_rn": lambda x: x.dtype.type(1) / x,
    }
for _name in ("float2int", "float2ll", "double2int", "double2ll"):
    _NUMPY |= {f"{_name}_rn": np.rint, f"{_name}_rz": np.trunc}
    _NUMPY |= {f"{_name}_rd": np.floor, f"{_name}_ru": np.ceil}
