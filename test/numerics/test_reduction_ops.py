"""Every reduction of torch: dims, lengths, dtypes, special values, loops."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch

import helion
from helion import exc
from test import reduction_kernels as kernels
from test.harness import check, fake_cuda, randn, run
from test.reduction_kernels import MAPS, ONE_DIM, REDUCTIONS, along

pytestmark = pytest.mark.filterwarnings("ignore:.*degrees of freedom")

LOOPED = helion.Config(block_sizes=[2], reduction_loops=[16])
CONFIGS = (None, LOOPED)
MULTI = [name for name in REDUCTIONS if name not in ONE_DIM]
# One of each kind, for what does not depend on how it is spelled.
CORE = ["sum", "prod", "max", "argmin", "any", "var_mean", "logsumexp", "norm"]
MORE = [*CORE, "mean", "amin", "argmax", "all", "std_mean", "softmax", "nanmean"]
FLOATS = [torch.float16, torch.bfloat16, torch.float64]
INTS = [torch.bool, torch.uint8, torch.int8, torch.int32, torch.int64]
INT_OPS = ["sum", "sum_float64", "prod", "amax", "amin", "min", "argmin", "any", "all"]
INT_OPS += ["count_nonzero", "nansum", "logsumexp", "mean_float64"]
LONG = 3_000_000
NAN, INF = math.nan, math.inf


def tolerance(name: str, length: int) -> dict[torch.dtype, tuple[float, float]]:
    """Return what rounding of partial results may add up to.

    Errors of sums grow with the length, those of means and the like do not.
    """
    is_sum = name.startswith(("sum", "nansum", "prod"))
    root = max(8, length**0.5)
    unit = root if is_sum else 8
    return {
        torch.bfloat16: (1e-2, 1e-2),
        torch.float16: (2e-3, 2e-3),
        torch.float32: (1e-6 * unit, 1e-6 * unit),
        # The reference is rounded, too.
        torch.float64: (1e-14 * root, 1e-14 * root),
    }


def check_reduction(
    name: str,
    x: torch.Tensor,
    dim: Any,
    keep: bool = False,
    *,
    way: str = "interpreted",
    form: helion.Kernel = kernels.of_tiles,
    configs: Sequence[helion.Config | None] = (None,),
    **settings: Any,
) -> None:
    """Compare with torch on float64; integers and bools must be equal."""
    reduction = along(name, dim, keep)
    wanted = reduction if form is not kernels.of_items else kernels.per_item(reduction)
    check(
        form,
        x,
        reduction,
        kernels.poisoned_like(wanted(x)),
        way=way,
        reference=lambda x, *_: wanted(x),
        configs=configs,
        tolerance=tolerance(name, x.numel()),
        **settings,
    )


def data(
    name: str, rows: int, length: int, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Return values whose reduction says something at any length."""
    x = randn(rows, length, dtype=dtype)
    if name.startswith("prod"):
        # Products stay in range; those of integers wrap around.
        return (x * 1e-3).exp() if dtype.is_floating_point else x | 1
    if name in ("any", "all"):
        x[0], x[1:] = name == "all", name != "all"
        x[0, length - 1] = name != "all"
    return x


# ---- dims ----


@pytest.mark.parametrize("name", REDUCTIONS)
def test_last_dim_of_rows(way: str, name: str) -> None:
    check_reduction(name, randn(3, 17), -1, way=way)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_first_dim_of_columns_kept(way: str, name: str) -> None:
    x, form = randn(17, 3), kernels.of_columns
    check_reduction(name, x, 0, True, way=way, form=form, configs=(LOOPED,))


@pytest.mark.parametrize("name", MULTI)
def test_several_dims(way: str, name: str) -> None:
    check_reduction(name, randn(3, 5, 17), (-1, -2), way=way)


@pytest.mark.parametrize("loops", [[4, None], [None, 16], [4, 16]], ids=str)
@pytest.mark.parametrize("name", [name for name in CORE if name in MULTI])
def test_several_dims_kept(name: str, loops: list[int | None]) -> None:
    config = helion.Config(block_sizes=[2], reduction_loops=loops)
    check_reduction(name, randn(3, 5, 17), (1, 2), True, configs=(config,))


@pytest.mark.parametrize("name", [n for n in MULTI if n != "logsumexp"])
def test_all_dims(way: str, name: str) -> None:
    check_reduction(name, randn(2, 3, 5), None, way=way, form=kernels.of_items)


@pytest.mark.parametrize("name", kernels.METHODS)
@pytest.mark.parametrize("shape", [(2,), (2, 17), (2, 3, 5)], ids=str)
def test_method_without_arguments(name: str, shape: tuple[int, ...]) -> None:
    form = kernels.of_items
    check_reduction(name, randn(*shape), kernels.WITHOUT, form=form)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("keep", [False, True])
def test_index_in_the_flattened_item(way: str, name: str, keep: bool) -> None:
    x = torch.randint(0, 3, (3, 3, 5, 17)).float()
    x[1, 2, 1, 3] = x[1, 1, 4, 16] = NAN
    loops = helion.Config(block_sizes=[], reduction_loops=[None, None, 16])
    configs, form = (None, loops), kernels.of_items
    check_reduction(name, x, None, keep, way=way, form=form, configs=configs)


@pytest.mark.parametrize("dim", [0, -1])
@pytest.mark.parametrize("name", CORE)
def test_value_without_dims(name: str, dim: int) -> None:
    check_reduction(name, randn(2), dim, True, form=kernels.of_items)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("dim", [None, -1])
@pytest.mark.parametrize("spelling", ["torch", "hl"])
def test_torch_and_hl_agree_on_dims(
    way: str, spelling: str, dim: int | None, keep: bool
) -> None:
    x = randn(3, 5, 17)
    wanted = kernels.per_item(along("sum", dim, keep))
    check(
        kernels.of_items,
        x,
        kernels.hl_sum(dim, keep) if spelling == "hl" else along("sum", dim, keep),
        kernels.poisoned_like(wanted(x)),
        way=way,
        reference=lambda x, *_: wanted(x),
        tolerance=tolerance("sum", x.numel()),
    )


@pytest.mark.parametrize("name", ["sum", "amax", "argmax", "prod", "var", "any"])
@pytest.mark.parametrize("dim", [2, -3])
def test_dim_out_of_range_is_refused(name: str, dim: int) -> None:
    with pytest.raises(exc.ReductionDimInvalidForShape):
        kernels.of_tiles.bind((torch.ones(3, 5), along(name, dim), [torch.empty(3)]))


@pytest.mark.parametrize("name", ["sum", "amax", "mean", "var", "all"])
def test_repeated_dim_is_refused(name: str) -> None:
    args = (torch.ones(3, 5), along(name, (1, -1)), [torch.empty(3)])
    with pytest.raises(exc.TorchOpTracingError, match="more than once"):
        kernels.of_tiles.bind(args)


# ---- lengths and loops ----


@pytest.mark.parametrize("length", [1, 2, 64, 1000])
@pytest.mark.parametrize("name", [*CORE, "all", "std"])
def test_lengths(way: str, name: str, length: int) -> None:
    x = data(name, 3, length)
    looped = helion.Config(block_sizes=[2], reduction_loops=[128])
    configs = (None, looped) if length > 128 else (None,)
    check_reduction(name, x, 1, way=way, configs=configs)


@pytest.mark.parametrize("name", sorted(set(REDUCTIONS) - kernels.REFUSED_WHEN_EMPTY))
def test_nothing_gives_the_identity_or_nan(way: str, name: str) -> None:
    check_reduction(name, torch.empty(3, 0), 1, way=way)


@pytest.mark.parametrize("name", sorted(kernels.REFUSED_WHEN_EMPTY))
def test_extrema_of_nothing_are_refused(name: str) -> None:
    with pytest.raises(exc.Base, match=r"zero-size|non-zero size|empty"):
        kernels.of_tiles.bind((torch.empty(3, 0), along(name, 1), [torch.empty(3)] * 2))


@pytest.mark.parametrize("name", ["sum", "any", "all", "mean", "argmax", "var"])
def test_one_kernel_for_all_lengths(way: str, name: str) -> None:
    for length in (17, 2, 33, 1, 0):
        if length or name != "argmax":
            check_reduction(name, randn(3, length), 1, way=way, static_shapes=False)


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize(
    "name", [n for n in REDUCTIONS if n.startswith(("var", "std"))]
)
def test_variance_of_few_values(way: str, name: str, length: int) -> None:
    check_reduction(name, randn(3, length), 1, way=way, static_shapes=length > 1)


@pytest.mark.parametrize("name", ["sum", "prod", "max", "argmin", "mean", "var", "all"])
def test_accumulator_has_the_shape_of_the_result(name: str) -> None:
    x, reduction = torch.ones(4, 100), along(name, 1)
    args = fake_cuda((x, reduction, list(reduction(x))))
    text = kernels.of_tiles.bind(args).to_triton_code(LOOPED)
    assert "_REDUCTION_BLOCK_1" in text
    shapes = re.findall(r"_acc\w* = tl\.full\((\[.*?\])", text)
    assert set(shapes) == {"[_BLOCK_SIZE_0]"}, text


# ---- dtypes and special values ----


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", MORE)
def test_float_dtypes(name: str, dtype: torch.dtype) -> None:
    configs = (None,) if dtype == torch.float16 else (LOOPED,)
    check_reduction(name, randn(3, 37, dtype=dtype), 1, configs=configs)


@pytest.mark.parametrize("dtype", INTS, ids=str)
@pytest.mark.parametrize("name", INT_OPS)
def test_integers_and_bools_are_exact(name: str, dtype: torch.dtype) -> None:
    if dtype == torch.bool and name == "argmin":
        pytest.skip("torch has no argmin of bools")
    x = randn(4, 37, dtype=dtype)
    x[1], x[2] = 1, 0
    if dtype not in (torch.bool, torch.uint8):
        # A wrong number in the padding would be larger, or smaller.
        x[3] = torch.iinfo(dtype).max if name == "amin" else torch.iinfo(dtype).min
    check_reduction(name, x, 1, configs=CONFIGS if dtype == torch.int32 else (LOOPED,))


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32], ids=str)
@pytest.mark.parametrize("name", ["mean", "var", "std", "softmax", "norm"])
def test_integers_without_a_result_are_refused(name: str, dtype: torch.dtype) -> None:
    x = torch.ones(3, 5).to(dtype)
    out = torch.empty(3, 5) if name in MAPS else torch.empty(3)
    with pytest.raises(exc.Base, match="float"):
        kernels.of_tiles.bind((x, along(name, 1), [out]))


@pytest.mark.parametrize("name", [n for n in REDUCTIONS if n != "sum_int32"])
def test_nan_and_inf(name: str) -> None:
    x = randn(6, 37)
    x[0, 36] = x[0, 3] = NAN
    x[1] = NAN
    if "_mean" not in name:
        # Of infinite values torch itself has two answers for the mean.
        x[2, 0], x[3, 20], x[4] = INF, -INF, -INF
        x[5, 3], x[5, 30] = -INF, INF
    check_reduction(name, x, 1, configs=CONFIGS if name in CORE else (LOOPED,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64], ids=str)
@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
def test_first_of_equal_values_wins(way: str, name: str, dtype: torch.dtype) -> None:
    x = torch.randint(0, 3, (5, 37)).to(dtype)
    check_reduction(name, x, 1, way=way, configs=CONFIGS)


# ---- long rows ----


def test_first_of_equal_values_wins_in_a_long_row(way: str) -> None:
    x = torch.zeros(2, LONG)
    x[0, [LONG - 1, 2_000_000, 1_999_999]] = 1.0
    x[1, [2_500_001, 2_500_000]], x[1, 7] = NAN, INF
    looped = helion.Config(block_sizes=[1], reduction_loops=[2**19])
    reduction = along("max", 1)
    for config in (looped,) if way == "interpreted" else (None, looped):
        outs = kernels.poisoned_like(reduction(x))
        best, index = run(kernels.of_tiles, x, reduction, outs, way=way, config=config)
        assert index.tolist() == [1_999_999, 2_500_000]
        assert best[0] == 1 and best[1].isnan()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_million_halves_are_added_in_float32(way: str, dtype: torch.dtype) -> None:
    x = torch.ones(1, 1_000_000, dtype=dtype)
    looped = helion.Config(block_sizes=[1], reduction_loops=[65536])
    for name, wanted in (("sum_float32", 1e6), ("mean", 1.0)):
        reduction = along(name, 1)
        outs = kernels.poisoned_like(reduction(x))
        for config in (None, looped):
            (found,) = run(kernels.of_tiles, x, reduction, outs, way=way, config=config)
            assert found.item() == wanted


@pytest.mark.gpu
@pytest.mark.parametrize("length", [1_000_003, 4_194_304])
@pytest.mark.parametrize("dtype", [torch.float32, *FLOATS], ids=str)
@pytest.mark.parametrize("name", [*MORE, "var_0", "vector_norm_3", "vector_norm_inf"])
def test_long_rows_of_floats(name: str, dtype: torch.dtype, length: int) -> None:
    x = data(name, 2, length, dtype)
    looped = helion.Config(block_sizes=[1], reduction_loops=[4096])
    check_reduction(name, x, 1, way="compiled", configs=(None, looped))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("name", [n for n in INT_OPS if n != "logsumexp"])
def test_long_rows_of_integers(name: str, dtype: torch.dtype) -> None:
    if dtype == torch.bool and name == "argmin":
        pytest.skip("torch has no argmin of bools")
    x = data(name, 2, 4_194_304, dtype)
    check_reduction(name, x, 1, way="compiled")


@pytest.mark.gpu
@pytest.mark.parametrize("name", [n for n in MORE if not n.endswith("_mean")])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_special_value_in_a_long_row(name: str, value: float) -> None:
    x = randn(2, LONG)
    x[0, LONG - 5] = x[0, LONG - 3] = value
    check_reduction(name, x, 1, way="compiled")


@pytest.mark.gpu
@pytest.mark.parametrize("name", CORE)
def test_long_columns(name: str) -> None:
    x, form = data(name, 2, 1_000_003).T.contiguous(), kernels.of_columns
    check_reduction(name, x, 0, way="compiled", form=form)
