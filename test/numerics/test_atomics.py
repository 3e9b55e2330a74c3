"""Atomic updates: kinds, dtypes, indices, duplicates, masks, orders and old values."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import helion
import helion.language as hl
from helion import exc
from test import harness
from test.harness import randn
from test.unit import faults

CONFIGS = (None, helion.Config(block_sizes=[8]), helion.Config(block_sizes=[1]))
INTEGERS = [torch.int32, torch.int64]
FLOATS = [torch.float32, torch.float64]
HALVES = [torch.float16, torch.bfloat16]
BYTES = [torch.bool, torch.int8, torch.uint8, torch.int16]
OPS: dict[str, Any] = {
    "atomic_add": (torch.add, [*INTEGERS, *FLOATS, *HALVES]),
    "atomic_max": (torch.maximum, [*INTEGERS, *FLOATS]),
    "atomic_min": (torch.minimum, [*INTEGERS, *FLOATS]),
    "atomic_and": (torch.bitwise_and, [*INTEGERS, *BYTES]),
    "atomic_or": (torch.bitwise_or, [*INTEGERS, *BYTES]),
    "atomic_xor": (torch.bitwise_xor, [*INTEGERS, *BYTES]),
    "atomic_xchg": (lambda old, new: new, [*INTEGERS, *FLOATS]),
}
CASES = [(name, dtype) for name, (_, dtypes) in OPS.items() for dtype in dtypes]


@helion.kernel
def update(target: torch.Tensor, value: torch.Tensor, op: hl.constexpr) -> torch.Tensor:
    old = torch.empty_like(target)
    for tile in hl.tile(target.size(0)):
        old[tile] = getattr(hl, op)(target, [tile], value[tile])
    return old


@helion.kernel
def scatter(
    target: torch.Tensor, index: torch.Tensor, value: torch.Tensor, op: hl.constexpr
) -> None:
    for tile in hl.tile(index.size(0)):
        getattr(hl, op)(target, [index[tile]], value[tile])


@helion.kernel
def swap(
    target: torch.Tensor, expected: torch.Tensor, value: torch.Tensor
) -> torch.Tensor:
    old = torch.empty_like(target)
    for tile in hl.tile(target.size(0)):
        old[tile] = hl.atomic_cas(target, [tile], expected[tile], value[tile])
    return old


@helion.kernel
def swap_rows(target: torch.Tensor, n: int) -> torch.Tensor:
    """Expected and value are numbers; the index a slice, a tile and an int."""
    old = torch.empty([target.size(0), target.size(1)], device=target.device)
    for i in hl.tile(target.size(0)):
        before = hl.atomic_cas(target, [i, slice(None), 1], 0, n, sem="acq_rel")
        old[i, :] = before
    return old


@helion.kernel
def ordered(target: torch.Tensor, value: torch.Tensor, sem: hl.constexpr) -> None:
    for tile in hl.tile(value.size(0)):
        hl.atomic_add(target, [tile], value[tile], sem=sem)


@helion.kernel
def by_index(x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Ints, tiles moved by a distance, gathered rows, a row and a number spread."""
    out = torch.zeros([4, 70, 3], device=x.device)
    for i, j in hl.tile(x.size()):
        v = x[i, j]
        hl.atomic_add(out, [0, j + 2, 1], v.sum(0))
        hl.atomic_add(out, [1, i, slice(0, 3)], 1.5)
        hl.atomic_add(out, [rows[i], j, 0], v)
        hl.atomic_add(out, [-1, i.begin, 2], v.sum())
        hl.atomic_max(out, [slice(2, 3), j, 2], v.abs().amax(0)[None, :])
    return out


@helion.kernel
def count_all(x: torch.Tensor) -> torch.Tensor:
    total = torch.zeros([], dtype=torch.int64, device=x.device)
    for tile in hl.tile(x.size(0)):
        hl.atomic_add(total, [], (x[tile] > 0).sum())
    return total


@helion.kernel
def tickets(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Every element gets a number of its own."""
    next_one = torch.zeros([1], dtype=torch.int32, device=x.device)
    taken = torch.empty([x.size(0)], dtype=torch.int32, device=x.device)
    for tile in hl.tile(x.size(0)):
        zeros = hl.zeros([tile], dtype=torch.int32)
        taken[tile] = hl.atomic_add(next_one, [zeros], zeros + 1)
    return next_one, taken


def values(count: int, dtype: torch.dtype) -> torch.Tensor:
    if dtype == torch.bool:
        return torch.randint(0, 2, (count,)).bool()
    info = torch.iinfo(dtype) if not dtype.is_floating_point else None
    if info is not None and info.bits == 64:
        return torch.randint(-(2**50), 2**50, (count,))
    return randn(count, dtype=dtype)


@pytest.mark.parametrize("name, dtype", CASES, ids=str)
def test_every_kind_and_dtype(way: str, name: str, dtype: torch.dtype) -> None:
    for config in CONFIGS:
        target, value = values(37, dtype), values(37, dtype)
        before = target.clone()
        old = harness.run(update, target, value, name, way=way, config=config)
        assert torch.equal(old, before)
        torch.testing.assert_close(target, OPS[name][0](before, value))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", ["atomic_max", "atomic_min"])
def test_extrema_of_signs_zeros_and_nan(
    way: str, name: str, dtype: torch.dtype
) -> None:
    inf, nan = torch.inf, torch.nan
    numbers = torch.tensor([-inf, -2.5, -1e-40, 0.0, 1e-40, 3.0, inf], dtype=dtype)
    target = numbers.repeat(8)
    value = torch.cat([numbers, torch.tensor([nan], dtype=dtype)])
    value = value.repeat_interleave(7)
    expected = OPS[name][0](target, value)
    old = harness.run(update, target, value, name, way=way, config=CONFIGS[1])
    torch.testing.assert_close(old, numbers.repeat(8), rtol=0, atol=0)
    torch.testing.assert_close(target, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", list(OPS))
def test_elements_that_several_lanes_name(way: str, name: str) -> None:
    index = torch.randint(0, 5, (41,))
    value = torch.randint(-50, 50, (41,), dtype=torch.int32)
    for config in CONFIGS:
        target = torch.randint(-50, 50, (6,), dtype=torch.int32)
        expected = target.clone()
        for place, item in zip(index.tolist(), value):
            expected[place] = OPS[name][0](expected[place], item)
        found = target.clone()
        harness.run(scatter, found, index, value, name, way=way, config=config)
        if name == "atomic_xchg":
            # Which of them comes last is not defined.
            for place in range(6):
                allowed = value[index == place].tolist() or [target[place].item()]
                assert found[place].item() in allowed
        else:
            assert torch.equal(found, expected)


SWAPS = [*INTEGERS, *FLOATS, *HALVES, torch.int16]


@pytest.mark.parametrize("dtype", SWAPS, ids=str)
def test_swaps_leave_padding_and_other_elements_alone(
    way: str, dtype: torch.dtype
) -> None:
    for config in CONFIGS:
        target = torch.randint(0, 2, (37,)).to(dtype)
        expected = torch.randint(0, 2, (37,)).to(dtype)
        value = torch.full((37,), 5).to(dtype)
        # The tail of the storage is no part of the target.
        storage = torch.cat([target, torch.zeros(27).to(dtype)])
        before = storage.clone()
        found = storage[:37]
        old = harness.run(swap, found, expected, value, way=way, config=config)
        assert torch.equal(old, target)
        right = torch.where(target == expected, value, target)
        assert torch.equal(found, right)
        assert torch.equal(storage[37:], before[37:])


def test_swaps_of_numbers_in_slices(way: str) -> None:
    for config in CONFIGS:
        target = torch.randint(0, 2, (5, 11, 2)).float()
        before = target.clone()
        old = harness.run(swap_rows, target, 9, way=way, config=config)
        assert torch.equal(old, before[:, :, 1])
        expected = before.clone()
        expected[:, :, 1][before[:, :, 1] == 0] = 9
        assert torch.equal(target, expected)


@pytest.mark.parametrize("sem", ["relaxed", "acquire", "release", "acq_rel"])
def test_every_order(way: str, sem: str) -> None:
    target, value = randn(37), randn(37)
    expected = target + value
    harness.run(ordered, target, value, sem, way=way, config=CONFIGS[1])
    torch.testing.assert_close(target, expected)


@pytest.mark.parametrize(
    "sem, barriers", [("relaxed", 0), ("acquire", 1), ("release", 1), ("acq_rel", 2)]
)
def test_orders_hold_for_all_threads_of_a_program(sem: str, barriers: int) -> None:
    args = harness.fake_cuda((torch.ones(64), torch.ones(64)))
    text = ordered.bind((*args, sem)).to_triton_code()
    assert text.count("tl.debug_barrier()") == barriers
    assert f"sem='{sem}'" in text


@pytest.mark.parametrize("sizes", [[4, 8], [1, 8], [4, 1], [1, 1]], ids=str)
def test_every_kind_of_index(way: str, sizes: list[int]) -> None:
    if way == "plain":
        sizes = [6, 18]
    x, rows = randn(6, 18), torch.tensor([3, 3, 1, 3, 1, 1])
    expected = torch.zeros(4, 70, 3)
    expected[0, 2:20, 1] = x.sum(0)
    expected[1, :6, :] += 1.5 * -(-18 // sizes[1])
    for row in range(6):
        expected[rows[row], :18, 0] += x[row]
    for begin in range(0, 6, sizes[0]):
        expected[3, begin, 2] = x[begin : begin + sizes[0]].sum()
    expected[2, :18, 2] = x.abs().amax(0)
    config = helion.Config(block_sizes=sizes)
    found = harness.run(by_index, x, rows, way=way, config=config)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_target_without_dims(way: str) -> None:
    x = randn(37)
    for config in CONFIGS:
        found = harness.run(count_all, x, way=way, config=config)
        assert found.item() == (x > 0).sum().item()


def test_old_values_of_duplicates_are_all_different(way: str) -> None:
    for config in CONFIGS:
        last, taken = harness.run(tickets, randn(37), way=way, config=config)
        assert last.item() == 37
        assert taken.sort().values.tolist() == list(range(37))


@pytest.mark.parametrize(
    "name", ["atomic_or", "atomic_max", "atomic_xchg", "atomic_cas"]
)
def test_eager_duplicates_come_one_after_the_other(name: str) -> None:
    target, at = torch.tensor([1, 0]), torch.tensor([0, 0, 0])
    extra = [torch.tensor([1, 2, 9])] if name == "atomic_cas" else []
    old = getattr(hl, name)(target, [at], *extra, torch.tensor([2, 4, 3]))
    expected = {
        "atomic_or": ([1, 3, 7], 7),
        "atomic_max": ([1, 2, 4], 4),
        "atomic_xchg": ([1, 2, 4], 3),
        "atomic_cas": ([1, 2, 4], 4),
    }[name]
    assert (old.tolist(), target[0].item()) == expected


def test_atomics_assemble() -> None:
    config = helion.Config(block_sizes=[128])
    for name, dtype in CASES:
        args = (values(500, dtype), values(500, dtype), name)
        if dtype in (torch.float32, torch.bfloat16, torch.int8, torch.int64):
            assert harness.offline(update, *args, config=config)


@pytest.mark.parametrize("dtype", SWAPS, ids=str)
def test_swaps_assemble(dtype: torch.dtype) -> None:
    one = torch.ones(500).to(dtype)
    config = helion.Config(block_sizes=[128])
    assert harness.offline(swap, one, one, one, config=config)
    assert harness.offline(swap, one, one, one, config=CONFIGS[2])


@pytest.mark.parametrize("name", ["atomic_cas", "atomic_or", "atomic_add"])
def test_atomics_assemble_for_other_chips(name: str) -> None:
    one = torch.ones(500, dtype=torch.int32)
    config = helion.Config(block_sizes=[128])
    if name == "atomic_cas":
        assert harness.offline(swap, one, one, one, config=config, arch="gfx942")
        return
    assert harness.offline(update, one, one, name, config=config, arch="gfx942")
    if name == "atomic_or":
        few = one.to(torch.int8)
        assert harness.offline(update, few, few, name, config=config, arch="gfx942")


REFUSED = [
    ("atomic_add", torch.int8),
    ("atomic_max", torch.float16),
    ("atomic_xchg", torch.bool),
    ("atomic_and", torch.float32),
]


@pytest.mark.parametrize("name, dtype", REFUSED, ids=str)
def test_what_memory_cannot_update_in_one_step_is_refused(
    name: str, dtype: torch.dtype
) -> None:
    text = faults.device_text(f"hl.{name}(w, [t], 1)", "x, w")
    found = faults.fault(text, torch.ones(64), torch.ones(64).to(dtype))
    assert type(found) is exc.BackendUnsupported
    assert "use a target of" in str(found)
