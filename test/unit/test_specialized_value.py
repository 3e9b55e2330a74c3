"""The number that hl.specialize hands back: an int that remembers which size it is."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import multiprocessing
import operator
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import sympy
import torch
from torch.testing import assert_close

import helion
import helion.language as hl
from helion import exc
from helion._compiler import symbols
from helion.language.constexpr import SpecializedValue
from test.harness import fake_cuda, run

V = SpecializedValue(5632, sympy.Symbol("s27"))

BINARY: list[Callable[[Any, Any], Any]] = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.floordiv,
    operator.mod,
    operator.lshift,
    operator.rshift,
    operator.and_,
    operator.or_,
    operator.xor,
    operator.pow,
]
UNARY: list[Callable[[Any], Any]] = [
    operator.neg,
    operator.pos,
    operator.invert,
    abs,
    operator.index,
    int,
    round,
    math.trunc,
    math.floor,
    math.ceil,
    lambda v: v.real,
    lambda v: v.numerator,
    lambda v: v.conjugate(),
    lambda v: v.bit_length(),
    lambda v: pow(v, 3, 7),
    lambda v: round(v, -1),
    lambda v: sum([v, v]),
]


# ---- like an int ----


def test_specialized_value_remembers_its_symbol():
    assert isinstance(V, int)
    assert str(V._original_symbol) == "s27"
    assert V._concrete_value == 5632
    assert V._specialized_vars == {V._original_symbol}
    assert V.context is None
    assert SpecializedValue(3, sympy.Symbol("s0"), "batch").context == "batch"


def test_specialized_value_compares_and_hashes_as_its_number():
    assert V == 5632 and V == 5632.0 and V != 5633 and not V != 5632
    assert 5632 == V and 5631 < V < 5633 and 5632 <= V <= 5632 and V > 5000
    assert V == SpecializedValue(5632, sympy.Symbol("s3"))
    by_tag: dict[int, str] = {V: "tag"}
    assert hash(V) == hash(5632) and by_tag[5632] == "tag" and {5632: 1}[V] == 1
    assert V != "5632" and V is not None


@pytest.mark.parametrize("function", BINARY, ids=lambda f: f.__name__)
def test_specialized_value_gives_plain_ints_in_arithmetic(function):
    for result, plain in [
        (function(V, 3), function(5632, 3)),
        (function(V, SpecializedValue(3, V.symbol)), function(5632, 3)),
        (function(3, SpecializedValue(5, V.symbol)), function(3, 5)),
    ]:
        assert type(result) is int
        assert result == plain


@pytest.mark.parametrize("function", UNARY)
def test_specialized_value_gives_plain_ints_of_itself(function):
    result = function(V)
    assert type(result) is int
    assert result == function(5632)


def test_specialized_value_divides_as_its_number():
    assert divmod(V, 10) == (563, 2) and divmod(10**6, V) == divmod(10**6, 5632)
    assert [type(part) for part in divmod(V, 10)] == [int, int]
    assert V / 2 == 2816.0 and 1 / V == 1 / 5632 and V**-1 == 1 / 5632
    assert V * 0.5 == 2816.0 and float(V) == 5632.0 and complex(V) == 5632
    text: Any = "a"
    with pytest.raises(TypeError):
        operator.add(V, text)


def test_specialized_value_lets_the_other_side_decide():
    """Operators of other types are asked as they are for an int."""

    class Other:
        def __radd__(self, left: object) -> object:
            return ("radd", left)

        def __lt__(self, right: object) -> object:
            return ("lt", right)

    assert V + Other() == ("radd", 5632)
    assert (V > Other()) == ("lt", 5632)


def test_specialized_value_shows_value_and_symbol():
    assert repr(V) == "SpecializedValue(5632, symbol=s27)"
    assert str(V) == f"{V}" == format(V) == "5632"
    assert f"{V:>6,d}" == " 5,632" and "%d" % V == "5632"  # noqa: UP031


def test_specialized_value_works_where_an_int_does():
    small = SpecializedValue(2, V.symbol)
    assert len(range(V)) == 5632 and list(range(small)) == [0, 1]
    assert "abc"[small] == "c" and "abc"[:small] == "ab" and [0] * small == [0, 0]
    assert bool(small) and not SpecializedValue(0, V.symbol)
    assert torch.zeros(small, small).shape == (2, 2)
    assert_close(torch.ones(3) * small + small, torch.full([3], 4.0))
    assert_close(small - torch.ones(3), torch.ones(3))


def test_specialized_value_is_of_another_type_than_int():
    assert type(V) is not int and isinstance(V, int)
    assert not type(V) == int  # noqa: E721 (the pitfall that the docs name)


def test_specialized_value_meets_symbolic_ints():
    env = symbols.new_shape_env()
    size = symbols.backed_symint(env, "x.size(0)", 7)
    three = SpecializedValue(3, V.symbol)
    assert str((size + three).node.expr) == str((three + size).node.expr)
    assert (size * three).node.hint == 21 and (three - size).node.hint == -4
    assert bool(three < size) and bool(size > three) and not bool(size == three)
    assert bool(size == SpecializedValue(7, V.symbol))


# ---- copies ----


def test_specialized_value_pickles_and_copies_as_int():
    every = [pickle.loads(pickle.dumps(V, p)) for p in range(6)]
    every += [copy.copy(V), copy.deepcopy(V), copy.deepcopy({"n": [V]})["n"][0]]
    assert {type(v) for v in every} == {int} and set(every) == {5632}


def test_specialized_value_crosses_processes_as_int():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(type, [V]) == [int]
        assert pool.map(functools.partial(operator.add, 1), [V]) == [5633]


def test_is_specialized():
    assert helion.is_specialized(V) and not helion.is_specialized(5)
    assert not helion.is_specialized(V + 0) and not helion.is_specialized(None)


# ---- at the prompt ----


def test_specialize_outside_of_a_compile_returns_its_argument():
    nested = {"h": [1, (2, 3)], "w": hl.constexpr(4)}
    assert hl.specialize(nested) is nested
    assert type(hl.specialize(5, context="batch")) is int
    assert hl.specialize(V) is V


@pytest.mark.parametrize("value", ["a", [1, 2.0], {"n": None}, torch.zeros(2)])
def test_specialize_refuses_what_is_no_size(value):
    with pytest.raises(exc.SpecializeArgType):
        hl.specialize(value)


@pytest.mark.parametrize("context", [3, ["batch"], True])
def test_specialize_refuses_a_context_that_is_no_name(context):
    with pytest.raises(exc.InvalidAPIUsage, match=type(context).__name__):
        hl.specialize(4, context=context)


# ---- in a kernel ----


@dataclasses.dataclass
class Box:
    size: int


@helion.kernel
def python_uses(x: torch.Tensor) -> torch.Tensor:
    """Return ``x * 2 + 30``; the width is 10, met in every Python way."""
    m = x.size(0)
    n = hl.specialize(x.size(1))
    deep = ({"box": [Box(n)]}, n)
    width = deep[0]["box"][0].size
    table = list(range(n + 1))
    pick = table[n]
    tail = table[:n]
    name = f"{n}/{n:>4}"
    count = 0
    for _ in range(n):
        count += 1
    factor = 2.0 if n > 5 else 3.0
    if n != 10 or name != "10/  10":
        factor = 0.0
    out = torch.empty([m, width], device=x.device)
    for t in hl.tile(m):
        acc = hl.zeros([t, width])
        acc += x[t, :n] * factor + pick + len(tail)
        most = max(t.end, n)
        acc = acc + n + most * 0
        out[t, :] = acc
    return out


@pytest.mark.parametrize("static", [True, False])
def test_a_specialized_size_is_used_as_python_uses_ints(static):
    x = torch.randn(13, 10)
    expected = x.double() * 2 + 30
    for way in ("plain", "eager", "interpreted"):
        result = run(python_uses, x, way=way, static_shapes=static)
        assert_close(result.double(), expected, msg=way, atol=1e-5, rtol=1e-5)


@helion.kernel
def add_number(x: torch.Tensor, n: int) -> torch.Tensor:
    out = torch.empty_like(x)
    for t in hl.tile(x.size(0)):
        out[t] = x[t] + n
    return out


def test_a_tagged_argument_is_an_int_argument():
    x, seven = torch.zeros(5), SpecializedValue(7, V.symbol)
    assert_close(run(add_number, x, seven, way="eager"), x + 7)
    tagged = add_number.bind(fake_cuda((x, seven)))
    assert tagged is add_number.bind(fake_cuda((x, 8)))
