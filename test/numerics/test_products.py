"""Products of every rank and dtype: hl.dot and torch's family, in every way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import helion
import helion.language as hl
from helion import exc
from test import harness
from test.harness import randn
from test.unit import faults

HALVES = [torch.float16, torch.bfloat16]
TF32 = {torch.float32: (1e-2, 1e-2)}
EXACT = {torch.float32: (1e-5, 1e-4)}
SMALL = helion.Config(block_sizes=[2])
ONE = helion.Config(block_sizes=[1])


@helion.kernel
def by_rows(x: torch.Tensor, y: torch.Tensor, out: torch.Tensor, fn: Any) -> None:
    """Give ``fn`` tiles of the first dim of ``x``, and ``y`` whole."""
    for tile in hl.tile(x.size(0)):
        out[tile, ...] = fn(x[tile, ...], y[...])


@helion.kernel
def by_batch(x: torch.Tensor, y: torch.Tensor, out: torch.Tensor, fn: Any) -> None:
    """Give ``fn`` tiles of the first dim of both."""
    for tile in hl.tile(x.size(0)):
        out[tile, ...] = fn(x[tile, ...], y[tile, ...])


@helion.kernel
def with_acc(
    acc: torch.Tensor, x: torch.Tensor, y: torch.Tensor, out: torch.Tensor, fn: Any
) -> None:
    for tile in hl.tile(x.size(0)):
        out[tile, ...] = fn(acc[tile, ...], x[tile, ...], y[...])


@helion.kernel
def with_bias(
    bias: torch.Tensor, x: torch.Tensor, y: torch.Tensor, out: torch.Tensor, fn: Any
) -> None:
    for tile in hl.tile(x.size(0)):
        out[tile, ...] = fn(bias[...], x[tile, ...], y[...])


def tolerance_of(way: str) -> dict[torch.dtype, tuple[float, float]]:
    half = {torch.float16: (5e-3, 1e-2), torch.bfloat16: (2e-2, 5e-2)}
    return {**(TF32 if way == "compiled" else EXACT), **half}


def wide(value: torch.Tensor) -> torch.Tensor:
    return value.double()


def compare(
    kernel: helion.Kernel,
    args: tuple[torch.Tensor, ...],
    fn: Callable[..., torch.Tensor],
    way: str,
    out_dtype: torch.dtype | None = None,
    configs: tuple[helion.Config | None, ...] = (None, SMALL, ONE),
) -> None:
    """Run a kernel and compare with ``fn`` of the arguments in float64."""
    expected = fn(*(wide(a) if a.is_floating_point() else a.long() for a in args))
    dtype = out_dtype or args[0].dtype
    for config in configs:
        out = torch.full(expected.shape, 77).to(dtype)
        harness.run(kernel, *args, out, fn, way=way, config=config)
        right = expected.to(dtype) if not dtype.is_floating_point else expected
        harness.assert_close_to_reference(out, right, _coarse(dtype), tolerance_of(way))


def _coarse(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype in harness.TOLERANCES else torch.float32


ROWS: list[tuple[str, Any, tuple[int, ...], tuple[int, ...]]] = [
    ("mm", lambda a, b: torch.mm(a, b), (5, 7), (7, 3)),
    ("matmul", lambda a, b: a @ b, (5, 20), (20, 33)),
    ("mv", lambda a, b: torch.mv(a, b), (5, 7), (7,)),
    ("matmul 2 by 1", lambda a, b: a @ b, (5, 7), (7,)),
    ("matmul 3 by 1", lambda a, b: a @ b, (5, 3, 7), (7,)),
    ("matmul 3 by 2", lambda a, b: a @ b, (5, 3, 7), (7, 4)),
    ("matmul 4 by 2", lambda a, b: a @ b, (3, 2, 5, 7), (7, 4)),
    ("matmul 4 by 3", lambda a, b: a @ b, (3, 2, 5, 7), (2, 7, 4)),
    ("matmul 2 by 1 col", lambda a, b: torch.matmul(a, b), (5, 7), (7, 1)),
    ("inner", lambda a, b: torch.inner(a, b), (5, 7), (3, 7)),
    ("inner vector", lambda a, b: torch.inner(a, b), (5, 7), (7,)),
    ("outer", lambda a, b: torch.outer(a, b), (5,), (7,)),
    ("linear", lambda a, b: F.linear(a, b), (5, 7), (3, 7)),
    ("linear 3", lambda a, b: F.linear(a, b), (5, 2, 7), (3, 7)),
    ("linear bias", lambda a, b: F.linear(a, b, b[:, 0]), (5, 7), (3, 7)),
    ("multi_dot", lambda a, b: torch.linalg.multi_dot([a, b, b]), (5, 7), (7, 7)),
    ("column", lambda a, b: a.unsqueeze(1) @ b, (5,), (1, 7)),
]
BATCH: list[tuple[str, Any, tuple[int, ...], tuple[int, ...]]] = [
    ("bmm", lambda a, b: torch.bmm(a, b), (5, 3, 7), (5, 7, 4)),
    ("matmul 3 by 3", lambda a, b: a @ b, (5, 17, 20), (5, 20, 18)),
    ("matmul 4 by 4", lambda a, b: a @ b, (3, 2, 5, 7), (3, 2, 7, 4)),
    ("matmul one of 4", lambda a, b: a @ b, (3, 1, 5, 7), (3, 2, 7, 4)),
    ("size-1 batch", lambda a, b: a @ b, (3, 1, 5, 7), (3, 1, 7, 4)),
    ("rows", lambda a, b: (a.unsqueeze(1) @ b).squeeze(1), (5, 7), (5, 7, 4)),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("name, fn, left, right", ROWS, ids=[r[0] for r in ROWS])
def test_rows_of_the_first_factor(
    way: str, name: str, fn: Any, left: Any, right: Any, dtype: torch.dtype
) -> None:
    if "multi_dot" in name:
        dtype = torch.float32  # each product of a chain is rounded
    compare(by_rows, (randn(*left, dtype=dtype), randn(*right, dtype=dtype)), fn, way)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name, fn, left, right", BATCH, ids=[r[0] for r in BATCH])
def test_batches_of_both_factors(
    way: str, name: str, fn: Any, left: Any, right: Any, dtype: torch.dtype
) -> None:
    compare(by_batch, (randn(*left, dtype=dtype), randn(*right, dtype=dtype)), fn, way)


def test_dot_of_vectors(way: str) -> None:
    fn = lambda a, b: a + torch.dot(b, b) * torch.vdot(b, b)  # noqa: E731
    compare(by_rows, (randn(5), randn(7)), fn, way, configs=(SMALL,))


# ---- accumulators and factors ----

ADDED: list[tuple[str, Any, tuple[int, ...], tuple[int, ...]]] = [
    ("addmm", lambda c, a, b: torch.addmm(c, a, b), (5, 7), (7, 3)),
    ("alpha", lambda c, a, b: torch.addmm(c, a, b, alpha=0.3), (5, 7), (7, 3)),
    ("both", lambda c, a, b: c.addmm(a, b, beta=-2, alpha=3), (5, 7), (7, 3)),
    ("no acc", lambda c, a, b: torch.addmm(c, a, b, beta=0), (5, 7), (7, 3)),
    ("addmv", lambda c, a, b: c[:, 0].addmv(a, b, beta=2)[:, None], (5, 7), (7,)),
]


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES], ids=str)
@pytest.mark.parametrize("name, fn, left, right", ADDED, ids=[a[0] for a in ADDED])
def test_scaled_sums(
    way: str, name: str, fn: Any, left: Any, right: Any, dtype: torch.dtype
) -> None:
    acc = randn(5, 3 if name != "addmv" else 1, dtype=dtype)
    if name == "no acc":
        # Torch does not even look at it.
        acc = torch.full_like(acc, torch.nan)
    args = (acc, randn(*left, dtype=dtype), randn(*right, dtype=dtype))
    compare(with_acc, args, fn, way, configs=(None, SMALL))


def test_a_scaled_product_is_not_rounded_first(way: str) -> None:
    x = torch.full((4, 16), 60.0).half()
    y = torch.full((16, 4), 60.0).half()
    # The product, 57600, times 4 exceeds float16 on the way; the sum does not.
    acc = torch.full((4, 4), -60000.0).half()
    out = torch.empty(4, 4)
    fn = lambda c, a, b: torch.addmm(c, a, b, beta=3.0, alpha=4.0).float()  # noqa: E731
    harness.run(with_acc, acc, x, y, out, fn, way=way)
    torch.testing.assert_close(out, torch.full((4, 4), 50400.0), rtol=1e-3, atol=0)


def test_a_bias_row_is_added_to_each_row(way: str) -> None:
    args = (randn(21), randn(5, 20), randn(20, 21))
    compare(with_bias, args, lambda c, a, b: torch.addmm(c, a, b), way)
    args = (randn(1, 21), randn(5, 20), randn(20, 21))
    compare(with_bias, args, lambda c, a, b: torch.addmm(c, a, b, alpha=2), way)


@pytest.mark.parametrize("factors", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("acc", [torch.float32, torch.float64], ids=str)
def test_accumulators_of_doubles(
    way: str, acc: torch.dtype, factors: torch.dtype
) -> None:
    start = randn(5, 3, dtype=acc)
    x, y = randn(5, 7, dtype=factors), randn(7, 3, dtype=factors)
    for fn in (
        lambda c, a, b: torch.addmm(c, a, b),
        lambda c, a, b: hl.dot(a, b, acc=c),
    ):
        out = torch.empty(5, 3, dtype=torch.float64)
        harness.run(with_acc, start, x, y, out, fn, way=way, config=SMALL)
        expected = start.double() + x.double() @ y.double()
        exact = acc == factors == torch.float64
        tolerance = 1e-12 if exact else (1e-2 if way == "compiled" else 1e-5)
        torch.testing.assert_close(out, expected, rtol=tolerance, atol=tolerance)


@helion.kernel
def sum_over_k(
    x: torch.Tensor, y: torch.Tensor, acc_dtype: hl.constexpr
) -> torch.Tensor:
    out = torch.empty([x.size(0), y.size(1)], dtype=acc_dtype, device=x.device)
    for i, j in hl.tile(out.size()):
        acc = hl.zeros([i, j], dtype=acc_dtype)
        for k in hl.tile(x.size(1)):
            acc = hl.dot(x[i, k], y[k, j], acc=acc)
        out[i, j] = acc
    return out


PAIRS = [
    (torch.float32, torch.float16, torch.float32),
    (torch.bfloat16, torch.float16, torch.float32),
    (torch.float16, torch.float16, torch.float16),
    (torch.float8_e4m3fn, torch.float8_e4m3fn, torch.float32),
    (torch.float8_e4m3fn, torch.float8_e5m2, torch.float32),
    (torch.float8_e5m2, torch.bfloat16, torch.float32),
    (torch.int8, torch.float16, torch.float32),
    (torch.int8, torch.float8_e5m2, torch.float32),
    (torch.int8, torch.int8, torch.int32),
    (torch.float64, torch.float32, torch.float64),
    (torch.float64, torch.float16, torch.float32),
]


@pytest.mark.parametrize("left, right, acc", PAIRS, ids=str)
def test_dot_takes_mixed_dtypes(
    way: str, left: torch.dtype, right: torch.dtype, acc: torch.dtype
) -> None:
    x, y = randn(18, 70, dtype=left), randn(70, 17, dtype=right)
    expected = x.double() @ y.double()
    tolerance = 2e-2 if acc == torch.float16 or way == "compiled" else 1e-5
    for config in (None, helion.Config(block_sizes=[16, 16, 32])):
        found = harness.run(sum_over_k, x, y, acc, way=way, config=config)
        assert found.dtype == acc
        limit = expected.abs().max().item() * tolerance
        torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=limit)


def test_bytes_are_summed_exactly(way: str) -> None:
    x = torch.full((16, 4096), -128, dtype=torch.int8)
    y = torch.full((4096, 16), 127, dtype=torch.int8)
    config = helion.Config(block_sizes=[16, 16, 1024])
    found = harness.run(sum_over_k, x, y, torch.int32, way=way, config=config)
    assert (found == -128 * 127 * 4096).all()


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8], ids=str)
def test_matrices_of_integers(way: str, dtype: torch.dtype) -> None:
    x = torch.randint(0, 100, (5, 7)).to(dtype)
    y = torch.randint(0, 100, (7, 3)).to(dtype)
    compare(by_rows, (x, y), lambda a, b: torch.mm(a, b), way, configs=(SMALL, ONE))
    compare(by_rows, (x, y), lambda a, b: a @ b, way, configs=(SMALL,))


def test_dot_of_batches_of_one(way: str) -> None:
    fn = lambda a, b: hl.dot(a, b, out_dtype=torch.float64)  # noqa: E731
    args = (randn(3, 5, 7), randn(1, 7, 4))
    for config in (None, SMALL, ONE):
        out = torch.empty(3, 5, 4, dtype=torch.float64)
        harness.run(by_rows, *args, out, fn, way=way, config=config)
        right = wide(args[0]) @ wide(args[1])
        tolerance = 1e-2 if way == "compiled" else 1e-5
        torch.testing.assert_close(out, right, rtol=tolerance, atol=tolerance)


def test_out_dtype_wins_over_acc(way: str) -> None:
    args = (randn(5, 3), randn(5, 7).half(), randn(7, 3).half())
    out = torch.empty(5, 3, dtype=torch.float64)
    fn = lambda c, a, b: hl.dot(a, b, acc=c, out_dtype=torch.float16)  # noqa: E731
    harness.run(with_acc, *args, out, fn, way=way)
    assert torch.equal(out, out.half().double())
    expected = wide(args[0]) + wide(args[1]) @ wide(args[2])
    torch.testing.assert_close(out, expected, rtol=5e-3, atol=5e-3)


def test_padding_of_k_does_not_leak(way: str) -> None:
    x, y = randn(5, 33), randn(33, 6)
    fn = lambda a, b: hl.dot(a.exp() / a.exp(), (b * 0).exp())  # noqa: E731
    out = torch.empty(5, 6)
    harness.run(by_rows, x, y, out, fn, way=way)
    torch.testing.assert_close(out, torch.full((5, 6), 33.0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [0, 1])
def test_sizes_0_and_1_of_every_dim(way: str, size: int) -> None:
    for m, k, n in ((size, 3, 4), (3, size, 4), (3, 4, size)):
        args = (randn(m, k), randn(k, n))
        compare(by_rows, args, lambda a, b: a @ b, way, configs=(None, ONE))


# ---- misuse ----

MISUSES = [
    (exc.ShapeMismatch, "v = torch.mv(x[t], y[t])"),
    (exc.ShapeMismatch, "v = torch.outer(z[t, :], y[t])"),
    (exc.ShapeMismatch, "v = z[t, :] @ z[t, :]"),
    (exc.ShapeMismatch, "v = z[t, :] @ x[t]"),
    (exc.ShapeMismatch, "v = torch.matmul(x[t].sum(), x[t])"),
    (exc.InvalidAPIUsage, "v = hl.dot(z[t, :], z[t, :].T, out_dtype='f')"),
    (exc.InvalidAPIUsage, "v = hl.dot(z[t, :], z[t, :].T, acc=z[t, 0:1].int())"),
]


@pytest.mark.parametrize("error, line", MISUSES)
def test_misuse_is_refused(error: type[exc.Base], line: str) -> None:
    assert type(faults.fault(faults.device_text(line))) is error


WARNED = """
def k(x, y):
    out = torch.empty([x.size(0), y.size(1)], dtype={out}, device=x.device)
    for i, j in hl.tile(out.size()):
        acc = hl.zeros([i, j], dtype={out})
        for t in hl.tile(x.size(1)):
            acc {update}
        out[i, j] = acc
    return out
"""


@pytest.mark.parametrize(
    "update, out, warns",
    [
        ("+= x[i, t] @ y[t, j]", "torch.float32", True),
        ("= acc + torch.mm(x[i, t], y[t, j])", "torch.float16", True),
        ("= torch.addmm(acc, x[i, t], y[t, j])", "torch.float32", False),
        ("+= hl.dot(x[i, t], y[t, j])", "torch.float32", False),
        ("+= (x[i, t].float() @ y[t, j].float())", "torch.float32", False),
    ],
)
def test_rounding_every_partial_product_is_warned_of(
    capsys: Any, update: str, out: str, warns: bool
) -> None:
    args = (randn(32, 32, dtype=torch.float16), randn(32, 32, dtype=torch.float16))
    text = WARNED.format(update=update, out=out)
    faults.compile_text(text, *args)
    assert ("TiledKMatmulAccumulationWarning" in capsys.readouterr().err) == warns
    ignored = [exc.TiledKMatmulAccumulationWarning]
    faults.compile_text(text, *args, ignore_warnings=ignored)
    assert "TiledKMatmul" not in capsys.readouterr().err


@pytest.mark.parametrize("arch", ["sm_90", "gfx942"])
def test_products_assemble(arch: str) -> None:
    x, y = randn(64, 64, dtype=torch.float16), randn(64, 64, dtype=torch.float16)
    out = torch.empty(64, 64)
    config = helion.Config(block_sizes=[16])
    for fn in (
        lambda a, b: torch.addmm(a, a, b, beta=2.0, alpha=0.5) @ b,
        lambda a, b: F.linear(a, b, b[:, 0]) * (a @ b[:, 0])[:, None],
    ):
        assert harness.offline(by_rows, x, y, out, fn, config=config, arch=arch)
