"""Long lines of emitted text are broken without a change of meaning."""

from __future__ import annotations

import ast

import pytest

from helion._compiler.wrap_lines import wrap_lines

LONG = [
    "    value = function(first_argument, second_argument, third=third_argument)",
    "    total = first_summand[:, None] * 12 + second_summand[None, :] + third_summand",
    "    launch(kernel, (first_count * second_count * third_count_of_programs,), a, b)",
    "def function_of_many(first_argument, second_argument, third_argument: int): pass",
    "    value = load(pointer, other='a, (b', policy=\"it's [one\", more=more_too)",
    "    inner = outer(inner_function(first_argument, second_argument, third_one))",
]


@pytest.mark.parametrize("line", LONG)
def test_lines_fit_and_mean_the_same(line: str) -> None:
    wrapped = wrap_lines(line, width=48)
    assert max(map(len, wrapped.splitlines())) <= 48
    before, after = (ast.dump(ast.parse(t.lstrip())) for t in (line, wrapped))
    assert before == after


@pytest.mark.parametrize(
    "line",
    [
        "# " + "a comment, (of any length) " * 3,
        "name = 'a string, (of any length), that has no brackets outside of it'",
        'name = """a string over, (several)\nlines, (of any length, at all), text"""',
    ],
)
def test_what_cannot_be_broken_stays(line: str) -> None:
    assert wrap_lines(line, width=48) == line
