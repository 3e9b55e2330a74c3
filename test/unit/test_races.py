"""Elements that several tiles of a grid write: refused, rewritten or warned of."""

from __future__ import annotations

import logging
import textwrap

import pytest
import torch

from helion import exc
from test.unit import faults

_GRID = "for t, k in hl.tile([m, n]):"


def kernel_text(lines: str, loop: str = _GRID) -> str:
    """Return a kernel of the matrix ``x`` around a loop, with a vector ``acc``."""
    head = (
        "def k(x):\n    m, n = x.size()\n    acc = torch.zeros([m], device=x.device)\n"
    )
    body = textwrap.indent(lines, " " * 8)
    return f"{head}    flag = True\n    {loop}\n{body}\n    return acc\n"


def arguments() -> tuple[torch.Tensor, ...]:
    return (torch.ones(96, 80),)


# ---- updates ----


SHARED = [
    (
        "also uses it in line 7",
        "acc[t] += x[t, k].sum(1)  #!\nx[t, k] = acc[t][:, None]",
    ),
    ("also uses it in line 6", "acc[t] = 0\nacc[t] += x[t, k].sum(1)  #!"),
    ("also uses it", "acc[t] = acc[t] + acc[0]  #!"),
    ("also uses it", "acc[0] += acc[t].sum()  #!"),
    ("also uses it", "for j in hl.tile(n):\n    acc[t] += acc[0]  #!"),
    ("also uses it", "if flag:\n    acc[t] += acc[0]  #!"),
    ("more than one way", "acc[t] += 1  #!\nacc[t] *= 2"),
    ("shared by other tiles", "acc[t] += 1  #!\nacc[0] += 1"),
]


@pytest.mark.parametrize(("words", "lines"), SHARED)
def test_updates_of_shared_elements_are_refused(words: str, lines: str) -> None:
    error = faults.fault(kernel_text(lines), *arguments())
    assert type(error) is exc.CannotModifyHostVariableOnDevice
    assert words in str(error)
    assert "hl.atomic_add(acc, [...], value)" in str(error)
    assert "rows[tile.id, ...] = value" in str(error)


@pytest.mark.parametrize(
    "update",
    [
        "acc[t] = acc[t] + x[t, k].sum(1)",
        "acc[t] = x[t, k].sum(1) + acc[t] - 1",
        "acc[t] += x[t, k].sum(1).to(acc.dtype)",
    ],
)
def test_updates_that_say_the_tensor_twice_have_rows(update: str) -> None:
    text = faults.compile_text(kernel_text(update), *arguments())
    assert "acc += acc_partials.sum(0)" in text


FINE = [
    (_GRID, "if t.begin == 0:\n    acc[t] += acc[0]"),
    (_GRID, "if k.begin == 0:\n    acc[t] = acc[t] + acc[0]"),
    ("for t, k in hl.tile([m, n], block_size=[8, 128]):", "acc[t] += acc[0]"),
    ("for t, k in hl.grid([m, 1]):", "acc[t] = acc[t] + acc[0]"),
    ("for t in hl.tile(m):", "acc[t] += acc[0]"),
    (_GRID, "acc[k.id] += acc[0]"),
    (_GRID, "if not flag:\n    acc[t] += acc[0]\nx[t, k] = x[t, k] * 2"),
]


@pytest.mark.parametrize(("loop", "lines"), FINE)
def test_updates_that_may_be_apart_are_left_alone(loop: str, lines: str) -> None:
    text = faults.compile_text(kernel_text(lines, loop), *arguments())
    assert "acc_partials" not in text


# ---- stores ----


def warnings_of(lines: str, loop: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    with caplog.at_level(logging.WARNING, logger="helion"):
        faults.compile_text(kernel_text(lines, loop), *arguments())
    return [r.getMessage() for r in caplog.records if r.name == "helion"]


@pytest.mark.parametrize(
    "store",
    [
        "acc[t] = x[t, k].sum(1)",
        "acc[t.index] = x[t, k].sum(1)",
        "acc[3] = x[t, k].sum()",
        "acc[:] = x[:, k.begin]",
        "acc[t] = (k.index * 2).sum()",
        "hl.store(acc, [t], x[t, 0] * k.id)",
    ],
)
def test_a_store_that_leaves_out_an_axis_of_its_value_is_warned_of(
    store: str, caplog: pytest.LogCaptureFixture
) -> None:
    (text,) = warnings_of(store, _GRID, caplog)
    assert ":6: tiles of" in text and "hl.atomic_add" in text
    assert text.endswith(store)


def test_the_index_of_a_grid_counts_as_an_axis(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = "for t, k in hl.grid([m, n]):"
    assert len(warnings_of("acc[t] = x[t, k]", loop, caplog)) == 1


QUIET = [
    (_GRID, "acc[t] = x[t, :].sum(1)"),
    (_GRID, "acc[t] = 1"),
    (_GRID, "acc[t] = k.block_size"),
    (_GRID, "x[t, k] = x[t, k] * 2"),
    (_GRID, "if k.begin == 0:\n    acc[t] = x[t, k].sum(1)"),
    (_GRID, "hl.store(acc, [t], x[t, k].sum(1), extra_mask=x[t, 0] > 0)"),
    (_GRID, "acc[t.index * 1] = x[t, k].sum(1)"),
    (_GRID, "acc[k.id] = x[t, k].sum()"),
    ("for t, k in hl.tile([m, n], block_size=[8, 128]):", "acc[t] = x[t, k].sum(1)"),
    ("for t, k in hl.grid([m, 1]):", "acc[t] = x[t, k]"),
    ("for t in hl.tile(m):", "for j in hl.tile(n):\n    acc[t] = x[t, j].sum(1)"),
]


@pytest.mark.parametrize(("loop", "lines"), QUIET)
def test_other_stores_are_not_warned_of(
    loop: str, lines: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert warnings_of(lines, loop, caplog) == []
