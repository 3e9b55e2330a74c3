"""Outside a compile every hl function acts on torch tensors at once."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest
import torch
from torch.testing import assert_close

import helion.language as hl
from helion import exc
from helion._compiler.op_registry import Op, active_tracer, set_tracer
from helion.language import _decorators

X = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])


def left_max(
    left: tuple[torch.Tensor, torch.Tensor], right: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    is_left = left[0] >= right[0]
    pick = torch.where(is_left, left[0], right[0])
    return pick, torch.where(is_left, left[1], right[1])


def left_max_scalars(a, i, b, j):
    return left_max((a, i), (b, j))


def test_factories():
    assert_close(hl.zeros([4]), torch.zeros(4))
    assert_close(hl.arange(4), torch.arange(4, dtype=torch.int32))
    assert_close(hl.arange(1, 6, 2), torch.tensor([1, 3, 5], dtype=torch.int32))
    assert_close(hl.full([2], 3), torch.tensor([3.0, 3.0]))
    assert hl.full([], torch.tensor(2), dtype=torch.int64).item() == 2


def test_every_public_name_exists():
    assert sorted(hl.__all__) == hl.__all__
    assert all(hasattr(hl, name) for name in hl.__all__)


def test_import_stays_light():
    heavy = "{'sympy', 'triton', 'torch._inductor'} & set(sys.modules)"
    code = f"import sys, torch, helion.language; sys.exit(bool({heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_specialize_passes_values_through():
    assert hl.specialize(4) == 4
    assert hl.specialize((2, [3])) == (2, [3])
    assert hl.specialize(X.shape) == X.shape
    with pytest.raises(exc.SpecializeArgType):
        hl.specialize("a")


def test_constexpr_acts_as_its_value():
    three = hl.constexpr(3)
    assert (three.value, three + 1, 2 * three, three == 3) == (3, 4, 6, True)
    assert list(range(three)) == [0, 1, 2]
    assert hash(three) == hash(3) and not hl.constexpr(0)


def test_dot_result_dtypes():
    half, small = torch.ones(2, 3).half(), torch.ones(2, 3, dtype=torch.int8)
    assert hl.dot(half, half.T).dtype == torch.float32
    assert hl.dot(small, small.T).dtype == torch.int32
    assert hl.dot(half.double(), half.T).dtype == torch.float64
    assert hl.dot(half, half.T, acc=torch.ones(2, 2).half()).dtype == torch.float16
    assert hl.dot(half, half.T, out_dtype=torch.bfloat16).dtype == torch.bfloat16


def test_dot_adds_to_its_accumulator():
    x = torch.randn(2, 3, 4).bfloat16()
    y, acc = torch.randn(1, 4, 5), torch.randn(2, 3, 5)
    assert_close(hl.dot(x, y, acc=acc), acc + x.float() @ y)


def test_dot_rejects_what_does_not_fit():
    x = torch.ones(2, 3)
    for bad in (torch.ones(2, 2), torch.ones(3), torch.ones(1, 3, 2)):
        with pytest.raises(ValueError, match=r"hl\.dot"):
            hl.dot(x, bad)
    with pytest.raises(TypeError):
        hl.dot(x.long(), x.long().T)
    with pytest.raises(ValueError, match="acc"):
        hl.dot(x, x.T, acc=torch.ones(3, 3))
    with pytest.raises(exc.DotBatchDimensionMismatch):
        hl.dot(torch.ones(2, 1, 1), torch.ones(3, 1, 1))


@pytest.mark.parametrize("dim", [0, 1, -1, None])
@pytest.mark.parametrize("keep_dims", [False, True])
def test_reduce_equals_torch(dim, keep_dims):
    dims = (0, 1) if dim is None else dim
    result = hl.reduce(torch.add, X, dim=dim, keep_dims=keep_dims)
    assert_close(result, X.sum(dims, keepdim=keep_dims))


@pytest.mark.parametrize("combine", [left_max, left_max_scalars])
def test_reduce_of_a_tuple(combine):
    at = torch.arange(3).expand(2, 3)
    values, indices = hl.reduce(combine, (X, at), dim=1, other=(0, -1))
    assert (values.tolist(), indices.tolist()) == ([3, 5], [0, 1])


def test_reduce_over_nothing_is_other():
    assert hl.reduce(torch.add, torch.ones(2, 0), dim=1, other=7).tolist() == [7, 7]


def test_reduce_checks_its_arguments():
    with pytest.raises(exc.TypeInferenceError):
        hl.reduce(3, X)
    with pytest.raises(ValueError, match="other"):
        hl.reduce(left_max, (X, X), other=(0,))
    with pytest.raises(IndexError):
        hl.reduce(torch.add, X, dim=2)


@pytest.mark.parametrize("size", [0, 1, 2, 5, 8])
@pytest.mark.parametrize("reverse", [False, True])
def test_scans_equal_torch(size, reverse):
    x = torch.randn(3, size)
    order = (lambda t: t.flip(1)) if reverse else (lambda t: t)
    expected = order(order(x).cumsum(1))
    assert_close(hl.associative_scan(torch.add, x, 1, reverse=reverse), expected)
    assert_close(hl.cumsum(x, -1, reverse=reverse), expected)
    assert_close(hl.cumprod(x, 1, reverse), order(order(x).cumprod(1)))


def test_scan_keeps_the_order_of_its_operands():
    x = torch.tensor([4.0, 2.0, 9.0])
    assert_close(hl.associative_scan(lambda a, b: a, x, 0), x[:1].expand(3))
    assert_close(hl.associative_scan(lambda a, b: b, x, 0), x)


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.bfloat16])
def test_cumsum_keeps_the_dtype(dtype):
    assert hl.cumsum(torch.ones(3).to(dtype), 0).dtype == dtype


def test_split_undoes_join():
    pair = hl.split(hl.join(X, X + 1))
    assert torch.equal(pair[0], X) and torch.equal(pair[1], X + 1)
    with pytest.raises(ValueError, match="last dim"):
        hl.split(X)
    with pytest.raises(TypeError):
        hl.join(X, X.long())


def test_device_print_prints(capsys):
    hl.device_print("sum", torch.tensor(3))
    assert capsys.readouterr().out == "sum tensor(3)\n"


def test_register_block_size_needs_a_power_of_two():
    assert hl.register_block_size(100) == 128
    with pytest.raises(exc.InvalidConfig):
        hl.register_block_size(12, 16)


def test_op_is_one_object_everywhere():
    assert isinstance(hl.load, Op) and hl.load.__name__ == "load"
    assert copy.deepcopy(hl.load) is hl.load
    assert pickle.loads(pickle.dumps(hl.load)) is hl.load


def test_tracer_takes_the_calls():
    class Recorder:
        def call_op(self, op, args, kwargs):
            return op.name, op.bind(args, kwargs)["dtype"]

    with set_tracer(Recorder()):
        assert hl.zeros([2]) == ("zeros", torch.float32)
    assert active_tracer() is None and hl.zeros([2]).shape == (2,)


def test_a_new_op_needs_only_the_decorators():
    @_decorators.api(is_device_only=True)
    def twice(x: torch.Tensor) -> torch.Tensor:
        """Return ``2 * x``."""
        return x * 2

    @_decorators.codegen(twice)
    def twice_codegen(state: object) -> str:
        return "x * 2"

    assert_close(twice(X), X * 2)
    assert twice.codegen == {"triton": twice_codegen} and twice.flags.is_device_only
