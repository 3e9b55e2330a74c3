"""Folds over explicit rows, in chunks: right results, each element read once."""

from __future__ import annotations

import pytest
import torch

import helion
from examples.layer_norm import layer_norm_bwd_dwdb
from test import long_kernels as kernels
from test.harness import check, randn, run
from test.load_counts import elements_read

SUMS = {torch.float32: (1e-4, 2e-3), torch.float16: (4e-3, 4e-2)}
CONFIGS = (
    None,
    helion.Config(block_sizes=[4], reduction_loops=[64]),
    helion.Config(block_sizes=[8], reduction_loops=[None]),
    helion.Config(block_sizes=[1], reduction_loops=[16]),
)
LOOPED = CONFIGS[1]
GRADS = [kernels.weight_grads, layer_norm_bwd_dwdb]
LENGTHS = [1_152_000, 1_500_001, 2**21]


def grads_args(m: int, n: int, dtype=torch.float32) -> tuple[torch.Tensor, ...]:
    return randn(m, n, dtype=dtype), randn(m, n, dtype=dtype), randn(m), randn(m)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("m", [7, 256, 1003])
def test_weight_gradients_by_explicit_rows(way: str, m: int, dtype) -> None:
    check(
        kernels.weight_grads,
        *grads_args(m, 6, dtype),
        way=way,
        reference=kernels.weight_grads_reference,
        configs=CONFIGS,
        tolerance=SUMS,
    )


def test_numbers_computed_from_rows_are_pointers_and_values(way: str) -> None:
    check(
        kernels.odd_rows,
        *(randn(415, 6), randn(6)),
        way=way,
        reference=kernels.odd_rows_reference,
        configs=CONFIGS,
        tolerance={torch.float32: (1e-4, 2e-2)},
    )


@pytest.mark.parametrize("static_shapes", [True, False])
@pytest.mark.parametrize("m", [6, 7, 415])
@pytest.mark.parametrize(
    "kernel", [kernels.even_rows, kernels.even_rows_of_torch], ids=repr
)
def test_a_stepped_range_along_the_axis(
    way: str, kernel: helion.Kernel, m: int, static_shapes: bool
) -> None:
    check(
        kernel,
        torch.randint(-99, 99, (m, 6)),
        way=way,
        reference=kernels.even_rows_reference,
        configs=CONFIGS,
        static_shapes=static_shapes,
    )


@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.int32, torch.int16, torch.float32, torch.float64]
)
def test_a_range_keeps_its_dtype(way: str, dtype: torch.dtype) -> None:
    x = torch.randint(-9, 9, (5, 77))
    for config in CONFIGS[:1] if way == "plain" else CONFIGS:
        found = run(kernels.positions, x, dtype, way=way, config=config)
        assert found.dtype == dtype
        assert torch.equal(found, kernels.positions_reference(x, dtype))


@pytest.mark.parametrize("cap", [65536, 512])
def test_a_lower_cap_gives_the_same_result(way: str, cap: int) -> None:
    check(
        kernels.weight_grads,
        *grads_args(1003, 6),
        way=way,
        reference=kernels.weight_grads_reference,
        tolerance=SUMS,
        max_triton_tensor_numel=cap,
    )


@pytest.mark.parametrize("kernel", GRADS, ids=repr)
@pytest.mark.parametrize("config", [None, LOOPED], ids=str)
def test_each_element_is_read_once(kernel, config) -> None:
    m, n = 1003, 6
    args = grads_args(m, n)
    tiles = 2 if config is LOOPED else 1
    read = elements_read(kernel, *args, config=config)
    assert read == [m * n, m * n, m * tiles, m * tiles]


def test_only_the_rows_of_a_range_are_read() -> None:
    x = torch.randint(-9, 9, (11, 6))
    config = helion.Config(block_sizes=[8], reduction_loops=[None])
    assert elements_read(kernels.even_rows, x, config=config) == [5 * 6]
    assert elements_read(kernels.odd_rows, x, randn(6), config=config) == [5 * 6, 6]


def test_a_million_ones_in_half_precision(way: str) -> None:
    x = torch.ones(1, 1_000_000, dtype=torch.float16)
    for config in (None, helion.Config(block_sizes=[1], reduction_loops=[8192])):
        found = run(kernels.wide_sum, x, way=way, config=config)
        assert found.dtype == torch.float32 and found.tolist() == [1e6]


# -- full sizes -----------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("m", LENGTHS)
@pytest.mark.parametrize("kernel", GRADS, ids=repr)
def test_gradients_of_a_long_axis(kernel: helion.Kernel, m: int) -> None:
    check(
        kernel,
        *grads_args(m, 16),
        way="compiled",
        reference=kernels.weight_grads_reference,
        configs=(None, helion.Config(block_sizes=[16], reduction_loops=[4096])),
        tolerance={torch.float32: (1e-4, 5e-2)},
    )


@pytest.mark.gpu
@pytest.mark.parametrize("m", [1_152_001, 3_000_001])
def test_ranges_along_a_long_axis(m: int) -> None:
    x = torch.randint(-99, 99, (m, 16))
    for function in (kernels.even_rows.fn, kernels.even_rows_of_torch.fn):
        for static_shapes in (True, False):
            kernel = helion.kernel(function, static_shapes=static_shapes)
            reference = kernels.even_rows_reference
            check(kernel, x, way="compiled", reference=reference)


@pytest.mark.gpu
def test_a_longer_call_than_the_config_was_checked_for_is_refused() -> None:
    kernel = helion.kernel(kernels.stuck_sum.fn, static_shapes=False)
    kernel(torch.ones(2, 1000, device="cuda"))
    with pytest.raises(helion.exc.HelionReductionTooLarge):
        kernel(torch.ones(2, 3_000_000, device="cuda"))
