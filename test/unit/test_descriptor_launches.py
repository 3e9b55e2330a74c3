"""Launches with tensor descriptors: scratch memory, encoded descriptors, addresses."""

from __future__ import annotations

import contextvars
import threading
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import triton
from torch._subclasses.fake_tensor import FakeTensorMode
from triton.backends.nvidia import driver
from triton.runtime import _allocation

from helion.runtime import descriptors, scratch
from helion.runtime.descriptors import aligned, describable, descriptor
from helion.runtime.ready_kernel import ready_kernel


class CStart:
    """Stands for the C function: takes down its arguments."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, *args: Any) -> None:
        self.calls.append(args)

    def kernel_args(self, count: int) -> list[list[Any]]:
        """Return the kernel's own arguments, which some versions pass as one."""
        last = [call[-1] for call in self.calls]
        packed = all(isinstance(item, (list, tuple)) for item in last)
        return [list(c[-1]) if packed else list(c[-count:]) for c in self.calls]


def loaded_kernel(launch: Any, scratch_size: int = 0) -> Any:
    """Return what Triton does after compiling, with its own launcher."""
    run = object.__new__(driver.CudaLauncher)
    run.num_ctas, run.launch = 1, launch
    run.global_scratch_size, run.global_scratch_align = scratch_size, 128
    run.profile_scratch_size, run.profile_scratch_align = 0, 1
    run.launch_cooperative_grid = run.launch_pdl = False
    run.arg_annotations, run.kernel_signature = "notes", b"signature"
    return SimpleNamespace(run=run, function=11, packed_metadata="meta")


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Take down how much scratch memory is asked for, and give some."""
    found: list[int] = []

    def allocate(size: int, alignment: int, stream: int | None) -> torch.Tensor:
        found.append(size)
        return torch.empty(size, dtype=torch.int8)

    monkeypatch.setattr(scratch, "allocate", allocate)
    return found


def start_twice(kernel: Any, args: tuple[Any, ...]) -> None:
    start = ready_kernel(kernel, driver.CudaLauncher, args)
    for _ in range(2):
        assert start(3, 2, 1, 70, args, args) is kernel


def test_each_launch_has_scratch_memory_of_its_own(sizes: list[int]) -> None:
    raw = CStart()
    start_twice(loaded_kernel(raw, scratch_size=256), (7, 8))
    assert sizes == [3 * 2 * 256] * 2
    assert raw.kernel_args(2) == [[7, 8]] * 2
    assert all(call[:5] == (3, 2, 1, 70, 11) for call in raw.calls)
    assert all(any(type(i) is int and i > 2**20 for i in c) for c in raw.calls)


def test_allocator_of_the_user_is_kept(sizes: list[int]) -> None:
    asked: list[int] = []

    def mine(size: int, alignment: int, stream: int | None) -> torch.Tensor:
        asked.append(size)
        return torch.empty(size, dtype=torch.int8)

    def scenario() -> None:
        triton.set_allocator(mine)
        scratch.ensure_allocator()
        assert _allocation._allocator.get() is mine
        start_twice(loaded_kernel(CStart(), scratch_size=128), (7,))

    contextvars.copy_context().run(scenario)
    assert asked == [3 * 2 * 128] * 2 and not sizes


def test_every_thread_has_an_allocator() -> None:
    found = []

    def look() -> None:
        scratch.ensure_allocator()
        found.append(_allocation._allocator.get())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [scratch.allocate]


@pytest.fixture
def fills(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Take down which descriptors Triton is asked to encode."""
    found: list[Any] = []

    def fill(given: Any, meta: Any) -> list[Any]:
        found.append(given)
        return [f"map of {meta['swizzle']}", *given.shape, *given.strides]

    monkeypatch.setattr(driver, "make_tensordesc_arg", fill)
    return found


def test_descriptors_are_encoded_once(
    fills: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda self: True))
    x, raw = torch.zeros(64, 32), CStart()
    types = {0: "*fp32", 1: "tensordesc<fp32[16, 16]>", 2: "constexpr"}
    launch = driver.wrap_handle_tensordesc(raw, types, [{"swizzle": 3}])
    made = descriptor(x, (16, 16))
    assert descriptor(x, (16, 16)) is made is not descriptor(x, (16, 8))
    start_twice(loaded_kernel(launch), (x, made, 5))
    for args in raw.kernel_args(7):
        assert args[0] is x and args[1:] == ["map of 3", 64, 32, 32, 1, 5]
    assert fills == [made]


def test_descriptors_keep_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda self: True))
    x = torch.zeros(64, 32)
    made = descriptor(x, (16, 16))
    assert not isinstance(made.base, torch.Tensor)
    assert made.base.data_ptr() == x.data_ptr() and made.base.dtype == x.dtype
    assert made.facts == (torch.float32, (16, 16))
    monkeypatch.setattr(descriptors, "_MOST_KNOWN", 0)
    assert descriptor(x, (32, 32)) is not made and len(descriptors._known) == 1


def test_descriptors_of_other_orders() -> None:
    made = descriptor(torch.zeros(3, 32, 64).transpose(1, 2), (1, 16, 8), (0, 2, 1))
    assert (made.shape, made.strides) == ([3, 32, 64], [2048, 64, 1])
    assert made.block_shape == [1, 16, 8]
    assert descriptor(torch.zeros(1, 3), (1, 4)).strides == [16, 1]


def test_tensors_that_begin_between_16_bytes() -> None:
    x = torch.zeros(64)
    assert aligned(x, x[4:]) and not aligned(x, x[1:])
    with FakeTensorMode():
        assert aligned(torch.zeros(64)[1:])


@pytest.mark.parametrize(
    "tensor, dim, fits",
    [
        (torch.zeros(8, 16), 1, True),
        (torch.zeros(8, 15), 1, False),
        (torch.zeros(8, 16)[:, 1:], 1, False),
        (torch.zeros(0, 16), 1, False),
        (torch.zeros(1, 16).expand(8, 16), 1, False),
        (torch.zeros(16, 8).t(), 0, True),
        (torch.zeros(8, 9, dtype=torch.int64), 1, False),
    ],
)
def test_strides_that_descriptors_can_have(
    tensor: torch.Tensor, dim: int, fits: bool
) -> None:
    assert describable(tensor, dim) == fits
