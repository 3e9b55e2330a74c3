"""Offsets are 64-bit where a tensor is out of 32-bit reach, also one made inside."""

from __future__ import annotations

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import helion
from examples.add import add


def text_of(kernel: helion.Kernel, *shapes: tuple[int, ...]) -> str:
    with FakeTensorMode():
        args = tuple(torch.empty(shape, device="cuda") for shape in shapes)
    return kernel.bind(args).to_triton_code()


def test_small_tensors_have_narrow_offsets() -> None:
    assert "tl.int64" not in text_of(add, (700, 1), (1, 700))


def test_large_argument_has_wide_offsets() -> None:
    assert ".to(tl.int64)" in text_of(add, (2**31 + 7,), (2**31 + 7,))


def test_large_result_of_small_arguments_has_wide_offsets() -> None:
    assert "tl.int64" in text_of(add, (70_000, 1), (1, 70_000))


def test_dynamic_kernel_binds_anew_when_the_result_outgrows_32_bits() -> None:
    kernel = helion.kernel(add.fn, static_shapes=False)
    assert "tl.int64" not in text_of(kernel, (700, 1), (1, 700))
    assert "tl.int64" in text_of(kernel, (70_000, 1), (1, 70_000))


def test_binding_a_terabyte_allocates_nothing() -> None:
    assert "tl.int64" in text_of(add, (2**38,), (2**38,))
