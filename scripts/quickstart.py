"""Compile, run and check the example kernels on what this machine has."""

from __future__ import annotations

import resource
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch._subclasses import FakeTensorMode
from torch.utils import _pytree as pytree

from examples._catalog import CASES
from helion._testing import tolerance_of

if TYPE_CHECKING:
    from helion._testing import Case
    from helion.runtime.bound_kernel import BoundKernel
    from helion.runtime.config import Config

NAMES = ("add", "matmul", "softmax", "layer_norm", "layer_norm_bwd", "attention")
BUILD = Path("build/quickstart")
ARCH = "sm_90"

# Where PyTorch has one operation for what the kernel does, that is the fair rival.
TORCH_BASELINES: dict[str, Callable[..., Any]] = {
    "layer_norm": lambda x, w, b: F.layer_norm(x, [x.size(1)], w, b),
    "layer_norm_bwd": lambda grad, x, w, mean, rstd: (
        torch.ops.aten.native_layer_norm_backward(
            grad, x, [x.size(1)], mean[:, None], rstd[:, None], w, w, [True] * 3
        )
    ),
    "attention": F.scaled_dot_product_attention,
}


@dataclass
class Outcome:
    """What the quickstart found out about one example; empty means not reached."""

    name: str
    config: str = ""
    error: float | None = None
    is_right: bool = False
    perf_ms: float | None = None
    torch_ms: float | None = None
    resources: str = ""
    problem: str = ""


@dataclass
class Progress:
    """One line that says what goes on; off a terminal, one line an example."""

    console: Console
    total: int
    started: float = field(default_factory=time.perf_counter)

    @contextmanager
    def example(self, index: int, name: str) -> Iterator[Callable[[str], None]]:
        """Show example ``index``; the yielded function tells its current step."""
        title = f"{index} of {self.total}: {name}"
        if not self.console.is_terminal:
            seconds = time.perf_counter() - self.started
            self.console.print(f"{title} ... ({seconds:.0f} s so far)", markup=False)
            yield lambda step: None
            return
        with self.console.status(title) as status:
            yield lambda step: status.update(f"{title}, {step}")


def to_float64(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments with every floating tensor in float64."""

    def widen(value: Any) -> Any:
        is_float = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.double() if is_float else value

    return pytree.tree_map(widen, args)


def to_fake_cuda(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments with every tensor as a fake one that says ``cuda``.

    Tensors that a function among the arguments has captured are replaced too.
    """
    mode = FakeTensorMode()

    def fake(value: Any) -> Any:
        if isinstance(value, types.FunctionType):
            return with_cells(value, fake)
        if not isinstance(value, torch.Tensor):
            return value
        with mode:
            return torch.empty_strided(
                value.size(), value.stride(), dtype=value.dtype, device="cuda"
            )

    return pytree.tree_map(fake, args)


def with_cells(
    fn: types.FunctionType, change: Callable[[Any], Any]
) -> types.FunctionType:
    """Return a copy of ``fn`` whose captured values went through ``change``."""
    cells = tuple(
        types.CellType(change(cell.cell_contents)) for cell in fn.__closure__ or ()
    )
    copy = types.FunctionType(
        fn.__code__, fn.__globals__, fn.__name__, fn.__defaults__, cells
    )
    copy.__kwdefaults__ = fn.__kwdefaults__
    return copy


def judge(outcome: Outcome, case: Case, args: tuple[Any, ...], found: Any) -> None:
    """Fill in the largest error, and whether every element is within tolerance."""
    expected = case.reference(*to_float64(args))
    rtol, atol = tolerance_of(case, (args, found))
    largest, outcome.is_right = 0.0, True
    for mine, right in zip(pytree.tree_leaves(found), pytree.tree_leaves(expected)):
        if not isinstance(right, torch.Tensor):
            continue
        delta = (mine.double() - right).abs()
        largest = max(largest, delta.max().item())
        outcome.is_right &= bool((delta <= atol + rtol * right.abs()).all())
    outcome.error = largest


def emit(
    outcome: Outcome, case: Case, args: tuple[Any, ...]
) -> tuple[BoundKernel, Config]:
    """Bind for a GPU, here or not, and save the emitted Triton."""
    bound = case.kernel.bind(args)
    config = bound.config_spec.default_config()
    outcome.config = short_config(config)
    BUILD.mkdir(parents=True, exist_ok=True)
    (BUILD / f"{case.name}.py").write_text(bound.to_triton_code(config))
    return bound, config


_ALWAYS = ("block_sizes", "reduction_loops", "num_warps", "num_stages")
_PLAIN = (None, 0, 1, "", "pointer", "flat")


def short_config(config: Config) -> str:
    """Return a Config in one line, without what asks for nothing special."""

    def is_plain(value: Any) -> bool:
        if isinstance(value, (list, tuple)):
            return list(value) == sorted(range(len(value))) or all(map(is_plain, value))
        return value in _PLAIN

    shown = {k: v for k, v in config.items() if k in _ALWAYS or not is_plain(v)}
    return ", ".join(f"{key}={value}" for key, value in shown.items())


def assemble_text(bound: BoundKernel, config: Config, args: tuple[Any, ...]) -> str:
    """Return registers, shared bytes and spilled bytes, a line for each launch."""
    from helion._compiler.triton.assemble import capture_launches

    launches = capture_launches(bound.compile_config(config), args)
    kernels = [launch.assemble(ARCH) for launch in launches]
    return "\n".join(
        f"{kernel.registers} / {kernel.shared_bytes} / {kernel.spill_bytes}"
        for kernel in kernels
    )


def measure(outcome: Outcome, case: Case, args: tuple[Any, ...]) -> None:
    """Fill in the median times of the kernel and of eager PyTorch."""
    from triton.testing import do_bench

    def median_ms(fn: Callable[..., Any]) -> float:
        return cast("float", do_bench(lambda: fn(*args), return_mode="median"))

    outcome.perf_ms = median_ms(case.kernel)
    outcome.torch_ms = median_ms(TORCH_BASELINES.get(case.name, case.reference))


def run_case(case: Case, device: str, step: Callable[[str], None]) -> Outcome:
    """Take one example through every stage; a failure ends up in the outcome."""
    outcome = Outcome(case.name)
    try:
        torch.manual_seed(0)
        args = case.make_args(device, False)
        step("emitting Triton")
        fake_args = to_fake_cuda(args)
        bound, config = emit(outcome, case, fake_args)
        step(f"assembling for {ARCH}")
        outcome.resources = assemble_text(bound, config, fake_args)
        step(f"running on {device}")
        if device == "cpu":
            # Eager mode: small inputs show the same thing sooner.
            args = case.make_args(device, True)
        found = case.kernel(*args)
        step("comparing with float64")
        judge(outcome, case, args, found)
        if device == "cuda":
            step("timing")
            measure(outcome, case, args)
    except Exception as err:  # the other examples still have something to show
        outcome.problem = f"{type(err).__name__}: {err}"
    return outcome


def show_table(console: Console, outcomes: list[Outcome], device: str) -> None:
    """Print what came out, one row an example."""
    way = "compiled, on the GPU" if device == "cuda" else "eager, on the CPU"
    table = Table(title=f"helion examples ({way})", show_lines=True)
    table.add_column("kernel", no_wrap=True)
    table.add_column("Config", ratio=1)
    table.add_column("max error\nvs float64", justify="right")
    if device == "cuda":
        table.add_column("ms", justify="right")
        table.add_column("eager\nPyTorch ms", justify="right")
    table.add_column(f"{ARCH}: registers /\nshared B / spilled B", justify="right")
    for outcome in outcomes:
        table.add_row(*cells_of(outcome, device))
    console.print(table)


def cells_of(outcome: Outcome, device: str) -> list[str]:
    """Return the row of one example."""
    if outcome.error is None:
        verdict = "[red]not run[/red]"
    else:
        color, word = ("green", "ok") if outcome.is_right else ("red", "WRONG")
        verdict = f"{outcome.error:.1e} [{color}]{word}[/{color}]"
    cells = [outcome.name, outcome.config, verdict]
    if device == "cuda":
        times = (outcome.perf_ms, outcome.torch_ms)
        cells += ["" if time is None else f"{time:.3f}" for time in times]
    return [*cells, outcome.resources]


def main() -> int:
    """Run all examples; return 0 if every one compiled and was right."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    cases = {case.name: case for case in CASES}
    progress = Progress(console, len(NAMES))
    outcomes = []
    for index, name in enumerate(NAMES, 1):
        with progress.example(index, name) as step:
            outcomes.append(run_case(cases[name], device, step))
    show_table(console, outcomes, device)
    for outcome in outcomes:
        if outcome.problem:
            console.print(f"{outcome.name} failed: {outcome.problem}", markup=False)
    seconds = time.perf_counter() - progress.started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    console.print(f"{seconds:.0f} s, {peak:.1f} GiB of memory at most")
    console.print(f"The emitted Triton is in {BUILD}/, one file a kernel.")
    return int(any(o.problem or not o.is_right for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
