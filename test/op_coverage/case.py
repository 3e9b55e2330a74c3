"""What a case of the op table is, and the tensors that its expression may name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf, nan
from typing import Any

import torch

HALVES = (torch.float16, torch.bfloat16)
WIDE = (torch.float32, torch.float64)
FLOATS = (*WIDE, *HALVES)
SIGNED = (torch.int32, torch.int64, torch.int8, torch.int16)
INTEGERS = (*SIGNED, torch.uint8)
BOOL = (torch.bool,)
NUMERIC = (*FLOATS, *INTEGERS)
EVERY = (*NUMERIC, *BOOL)
FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)
F32 = (torch.float32,)

ROWS, COLUMNS = 5, 7
NAMES = "x y z g n s p u w m i c row col zero edges".split()
"""Tensors that expressions may name; ``make_tensor`` says what they hold."""


@dataclass(frozen=True)
class Case:
    """One expression in the names of ``make_tensor``, for some dtypes.

    ``layout`` is "tile" where operands are tiles of both axes, "rows" where they are
    tiles of rows with all columns, and "whole" where one program sees it all.
    """

    text: str
    dtypes: tuple[torch.dtype, ...]
    family: str
    layout: str = "tile"
    exact: bool = False
    any_zero: bool = False
    """Whether a zero of the result may have the other sign."""
    scale: float = 1.0
    """By how much the tolerance of the dtype is widened."""
    float64_scale: float = 1.0
    """By how much the tolerance of float64 is widened besides."""
    limits: tuple[tuple[float, float], ...] = ()
    """Values of ``x`` with a result that is right there besides torch's own."""
    note: str = ""
    """Why the result may differ from torch's; empty where it may not."""
    refused: str = ""
    """The error that the compiler raises, where it refuses the op."""
    lines: tuple[str, ...] = ()
    """Statements before the expression."""
    label: str = ""
    """How the table names the case, if not by its expression."""

    def __str__(self) -> str:
        return self.label or "; ".join([*self.lines, self.text])

    def names(self) -> list[str]:
        """Return the tensors that the expression reads."""
        words = set(re.findall(r"\b[a-z]+\b", " ".join([self.text, *self.lines])))
        return [name for name in NAMES if name in words]

    def evaluate(self, tensors: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        """Return the results of the expression, computed by torch here."""
        scope: dict[str, Any] = {
            "torch": torch,
            "F": torch.nn.functional,
            "inf": inf,
            "nan": nan,
            **{name: value.clone() for name, value in tensors.items()},
        }
        exec("\n".join(self.lines), scope)
        return parts_of(eval(self.text, scope))


NO_KERNEL = {
    "refused": "BackendUnsupported",
    "note": "Inductor has no kernel of it either",
}
ZERO_SIGN = {"any_zero": True, "note": "a zero may have the other sign"}


def parts_of(value: Any) -> list[torch.Tensor]:
    """Return the tensors of a result, which may be a tuple of them."""
    return list(value) if isinstance(value, (tuple, list)) else [value]


SPECIALS = [0.0, -0.0, inf, -inf, nan, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, -3.0]


def make_tensor(name: str, dtype: torch.dtype, shape: Any = None) -> torch.Tensor:
    """Make the tensor of a name.

    ``x``, ``y``, ``z`` hold any values, a row of them NaN and one inf; ``g`` finite
    ones, ``n`` no zeros, ``s`` small counts, ``p`` positive ones, ``u`` ones between 0
    and 1, ``w`` some within [-1, 1]. ``m`` is a mask, ``i`` small indices, ``c`` class
    numbers of rows; ``row`` and ``col`` broadcast, ``zero`` has no dims; ``edges`` is a
    sorted row.
    """
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    rows, columns = (ROWS, COLUMNS) if shape is None else shape
    if name == "edges":
        return make_tensor("row", dtype, (rows, columns)).sort().values
    shape = {"row": [columns], "col": [rows, 1], "zero": [], "c": [rows]}.get(
        name, [rows, columns]
    )
    if name in ("i", "c"):
        return torch.randint(0, max(rows, 1), shape, generator=generator)
    if name == "m" or dtype == torch.bool:
        return torch.randint(0, 2, shape, generator=generator).bool()
    if not dtype.is_floating_point:
        return _integers(name, dtype, shape, generator)
    values = torch.randn(shape, generator=generator) * 3
    if name in ("x", "y", "z") and values.numel() > len(SPECIALS):
        flat = values.view(-1)
        shift = 5 * "xyz".index(name)
        flat[columns : columns + len(SPECIALS)] = torch.tensor(SPECIALS).roll(shift)
    if name == "p":
        values = values.abs() + 0.1
    elif name == "u":
        values = torch.rand(shape, generator=generator) * 0.98 + 0.01
    elif name == "w":
        values = torch.rand(shape, generator=generator) * 1.98 - 0.99
    elif name == "s":
        values = values.abs().floor()
    return values.to(dtype)


def _integers(
    name: str, dtype: torch.dtype, shape: Any, generator: torch.Generator
) -> torch.Tensor:
    low = -20 if dtype.is_signed else 0
    values = torch.randint(low, 21, shape, generator=generator)
    if name in ("s", "u", "w"):
        values = values.abs() % 7
    elif name in ("n", "p"):
        values = torch.where(values == 0, 3, values)
    if name == "p":
        values = values.abs()
    return values.to(dtype)


@dataclass(frozen=True)
class Job:
    """A case for one dtype."""

    case: Case
    dtype: torch.dtype

    def tensors(self, shape: Any = None) -> dict[str, torch.Tensor]:
        """Return the inputs by name."""
        names = self.case.names()
        return {name: make_tensor(name, self.dtype, shape) for name in names}

    def on_cpu(self, shape: Any = None) -> list[torch.Tensor]:
        """Return what torch makes of the inputs; some halves it has on GPUs alone."""
        return self.case.evaluate(self.tensors(shape))

    def expected(self, shape: Any = None) -> list[torch.Tensor]:
        """Return what torch makes of the inputs; halves may be computed in float32."""
        try:
            return self.on_cpu(shape)
        except (RuntimeError, NotImplementedError):
            if self.dtype not in HALVES:
                raise
        tensors = self.tensors(shape)
        wide = {n: v.float() if v.dtype in HALVES else v for n, v in tensors.items()}
        results = self.case.evaluate(wide)
        return [r.to(self.dtype) if r.dtype == torch.float32 else r for r in results]

    def precise(self, shape: Any = None) -> list[torch.Tensor]:
        """Return the results computed in float64, where torch can; else as they are."""
        tensors = self.tensors(shape)
        wide = {
            n: v.double() if v.is_floating_point() else v for n, v in tensors.items()
        }
        try:
            return self.case.evaluate(wide)
        except RuntimeError:
            return self.expected(shape)
