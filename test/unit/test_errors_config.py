"""Arguments and configs that do not fit a kernel."""

from __future__ import annotations

import pytest
import torch

import helion
import helion.language as hl
from helion import exc
from test.harness import fake_cuda


@helion.kernel
def scale(x: torch.Tensor, factor: float = 2.0) -> torch.Tensor:
    out = torch.empty_like(x)
    for row, column in hl.tile([x.size(0), x.size(1)]):
        out[row, column] = x[row, column] * factor
    return out


@helion.kernel
def add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = x[tile] + y[tile]
    return out


def bound() -> helion.BoundKernel:
    return scale.bind(fake_cuda((torch.ones(64, 64),)))


CONFIGS = [
    ("block_sizes", {"block_sizes": [16]}),
    ("block_sizes", {"block_sizes": [16, 16, 16]}),
    ("block_sizes", {"block_sizes": [15, 16]}),
    ("block_sizes", {"block_sizes": [0, 16]}),
    ("block_sizes", {"block_sizes": [-16, 16]}),
    ("block_sizes", {"block_sizes": ["a", 16]}),
    ("block_sizes", {"block_sizes": [16.5, 16]}),
    ("num_warps", {"block_sizes": [16, 16], "num_warps": 3}),
    ("num_warps", {"block_sizes": [16, 16], "num_warps": "many"}),
    ("num_stages", {"block_sizes": [16, 16], "num_stages": -1}),
    ("pid_type", {"block_sizes": [16, 16], "pid_type": "round"}),
    ("indexing", {"block_sizes": [16, 16], "indexing": "magic"}),
    ("loop_orders", {"block_sizes": [16, 16], "loop_orders": [[0, 0]]}),
    ("num_warp", {"block_sizes": [16, 16], "num_warp": 4}),
]


@pytest.mark.parametrize(("name", "config"), CONFIGS)
def test_an_illegal_config_names_its_key(name, config):
    with pytest.raises(exc.InvalidConfig, match=name):
        bound().to_triton_code(helion.Config(**config))


def test_all_problems_of_a_config_are_told():
    config = helion.Config(block_sizes=[15, 16], num_warps=3, colour="red")
    with pytest.raises(exc.InvalidConfig) as caught:
        bound().to_triton_code(config)
    for name in ("block_sizes", "num_warps", "colour"):
        assert name in str(caught.value)


def test_a_good_config_works_after_a_bad_one():
    kernel = bound()
    with pytest.raises(exc.InvalidConfig):
        kernel.set_config(helion.Config(block_sizes=[15, 16]))
    assert "_BLOCK_SIZE_0" in kernel.to_triton_code(helion.Config(block_sizes=[16, 16]))


def test_no_tensor_means_no_device():
    with pytest.raises(exc.NoTensorArgs, match="tensor"):
        scale.bind((3,))


def test_tensors_on_two_devices_are_refused():
    (x,) = fake_cuda((torch.ones(8),))
    with pytest.raises(exc.Base, match="cpu, cuda") as caught:
        add.bind((x, torch.ones(8)))
    assert type(caught.value) is exc.MixedDevices


@pytest.mark.parametrize("args", [(), (1, 2, 3, 4)], ids=["too few", "too many"])
def test_the_number_of_arguments_is_checked(args):
    with pytest.raises(TypeError, match="add"):
        add.bind(args)


def test_an_unknown_keyword_is_refused():
    with pytest.raises(TypeError, match="colour"):
        add(torch.ones(8), torch.ones(8), colour=3)


def test_an_argument_of_another_rank_is_refused():
    with pytest.raises(exc.TorchOpTracingError, match=r"Dimension out of range"):
        scale.bind(fake_cuda((torch.ones(64),)))


def test_a_shorter_argument_is_refused():
    with pytest.raises(exc.TileSizeMismatch, match=r"dim 0 of y has size 4"):
        add.bind(fake_cuda((torch.ones(8), torch.ones(4))))


@pytest.mark.parametrize(
    "odd", [None, "a", [1], {}, object()], ids=lambda value: type(value).__name__
)
def test_an_argument_of_another_kind_is_refused(odd):
    x = torch.ones(8)
    with pytest.raises((exc.Base, TypeError)) as caught:
        add.bind((*fake_cuda((x,)), odd))
    assert not isinstance(caught.value, exc.InternalError)


def test_a_complex_argument_is_refused():
    x = torch.ones(8, dtype=torch.complex64)
    with pytest.raises(exc.BackendUnsupported, match="complex64"):
        add.bind(fake_cuda((x, x))).to_triton_code()
