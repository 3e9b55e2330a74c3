"""Comparison of results with what is right, and the copies that runs get."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from helion import Settings
from helion.autotuner.accuracy import Reference, changed_places, copied, difference


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.bfloat16, torch.float16])
def test_rounding_of_the_dtype_is_right(dtype):
    exact = torch.randn(1000)
    off = exact * (1 + torch.finfo(dtype).eps / 2)
    assert difference(off.to(dtype), exact.to(dtype)) == ""
    assert "elements differ" in difference((1.7 * exact).to(dtype), exact.to(dtype))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_one_wrong_element_is_found_at_any_scale(scale):
    right = torch.randn(4096, dtype=torch.float64) * scale
    wrong = right.clone()
    wrong[77] += 0.1 * scale
    assert difference(wrong, right).startswith("1 of 4096")
    reordered = right + 1e-3 * scale
    assert difference(reordered, right) == ""


def test_zeros_are_not_small_values():
    right = torch.softmax(torch.randn(8, 4096), dim=1)
    assert difference(torch.zeros_like(right), right)


def test_nan_and_infinity():
    right = torch.tensor([float("nan"), float("inf"), 1.0])
    assert difference(right.clone(), right) == ""
    for place in range(3):
        wrong = right.clone()
        wrong[place] = 2.0
        assert difference(wrong, right).startswith("1 of 3")


@pytest.mark.parametrize(
    ("dtype", "off", "is_right"),
    [
        (torch.int8, 1, True),
        (torch.int8, 2, False),
        (torch.int64, 1, False),
        (torch.bool, 1, False),
    ],
)
def test_integers(dtype, off, is_right):
    right = torch.zeros(5, dtype=dtype)
    wrong = right.clone()
    wrong[3] = off
    assert (difference(wrong, right) == "") == is_right


def test_given_tolerance_goes_first():
    right = torch.ones(4)
    assert difference(right + 0.5, right, atol=1.0) == ""
    assert difference(right + 1e-4, right, rtol=0.0, atol=0.0)


def test_kind_of_result_matters():
    right = torch.ones(4, 2)
    assert "shape [2, 4]" in difference(right.T, right)
    assert "float64" in difference(right.double(), right)
    assert difference(3, 3) == difference(None, None) == ""
    assert difference(3, 4) and difference(1.0, 2.0)
    assert difference(1.0, 1.0 + 1e-12) == ""


def test_long_results_are_compared_in_parts(monkeypatch):
    monkeypatch.setattr("helion.autotuner.accuracy._CHUNK", 10)
    right = torch.arange(95.0)
    wrong = right.clone()
    wrong[[3, 94]] += 50
    assert difference(wrong, right) == "2 of 95 elements differ, by up to 50"


def test_copies_share_memory_as_the_arguments_did():
    base = torch.arange(12.0)
    rows, other = base.view(3, 4)[:, 1:], torch.ones(3)
    mine_base, mine_rows, (mine_other,) = copied((base, rows, [other]), [rows])
    assert mine_other is other and mine_rows.stride() == (4, 1)
    mine_rows.fill_(7.0)
    assert mine_base.tolist() == [0, 7, 7, 7, 4, 7, 7, 7, 8, 7, 7, 7]
    assert base.tolist() == list(range(12))


def test_changes_are_seen():
    x = torch.tensor([float("nan"), 1.0])
    assert changed_places((x, x + 1), (x.clone(), x)) == [1]


@dataclasses.dataclass
class Pair:
    left: torch.Tensor
    right: torch.Tensor


def test_tensors_in_dataclasses_are_copied_and_compared():
    pair = Pair(torch.ones(3), torch.ones(3))
    (mine,) = copied((pair,), [pair.left])
    mine.left.fill_(5.0)
    assert pair.left.tolist() == [1, 1, 1] and mine.right is pair.right
    reference = Reference.of(lambda x: Pair(x, x + 1), (pair.left,), (), Settings())
    problem = reference.problem(lambda x: Pair(x, x), (pair.left,))
    assert problem.startswith("result 1: 3 of 3")


def half_written(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    out[:4] = x[:4] * 2
    return out


def test_what_is_not_written_shows():
    x = torch.ones(8)
    reference = Reference.of(lambda x: x * 2, (x,), (), Settings())
    # A block of the right values is likely to be what is allocated next.
    del_me = x * 2
    del del_me
    problem = reference.problem(half_written, (x,))
    assert problem.startswith("result 0: 4 of 8")


def test_runs_start_from_the_same_random_state():
    def noisy(x):
        return x + torch.rand(3)

    reference = Reference.of(noisy, (torch.ones(3),), (), Settings())
    before = torch.get_rng_state()
    assert reference.problem(noisy, (torch.ones(3),)) == ""
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()


def test_number_of_results():
    reference = Reference.of(lambda x: (x, x + 1), (torch.ones(3),), (), Settings())
    problem = reference.problem(lambda x: x, (torch.ones(3),))
    assert problem == "1 results, not 2"
