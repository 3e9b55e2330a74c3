"""Tensors with more than 2**31 elements, or reaching further than that in memory."""

from __future__ import annotations

import pytest
import torch

import helion
import helion.language as hl

NUMEL = 2**31 + 4099
NEEDED_BYTES = 10 * 2**30

pytestmark = pytest.mark.gpu


@helion.kernel
def add_one(x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    for tile in hl.tile(x.size()):
        out[tile] = x[tile] + 1
    return out


@pytest.fixture
def base() -> torch.Tensor:
    """Return random int8 values, as many as int32 cannot count."""
    if torch.cuda.mem_get_info()[0] < NEEDED_BYTES:
        pytest.skip("needs 10 GiB of free GPU memory")
    return torch.randint(-100, 100, (NUMEL,), dtype=torch.int8, device="cuda")


def run_default(x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    bound = add_one.bind((x, out))
    return bound.compile_config(bound.config_spec.default_config())(x, out)


def test_every_element_beyond_int32_is_reached(base: torch.Tensor) -> None:
    out = run_default(base, torch.full_like(base, 127))
    assert torch.equal(out, base.add_(1))


def test_far_strides_of_a_small_tensor_are_reached(base: torch.Tensor) -> None:
    rows, stride = 2049, 2**20 + 1
    x = base.as_strided((rows, 5), (stride, 1))
    out = torch.full_like(base, 127)
    far = out.as_strided((rows, 5), (stride, 1))
    run_default(x, far)
    assert torch.equal(far, x + 1)
    assert int((out != 127).sum()) == x.numel()


def test_every_second_element_beyond_int32_is_reached(base: torch.Tensor) -> None:
    x = base[::2]
    out = run_default(x, torch.full_like(x, 127))
    assert torch.equal(out, x + 1)
