"""Stack tensors: buffers read and written through their addresses."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import helion
import helion.language as hl
from helion import exc
from test import harness, interpreter_worker
from test.harness import randn
from test.unit import faults

WAYS = [
    "plain",
    "eager",
    "interpreted",
    pytest.param("compiled", marks=pytest.mark.gpu),
]
CONFIGS = (None, helion.Config(block_sizes=[4, 8]), helion.Config(block_sizes=[1, 1]))


@helion.kernel
def doubled(like: torch.Tensor, pointers: torch.Tensor) -> torch.Tensor:
    count = pointers.size(0)
    out = torch.empty([count, *like.size()], dtype=like.dtype, device=like.device)
    for i, j in hl.tile(like.size()):
        stack = hl.stacktensor_like(like, pointers[:])
        out[:, i, j] = stack[i, j] * 2
    return out


@helion.kernel
def spread(like: torch.Tensor, pointers: torch.Tensor, source: torch.Tensor) -> None:
    for p, i in hl.tile([pointers.size(0), like.size(0)]):
        stack = hl.stacktensor_like(like, pointers[p])
        stack[i, :] = source[i, :][None, :, :] + stack[i, 0][:, :, None]


@helion.kernel
def masked(
    like: torch.Tensor, pointers: torch.Tensor, keep: torch.Tensor
) -> torch.Tensor:
    out = torch.empty([pointers.size(0), like.size(0)], device=like.device)
    for p, i in hl.tile(out.size()):
        stack = hl.stacktensor_like(like, pointers[p])
        lanes = keep[p, i] != 0
        out[p, i] = hl.load(stack, [i, 1], extra_mask=lanes)
        hl.store(stack, [i, 1], 7.0, extra_mask=lanes)
    return out


@helion.kernel
def one_by_one(like: torch.Tensor, pointers: torch.Tensor) -> torch.Tensor:
    out = torch.zeros_like(like)
    for i in hl.tile(like.size(0)):
        acc = hl.zeros([i, like.size(1)])
        for p in hl.grid(pointers.size(0)):
            acc = acc + hl.stacktensor_like(like, pointers[p])[i, :]
        out[i, :] = acc
    return out


def with_pointers(
    kernel: helion.Kernel, buffers: list[torch.Tensor], args: tuple[Any, ...], run: Any
) -> Any:
    """Call a kernel in the process (and on the device) where the buffers are."""
    device = buffers[0].device
    addresses = [buffer.data_ptr() for buffer in buffers]
    pointers = torch.tensor(addresses, dtype=torch.uint64).to(device)
    return run(kernel, (buffers[0], pointers, *args))


def call(kernel: helion.Kernel, buffers: Any, *args: Any, way: str, config: Any) -> Any:
    """Run a kernel of one way; buffers and arguments are changed if it changes them."""
    if way == "interpreted":
        given = (kernel, buffers, args, Emitted(config))
        result, changed = interpreter_worker.call(with_pointers, given)
        for mine, theirs in zip(buffers, changed[1], strict=True):
            harness.copy_elements(mine, theirs)
        return result
    if way == "compiled":
        moved = [harness.copy_to(buffer, "cuda") for buffer in buffers]
        given = tuple(a.cuda() for a in args)
        result = with_pointers(kernel, moved, given, Emitted(config))
        for mine, theirs in zip(buffers, moved, strict=True):
            harness.copy_elements(mine, theirs)
        return None if result is None else result.cpu()
    return with_pointers(kernel, buffers, args, Named(way, config))


class Emitted:
    """Runs the emitted code of a Config."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def __call__(self, kernel: helion.Kernel, args: tuple[Any, ...]) -> Any:
        return harness.run_emitted(kernel, args, self.config, frozenset())


class Named(Emitted):
    """Runs a kernel in a way of this process."""

    def __init__(self, way: str, config: Any) -> None:
        super().__init__(config)
        self.way = way

    def __call__(self, kernel: helion.Kernel, args: tuple[Any, ...]) -> Any:
        return harness.run(kernel, *args, way=self.way, config=self.config)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", [1, 3, 4])
def test_buffers_are_read_as_one_tensor(way: str, count: int) -> None:
    buffers = [randn(5, 9) for _ in range(count)]
    for config in CONFIGS:
        found = call(doubled, buffers, way=way, config=config)
        assert torch.equal(found, torch.stack(buffers) * 2)


@pytest.mark.parametrize("way", WAYS)
def test_buffers_are_written(way: str) -> None:
    for config in CONFIGS:
        buffers, source = [randn(5, 9) for _ in range(3)], randn(5, 9)
        expected = [source + buffer[:, :1] for buffer in buffers]
        call(spread, buffers, source, way=way, config=config)
        assert all(map(torch.equal, buffers, expected))


@pytest.mark.parametrize("way", WAYS)
def test_buffers_keep_their_strides_and_offset(way: str) -> None:
    wide = [randn(9, 11) for _ in range(3)]
    buffers = [buffer[1:, 2:7].t() for buffer in wide]
    if way != "plain":
        pytest.skip("views do not survive the way to another process or device")
    found = call(doubled, buffers, way=way, config=None)
    assert torch.equal(found, torch.stack(buffers) * 2)


@pytest.mark.parametrize("way", WAYS)
def test_masks_of_stack_tensors(way: str) -> None:
    keep = torch.randint(0, 2, (3, 5), dtype=torch.int32)
    for config in CONFIGS:
        buffers = [randn(5, 2) for _ in range(3)]
        before = torch.stack(buffers)[:, :, 1]
        found = call(masked, buffers, keep, way=way, config=config)
        assert torch.equal(found, before * keep)
        after = torch.stack(buffers)[:, :, 1]
        assert torch.equal(after, torch.where(keep != 0, 7.0, before))


@pytest.mark.parametrize("way", WAYS)
def test_one_address_at_a_time(way: str) -> None:
    buffers = [randn(5, 8) for _ in range(3)]
    for config in (None, helion.Config(block_sizes=[4])):
        found = call(one_by_one, buffers, way=way, config=config)
        torch.testing.assert_close(found, torch.stack(buffers).sum(0))


def test_facts_of_a_stack_tensor() -> None:
    buffers = [torch.ones(2, 3).half(), torch.ones(2, 3).half()]
    addresses = [buffer.data_ptr() for buffer in buffers]
    pointers = torch.tensor(addresses, dtype=torch.uint64)
    stack = hl.stacktensor_like(buffers[0], pointers)
    assert isinstance(stack, hl.StackTensor)
    assert (stack.dtype, stack.shape) == (torch.float16, (2, 2, 3))
    assert stack.device == buffers[0].device
    assert stack.new_empty([4]).dtype == torch.float16


def test_stack_tensors_assemble() -> None:
    like, pointers = randn(64, 64), torch.zeros(4, dtype=torch.uint64)
    config = helion.Config(block_sizes=[16, 64])
    assert harness.offline(doubled, like, pointers, config=config)
    assert harness.offline(spread, like, pointers, like)
    assert harness.offline(one_by_one, like, pointers)


MISUSES = [
    (exc.StackTensorDevPtrOnHost, "v = hl.stacktensor_like(x, p)"),
    (exc.StackTensorDevPtrDtype, "v = hl.stacktensor_like(x, i[t])"),
    (exc.StackTensorExampleOnDevice, "v = hl.stacktensor_like(x[t], p[t])"),
    (exc.InvalidIndexingType, "v = hl.stacktensor_like(x, p[t])[...]"),
    (exc.RankMismatch, "v = hl.stacktensor_like(x, p[t])[t, t]"),
    (exc.RankMismatch, "hl.stacktensor_like(x, p[t])[t] = x[t]"),
    (exc.InvalidAPIUsage, "v = hl.stacktensor_like(3, p[t])"),
]


@pytest.mark.parametrize("error, line", MISUSES)
def test_misuse_is_refused(error: type[exc.Base], line: str) -> None:
    numbers = torch.zeros(64, dtype=torch.int64)
    args = (torch.ones(64), numbers.to(torch.uint64), numbers)
    assert type(faults.fault(faults.device_text(line, "x, p, i"), *args)) is error


def test_a_stack_tensor_on_the_host_is_refused() -> None:
    text = faults.host_text("v = hl.stacktensor_like(x, p)", "x, p")
    args = (torch.ones(64), torch.zeros(64, dtype=torch.uint64))
    assert type(faults.fault(text, *args)) is exc.StackTensorcOnHost
