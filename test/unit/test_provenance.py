"""Which specialized size a number of host code comes from, however it is spelled."""

from __future__ import annotations

import pytest
import torch

import helion
import helion.language as hl
from test.codegen.emitted import bind, meta


@helion.kernel(static_shapes=False)
def formulas(x: torch.Tensor) -> torch.Tensor:
    n = hl.specialize(x.size(dim=1))
    negative = -n
    inverse = ~n
    largest = max(n, 7)
    shifted = n << 1
    rest = n % 7 + n**2 - n // 3
    again = rest
    n_text = f"{negative} {inverse} {largest} {shifted} {again}"
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile, :] = x[tile, :] + len(n_text)
    return out


@helion.kernel(static_shapes=False)
def spellings(x: torch.Tensor, pairs: list[tuple[int, int]]) -> torch.Tensor:
    shape = x.shape
    m, n = hl.specialize(shape[:2])
    stride = hl.specialize(x.stride())[1]
    first, second = hl.specialize(pairs[0])
    facts = hl.specialize({"width": shape[-1]})
    fixed, computed = hl.specialize([5, m + 1])
    width = facts["width"]
    total = m + n + stride + first + second + width + fixed + computed
    m = 0
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile, :] = x[tile, :] + (total + m)
    return out


def found(kernel: helion.Kernel, name: str, *args: object) -> str:
    """Return the provenance of a name, with its symbol replaced by its spelling."""
    known = bind(kernel, meta(4, 21), *args).env.provenance(name)
    if known is None:
        return ""
    text = str(known.formula)
    for symbol, label in known.sizes.items():
        text = text.replace(symbol, label)
    return text


@pytest.mark.parametrize(
    "name, formula, value",
    [
        ("n", "x.size(1)", 21),
        ("negative", "-x.size(1)", -21),
        ("inverse", "Invert(x.size(1))", -22),
        ("largest", "x.size(1)", 21),
        ("shifted", "LShift(x.size(1), 1)", 42),
        ("again", "x.size(1)**2 - ((x.size(1)//3)) + (PythonMod(x.size(1), 7))", 434),
        ("out", "", None),
    ],
)
def test_arithmetic_has_a_formula(name, formula, value):
    assert found(formulas, name) == formula
    known = bind(formulas, meta(4, 21)).env.provenance(name)
    assert known is None or known.value in (value, None)


@pytest.mark.parametrize(
    "name, size",
    [
        ("n", "x.size(1)"),
        ("stride", "x.stride(1)"),
        ("first", "pairs[0][0]"),
        ("second", "pairs[0][1]"),
        ("width", "x.size(1)"),
        ("fixed", ""),
        ("m", ""),
    ],
)
def test_sizes_are_found_behind_containers(name, size):
    assert found(spellings, name, [(3, 9)]) == size
