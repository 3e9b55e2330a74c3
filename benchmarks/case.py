"""What a case of the benchmark is: a kernel at one size, its rivals, its floor."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import helion
from helion.runtime.tensor_trees import map_tensors

# Largest number of float64 elements of an intermediate result in a reference.
CHUNK_NUMEL = 1 << 28
RATES = ("bf16", "fp8", "tf32")

Args = tuple[Any, ...]


@dataclass(frozen=True)
class BenchCase:
    """One kernel at one size; cases for one kind of work make a family.

    ``make_args`` gets the device. ``eager`` is what one writes in PyTorch without
    looking further, with results of the same dtypes; ``library`` has calls made for the
    job by their names. ``compiled`` is what torch.compile gets, None: ``eager``;
    ``autotune`` adds its mode max-autotune. ``shown`` is timed, but is no rival, since
    it computes something less exact.

    ``reference`` gets and returns float64; None: ``eager`` does. ``split`` names the
    arguments whose first dimension the results follow, or over which they are sums if
    ``is_sum``; ``numel`` counts the largest intermediate of the reference.

    ``kernel_args`` turns the arguments into those of the kernel where they differ.
    ``flops`` are what no version can save, at ``rate``; 0 where only memory counts.
    ``read`` says how many bytes of the arguments must be read, None: all of them;
    ``results`` makes results of the right sizes where fake tensors cannot run
    ``eager``. ``syncs`` names what waits for the GPU, which no CUDA graph can hold.
    ``limit`` is the largest relative error, None: the one for the dtype of a result.
    """

    family: str
    name: str
    title: str
    kernel: helion.Kernel
    make_args: Callable[[str], Args]
    eager: Callable[..., Any]
    reference: Callable[..., Any] | None = None
    library: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    compiled: Callable[..., Any] | None = None
    shown: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    autotune: bool = False
    flops: int = 0
    rate: str = "bf16"
    read: Callable[[Args], int] | None = None
    results: Callable[..., Any] | None = None
    split: tuple[int, ...] = ()
    numel: int = 0
    is_sum: bool = False
    syncs: frozenset[str] = frozenset()
    limit: float | None = None
    kernel_args: Callable[..., Args] | None = None

    def call_args(self, args: Args) -> Args:
        """Return the arguments of the kernel, given those of its rivals."""
        return args if self.kernel_args is None else self.kernel_args(*args)

    def host_args(self) -> Args:
        """Return fake arguments on the CPU, which take no memory."""
        with FakeTensorMode():
            return self.make_args("cpu")

    def fake_args(self) -> Args:
        """Return fake arguments of the kernel that say cuda, which need no GPU."""
        return fake_cuda(self.call_args(self.host_args()))

    def bytes_moved(self) -> int:
        """Return the bytes that must be read and written, each once."""
        mode = FakeTensorMode()
        with mode:
            args = self.make_args("cpu")
            found = (self.results or self.eager)(*args)
        inputs = sum(map(nbytes_of, tensors_in(args)))
        read = inputs if self.read is None else self.read(args)
        return read + sum(map(nbytes_of, tensors_in(found)))

    def floor_ms(self, ceilings: Mapping[str, float]) -> float:
        """Return the time that the memory or the matrix units need at the least."""
        memory_s = self.bytes_moved() / ceilings["bytes_per_s"]
        if not self.flops:
            return 1e3 * memory_s
        return 1e3 * max(memory_s, self.flops / ceilings[self.rate])

    def rivals(self) -> dict[str, Callable[..., Any]]:
        """Return what PyTorch has for this job, by label, without torch.compile."""
        return {"eager": self.eager, **self.library}

    def expected(self, args: Args) -> Iterator[tuple[Any, list[torch.Tensor]]]:
        """Yield the float64 results, each with the index of the part that it is."""
        chunks = self._reference_chunks(args)
        if not self.is_sum:
            yield from chunks
            return
        columns = zip(*(values for _, values in chunks))
        yield ..., [torch.stack(column).sum(0) for column in columns]

    def _reference_chunks(self, args: Args) -> Iterator[tuple[Any, list[torch.Tensor]]]:
        reference = self.reference or self.eager
        if not self.split:
            yield ..., tensors_in(reference(*map_tensors(to_float64, args)))
            return
        rows = args[self.split[0]].size(0)
        step = max(1, rows * CHUNK_NUMEL // max(self.numel, CHUNK_NUMEL))
        for start in range(0, rows, step):
            part = slice(start, min(start + step, rows))
            chosen = tuple(
                arg[part] if i in self.split else arg for i, arg in enumerate(args)
            )
            yield part, tensors_in(reference(*map_tensors(to_float64, chosen)))

    def renamed(self, **changes: Any) -> BenchCase:
        """Return the case with some fields replaced."""
        return dataclasses.replace(self, **changes)


# ---- values ----


def tensors_in(value: Any) -> list[torch.Tensor]:
    """Return every tensor in containers and closures, in order, each once."""
    found: list[torch.Tensor] = []
    map_tensors(lambda tensor: found.append(tensor) or tensor, value)
    return found


def nbytes_of(tensor: torch.Tensor) -> int:
    """Return the bytes of a tensor."""
    return tensor.numel() * tensor.element_size()


def to_float64(tensor: torch.Tensor) -> torch.Tensor:
    """Return a floating tensor in float64, any other as it is."""
    return tensor.double() if tensor.is_floating_point() else tensor


def fake_cuda(args: Args) -> Args:
    """Return ``args`` with fake tensors that say cuda in place of all tensors."""

    def fake(tensor: torch.Tensor) -> torch.Tensor:
        size, stride = tensor.size(), tensor.stride()
        return torch.empty_strided(size, stride, dtype=tensor.dtype, device="cuda")

    with FakeTensorMode():
        return map_tensors(fake, args)


def copied(args: Args) -> Args:
    """Return the arguments over memory of their own, with the same strides."""

    def copy(tensor: torch.Tensor) -> torch.Tensor:
        return torch.empty_strided(
            tensor.size(), tensor.stride(), dtype=tensor.dtype, device=tensor.device
        ).copy_(tensor)

    return map_tensors(copy, args)


def randn(
    device: str, *shape: int, dtype: torch.dtype = torch.bfloat16
) -> torch.Tensor:
    """Return normal values."""
    if dtype.itemsize == 1:
        return torch.randn(shape, dtype=torch.bfloat16, device=device).to(dtype)
    return torch.randn(shape, dtype=dtype, device=device)


def widened(x: torch.Tensor) -> torch.Tensor:
    """Return ``x`` in at least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def size_text(numel: float) -> str:
    """Return a size in words: 4 K, 128 M."""
    for unit, name in ((1 << 20, " M"), (1 << 10, " K")):
        if numel >= unit and numel % unit == 0:
            return f"{int(numel) // unit}{name}"
    return f"{numel:,.0f}"
