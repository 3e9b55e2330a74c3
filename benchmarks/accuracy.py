"""Accuracy of kernels at many widths: their errors beside PyTorch's own.

    python -m benchmarks.accuracy --op layer_norm --bwd

Both are compared with PyTorch in float64, on a GPU or, with smaller sizes, on the CPU
(eager, or the emitted code under TRITON_INTERPRET=1). Exits 1 if a case fails.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # also as a plain file
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table

from benchmarks import backward_kernels as backward
from examples import cross_entropy, layer_norm, rms_norm, softmax
from examples import sum as row_reductions

Tensors = tuple[torch.Tensor, ...]
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
ODD_WIDTHS = (1, 3, 17, 64, 100, 768, 1000, 5120, 5632, 8191, 8192, 12289)
# What TritonBench measures layer norm with: 1024, 1536 ... 15872.
EVEN_WIDTHS = tuple(range(1024, 16384, 512))
# What a result may be off by, in roundings of its dtype, or in errors of PyTorch.
ROUNDINGS, ERRORS = 4, 2
NEGLIGIBLE = 1e-5


@dataclass(frozen=True)
class Operator:
    """An op of PyTorch, and kernels for it and its gradients.

    ``inputs(m, n)`` are the shapes of float inputs; ``backward`` gets the gradient of
    the result first and returns those of the inputs, in their order.
    """

    torch: Callable[..., torch.Tensor]
    forward: Callable[..., torch.Tensor]
    backward: Callable[..., Any]
    inputs: Callable[[int, int], tuple[tuple[int, ...], ...]]
    has_labels: bool = False


def layer_norm_backward(
    grad_out: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> Tensors:
    """Return all gradients, with the statistics that the forward kernel saves."""
    _, mean, rstd = layer_norm.layer_norm(x, weight, bias)
    return layer_norm.layer_norm_bwd(grad_out, x, weight, mean, rstd)


OPERATORS = {
    "layer_norm": Operator(
        lambda x, weight, bias: F.layer_norm(x, [x.size(1)], weight, bias),
        lambda *inputs: layer_norm.layer_norm(*inputs)[0],
        layer_norm_backward,
        lambda m, n: ((m, n), (n,), (n,)),
    ),
    "rms_norm": Operator(
        lambda x, weight: F.rms_norm(x, [x.size(1)], weight, 1e-6),
        rms_norm.rms_norm,
        backward.rms_norm_bwd,
        lambda m, n: ((m, n), (n,)),
    ),
    "softmax": Operator(
        lambda x: torch.softmax(x, 1),
        softmax.softmax,
        backward.softmax_bwd,
        lambda m, n: ((m, n),),
    ),
    "cross_entropy": Operator(
        F.cross_entropy,
        cross_entropy.cross_entropy,
        backward.cross_entropy_bwd,
        lambda m, n: ((m, n),),
        has_labels=True,
    ),
    "sum": Operator(
        lambda x: x.sum(-1),
        row_reductions.row_sum,
        backward.row_sum_bwd,
        lambda m, n: ((m, n),),
    ),
}


@dataclass(frozen=True)
class Case:
    """One op at one size, in one dtype, on one device."""

    op: str
    is_backward: bool
    rows: int
    width: int
    dtype: str
    device: str


@dataclass(frozen=True)
class Outcome:
    """The largest errors of a case; ``problem`` says why there are none."""

    mine: float = float("nan")
    theirs: float = float("nan")
    allowed: float = 0.0
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether the kernel is about as exact as PyTorch; NaN is not."""
        return not self.problem and self.mine <= self.allowed


# ---- one case ----


def make_inputs(case: Case) -> tuple[Tensors, Tensors]:
    """Return the float inputs and the labels, if the op has any."""
    operator, dtype = OPERATORS[case.op], DTYPES[case.dtype]
    torch.manual_seed(case.width)
    shapes = operator.inputs(case.rows, case.width)
    floats = [torch.randn(s, device=case.device).to(dtype) for s in shapes]
    if not operator.has_labels:
        return tuple(floats), ()
    labels = torch.randint(case.width, (case.rows,), device=case.device)
    return tuple(floats), (labels,)


def in_torch(
    operator: Operator, floats: Tensors, rest: Tensors, grad: torch.Tensor | None
) -> Tensors:
    """Return what PyTorch computes: the result, or the gradients for a ``grad``."""
    if grad is None:
        return (operator.torch(*floats, *rest),)
    inputs = [value.detach().requires_grad_() for value in floats]
    return torch.autograd.grad(operator.torch(*inputs, *rest), inputs, grad)


def in_kernels(
    operator: Operator, floats: Tensors, rest: Tensors, grad: torch.Tensor | None
) -> Tensors:
    """Return what our kernels compute, in the order of ``in_torch``."""
    if grad is None:
        return (operator.forward(*floats, *rest),)
    found = operator.backward(grad, *floats, *rest)
    return found if isinstance(found, tuple) else (found,)


def largest_error(found: Tensors, wanted: Tensors) -> float:
    """Return the largest difference, relative to the largest number of its tensor.

    Tensors of negligible numbers are what terms that cancel leave: their differences
    count as they are.
    """
    errors = [0.0]
    for mine, right in zip(found, wanted, strict=True):
        assert mine.shape == right.shape, f"shape {tuple(mine.shape)}"
        scale = float(right.abs().max())
        error = float((mine.double() - right).abs().max())
        errors.append(error / scale if scale > NEGLIGIBLE else error)
    return float("nan") if any(e != e for e in errors) else max(errors)


def measure(case: Case) -> Outcome:
    """Compare the kernels and PyTorch with PyTorch in float64."""
    operator = OPERATORS[case.op]
    floats, rest = make_inputs(case)
    wide = tuple(value.double() for value in floats)
    grad = None
    if case.is_backward:
        grad = torch.randn_like(operator.torch(*floats, *rest))
    truth = in_torch(operator, wide, rest, None if grad is None else grad.double())
    theirs = largest_error(in_torch(operator, floats, rest, grad), truth)
    try:
        mine = largest_error(in_kernels(operator, floats, rest, grad), truth)
    except Exception as error:  # the other cases still have something to show
        return Outcome(theirs=theirs, problem=f"{type(error).__name__}: {error}")
    rounding = torch.finfo(DTYPES[case.dtype]).eps
    return Outcome(mine, theirs, max(ERRORS * theirs, ROUNDINGS * rounding))


# ---- all cases ----


def cases_of(options: argparse.Namespace) -> Iterator[Case]:
    """Return the cases that were asked for; sizes are smaller on a CPU."""
    is_gpu = options.device == "cuda"
    widths = options.widths
    if not widths:
        widths = sorted({*ODD_WIDTHS, *EVEN_WIDTHS}) if is_gpu else ODD_WIDTHS
    rows = options.rows or (4096 if is_gpu else 16)
    for op in options.op or OPERATORS:
        for dtype in options.dtypes:
            for width in widths:
                yield Case(op, options.bwd, rows, width, dtype, options.device)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--op", action="append", choices=OPERATORS, help="default: all")
    parser.add_argument("--bwd", action="store_true", help="gradients, not results")
    parser.add_argument("--widths", type=int, nargs="+")
    parser.add_argument("--rows", type=int)
    parser.add_argument(
        "--dtypes", nargs="+", choices=DTYPES, default=["fp32", "fp16", "bf16"]
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=["cpu", "cuda"], default=device)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a row for each case; return how the process should exit."""
    console = Console(width=None if sys.stdout.isatty() else 100)
    table = Table("op", "size", "dtype", "error", "PyTorch's", "allowed", "")
    failures: list[str] = []
    cases = list(cases_of(parse(arguments)))
    for case in cases:
        outcome = measure(case)
        name = f"{case.op}_bwd" if case.is_backward else case.op
        size = f"{case.rows} x {case.width}"
        numbers = (outcome.mine, outcome.theirs, outcome.allowed)
        verdict = "pass" if outcome.passed else "FAIL"
        table.add_row(name, size, case.dtype, *(f"{v:.1e}" for v in numbers), verdict)
        if not outcome.passed:
            failures.append(f"{name} {size} {case.dtype}: {outcome.problem or verdict}")
    console.print(table)
    for failure in failures:
        console.print(failure, markup=False, soft_wrap=True)
    console.print(f"{len(cases) - len(failures)} of {len(cases)} cases pass")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
