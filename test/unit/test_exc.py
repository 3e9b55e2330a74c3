"""Errors: how texts are composed, located, collected and printed."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import dataclass

import pytest

from helion import exc


@dataclass(frozen=True)
class Place:
    filename: str = "kernels.py"
    lineno: int = 7
    function: str = "add"
    line: str = "    out[tile] = x[tile] + y"
    col: int = 16


def all_classes():
    members = vars(exc).values()
    return [c for c in members if inspect.isclass(c) and issubclass(c, exc.Base)]


def first_line(error):
    return str(error).splitlines()[0]


def test_template_is_filled_by_name():
    error = exc.RankMismatch(tensor="x", expected=2, got=3)
    assert first_line(error) == "x takes 2 indices, but gets 3"
    assert error.report().startswith("ERROR[RankMismatch]: x takes 2 indices, but")


def test_template_is_filled_in_order():
    assert first_line(exc.RankMismatch("x", 2, 3)) == "x takes 2 indices, but gets 3"


def test_too_few_positional_values_are_free_text():
    assert first_line(exc.RankMismatch("x is 2-D")) == "x is 2-D"
    assert first_line(exc.InvalidConfig("bad block size")) == "bad block size"


def test_unknown_facts_are_shown():
    error = exc.RankMismatch(tensor="x", expected=2, got=3, shape=[4])
    assert first_line(error).endswith(": shape=[4]")


def test_braces_in_a_value_stay():
    assert first_line(exc.UndefinedVariable(name="{got}")) == "{got} is not defined"


def test_hint_is_filled_and_dropped_when_it_cannot_be():
    assert "hint: write to it with a subscript: out[...]" in str(
        exc.CannotModifyHostVariableOnDevice(name="out")
    )


@pytest.mark.parametrize("cls", all_classes(), ids=lambda cls: cls.__name__)
def test_every_class_can_be_made_of_anything(cls):
    for error in (
        cls(),
        cls("text"),
        cls("a", 1, None, []),
        cls(other=1),
        cls("a", b=2),
    ):
        assert isinstance(error.report(), str)
        assert "{" not in str(error)
        assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_location_block_points_at_the_column():
    error = exc.NoTensorArgs("f").with_location(Place())
    *_, head, where, source, caret = str(error).splitlines()
    assert head == "While processing:"
    assert where == '  File "kernels.py", line 7, in add'
    assert source == "    out[tile] = x[tile] + y"
    assert source[caret.index("^")] == "x"
    assert str(error)[: error.base_msg_len] == str(exc.NoTensorArgs("f"))


def test_first_location_wins():
    error = exc.NoTensorArgs().with_location(None).with_location(Place(lineno=1))
    assert error.with_location(Place(lineno=2)).location == Place(lineno=1)


def test_location_without_source_has_no_caret():
    assert "^" not in str(exc.NoTensorArgs().with_location(Place(line="")))


def test_one_collected_error_is_raised_itself():
    error = exc.UndefinedVariable(name="z")
    with pytest.raises(exc.UndefinedVariable) as caught:
        exc.raise_collected([error])
    assert caught.value is error
    exc.raise_collected([])


def test_several_collected_errors_are_raised_together():
    errors = [exc.UndefinedVariable(name="z"), exc.RankMismatch("x", 1, 2)]
    with pytest.raises(exc.UndefinedVariable) as caught:
        exc.raise_collected(errors)
    assert caught.value.errors == tuple(errors)
    assert "ERROR[UndefinedVariable]: z" in str(caught.value)
    assert "ERROR[RankMismatch]: x takes 1" in str(caught.value)


def test_internal_error_wraps_its_cause():
    cause = TypeError("no such operand")
    error = exc.InternalError(cause)
    assert first_line(error) == "TypeError: no such operand"
    assert error.__cause__ is cause


def test_warning_is_printed_to_stderr(capsys):
    exc.warn(exc.WrongDevice(op="zeros", got="cpu", expected="cuda"))
    text = "WARNING[WrongDevice]: zeros returns a tensor on cpu, but the kernel"
    assert capsys.readouterr().err.startswith(text)


@pytest.mark.parametrize(
    "ignored",
    [exc.TensorOperationInWrapper, "TensorOperationInWrapper", exc.BaseWarning],
)
def test_warning_is_silenced_by_class_or_base(capsys, ignored):
    exc.warn(exc.TensorOperationsInHostCall(name="f"), [ignored])
    assert capsys.readouterr().err == ""


def test_families():
    assert issubclass(exc.Base, RuntimeError)
    assert issubclass(exc.AssignmentMultipleTargets, exc.NotAllowedOnDevice)
    assert issubclass(exc.KernelArgumentError, TypeError)
    assert issubclass(exc.BarrierRequiresPersistent, exc.InvalidConfig)


def test_reduction_too_large_names_the_fixes():
    text = str(exc.HelionReductionTooLarge(axis="m", size=2**21, cap=2**20))
    for word in (
        "m",
        "2097152",
        "1048576",
        "reduction_loops",
        "max_triton_tensor_numel",
    ):
        assert word in text
