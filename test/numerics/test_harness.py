"""The harness itself: it must notice what a wrong kernel does."""

from __future__ import annotations

import pytest
import torch

import helion
import helion.language as hl
from examples.matmul import bias_relu
from test import interpreter_worker
from test.harness import check, copy_to, map_tensors, poisoned, randn


@helion.kernel
def forgets_the_end(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0) - 1):
        out[tile] = x[tile]
    return out


def add_in_place(x: torch.Tensor, amount: int) -> torch.Tensor:
    return x.add_(amount)


def test_unwritten_output_is_noticed() -> None:
    with pytest.raises(AssertionError, match="plain"):
        check(forgets_the_end, randn(9), way="plain", reference=torch.clone)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.int32], ids=str)
def test_poisoned_memory_is_never_plausible(dtype: torch.dtype) -> None:
    with poisoned():
        made = [torch.empty(9, dtype=dtype), torch.ones(9, dtype=dtype).new_empty(3)]
        made.append(torch.empty_like(made[0]))
    for tensor in made:
        bad = tensor.isnan() if dtype.is_floating_point else tensor > 2**30
        assert bad.all()


@pytest.mark.parametrize(
    "tensor",
    [torch.randn(5, 9)[1:, ::2], torch.randn(9, 5).t(), torch.randn(1, 3).expand(4, 3)],
    ids=["slice", "transposed", "expanded"],
)
def test_copies_keep_strides_and_values(tensor: torch.Tensor) -> None:
    copy = copy_to(tensor, "cpu")
    assert copy.stride() == tensor.stride() and torch.equal(copy, tensor)
    assert copy.data_ptr() != tensor.data_ptr()


def test_tensors_inside_closures_are_mapped() -> None:
    epilogue = map_tensors(torch.Tensor.double, bias_relu(randn(3)))
    assert epilogue(torch.zeros(2, 3), (slice(None),) * 2).dtype == torch.float64


def test_worker_sends_changed_arguments_back() -> None:
    x = randn(5, 9)[1:, ::2]
    result, (changed, _) = interpreter_worker.call(add_in_place, (x, 2))
    torch.testing.assert_close(result, x + 2)
    torch.testing.assert_close(changed, x + 2)


def test_worker_runs_local_functions_with_their_closures() -> None:
    offset = randn(3)
    result, _ = interpreter_worker.call(lambda x: x + offset, (torch.ones(3),))
    torch.testing.assert_close(result, 1 + offset)


def test_worker_survives_an_error_and_reports_its_traceback() -> None:
    with pytest.raises(interpreter_worker.InterpretedError, match="in add_in_place"):
        interpreter_worker.call(add_in_place, (None, 2))
    assert interpreter_worker.call(abs, (-3,))[0] == 3
