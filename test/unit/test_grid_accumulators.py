"""What accumulators become in host code, and those that are refused."""

from __future__ import annotations

import ast
import textwrap

import pytest
import torch

import helion
from helion import exc
from test import accumulator_kernels as kernels
from test.harness import compiled_function, fake_cuda, randn
from test.unit import faults

_MADE = "acc = torch.zeros([n], device=x.device)"
_HEAD = "def k(x, y):\n    m, n = x.size()\n"


def kernel_text(
    lines: str,
    before: str = _MADE,
    loop: str = "for t in hl.tile(m):",
    result: str = "acc",
) -> str:
    """Return a kernel of the matrix ``x`` and the vector ``y`` around a loop."""
    before, lines = textwrap.indent(before, " " * 4), textwrap.indent(lines, " " * 8)
    return f"{_HEAD}{before}\n    {loop}\n{lines}\n    return {result}\n"


def arguments() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ones(96, 80), torch.ones(80)


def host_code(text: str) -> list[str]:
    """Return the lines of the emitted host function."""
    module = ast.parse(faults.compile_text(text, *arguments()))
    body = next(s for s in module.body if getattr(s, "name", "") == "k")
    assert isinstance(body, ast.FunctionDef)
    return [ast.unparse(statement) for statement in body.body]


def around_launch(text: str) -> tuple[str, str]:
    """Return the lines that make the rows and that fold them."""
    lines = [line for line in host_code(text) if "acc_partials" in line]
    rows, launch, fold = lines
    assert launch.startswith("_launcher(")
    return rows, fold


# ---- host code ----


ONE_AXIS = [
    (
        "acc += x[t, :].sum(0)",
        "acc_partials = acc.new_empty([(m + 8 - 1) // 8, *acc.size()])",
        "acc += acc_partials.sum(0)",
    ),
    (
        "acc = x[t, :].sum(0) + acc",
        "acc_partials = acc.new_empty([(m + 8 - 1) // 8, *acc.size()])",
        "acc = acc + acc_partials.sum(0)",
    ),
    (
        "acc -= x[t, :].sum(0)",
        "acc_partials = acc.new_empty([(m + 8 - 1) // 8, *acc.size()])",
        "acc -= acc_partials.sum(0)",
    ),
    (
        "acc *= x[t, :].prod(0)",
        "acc_partials = acc.new_empty([(m + 8 - 1) // 8, *acc.size()])",
        "acc *= acc_partials.prod(0)",
    ),
    (
        "acc = torch.maximum(acc, x[t, :].amax(0))",
        "acc_partials = acc.new_full([(m + 8 - 1) // 8 + 1, *acc.size()], -1e309)",
        "acc = torch.maximum(acc, acc_partials.amax(0))",
    ),
    (
        "acc[:] += x[t, :].sum(0)",
        "acc_partials = acc.new_full([(m + 8 - 1) // 8, *acc.size()], 0)",
        "acc += acc_partials.sum(0)",
    ),
]


@pytest.mark.parametrize(("update", "rows", "fold"), ONE_AXIS)
def test_rows_are_made_and_folded(update: str, rows: str, fold: str) -> None:
    loop = "for t in hl.tile(m, block_size=hl.register_block_size(8, 8)):"
    assert around_launch(kernel_text(update, loop=loop)) == (rows, fold)


@pytest.mark.parametrize(
    ("loop", "count"),
    [
        ("for t in hl.tile(m, block_size=16):", "(m + 15) // 16"),
        ("for t in hl.tile(m, block_size=1):", "m"),
        ("for t in hl.tile(8, m, block_size=16):", "(m - 8 + 15) // 16"),
        ("for t in hl.tile(x.size()[:1], block_size=[16]):", "(x.size()[:1][0] + 15)"),
        ("for t in hl.grid(m):", "m"),
        ("for t in hl.grid(1, m, 4):", "(m - 1 + 3) // 4"),
    ],
)
def test_rows_are_counted_like_the_tiles(loop: str, count: str) -> None:
    rows, _ = around_launch(kernel_text("acc += 1", loop=loop))
    assert f"new_empty([{count}" in rows


def test_a_block_size_of_the_config_counts_the_rows() -> None:
    bound = kernels.column_sums.bind(fake_cuda([randn(96, 80)]))
    text = bound.to_triton_code(helion.Config(block_sizes=[32]))
    assert "acc.new_empty([(m + 32 - 1) // 32, *acc.size()])" in text
    assert [spec.block_id for spec in bound.config_spec.block_sizes] == [0]


def test_a_grid_of_two_axes_has_a_row_for_each_pair() -> None:
    loop = "for t, k in hl.tile([m, n], block_size=[16, 8]):"
    rows, fold = around_launch(kernel_text("acc += x[t, k].sum()", loop=loop))
    assert "[(m + 15) // 16, (n + 7) // 8, *acc.size()]" in rows
    assert fold == "acc += acc_partials.sum((0, 1))"


def test_only_axes_that_share_elements_have_rows() -> None:
    loop = "for t, k in hl.tile([m, n], block_size=[16, 8]):"
    rows, fold = around_launch(kernel_text("acc[k] += x[t, k].sum(0)", loop=loop))
    assert "[(m + 15) // 16, *acc.size()]" in rows
    assert fold == "acc += acc_partials.sum(0)"


def test_tiles_with_elements_of_their_own_have_no_rows() -> None:
    lines = host_code(
        kernel_text("acc[t] += x[:, t].sum(0)", loop="for t in hl.tile(n):")
    )
    assert not any("acc_partials" in line for line in lines)


def test_half_precision_sums_are_kept_in_float32() -> None:
    before = "acc = torch.zeros([n], device=x.device, dtype=torch.bfloat16)"
    rows, fold = around_launch(kernel_text("acc = acc + 1", before))
    assert rows.endswith("*acc.size()], dtype=torch.float32)")
    assert fold == "acc = (acc + acc_partials.sum(0)).to(acc.dtype)"


def test_integer_sums_keep_their_dtype() -> None:
    before = "acc = torch.zeros([], device=x.device, dtype=torch.int32)"
    rows, fold = around_launch(kernel_text("acc = acc + 1", before))
    assert "dtype" not in rows
    assert fold == "acc = acc + acc_partials.sum(0, dtype=acc.dtype)"


def test_made_names_leave_the_users_alone() -> None:
    before = f"{_MADE}\nacc_partials = 3"
    lines = host_code(kernel_text("acc += x[t, :].sum(0) * acc_partials", before))
    assert "acc_partials = 3" in lines
    assert "acc += acc_partials_2.sum(0)" in lines


def test_the_text_of_a_launch_names_the_users_line() -> None:
    text = kernel_text("pass\nacc += x[t, :].sum(0)")
    assert ":6\n" in faults.compile_text(text, *arguments())


def test_the_emitted_function_can_be_called_with_other_lengths() -> None:
    kernel = helion.kernel(kernels.column_sums.fn, static_shapes=False)
    bounds = {id(kernel.bind(fake_cuda([randn(m, 80)]))) for m in (16, 48)}
    assert len(bounds) == 1
    assert compiled_function(kernel, fake_cuda([randn(16, 80)]), None) is not None


# ---- refused ----


REFUSED = [
    ("the loop also uses it in line 6", "acc += 1  #!\ny[:] = acc[:]"),
    ("the loop also uses it in line 5", "acc = acc + acc[0]"),
    ("this is no update", "acc = x[t, :].sum(0)"),
    ("this is no update", "acc = 1 - acc"),
    ("this is no update", "acc /= 2"),
    ("this is no update", "acc, b = acc + 1, 2"),
    ("this is no update", "acc = torch.maximum(acc, x[t, :].amax(0)) + 1"),
    ("more than one way", "acc += 1\nacc *= 2  #!"),
    ("more than one way", "acc = (acc + 1) * 2"),
    ("in place and also replaced", "acc += 1\nacc = acc + 1  #!"),
    ("shape is [80], but that of the value is [t]", "acc += x[t, :].sum(1)"),
    ("shape is [80], but that of the value is [t, 80]", "acc = acc + x[t, :]"),
    ("changes from torch.float32 to torch.float64", "acc = acc + y[:].double()"),
    ("the value is 'a'", "acc += 'a'"),
]


@pytest.mark.parametrize(("words", "lines"), REFUSED)
def test_what_tiles_cannot_share_is_refused(words: str, lines: str) -> None:
    text = kernel_text(faults.marked(lines))
    error = faults.fault(text, *arguments())
    assert type(error) is exc.CannotModifyHostVariableOnDevice
    assert words in str(error)
    assert "rows[tile.id, ...] = value" in str(error)


BEFORE = [
    (
        "its dtype is bool",
        "acc = torch.zeros([n], dtype=torch.bool)",
        "acc += y[:] > 0",
    ),
    (
        "float32 values cannot",
        "acc = torch.zeros([n], dtype=torch.int32)",
        "acc += y[:]",
    ),
    ("under the name part", f"{_MADE}\npart = acc[:3]", "acc += part[0]"),
    ("make it a tensor before the loop", "acc = 0.0", "acc += x[t, :].sum()"),
]


@pytest.mark.parametrize(("words", "before", "update"), BEFORE)
def test_the_tensor_before_the_loop_matters(
    words: str, before: str, update: str
) -> None:
    error = faults.fault(kernel_text(faults.marked(update), before), *arguments())
    assert type(error) is exc.CannotModifyHostVariableOnDevice
    assert words in str(error)


def test_an_alias_may_be_used_if_the_tensor_is_replaced() -> None:
    before = f"{_MADE}\npart = acc[:3]"
    _, fold = around_launch(kernel_text("acc = acc + part[0]", before))
    assert fold == "acc = acc + acc_partials.sum(0)"


def test_an_error_in_a_value_names_its_line() -> None:
    text = kernel_text("acc += missing[t]  #!")
    assert type(faults.fault(text, *arguments())) is exc.UndefinedVariable


def test_a_value_that_every_tile_has_of_its_own_is_not_read_on_the_host() -> None:
    text = kernel_text("last = x[t, :].sum(0)\ny[:] = last", result="last  #!")
    error = faults.fault(text, *arguments())
    assert type(error) is exc.CannotReadDeviceVariableOnHost
    assert "rows[tile.id, ...] = last" in str(error)
