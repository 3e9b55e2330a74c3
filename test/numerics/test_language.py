"""Loops, branches, arguments and host code, one construct a test."""

from __future__ import annotations

import pytest
import torch

import helion
from examples.branch import activate_rows, scale_prefix
from examples.two_phase import center_columns
from test import kernels
from test.harness import check, randn, run

CONFIGS = (None, helion.Config(block_sizes=[8]))


# ---- shapes ----


def test_flat_view(way: str) -> None:
    check(
        kernels.flat_double,
        randn(3, 5, 7),
        way=way,
        reference=lambda x: x * 2,
        configs=CONFIGS,
    )


@pytest.mark.parametrize("loop_order", [[0, 1, 2], [2, 0, 1]], ids=str)
def test_three_dimensional_grid(way: str, loop_order: list[int]) -> None:
    config = helion.Config(block_sizes=[2, 4, 8], loop_orders=[loop_order])
    check(
        kernels.permute_3d,
        randn(3, 5, 9),
        way=way,
        reference=lambda x: x.permute(2, 0, 1) + 1,
        configs=(None, config),
    )


def test_outer_product_of_two_tiles(way: str) -> None:
    check(
        kernels.outer_product,
        randn(5),
        randn(9),
        way=way,
        reference=torch.outer,
        configs=(None, helion.Config(block_sizes=[4, 4])),
    )


# ---- loops ----


def test_inner_grid_runs_in_order(way: str) -> None:
    check(
        kernels.nested_grid,
        randn(9, 5),
        way=way,
        reference=lambda x: x.sum(1),
        configs=CONFIGS,
    )


@pytest.mark.parametrize("times", [0, 1, 5])
def test_device_range(way: str, times: int) -> None:
    check(
        kernels.device_range,
        randn(9),
        times,
        way=way,
        reference=lambda x, n: x + n * (n - 1) // 2,
        configs=CONFIGS,
    )


@pytest.mark.parametrize("count", [1, 4])
def test_static_range_unrolls(way: str, count: int) -> None:
    check(
        kernels.unrolled_powers,
        randn(9),
        count,
        way=way,
        reference=lambda x, n: sum(x**i for i in range(1, n + 1)),
        configs=CONFIGS,
    )


def test_while_on_a_device_condition(way: str) -> None:
    def reference(x: torch.Tensor) -> torch.Tensor:
        peak = x.abs().amax(1, keepdim=True)
        return x * 0.5 ** torch.ceil(torch.log2(peak)).clamp(min=0)

    check(kernels.halve_until_small, randn(5, 9) * 7, way=way, reference=reference)


@pytest.mark.parametrize("begin, end", [(0, 37), (5, 30), (4, 4), (36, 37)])
def test_loop_with_both_bounds(way: str, begin: int, end: int) -> None:
    def reference(x: torch.Tensor, begin: int, end: int) -> torch.Tensor:
        out = torch.zeros_like(x)
        out[begin:end] = 2 * x[begin:end]
        return out

    check(
        kernels.ranged,
        randn(37),
        begin,
        end,
        way=way,
        reference=reference,
        configs=CONFIGS,
    )


@pytest.mark.parametrize("times", [0, 1, 6])
def test_carried_values_that_trade_places(way: str, times: int) -> None:
    def reference(x: torch.Tensor, times: int) -> torch.Tensor:
        older, newer = x, 2 * x
        for _ in range(times):
            older, newer = newer, older + newer
        return older

    check(
        kernels.carried_swap,
        randn(37),
        times,
        way=way,
        reference=reference,
        configs=CONFIGS,
    )


# ---- branches ----


@pytest.mark.parametrize("cut", [0, 1, 16, 37])
def test_branch_on_tile_position(way: str, cut: int) -> None:
    check(
        scale_prefix,
        randn(37),
        cut,
        2.5,
        way=way,
        reference=lambda x, c, s: torch.cat([x[:c] * s, x[c:]]),
        configs=(None, helion.Config(block_sizes=[16])),
    )


def test_branch_on_a_loaded_value(way: str) -> None:
    mode = torch.tensor([1, 0, -1, 2, 0])
    check(
        activate_rows,
        randn(5, 37),
        mode,
        way=way,
        reference=lambda x, m: torch.where(m[:, None] > 0, x.relu(), x.tanh()),
        configs=CONFIGS,
    )


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_elif_chain_on_an_int_argument(way: str, kind: int) -> None:
    check(
        kernels.choose_by_int,
        randn(37),
        kind,
        way=way,
        reference=lambda x, k: (x + 1, x * 2, -x)[k],
        configs=CONFIGS,
    )


@pytest.mark.parametrize("flag", [-1.0, 1.0])
def test_if_without_else_keeps_the_old_value(way: str, flag: float) -> None:
    check(
        kernels.if_without_else,
        randn(37),
        torch.tensor(flag),
        way=way,
        reference=lambda x, f: x * x if f > 0 else x,
        configs=CONFIGS,
    )


# ---- arguments and results ----


def test_dataclass_argument(way: str) -> None:
    x, affine = randn(37), kernels.Affine(randn(37), 0.5)
    found = run(kernels.affine_struct, x, affine, way=way)
    torch.testing.assert_close(found, x * affine.weight + 0.5)


@pytest.mark.parametrize("count", [1, 3])
def test_list_argument(way: str, count: int) -> None:
    check(
        kernels.sum_of_list,
        [randn(37) for _ in range(count)],
        way=way,
        reference=lambda parts: torch.stack(parts).sum(0),
        configs=CONFIGS,
    )


def test_dict_argument(way: str) -> None:
    check(
        kernels.dict_axpy,
        {"x": randn(37), "y": randn(37)},
        1.5,
        way=way,
        reference=lambda tensors, a: a * tensors["x"] + tensors["y"],
        configs=CONFIGS,
    )


@pytest.mark.parametrize("negate", [False, True])
@pytest.mark.parametrize("power", [1, 3])
def test_scalar_arguments(way: str, negate: bool, power: int) -> None:
    def reference(x: torch.Tensor, i: int, f: float, b: bool, p: int) -> torch.Tensor:
        value = x**p * i + f
        return -value if b else value

    check(
        kernels.scalar_args,
        randn(37),
        -2,
        0.75,
        negate,
        power,
        way=way,
        reference=reference,
        configs=CONFIGS,
    )


def test_default_arguments(way: str) -> None:
    x = randn(37)
    torch.testing.assert_close(run(kernels.default_args, x, way=way), x * 2.0 + 3)
    found = run(kernels.default_args, x, 0.5, way=way)
    torch.testing.assert_close(found, x * 0.5 + 3)


def test_keyword_arguments_equal_positional_ones() -> None:
    x = randn(37)
    found = kernels.default_args(x, shift=1)
    torch.testing.assert_close(found, x * 2.0 + 1)


def test_argument_is_updated_in_place(way: str) -> None:
    x = randn(5, 9)
    wanted = x + 1
    assert run(kernels.increment, x, way=way) is None
    torch.testing.assert_close(x, wanted)


def test_in_place_update_of_a_slice_leaves_the_rest(way: str) -> None:
    whole = randn(9, 13)
    wanted = whole.clone()
    wanted[2:5, ::2] += 1
    run(kernels.increment, whole[2:5, ::2], way=way)
    torch.testing.assert_close(whole, wanted)


def test_helper_function_and_globals(way: str) -> None:
    check(
        kernels.helpers_and_globals,
        randn(37),
        way=way,
        reference=lambda x: 2 * x * 3 + 0.25,
        configs=CONFIGS,
    )


def test_nested_result(way: str) -> None:
    x = randn(37)
    first, rest, length = run(kernels.many_outputs, x, way=way)
    torch.testing.assert_close(first, x + 1)
    torch.testing.assert_close(rest["double"], x * 2)
    assert length == 37


# ---- host code ----


@pytest.mark.parametrize("skip", [False, True])
def test_early_return(way: str, skip: bool) -> None:
    check(
        kernels.early_return,
        randn(37),
        skip,
        way=way,
        reference=lambda x, s: x if s else x + 1,
    )


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("times", [0, 3])
def test_host_loop_and_branch_around_tile_loops(
    way: str, times: int, double: bool
) -> None:
    check(
        kernels.host_loop,
        randn(37),
        times,
        double,
        way=way,
        reference=lambda x, n, d: (x + n) * (2 if d else 1),
        configs=(None, helion.Config(block_sizes=[8, 16])),
    )


def test_host_try_and_comprehension(way: str) -> None:
    check(
        kernels.host_try,
        randn(37),
        ["a", "b", "c"],
        way=way,
        reference=lambda x, names: x * len(names),
        configs=CONFIGS,
    )


def test_second_loop_sees_all_of_the_first(way: str) -> None:
    check(
        kernels.dependent_phases,
        randn(37),
        way=way,
        reference=lambda x: (2 * x, 2 * x.flip(0) + 1),
        configs=(None, helion.Config(block_sizes=[8, 4])),
    )


@pytest.mark.parametrize("shape", [(1, 1), (9, 13), (64, 32)], ids=str)
def test_two_dependent_phases(way: str, shape: tuple[int, int]) -> None:
    check(
        center_columns,
        randn(*shape),
        way=way,
        reference=lambda x: x - x.mean(0),
        configs=(None, helion.Config(block_sizes=[4, 8, 4])),
    )
