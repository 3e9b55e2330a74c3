"""Specialization keys: equal where a compile may be shared, unequal where not."""

from __future__ import annotations

import collections
import dataclasses
import enum
import types

import pytest
import torch

from helion import exc
from helion.language.constexpr import ConstExpr
from helion.runtime.specialization import Specializer, kernel_device

Pair = collections.namedtuple("Pair", "left right")


@dataclasses.dataclass
class Options:
    scale: float
    weight: torch.Tensor | None = None


class Mode(enum.IntEnum):
    FAST = 1
    SLOW = 2


def specializer(count, constants=(), static_shapes=True, user_key=None):
    params = [f"p{place}" for place in range(count)]
    return Specializer(params, frozenset(constants), static_shapes, user_key)


def key(*args, **options):
    return specializer(len(args), **options).key(args)


def facts(*args, **options):
    made = specializer(len(args), **options).facts(tuple(map(type, args)))
    return tuple(map(type, args)), made(*args)


def x(*shape, dtype=torch.float32):
    return torch.zeros(*shape or (4, 6), dtype=dtype)


def scaled(factor):
    return lambda value: value * factor


def with_default(value):
    def function(acc, scale=value):
        return acc * scale

    return function


def in_other_module(function):
    return types.FunctionType(function.__code__, dict(function.__globals__), "other")


SHARED = x()

# (arguments, others): equal specialization keys.
SAME = {
    "values": ((x(),), (x() + 1,)),
    "parameter": ((x(),), (torch.nn.Parameter(x()),)),
    "int": ((x(), 3), (x(), 4)),
    "float": ((x(), 3.0), (x(), 4.5)),
    "list": ((x(), [1, 2]), (x(), [3, 4])),
    "str": ((x(), "a"), (x(), "a")),
    "lambda": ((x(), scaled(2)), (x(), scaled(2))),
    "closure tensor": ((x(), scaled(x(3))), (x(), scaled(x(3) + 1))),
    "dataclass": ((x(), Options(1.0)), (x(), Options(2.0))),
}

# (arguments, others): unequal keys, also in the quick form.
DIFFERENT = {
    "shape": ((x(4, 6),), (x(6, 4),)),
    "stride": ((x(4, 4),), (x(4, 4).t(),)),
    "dtype": ((x(),), (x(dtype=torch.float16),)),
    "device": ((x(),), (x().to("meta"),)),
    "alias": ((SHARED, SHARED), (SHARED, x())),
    "alias in list": (([SHARED, SHARED],), ([SHARED, x()],)),
    "alias in closure": ((SHARED, scaled(SHARED)), (SHARED, scaled(x()))),
    "bool or int": ((x(), 1), (x(), True)),
    "int or float": ((x(), 1), (x(), 1.0)),
    "str": ((x(), "a"), (x(), "b")),
    "none": ((x(), None), (x(), 1)),
    "dtype value": ((x(), torch.float32), (x(), torch.int8)),
    "enum": ((x(), Mode.FAST), (x(), Mode.SLOW)),
    "builtin": ((x(), max), (x(), min)),
    "list length": ((x(), [1]), (x(), [1, 2])),
    "list or tuple": ((x(), [1]), (x(), (1,))),
    "dict names": ((x(), {"a": 1}), (x(), {"b": 1})),
    "dict tensors": (({"a": x()},), ({"a": x(3)},)),
    "namedtuple": ((x(), Pair(1, 2)), (x(), (1, 2))),
    "dataclass": ((Options(1.0, x()),), (Options(1.0, x(3)),)),
    "lambda": ((x(), lambda v: v), (x(), lambda v: -v)),
    "closure number": ((x(), scaled(2)), (x(), scaled(3))),
    "closure tensor": ((x(), scaled(x(3))), (x(), scaled(x(4)))),
    "function default": ((x(), with_default(1)), (x(), with_default(2))),
    "function globals": ((x(), scaled), (x(), in_other_module(scaled))),
    "wrapped constant": ((x(), ConstExpr(2)), (x(), ConstExpr(3))),
}


@pytest.mark.parametrize("name", SAME)
def test_keys_are_equal(name):
    first, second = SAME[name]
    assert key(*first) == key(*second)
    assert hash(key(*first)) == hash(key(*second))


@pytest.mark.parametrize("name", DIFFERENT)
def test_keys_and_facts_differ(name):
    first, second = DIFFERENT[name]
    assert key(*first) != key(*second)
    assert facts(*first) != facts(*second)


@pytest.mark.parametrize(
    ("left", "right"), [(2, 3), (2, 2.0), (1, True), (0.0, -0.0), ((1,), (1.0,))]
)
def test_constants_count_by_type_and_value(left, right):
    options = {"constants": [1]}
    assert key(x(), left, **options) == key(x(), left, **options)
    assert key(x(), left, **options) != key(x(), right, **options)
    assert facts(x(), left, **options) != facts(x(), right, **options)


def test_constant_and_wrapped_value_share_a_key():
    assert key(x(), 2, constants=[1]) == key(x(), ConstExpr(2), constants=[1])


def test_lambda_without_captures_has_a_quick_key():
    made = [lambda v: v for _ in range(2)]
    assert facts(x(), made[0]) == facts(x(), made[1])


def test_function_that_captures_itself_has_a_key():
    def again(n):
        return again(n - 1) if n else 0

    assert key(x(), again) == key(x(), again)


def test_user_key_is_part_of_both():
    options = {"user_key": lambda x, n: n % 2}
    assert key(x(), 1, **options) == key(x(), 3, **options)
    assert key(x(), 1, **options) != key(x(), 2, **options)
    assert facts(x(), 1, **options) != facts(x(), 2, **options)


def test_unhashable_user_key_is_an_error():
    with pytest.raises(exc.KernelArgumentError, match="unhashable list"):
        key(x(), user_key=lambda x: [1])


# ---- dynamic shapes ----


def dynamic(*args):
    return key(*args, static_shapes=False)


def test_dynamic_sizes_share_a_key():
    assert dynamic(x(4, 6)) == dynamic(x(100, 2))


@pytest.mark.parametrize("shape", [(0, 6), (1, 6), (4, 1), (4,)], ids=str)
def test_dynamic_sizes_0_and_1_and_ranks_differ(shape):
    assert dynamic(x(4, 6)) != dynamic(x(*shape))


def test_dynamic_strides_share_a_key_unless_0_or_1():
    wide = x(8, 64)
    assert dynamic(wide[:, :6]) == dynamic(wide[:, :9])
    assert dynamic(wide[:, :6]) != dynamic(x(8, 6))
    assert dynamic(wide[:, ::2]) != dynamic(wide[:, :32])
    assert dynamic(x(1, 6).expand(8, 6)) != dynamic(wide[:, :6])


def test_dynamic_key_tells_large_tensors():
    large = torch.empty(2**31, device="meta")
    assert dynamic(large) != dynamic(large[: 2**31 - 1])
    far = torch.empty_strided((2, 2), (2**31, 1), device="meta")
    assert dynamic(far) != dynamic(torch.empty_strided((2, 2), (64, 1), device="meta"))


def test_dynamic_key_has_the_size_of_marked_dims():
    marked, other = x(4, 6), x(4, 7)
    for tensor in (marked, other):
        torch._dynamo.mark_static(tensor, 1)
    assert dynamic(marked) != dynamic(other)


# ---- refusals ----


@pytest.mark.parametrize("value", [{1}, torch.Size([1]), object(), 1j, slice(1)])
def test_unsupported_types_are_named(value):
    with pytest.raises(exc.KernelArgumentError) as caught:
        key(x(), value)
    assert "argument 'p1'" in str(caught.value)
    assert type(value).__name__ in str(caught.value)
    assert isinstance(caught.value, TypeError)


def test_unsupported_type_in_a_container_is_named():
    with pytest.raises(exc.KernelArgumentError, match="argument 'p1'.*type set"):
        key(x(), [{"a": {1}}])


def test_sparse_tensors_are_refused():
    with pytest.raises(exc.KernelArgumentError, match="sparse_coo"):
        key(x().to_sparse())


@pytest.mark.parametrize("value", [x(), [1, {2}], {}], ids=["tensor", "set", "dict"])
def test_constants_must_be_hashable(value):
    with pytest.raises(exc.KernelArgumentError, match="cannot be a constant"):
        key(x(), value, constants=[1])


def test_graph_modules_count_by_structure():
    def traced(function):
        return torch.fx.symbolic_trace(function)

    double = traced(lambda v: torch.add(v, v))
    assert key(x(), double) == key(x(), traced(lambda v: torch.add(v, v)))
    assert key(x(), double) != key(x(), traced(lambda v: torch.mul(v, v)))
    with pytest.raises(exc.GraphModuleUnsupportedOps, match="call_module"):
        key(x(), torch.fx.symbolic_trace(torch.nn.Sequential(torch.nn.ReLU())))


# ---- devices ----


def test_device_is_found_in_containers():
    assert kernel_device([1, [{"a": x().to("meta")}]]) == torch.device("meta")
    assert kernel_device([torch.device("cpu"), 1]) == torch.device("cpu")


def test_no_tensor_is_an_error():
    with pytest.raises(exc.NoTensorArgs):
        key(1, "a")


@pytest.mark.parametrize("other", [x(), torch.tensor(1.0)], ids=["matrix", "scalar"])
def test_mixed_devices_are_named(other):
    with pytest.raises(exc.MixedDevices, match="cpu, meta"):
        key(x().to("meta"), other)
