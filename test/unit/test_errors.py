"""How the errors of a compile are reported: place, several at once, recovery."""

from __future__ import annotations

import pytest
import torch

import helion
import helion.language as hl
from helion import exc
from test.harness import fake_cuda
from test.unit import faults

TWO_FAULTS = "a = missing + 1  #!\nb = x[t, t]"


@helion.kernel
def add_rows(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile, :] = x[tile, :] + y[tile, :]
    return out


def mismatch() -> exc.Base:
    with pytest.raises(exc.ShapeMismatch) as caught:
        add_rows.bind(fake_cuda((torch.ones(8, 4), torch.ones(8, 5))))
    return caught.value


def test_two_faults_are_reported_together():
    found = faults.fault(faults.device_text(TWO_FAULTS))
    assert [type(e) for e in found.errors] == [exc.UndefinedVariable, exc.RankMismatch]
    assert "missing" in str(found)
    assert "b = x[t, t]" in str(found)


def test_faults_of_host_and_device_are_reported_together():
    text = faults.host_text("a = missing").replace("out[t] = x[t]", "out[t] = x['a']")
    found = faults.fault(text)
    names = [type(e).__name__ for e in found.errors]
    assert names == ["UndefinedVariable", "InvalidIndexingType"]


def test_each_report_has_a_place_of_its_own():
    found = faults.fault(faults.device_text(TWO_FAULTS))
    assert str(found).count("While processing:") == 2
    first, second = (e.location for e in found.errors)
    assert second.lineno == first.lineno + 1


def test_what_follows_from_an_error_is_not_reported():
    found = faults.fault(faults.device_text("a = missing  #!\nb = a + 1\nout[t] = b"))
    assert found.errors == ()


def test_an_error_in_a_loop_is_reported_once():
    lines = "v = x[t]\nfor i in range(n):\n    v = v + missing  #!\nout[t] = v"
    found = faults.fault(faults.device_text(lines))
    assert found.errors == ()


def test_the_place_is_that_of_the_users_file():
    location = mismatch().location
    assert location is not None
    assert location.filename == __file__
    assert location.function == "add_rows"
    assert location.line.strip() == "out[tile, :] = x[tile, :] + y[tile, :]"


def test_the_report_has_file_line_function_and_caret():
    text = str(mismatch())
    assert f'File "{__file__}", line' in text
    assert ", in add_rows" in text
    assert text.splitlines()[-1].strip() == "^"


def test_a_mismatch_names_both_shapes_by_their_tiles():
    assert "[tile, 4] and [tile, 5]" in str(mismatch())


def test_the_report_begins_with_the_class():
    assert mismatch().report().startswith("ERROR[ShapeMismatch]: ")


def test_the_cause_is_kept():
    assert isinstance(mismatch().__cause__, Exception)


def test_a_kernel_works_after_an_error():
    mismatch()
    good = fake_cuda((torch.ones(8, 4), torch.ones(8, 4)))
    assert "@triton.jit" in add_rows.bind(good).to_triton_code()


def test_an_error_comes_again_for_the_same_bad_input():
    assert str(mismatch()) == str(mismatch())


def test_a_kernel_that_worked_still_refuses_bad_input():
    add_rows.bind(fake_cuda((torch.ones(8, 4), torch.ones(8, 4))))
    assert type(mismatch()) is exc.ShapeMismatch


def test_dynamic_shapes_recover_too():
    kernel = helion.kernel(add_rows.fn, static_shapes=False)
    with pytest.raises(exc.ShapeMismatch):
        kernel.bind(fake_cuda((torch.ones(8, 4), torch.ones(8, 5))))
    good = fake_cuda((torch.ones(8, 4), torch.ones(8, 4)))
    assert "@triton.jit" in kernel.bind(good).to_triton_code()


def test_calls_recover_in_eager_mode():
    kernel = helion.kernel(add_rows.fn)
    with pytest.raises((exc.Base, RuntimeError)):
        kernel(torch.ones(8, 4), torch.ones(8, 5))
    assert torch.equal(
        kernel(torch.ones(8, 4), torch.ones(8, 4)), torch.full((8, 4), 2.0)
    )


def test_an_error_in_an_unrolled_loop_is_reported_once():
    for head in ("for i in hl.static_range(3):", "i = 0\nwhile i < 3:"):
        lines = f"{head}\n    i = i + 1\n    v = x[t, i]  #!\nout[t] = x[t]"
        assert faults.fault(faults.device_text(lines)).errors == ()
