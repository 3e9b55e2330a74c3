"""Scans: own combine functions, running sums and products, both directions."""

from __future__ import annotations

import pytest
import torch

import helion
from test import interpreter_worker
from test import scan_kernels as kernels
from test.harness import check, offline, randn, run, run_emitted

CONFIGS = (None, helion.Config(block_sizes=[4]), helion.Config(block_sizes=[1]))
TOLERANCE = {torch.float32: (1e-4, 1e-4), torch.bfloat16: (2e-2, 1e-1)}


def from_back(scan, x: torch.Tensor, dim: int, reverse: bool) -> torch.Tensor:
    """Apply a torch scan in one of the directions."""
    return scan(x.flip(dim), dim).flip(dim) if reverse else scan(x, dim)


def clipped(x: torch.Tensor, dim: int) -> torch.Tensor:
    return x.cumsum(dim).clamp(max=4)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [1, 32, 37])
def test_own_function(way: str, length: int, reverse: bool) -> None:
    check(
        kernels.scan_rows,
        randn(5, length).abs(),
        kernels.clipped_sum,
        reverse,
        way=way,
        reference=lambda x, *_: from_back(clipped, x + 1, 1, reverse),
        configs=CONFIGS,
        tolerance=TOLERANCE,
    )


@pytest.mark.parametrize("reverse", [False, True])
def test_known_function(way: str, reverse: bool) -> None:
    check(
        kernels.scan_rows,
        randn(5, 37),
        torch.add,
        reverse,
        way=way,
        reference=lambda x, *_: from_back(torch.cumsum, x + 1, 1, reverse),
        configs=CONFIGS,
        tolerance=TOLERANCE,
    )


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [16, 37])
def test_pairs_keep_their_order(way: str, length: int, reverse: bool) -> None:
    def reference(a: torch.Tensor, b: torch.Tensor, _: bool) -> torch.Tensor:
        out, y = torch.empty_like(a), 0.0
        for i in range(length):
            i = length - 1 - i if reverse else i
            out[:, i] = y = a[:, i] * y + b[:, i] + 1
        return out

    check(
        kernels.recurrence,
        randn(5, length) / 2,
        randn(5, length),
        reverse,
        way=way,
        reference=reference,
        configs=CONFIGS,
        tolerance=TOLERANCE,
    )


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dim", [0, -1])
def test_cumsum_and_cumprod(way: str, dim: int, reverse: bool) -> None:
    def reference(x: torch.Tensor, *_: object) -> tuple[torch.Tensor, ...]:
        scans = torch.cumsum, torch.cumprod
        axis = dim + 1 if dim >= 0 else dim
        return tuple(from_back(scan, x, axis, reverse) for scan in scans)

    check(
        kernels.cumulate,
        randn(3, 5, 6),
        dim,
        reverse,
        way=way,
        reference=reference,
        tolerance=TOLERANCE,
    )


@pytest.mark.parametrize("dtype", [torch.int8, torch.bfloat16, torch.int64], ids=str)
def test_dtype_is_kept(way: str, dtype: torch.dtype) -> None:
    x = torch.randint(-3, 4, (2, 5, 7)).to(dtype)
    check(
        kernels.cumulate,
        x,
        1,
        True,
        way=way,
        reference=lambda *_: tuple(
            from_back(lambda x, d, s=scan: s(x, d, dtype=dtype), x, 2, True)
            for scan in (torch.cumsum, torch.cumprod)
        ),
        tolerance=TOLERANCE,
    )


def test_bools_stay_bools(way: str) -> None:
    x = randn(2, 3, 9) > 0
    sums, products = run(kernels.cumulate, x, 1, False, way=way)
    assert torch.equal(sums, x.long().cumsum(2) > 0)
    assert torch.equal(products, x.long().cumprod(2) > 0)


@pytest.mark.parametrize("block_size", [1, 4])
@pytest.mark.parametrize("reverse", [False, True])
def test_scan_ends_with_its_tile(way: str, reverse: bool, block_size: int) -> None:
    x = randn(10, 5)
    tiles = x.split(10 if way == "plain" else block_size)  # plain knows no block size
    wanted = [from_back(torch.cumsum, part + 1, 0, reverse) for part in tiles]
    config = helion.Config(block_sizes=[block_size])
    found = run(kernels.tile_cumsum, x, reverse, way=way, config=config)
    torch.testing.assert_close(found, torch.cat(wanted))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int32], ids=str)
def test_torch_names_and_dtypes(way: str, dtype: torch.dtype) -> None:
    check(
        kernels.torch_cumulate,
        torch.randint(-3, 4, (5, 13)).to(dtype),
        way=way,
        reference=lambda x: (x.cumsum(1), x.cumprod(1)),
        configs=CONFIGS,
        tolerance={torch.bfloat16: (2e-2, 1e-1)},
    )


def test_dynamic_shapes(way: str) -> None:
    check(
        kernels.scan_rows,
        randn(5, 37),
        torch.add,
        True,
        way=way,
        reference=lambda x, *_: from_back(torch.cumsum, x + 1, 1, True),
        tolerance=TOLERANCE,
        static_shapes=False,
    )


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_stack(way: str, dim: int) -> None:
    check(
        kernels.stack_rows,
        randn(5, 7),
        dim,
        way=way,
        reference=lambda x, _: torch.stack([x, x * 2, -x], dim),
        configs=CONFIGS,
    )


def test_cat_of_two_halves(way: str) -> None:
    check(
        kernels.rotate_half,
        randn(5, 16),
        way=way,
        reference=lambda x: torch.cat([-x[:, 8:], x[:, :8]], 1),
        configs=CONFIGS,
    )


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool], ids=str
)
def test_running_extrema(way: str, dtype: torch.dtype, dim: int) -> None:
    x = torch.randint(-3, 4, (2, 6, 7)).to(dtype)
    if dtype.is_floating_point:
        x[0, 1:4, 2:5] = torch.tensor([NAN, INF, -INF]).to(dtype)
        x[1, 0, 6] = x[1, 5, 0] = NAN
    values, places = run(kernels.running, x, dim, way=way)
    high, low = x.cummax(dim + 1), x.cummin(dim + 1)
    same = {"rtol": 0, "atol": 0, "equal_nan": True}
    torch.testing.assert_close(values[0], high.values, **same)
    torch.testing.assert_close(values[1], low.values, **same)
    assert torch.equal(places, torch.stack([high.indices, low.indices]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_running_log_sum(way: str, dtype: torch.dtype) -> None:
    x = randn(5, 13, dtype=dtype) * 20
    x[0, 3], x[1, :2], x[2, 4], x[3, 5] = INF, -INF, NAN, -INF
    check(
        kernels.running_log_sum,
        x,
        way=way,
        reference=lambda x: x.logcumsumexp(1),
        configs=CONFIGS[:2],
    )


def test_dtypes_of_torch_sums(way: str) -> None:
    x = torch.randint(-3, 4, (5, 13), dtype=torch.int8)
    sums, products = run(kernels.typed_sums, x, way=way)
    assert torch.equal(sums, x.cumsum(1, dtype=torch.float32))
    assert torch.equal(products, x.cumprod(1, dtype=torch.int32))


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_of_torch(reverse: bool) -> None:
    # Torch itself has this scan on GPUs only, so it is no Python for a CPU.
    x = randn(5, 7)
    request = (kernels.torch_scan, (x, reverse), None, frozenset())
    found, _ = interpreter_worker.call(run_emitted, request)
    torch.testing.assert_close(found, from_back(torch.cumprod, x, 1, reverse))


def test_forms_of_combine_functions(way: str) -> None:
    x = randn(5, 13) / 2
    config = helion.Config(block_sizes=[4])
    scans, folds = run(kernels.forms, x, way=way, config=config)
    affine = torch.zeros(5)
    steps = []
    for column in x.T:
        affine = affine * column + column
        steps.append(affine)
    wanted = [
        x.cumsum(1),
        from_back(torch.cumsum, x, 1, True),
        x.cummax(1).values,
        torch.stack(steps, 1),
        x.cummax(1).values,
    ]
    torch.testing.assert_close(scans, torch.stack(wanted))
    rows = [x.sum(1), x.sum(1), x.amax(1), x.amin(1), x.amax(1)]
    torch.testing.assert_close(folds, torch.stack(rows))


@pytest.mark.parametrize("arch", ["sm_90", "sm_100", "gfx942"])
def test_scans_assemble(arch: str) -> None:
    config = helion.Config(block_sizes=[4])
    offline(kernels.forms, randn(5, 13), config=config, arch=arch)
    offline(kernels.running, torch.empty(3, 5, 6, dtype=torch.bfloat16), 1, arch=arch)
    offline(kernels.running_log_sum, randn(5, 13), config=config, arch=arch)
