"""Powers of integers are exact and wrap around as torch's do, whatever their size."""

from __future__ import annotations

import pytest
import torch

import helion
import helion.language as hl
from test.harness import run

DTYPES = [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8]


@helion.kernel
def powers(base: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    out = base.new_empty([5, base.size(0)])
    for tile in hl.tile(base.size(0)):
        x, e = base[tile], exponent[tile]
        out[0, tile] = x**e
        out[1, tile] = torch.pow(3, e)
        out[2, tile] = x**65
        out[3, tile] = x**17
        out[4, tile] = torch.pow(x, e)
    return out


@helion.kernel
def table_of_powers(base: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    rows, columns = base.size(0), exponent.size(0)
    out = torch.empty([rows, columns], dtype=torch.int64, device=base.device)
    for row, column in hl.tile([rows, columns]):
        out[row, column] = base[row][:, None] ** exponent[column][None, :]
    return out


def reference(base: torch.Tensor, exponent: torch.Tensor) -> torch.Tensor:
    rows = [base**exponent, 3**exponent, base**65, base**17, base**exponent]
    return torch.stack(rows)


def agrees(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found.cpu(), wanted, rtol=0, atol=0, equal_nan=True)


def bases(dtype: torch.dtype, length: int) -> torch.Tensor:
    """Return integers of all sizes, those at both ends of the dtype among them."""
    limits = torch.iinfo(dtype)
    values = torch.randint(limits.min, limits.max, [length], dtype=dtype)
    ends = [limits.min, limits.max, 0, 1, 2, limits.max // 2]
    values[: len(ends)] = torch.tensor(ends, dtype=dtype)
    if dtype.is_signed:
        values[len(ends) : len(ends) + 2] = -1
    return values


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_powers_of_integers_wrap_around(way: str, dtype: torch.dtype) -> None:
    exponent = torch.randint(0, 127, [67], dtype=dtype)
    exponent[10:30] = torch.arange(20)
    base = bases(dtype, 67)
    found = run(powers, base, exponent, way=way)
    agrees(found, reference(base, exponent))


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.int64], ids=str)
def test_integers_to_negative_powers(way: str, dtype: torch.dtype) -> None:
    low, high = torch.iinfo(dtype).min, torch.iinfo(dtype).max
    exponent = torch.tensor([-1, -2, -3, -7, -64, low, low + 1, high], dtype=dtype)
    base = torch.tensor([1, -1, -1, 2, -2, 0, 5, low], dtype=dtype)
    pairs = torch.cartesian_prod(base, exponent)
    pairs = pairs[~((pairs[:, 0] == 0) & (pairs[:, 1] < 0))]
    x, e = (pairs[:, i].contiguous() for i in range(2))
    agrees(run(powers, x, e, way=way), reference(x, e))


def test_powers_broadcast_and_promote(way: str) -> None:
    base = torch.tensor([3, -7, 10, 1 << 40, -3], dtype=torch.int64)
    exponent = torch.arange(41, dtype=torch.int16)
    found = run(table_of_powers, base, exponent, way=way)
    agrees(found, base[:, None] ** exponent[None, :])


@helion.kernel
def neighbours(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = torch.nextafter(x[tile], y[tile])
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_neighbours_of_the_smallest_numbers(way: str, dtype: torch.dtype) -> None:
    facts = torch.finfo(dtype)
    tiny, most = facts.smallest_normal, facts.max
    least = torch.tensor(tiny, dtype=dtype).item() * facts.eps
    ends = [0.0, -0.0, least, -least, tiny, -tiny, 1.0, most, -most]
    values = torch.tensor([*ends, torch.inf, -torch.inf, torch.nan], dtype=dtype)
    pairs = torch.cartesian_prod(values, values)
    x, y = (pairs[:, i].contiguous() for i in range(2))
    found, wanted = run(neighbours, x, y, way=way).cpu(), torch.nextafter(x, y)
    agrees(found, wanted)
    assert torch.equal(found.signbit(), wanted.signbit())
