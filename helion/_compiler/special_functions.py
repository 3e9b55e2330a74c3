"""Functions of ``torch.special`` in terms of simpler ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from .aten_decompositions import compute_dtype, decomposes

if TYPE_CHECKING:
    from collections.abc import Callable

aten = torch.ops.aten
inf, nan = math.inf, math.nan

# B(2k) / (2k) of digamma's series in 1/x**2, B the numbers of Bernoulli.
_DIGAMMA = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)
# B(2k) / (2k)! of the sum formula of Euler and Maclaurin.
_ZETA = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160)
_SHIFTS = 10


def _wide(*values: Any) -> tuple[list[Any], torch.dtype]:
    """Return the values as torch computes on them, and the dtype of the result."""
    tensors = [v for v in values if isinstance(v, torch.Tensor)]
    dtype = tensors[0].dtype
    for value in tensors[1:]:
        dtype = torch.result_type(torch.empty([], dtype=dtype), value)
    if not dtype.is_floating_point:
        dtype = torch.float32
    compute = compute_dtype(dtype)
    return [v.to(compute) if isinstance(v, torch.Tensor) else v for v in values], dtype


def polynomial(x: torch.Tensor, factors: tuple[float, ...]) -> Any:
    """Return the sum of ``factors[k] * x**k``."""
    total: Any = factors[-1]
    for factor in reversed(factors[:-1]):
        total = total * x + factor
    return total


@decomposes(aten.digamma.default)
def digamma(x: torch.Tensor) -> torch.Tensor:
    """Step up to where the asymptotic series is exact; reflect negative arguments."""
    (value,), dtype = _wide(x)
    is_negative = value < 0
    argument = torch.where(is_negative, 1 - value, value)
    total = torch.zeros_like(argument)
    for _ in range(_SHIFTS):
        is_small = argument < _SHIFTS
        total = torch.where(is_small, total - 1 / argument, total)
        argument = torch.where(is_small, argument + 1, argument)
    inverse = 1 / (argument * argument)
    total = total + argument.log() - 0.5 / argument
    total = total - inverse * polynomial(inverse, _DIGAMMA)
    # The fraction alone decides the tangent, and is exact.
    angle = math.pi * (value - value.trunc())
    total = torch.where(is_negative, total - math.pi / angle.tan(), total)
    total = torch.where(is_negative & (value == value.trunc()), nan, total)
    pole = torch.copysign(torch.full_like(value, inf), -value)
    total = torch.where(value == 0, pole, total)
    return torch.where(value == inf, inf, total).to(dtype)


@decomposes(aten.special_zeta.default)
def zeta(s: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Sum the first terms, then estimate the rest by Euler and Maclaurin."""
    (s, q), dtype = _wide(s, q)
    return _zeta(s, q).to(dtype)


@decomposes(aten.special_zeta.other_scalar)
def zeta_of_number(s: torch.Tensor, q: float) -> torch.Tensor:
    return zeta(s, torch.full_like(s, q, dtype=compute_dtype(_wide(s)[1])))


@decomposes(aten.special_zeta.self_scalar)
def zeta_at_number(s: float, q: torch.Tensor) -> torch.Tensor:
    return zeta(torch.full_like(q, s, dtype=compute_dtype(_wide(q)[1])), q)


def _zeta(s: Any, q: torch.Tensor) -> torch.Tensor:
    total = q**-s
    for step in range(1, _SHIFTS):
        total = total + (q + step) ** -s
    edge = q + _SHIFTS
    power = edge**-s
    total = total + power * edge / (s - 1) + power * 0.5
    factor: Any = s
    for index, coefficient in enumerate(_ZETA):
        power = power / edge
        total = total + coefficient * factor * power
        power = power / edge
        factor = factor * (s + 2 * index + 1) * (s + 2 * index + 2)
    total = torch.where((q <= 0) & (q == q.floor()), inf, total)
    if isinstance(s, torch.Tensor):
        total = torch.where((q < 0) & (q != q.floor()) & (s != s.floor()), nan, total)
        total = torch.where(s < 1, nan, torch.where(s == 1, inf, total))
    return total


@decomposes(aten.polygamma.default)
def polygamma(order: int, x: torch.Tensor) -> torch.Tensor:
    """The first ones by name, further ones by Hurwitz's zeta function."""
    if order < 0:
        raise exc.TorchOpTracingError("torch.polygamma of a negative order")
    if order == 0:
        return digamma(x)
    (value,), dtype = _wide(x)
    if order == 1:
        return _trigamma(value).to(dtype)
    scale = math.factorial(order) * (-1.0) ** (order + 1)
    return (scale * _zeta(float(order + 1), value)).to(dtype)


def _trigamma(x: torch.Tensor) -> torch.Tensor:
    """Reflect arguments below one half, as torch does."""
    is_low = x < 0.5
    sine = (math.pi * (x - x.trunc())).sin()
    value = _zeta(2.0, torch.where(is_low, 1 - x, x))
    return torch.where(is_low, (math.pi / sine) ** 2 - value, value)


@decomposes(aten.special_i0e.default)
def i0e(x: torch.Tensor) -> torch.Tensor:
    return _scaled_bessel(x, torch.special.i0, 0)


@decomposes(aten.special_i1e.default)
def i1e(x: torch.Tensor) -> torch.Tensor:
    return _scaled_bessel(x, torch.special.i1, 1)


_FAR = 30.0
_TERMS = 14


def _scaled_bessel(
    x: torch.Tensor, near: Callable[[torch.Tensor], torch.Tensor], order: int
) -> torch.Tensor:
    """Return ``exp(-|x|) I(x)``; far from 0, where I overflows, by its series."""
    (value,), dtype = _wide(x)
    size = value.abs()
    is_far = size > _FAR
    close = near(torch.where(is_far, 1.0, value)) * (-size).exp()
    factors = [1.0]
    for k in range(1, _TERMS):
        last = factors[-1]
        factors.append(last * ((2 * k - 1) ** 2 - 4 * order**2) / (8 * k))
    far = polynomial(1 / size, tuple(factors)) / (2 * math.pi * size).sqrt()
    far = torch.where(value < 0, -far, far) if order else far
    return torch.where(is_far, far, close).to(dtype)


@decomposes(aten.special_spherical_bessel_j0.default)
def spherical_bessel_j0(x: torch.Tensor) -> torch.Tensor:
    (value,), dtype = _wide(x)
    series = tuple((-1.0) ** k / math.factorial(2 * k + 1) for k in range(7))
    near = polynomial(value * value, series)
    result = torch.where(value.abs() < 0.5, near, value.sin() / value)
    return torch.where(value.abs() == inf, 0.0, result).to(dtype)


# -- orthogonal polynomials ------------------------------------------------------------

_First = Any
_Next = Any


def _recurrence(
    x: torch.Tensor, n: Any, first: _First, following: _Next, shifted: bool = False
) -> torch.Tensor:
    """Return polynomial ``n``, made from polynomial 1 by ``following(x, k, p, q)``.

    That is polynomial ``k + 1``, of which the two before it are ``p`` and ``q``.
    """
    if not isinstance(n, (int, float)):
        raise exc.TorchOpTracingError("the degree of a polynomial must be a number")
    (value,), dtype = _wide(x)
    if shifted:
        value = 2 * value - 1
    degree = int(n)
    before = torch.ones_like(value)
    if degree < 0:
        return torch.zeros_like(value).to(dtype)
    current = before if degree == 0 else first(value)
    for k in range(1, degree):
        before, current = current, following(value, k, current, before)
    return current.to(dtype)


def _by_chebyshev(x: Any, k: int, p: Any, q: Any) -> Any:
    return 2 * x * p - q


_RECURRENCES: dict[str, tuple[_First, _Next]] = {
    "chebyshev_polynomial_t": (lambda x: x, _by_chebyshev),
    "chebyshev_polynomial_u": (lambda x: 2 * x, _by_chebyshev),
    "chebyshev_polynomial_v": (lambda x: 2 * x - 1, _by_chebyshev),
    "chebyshev_polynomial_w": (lambda x: 2 * x + 1, _by_chebyshev),
    "hermite_polynomial_h": (
        lambda x: 2 * x,
        lambda x, k, p, q: 2 * x * p - 2 * k * q,
    ),
    "hermite_polynomial_he": (lambda x: x, lambda x, k, p, q: x * p - k * q),
    "laguerre_polynomial_l": (
        lambda x: 1 - x,
        lambda x, k, p, q: ((2 * k + 1 - x) * p - k * q) / (k + 1),
    ),
    "legendre_polynomial_p": (
        lambda x: x,
        lambda x, k, p, q: ((2 * k + 1) * x * p - k * q) / (k + 1),
    ),
}


def _register_polynomials() -> None:
    for name, (first, following) in _RECURRENCES.items():
        for prefix in ("", "shifted_"):
            packet = getattr(aten, f"special_{prefix}{name}", None)
            if packet is not None:
                _register(packet.n_scalar, first, following, bool(prefix))


def _register(op: Any, first: _First, following: _Next, shifted: bool) -> None:
    @decomposes(op)
    def polynomial_of(x: torch.Tensor, n: Any) -> torch.Tensor:
        return _recurrence(x, n, first, following, shifted)


_register_polynomials()
