"""What the examples and the tests share: cases, seeded arguments, checks and timings.

An example holds kernels, references in plain PyTorch and a list of cases; its ``main``
hands the list to ``main`` here. Nothing else of the package imports this module.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.utils import _pytree as pytree

from helion.runtime.config import Config

if TYPE_CHECKING:
    from helion.runtime.kernel import Kernel

# ---- cases ----

Tolerance = Mapping[torch.dtype, tuple[float, float]]

# (rtol, atol) by the least precise floating dtype that a kernel reads or writes.
ELEMENTWISE: Tolerance = {
    torch.float64: (1e-5, 1e-5),
    torch.float32: (1e-4, 1e-4),
    torch.float16: (4e-3, 4e-3),
    torch.bfloat16: (2e-2, 2e-2),
}
# Products of float32 run in TF32 on a GPU by default.
PRODUCT: Tolerance = {
    torch.float32: (1e-2, 1e-2),
    torch.float16: (1e-2, 5e-2),
    torch.bfloat16: (2e-2, 1e-1),
}
# Sums of many terms: the error grows with the number of terms.
LONG_SUM: Tolerance = {
    torch.float32: (1e-3, 2e-3),
    torch.float16: (1e-2, 5e-2),
    torch.bfloat16: (4e-2, 4e-1),
}
_LEAST_PRECISE_FIRST = (torch.bfloat16, torch.float16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Case:
    """One kernel call: ``reference(*args)`` is right for arguments in any dtype.

    ``make_args(device, small)`` gives fresh arguments, small ones or of real size;
    ``configs`` are some that the tests try besides the default one. ``slack`` is how
    much a rounded integer result may be off: a GPU's quotients are not exact.
    """

    name: str
    kernel: Kernel
    make_args: Callable[[str, bool], tuple[Any, ...]]
    reference: Callable[..., Any]
    tolerance: Tolerance = field(default_factory=lambda: ELEMENTWISE)
    configs: tuple[Config, ...] = ()
    slack: int = 0


_data_seed = 0


@contextlib.contextmanager
def data_seed(seed: int) -> Iterator[None]:
    """Let cases make other arguments for a while; 0 gives the usual ones."""
    global _data_seed
    before, _data_seed = _data_seed, seed
    try:
        yield
    finally:
        _data_seed = before


class Data:
    """Seeded random arguments on one device: small float32, or real-size float16."""

    def __init__(self, device: str, small: bool) -> None:
        self.device = device
        self.small = small
        self.dtype = torch.float32 if small else torch.float16
        self._generator = torch.Generator(device).manual_seed(_data_seed)

    def pick(self, small: int, real: int) -> int:
        """Return the size that fits this kind of run."""
        return small if self.small else real

    def randn(self, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Return normal values."""
        value = torch.randn(shape, device=self.device, generator=self._generator)
        return value.to(dtype or self.dtype)

    def randint(self, low: int, high: int, *shape: int) -> torch.Tensor:
        """Return integers in ``[low, high)``."""
        return torch.randint(
            low, high, shape, device=self.device, generator=self._generator
        )

    def matrix(self) -> torch.Tensor:
        """Return a matrix with odd sizes in a small run."""
        return self.randn(self.pick(13, 4096), self.pick(37, 5632))


def arguments(
    build: Callable[[Data], tuple[Any, ...]],
) -> Callable[[str, bool], tuple[Any, ...]]:
    """Return the ``make_args`` of a case that builds its arguments from ``Data``."""
    return lambda device, small: build(Data(device, small))


def configs(*options: dict[str, object]) -> tuple[Config, ...]:
    """Return a Config for each dict of knobs."""
    return tuple(Config(**option) for option in options)


# Configs for kernels over the elements of a matrix, and over its rows.
GRID_2D = configs(
    {"block_sizes": [8, 16]},
    {"block_sizes": [16, 4], "loop_orders": [[1, 0]], "num_warps": 2},
    {"block_sizes": [8, 32], "pid_type": "persistent_interleaved"},
)
ROWS = configs(
    {"block_sizes": [4]},
    {"block_sizes": [2], "reduction_loops": [16]},
    {"block_sizes": [1], "reduction_loops": [8], "pid_type": "persistent_blocked"},
)


# ---- the program of an example ----


def main(cases: Sequence[Case]) -> None:
    """Check every case at the sizes for this machine; ``--benchmark`` times them too.

    Raises at the first case that differs from its reference. Words on the command line
    choose cases by name.
    """
    parser = argparse.ArgumentParser(description="check example kernels")
    names = [case.name for case in cases]
    parser.add_argument("case", nargs="*", help=f"of {', '.join(names)}; default: all")
    parser.add_argument(
        "--benchmark", action="store_true", help="time the kernels and PyTorch"
    )
    options = parser.parse_args()
    if unknown := set(options.case) - set(names):
        parser.error(f"no case is called {', '.join(sorted(unknown))}")
    chosen = [case for case in cases if not options.case or case.name in options.case]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for case in chosen:
        error = check(case, device)
        print(f"{case.name}: agrees with PyTorch on {device}, off by {error:.1e}")
    if options.benchmark:
        print(benchmark_table(chosen, device))


def check(case: Case, device: str) -> float:
    """Compare one case with its reference in float64; return the largest error."""
    args = case.make_args(device, device == "cpu")
    expected = tensors_in(case.reference(*pytree.tree_map(_to_float64, args)))
    found = tensors_in(case.kernel(*args))
    assert len(found) == len(expected), f"{len(found)} results, not {len(expected)}"
    rtol, atol = tolerance_of(case, (args, found))
    largest = 0.0
    for mine, right in zip(found, expected):
        exact = not right.is_floating_point()
        torch.testing.assert_close(
            mine.to(right.dtype),
            right,
            rtol=0 if exact else rtol,
            atol=case.slack if exact else atol,
            equal_nan=True,
            msg=lambda text: f"{case.name}: {text}",
        )
        if right.numel() and not exact:
            delta = (mine.double() - right.double()).abs().nan_to_num(0, 0, 0)
            largest = max(largest, delta.max().item())
    return largest


def tolerance_of(case: Case, values: Any) -> tuple[float, float]:
    """Return rtol and atol for the least precise floating dtype among ``values``."""
    present = {tensor.dtype for tensor in tensors_in(values)}
    dtype = next((d for d in _LEAST_PRECISE_FIRST if d in present), torch.float64)
    return {**ELEMENTWISE, **case.tolerance}[dtype]


def tensors_in(value: Any) -> list[torch.Tensor]:
    """Return the tensors in nested lists, tuples and dicts, in order."""
    leaves = pytree.tree_leaves(value)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


def _to_float64(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return value.double() if value.is_floating_point() else value.clone()


# ---- timings ----


def benchmark_table(cases: Sequence[Case], device: str) -> str:
    """Return a table of median milliseconds: the kernel, PyTorch, torch.compile."""
    lines = [f"{'case':<32}{'kernel ms':>12}{'PyTorch':>18}{'torch.compile':>18}"]
    for case in cases:
        args = case.make_args(device, device == "cpu")
        mine = median_ms(case.kernel, args, device)
        rivals: list[float | None] = [median_ms(case.reference, args, device)]
        if device == "cuda":
            torch.compiler.reset()
            rivals.append(compiled_ms(case, args))
        cells = [_rival_cell(rival, mine) for rival in rivals]
        lines.append(
            f"{case.name:<32}{mine:>12.4f}" + "".join(f"{c:>18}" for c in cells)
        )
    return "\n".join(lines)


def median_ms(fn: Callable[..., Any], args: tuple[Any, ...], device: str) -> float:
    """Return the median time of a call, on a GPU without its launch overhead."""
    if device == "cuda":
        from triton.testing import do_bench

        return cast("float", do_bench(lambda: fn(*args), return_mode="median"))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        fn(*args)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def compiled_ms(case: Case, args: tuple[Any, ...]) -> float | None:
    """Return the median time of the compiled reference; None: torch cannot do it."""
    try:
        return median_ms(torch.compile(case.reference), args, "cuda")
    except Exception:  # the other rivals still count
        return None


def _rival_cell(rival_ms: float | None, mine_ms: float) -> str:
    if rival_ms is None:
        return "-"
    return f"{rival_ms:.4f} ({rival_ms / mine_ms:.2f}x)"
