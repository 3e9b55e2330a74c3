"""Unary, binary and ternary mathematics, logic, bits and rounding."""

from __future__ import annotations

from math import inf
from typing import Any

import torch

from test.op_coverage.case import (
    BOOL,
    EVERY,
    F32,
    FLOATS,
    INTEGERS,
    NO_KERNEL,
    NUMERIC,
    WIDE,
    ZERO_SIGN,
    Case,
)

Dtypes = tuple[torch.dtype, ...]
NINE_DIGITS = "torch's own has nine digits in float64"


def _limits(where: str, *limits: tuple[float, float]) -> dict[str, Any]:
    found = ", ".join(f"{result} at {value}" for value, result in limits)
    note = f"compiled, the limits {found}; torch has {where} there"
    return {"limits": limits, "note": note}


def _bessel(*limits: tuple[float, float]) -> dict[str, Any]:
    facts = _limits("nan", *limits)
    note = f"{NINE_DIGITS}; {facts['note']}"
    return {**facts, "float64_scale": 20.0, "note": note}


_I0 = _limits("nan", (inf, inf), (-inf, inf))
_I1 = _limits("nan and 0.0", (inf, inf), (-inf, -inf), (-0.0, -0.0))
LIMITS = {
    "i0": _I0,
    "i1": _I1,
    "i1e": _limits("0.0", (-0.0, -0.0)),
    "modified_bessel_i0": _I0,
    "modified_bessel_i1": _I1,
    "bessel_j0": _bessel((inf, 0.0), (-inf, 0.0)),
    "bessel_j1": _bessel((inf, 0.0), (-inf, -0.0)),
    "bessel_y0": _bessel((inf, 0.0)),
    "bessel_y1": _bessel((inf, 0.0)),
}
"""What is known of functions by name: libdevice has limits where torch has none."""


def cases(family: str, dtypes: Dtypes, *texts: str, **facts: Any) -> list[Case]:
    """Return one case for each expression."""
    return [Case(text, dtypes, family, **facts) for text in texts]


def unary() -> list[Case]:
    """Functions of one value."""
    family = "unary"
    any_float = (*FLOATS, torch.int32, torch.uint8, torch.bool)
    names = """exp exp2 expm1 log log2 log10 log1p sqrt rsqrt reciprocal sin cos tan
        sinh cosh tanh asin acos atan asinh acosh atanh erf erfc sigmoid lgamma"""
    found = [Case(f"torch.{name}(x)", any_float, family) for name in names.split()]
    found += cases(family, any_float, "torch.deg2rad(x)", "torch.rad2deg(x)")
    found += cases(family, any_float, "torch.sinc(x)", "torch.logit(u)")
    found += cases(family, FLOATS, "torch.logit(x, 1e-3)", "torch.erfinv(w)")
    found += cases(family, any_float, "torch.digamma(x)")
    found += cases(family, any_float, "torch.i0(x)", **LIMITS["i0"])
    found += cases(family, FLOATS, "torch.mvlgamma(p + 2, 2)", "torch.exp(-0.0 * x)")
    exact = """abs neg square floor ceil trunc round sign sgn positive frac isnan isinf
        isfinite isposinf isneginf signbit logical_not"""
    for name in exact.split():
        kinds = EVERY if name.startswith(("is", "log", "signbit")) else NUMERIC
        kinds = FLOATS if name == "frac" else kinds
        found += cases(family, kinds, f"torch.{name}(x)", exact=True)
    found += cases(family, (*INTEGERS, *BOOL), "torch.bitwise_not(x)", "~x", exact=True)
    found += cases(family, NUMERIC, "-x", "+x", "abs(x)", exact=True)
    found += cases(family, EVERY, "torch.isreal(x)", "x.clone()", "x.detach()")
    found += cases(family, EVERY, "torch.nan_to_num(x)", exact=True)
    found += cases(family, EVERY, "torch.conj(x)", "torch.real(x)", exact=True)
    found += cases(family, FLOATS, "torch.nan_to_num(x, 1.5, 7.0, -7.0)", exact=True)
    found += cases(family, FLOATS, "torch.round(x, decimals=1)")
    found += cases(family, FLOATS, "torch.round(g * 100, decimals=-1)")
    found += cases(family, FLOATS, "torch.frexp(x)", exact=True, **ZERO_SIGN)
    found += cases(family, WIDE, "torch.angle(x)", exact=True)
    return found


def special() -> list[Case]:
    """``torch.special``."""
    family = "torch.special"
    any_float = (*FLOATS, torch.int32)
    names = """erf erfc erfcx erfinv expit exp2 expm1 log1p gammaln digamma psi i0 i0e
        i1 i1e sinc ndtr ndtri log_ndtr entr bessel_j0 bessel_j1 bessel_y0 bessel_y1
        modified_bessel_i0 modified_bessel_i1 spherical_bessel_j0"""
    found = []
    for name in names.split():
        kinds = WIDE if "bessel" in name else any_float
        at = "u" if name == "ndtri" else "w" if name == "erfinv" else "x"
        facts = LIMITS.get(name, {})
        found += cases(family, kinds, f"torch.special.{name}({at})", **facts)
    found += cases(family, FLOATS, "torch.special.logit(u, eps=0.1)")
    found += cases(family, FLOATS, "torch.special.round(x)", exact=True)
    found += cases(
        family,
        any_float,
        "torch.special.xlogy(x, p)",
        "torch.special.xlog1py(x, p)",
        "torch.xlogy(x, y)",
        "torch.xlogy(x, 2)",
        "torch.xlogy(2, x)",
    )
    found += cases(
        family,
        WIDE,
        "torch.special.zeta(p + 1, p)",
        "torch.special.zeta(g, n)",
        "torch.special.zeta(x, 1.5)",
        "torch.special.zeta(2.5, x)",
        "torch.polygamma(0, p)",
        "torch.polygamma(2, p)",
        "torch.polygamma(3, x)",
        "torch.special.multigammaln(p + 2, 2)",
    )
    found += cases(family, WIDE, "torch.polygamma(1, p)", scale=20, note=NINE_DIGITS)
    found += cases(
        family,
        WIDE,
        "torch.special.modified_bessel_k0(x)",
        "torch.special.modified_bessel_k1(x)",
        "torch.special.scaled_modified_bessel_k0(x)",
        "torch.special.scaled_modified_bessel_k1(x)",
        "torch.special.airy_ai(x)",
        "torch.special.gammainc(p, p + u)",
        "torch.special.gammaincc(p, p + u)",
        **NO_KERNEL,
    )
    polynomials = """chebyshev_polynomial_t chebyshev_polynomial_u
        chebyshev_polynomial_v chebyshev_polynomial_w hermite_polynomial_h
        hermite_polynomial_he laguerre_polynomial_l legendre_polynomial_p
        shifted_chebyshev_polynomial_t shifted_chebyshev_polynomial_u
        shifted_chebyshev_polynomial_v shifted_chebyshev_polynomial_w"""
    for name in polynomials.split():
        found += cases(family, WIDE, f"torch.special.{name}(w, 3)")
    return found


def binary() -> list[Case]:
    """Arithmetic of two values."""
    family = "binary"
    found = cases(family, EVERY, "x + y", "x * y", "torch.add(x, y)")
    found += cases(family, NUMERIC, "x - y", "torch.sub(x, y)", "x + row", "row - x")
    found += cases(
        family, NUMERIC, "x * col", "x + zero", "zero * x", "torch.mul(x, col)"
    )
    found += cases(
        family,
        NUMERIC,
        "torch.add(x, y, alpha=3)",
        "torch.sub(x, y, alpha=2)",
        "torch.rsub(x, y)",
        "torch.rsub(x, 3)",
        "1 - x",
        "x - 1",
        "2 * x",
        "x * 2",
        "True + x",
        "torch.multiply(x, y)",
        "torch.subtract(x, y)",
        "torch.addcmul(x, y, z)",
        "torch.addcmul(x, y, z, value=2)",
    )
    found += cases(family, EVERY, "x + 1", "x + 1.5", "x * True", "x + i", "x * 0.5")
    found += cases(family, EVERY, "x / n", "torch.div(x, n)", "x / 3", "2 / n")
    found += cases(family, FLOATS, "x / y", "torch.true_divide(x, y)", "1 / x")
    divide = []
    for mode in ("floor", "trunc"):
        divide += [f'torch.div(x, n, rounding_mode="{mode}")']
        divide += [f'torch.div(x, 3, rounding_mode="{mode}")']
    divide += [
        "x // n",
        "x // 3",
        "20 // n",
        "torch.floor_divide(x, n)",
        "torch.remainder(x, n)",
        "x % n",
        "x % 3",
        "20 % n",
        "torch.fmod(x, n)",
        "torch.fmod(x, 3)",
    ]
    found += cases(family, NUMERIC, *divide)
    found += cases(family, FLOATS, "x // y", "x % y", "torch.fmod(x, y)")
    found += cases(
        family,
        FLOATS,
        "torch.addcdiv(x, y, n)",
        "torch.addcdiv(x, y, n, value=0.5)",
        "torch.lerp(x, y, 0.25)",
        "torch.lerp(x, y, 0.75)",
        "torch.lerp(x, y, u)",
        "torch.atan2(x, y)",
        "torch.arctan2(x, y)",
        "torch.hypot(x, y)",
        "torch.logaddexp(x, y)",
        "torch.logaddexp2(x, y)",
        "torch.float_power(p, 2)",
        "torch.ldexp(x, i)",
    )
    found += cases(family, FLOATS, "torch.copysign(x, y)", "torch.copysign(x, -2.0)")
    found += cases(family, (*WIDE, torch.bfloat16), "torch.nextafter(x, y)", exact=True)
    both = ["maximum", "minimum", "fmax", "fmin", "max", "min"]
    found += cases(family, EVERY, *(f"torch.{n}(x, y)" for n in both), exact=True)
    found += cases(family, INTEGERS, "torch.gcd(x, y)", "torch.lcm(x, y)", exact=True)
    found += cases(family, FLOATS, "torch.heaviside(x, y)", exact=True)
    return found


def powers() -> list[Case]:
    """Powers of all forms."""
    family = "powers"
    scalars = ["2", "3", "4", "0", "1", "-0.5", "-1", "-2", "1.3", "7"]
    whole = ("0", "1", "2", "3", "7")
    found = [
        Case(f"x ** {e}", NUMERIC if e in whole else FLOATS, family) for e in scalars
    ]
    found += cases(family, FLOATS, "x ** 0.5", **ZERO_SIGN)
    found += [Case(f"n ** {e}", INTEGERS, family) for e in ("0.5", "-1.0")]
    found += cases(family, FLOATS, "torch.pow(x, y)", "x ** y", "2 ** x", "3.5 ** x")
    found += cases(family, FLOATS, "torch.pow(2, x)", "x.pow(2)", "x.pow(y)", "p ** i")
    found += cases(family, INTEGERS, "x ** s", "torch.pow(2, s)", "x ** 2.5")
    found += cases(family, FLOATS, "torch.float_power(p, y)")
    return found


def logic() -> list[Case]:
    """Comparisons, selection, bits."""
    family = "logic"
    found = []
    for sign in ("==", "!=", "<", "<=", ">", ">="):
        found += cases(family, EVERY, f"x {sign} y", f"x {sign} 3", exact=True)
        found += cases(family, NUMERIC, f"x {sign} 0.5", f"1 {sign} x", exact=True)
    for name in ("eq", "ne", "lt", "le", "gt", "ge", "greater", "less_equal"):
        found += cases(family, EVERY, f"torch.{name}(x, row)", exact=True)
    found += cases(
        family,
        EVERY,
        "torch.isclose(x, y)",
        "torch.isclose(x, x, equal_nan=True)",
        "torch.logical_and(x, y)",
        "torch.logical_or(x, y)",
        "torch.logical_xor(x, y)",
        "torch.where(m, x, y)",
        "torch.where(x > 1, x, 0)",
        "torch.where(m, 1, x)",
        "torch.where(m, 1, 0)",
        "torch.where(m, 1.0, 0.5)",
        "x.masked_fill(m, 1)",
        "torch.where(m, x, row)",
        "torch.where(m, x, zero)",
        exact=True,
    )
    found += cases(family, FLOATS, "x.masked_fill(m, -inf)", "torch.where(m, x, -inf)")
    found += cases(
        family, FLOATS, "torch.where(m, x, 0.1)", "torch.where(m, x, i)", exact=True
    )
    bits = ["x & y", "x | y", "x ^ y", "torch.bitwise_and(x, y)", "x & row"]
    found += cases(family, (*INTEGERS, *BOOL), *bits, exact=True)
    bits = ["x & 5", "5 | x", "x ^ 3", "x << s", "x >> s", "x << 2", "x >> 1", "1 << s"]
    bits += ["torch.bitwise_left_shift(x, s)", "torch.bitwise_right_shift(x, s)"]
    found += cases(family, INTEGERS, *bits, exact=True)
    found += cases(
        family,
        NUMERIC,
        "x.clamp(1, 3)",
        "x.clamp(min=2)",
        "x.clamp(max=2)",
        "torch.clamp(x, y, z)",
        "torch.clamp(x, min=y)",
        "torch.clip(x, 1, 3)",
        "x.clamp(1.5, 2.5)",
        "x.clamp_min(1)",
        "x.clamp_max(1)",
        "x.clamp(5, 3)",
        exact=True,
    )
    found += cases(family, F32, "torch.isin(x, 1.5)", exact=True)
    return found


CASES = [*unary(), *special(), *binary(), *powers(), *logic()]
