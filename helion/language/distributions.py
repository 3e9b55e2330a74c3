"""torch's random functions as functions of a seed and of positions.

The same code serves compiled and eager kernels: it calls ops of the language, and
``Site`` tells what differs. Values depend on nothing but the seed and the position of
an element in the whole iteration range.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from . import random_ops

if TYPE_CHECKING:
    from collections.abc import Callable

    from .random_ops import Seed

_IGNORED = ("layout", "pin_memory", "memory_format", "requires_grad", "names")
_LEAST_UNIFORM = 1e-7  # so that its logarithm is finite
_WORD = 1 << 32


class Site(ABC):
    """One call of a random function of torch in a kernel."""

    @abstractmethod
    def seed(self) -> Seed:
        """Return the seed of this place in the text, for the running launch."""

    @abstractmethod
    def sizes(self, value: torch.Tensor) -> list[Any]:
        """Return the shape of a device value, tiles standing for themselves."""

    @abstractmethod
    def check_device(self, device: Any) -> None:
        """Refuse another device than the kernel's."""

    def options(self, name: str, given: dict[str, Any]) -> torch.dtype | None:
        """Return ``dtype=`` of a call; refuse what has no meaning in a kernel."""
        given = dict(given)
        dtype = given.pop("dtype", None)
        self.check_device(given.pop("device", None))
        for option in _IGNORED:
            given.pop(option, None)
        if given.pop("generator", None) is not None:
            raise exc.InvalidAPIUsage(
                f"{name}: a generator cannot be used in a kernel",
                hint="torch.manual_seed decides, or use hl.rand with a seed",
            )
        if given:
            raise exc.InvalidAPIUsage(f"{name}: {', '.join(given)}= is not supported")
        return dtype


# -- distributions ---------------------------------------------------------------------


def uniform(site: Site, sizes: list[Any]) -> torch.Tensor:
    """Return float32 numbers in [0, 1)."""
    return random_ops.rand(sizes, site.seed())


def normal(site: Site, sizes: list[Any]) -> torch.Tensor:
    """Return float32 numbers of the standard normal distribution (Box-Muller)."""
    offsets = random_ops.positions(sizes)
    first, second, _, _ = random_ops.rand4x(site.seed(), offsets)
    radius = torch.sqrt(torch.log(first.clamp(min=_LEAST_UNIFORM)) * -2.0)
    return radius * torch.cos(second * (2 * math.pi))


def integers(site: Site, sizes: list[Any], low: Any, high: Any) -> torch.Tensor:
    """Return int64 numbers from ``low`` up to ``high``, made of 63 random bits."""
    _check_range(low, high)
    offsets = random_ops.positions(sizes)
    lower, upper = random_ops.random_words(site.seed(), offsets)
    word = (upper & (_WORD // 2 - 1)) * _WORD + lower
    return word % (high - low) + low


def _check_range(low: Any, high: Any) -> None:
    if isinstance(low, int) and isinstance(high, int) and low >= high:
        raise exc.InvalidAPIUsage(
            f"torch.randint: needs low < high, not {low} and {high}"
        )


def _to_float(name: str, value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if not dtype.is_floating_point:
        raise exc.InvalidAPIUsage(
            f"{name}: the dtype is {dtype}, but must be a floating one"
        )
    return value.to(dtype)


def _below_one(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Keep rounding to a dtype from giving 1."""
    if dtype in (torch.float16, torch.bfloat16):
        return value.clamp(max=1.0 - torch.finfo(dtype).eps / 2)
    return value


def _flat(size: tuple[Any, ...], given: dict[str, Any]) -> list[Any]:
    """Return sizes that are given one by one, or as a list."""
    if "size" in given:
        size = (*size, given.pop("size"))
    if len(size) == 1 and isinstance(size[0], (list, tuple)):
        return list(size[0])
    return list(size)


# -- functions that make tensors -------------------------------------------------------


def rand(site: Site, *size: Any, **given: Any) -> torch.Tensor:
    sizes = _flat(size, given)
    dtype = site.options("torch.rand", given) or torch.get_default_dtype()
    value = _below_one(uniform(site, sizes), dtype)
    return _to_float("torch.rand", value, dtype)


def randn(site: Site, *size: Any, **given: Any) -> torch.Tensor:
    sizes = _flat(size, given)
    dtype = site.options("torch.randn", given) or torch.get_default_dtype()
    return _to_float("torch.randn", normal(site, sizes), dtype)


def rand_like(site: Site, value: torch.Tensor, **given: Any) -> torch.Tensor:
    given["dtype"] = given.get("dtype") or value.dtype
    return rand(site, site.sizes(value), **given)


def randn_like(site: Site, value: torch.Tensor, **given: Any) -> torch.Tensor:
    given["dtype"] = given.get("dtype") or value.dtype
    return randn(site, site.sizes(value), **given)


def randint(site: Site, *args: Any, **given: Any) -> torch.Tensor:
    names = ("high", "size") if _is_shape(args[1:2]) else ("low", "high", "size")
    values = {"low": 0, **dict(zip(names, args)), **given}
    low, high = (values.pop(name) for name in ("low", "high"))
    sizes = list(values.pop("size"))
    dtype = site.options("torch.randint", values) or torch.int64
    return integers(site, sizes, low, high).to(dtype)


def _is_shape(args: tuple[Any, ...]) -> bool:
    return bool(args) and isinstance(args[0], (list, tuple))


def randint_like(
    site: Site, value: torch.Tensor, *args: Any, **given: Any
) -> torch.Tensor:
    low, high = 0, None
    if args:
        low, high = (0, *args)[-2:] if len(args) == 1 else args
    low, high = given.pop("low", low), given.pop("high", high)
    dtype = site.options("torch.randint_like", given) or value.dtype
    return integers(site, site.sizes(value), low, high).to(dtype)


def randperm(site: Site, n: Any, **given: Any) -> torch.Tensor:
    """Return the places of random numbers in their order."""
    dtype = site.options("torch.randperm", given) or torch.int64
    value = uniform(site, [n])
    order = torch.sort(value, dim=0, stable=True).indices
    return order.to(dtype)


# -- functions of tensors --------------------------------------------------------------


def bernoulli(
    site: Site, value: torch.Tensor, p: Any = None, **given: Any
) -> torch.Tensor:
    """Return 1 with the probability that ``value``, or ``p``, says; else 0."""
    site.options("torch.bernoulli", given)
    chance = value if p is None else p
    return (uniform(site, site.sizes(value)) < chance).to(value.dtype)


def dropout(
    site: Site,
    value: torch.Tensor,
    p: Any = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> torch.Tensor:
    """Return ``value / (1 - p)`` with the probability ``1 - p``, else 0."""
    if isinstance(p, (int, float)) and not 0 <= p <= 1:
        raise exc.InvalidAPIUsage(f"dropout: p is {p}, but must be from 0 to 1")
    if training is False or (isinstance(p, (int, float)) and p == 0):
        return value
    keep = uniform(site, site.sizes(value)) >= p
    rest = torch.zeros_like(keep, dtype=torch.float32) + (1.0 - p)
    scale = keep.to(torch.float32) / torch.where(rest == 0.0, 1.0, rest)
    wide = torch.promote_types(value.dtype, torch.float32)
    result = (value.to(wide) * scale.to(wide)).to(value.dtype)
    return value.copy_(result) if inplace else result


def torch_dropout(site: Site, value: torch.Tensor, p: Any, train: bool) -> torch.Tensor:
    return dropout(site, value, p, train)


def normal_of(
    site: Site, mean: Any = 0.0, std: Any = 1.0, size: Any = None, **given: Any
) -> torch.Tensor:
    dtype = site.options("torch.normal", given)
    tensors = [v for v in (mean, std) if isinstance(v, torch.Tensor)]
    if size is not None:
        sizes, dtype = list(size), dtype or torch.get_default_dtype()
    else:
        whole = max(tensors, key=lambda value: value.dim())
        sizes, dtype = site.sizes(whole), whole.dtype
    value = normal(site, sizes) * std + mean
    return _to_float("torch.normal", value, dtype)


# -- methods that fill a tensor --------------------------------------------------------


def uniform_(
    site: Site, value: torch.Tensor, *bounds: Any, **given: Any
) -> torch.Tensor:
    low, high = (*bounds, *(0.0, 1.0)[len(bounds) :])
    low, high = given.pop("from", low), given.pop("to", high)
    site.options("Tensor.uniform_", given)
    number = uniform(site, site.sizes(value))
    number = _below_one(number, value.dtype) * (high - low) + low
    return value.copy_(_to_float("Tensor.uniform_", number, value.dtype))


def normal_(
    site: Site, value: torch.Tensor, mean: Any = 0.0, std: Any = 1.0, **given: Any
) -> torch.Tensor:
    site.options("Tensor.normal_", given)
    number = normal(site, site.sizes(value)) * std + mean
    return value.copy_(_to_float("Tensor.normal_", number, value.dtype))


def bernoulli_(
    site: Site, value: torch.Tensor, p: Any = 0.5, **given: Any
) -> torch.Tensor:
    site.options("Tensor.bernoulli_", given)
    return value.copy_((uniform(site, site.sizes(value)) < p).to(value.dtype))


def exponential_(
    site: Site, value: torch.Tensor, lambd: Any = 1.0, **given: Any
) -> torch.Tensor:
    site.options("Tensor.exponential_", given)
    number = torch.log1p(-uniform(site, site.sizes(value))) / -lambd
    return value.copy_(_to_float("Tensor.exponential_", number, value.dtype))


def gumbel_softmax(
    site: Site,
    logits: torch.Tensor,
    tau: float = 1,
    hard: bool = False,
    eps: float = 1e-10,
    dim: int = -1,
) -> torch.Tensor:
    number = uniform(site, site.sizes(logits)).clamp(min=_LEAST_UNIFORM)
    noise = _to_float("gumbel_softmax", -torch.log(-torch.log(number)), logits.dtype)
    soft = torch.softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    return (soft == soft.amax(dim, keepdim=True)).to(soft.dtype)


RANDOM_FUNCTIONS: dict[Any, Callable[..., torch.Tensor]] = {
    torch.rand: rand,
    torch.randn: randn,
    torch.rand_like: rand_like,
    torch.randn_like: randn_like,
    torch.randint: randint,
    torch.randint_like: randint_like,
    torch.randperm: randperm,
    torch.bernoulli: bernoulli,
    torch.Tensor.bernoulli: bernoulli,
    torch.nn.functional.dropout: dropout,
    torch.dropout: torch_dropout,
    torch.nn.functional.gumbel_softmax: gumbel_softmax,
    torch.normal: normal_of,
    torch.Tensor.uniform_: uniform_,
    torch.Tensor.normal_: normal_,
    torch.Tensor.bernoulli_: bernoulli_,
    torch.Tensor.exponential_: exponential_,
}
