"""Python in device code: each construct gives what plain Python gives."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch

import helion
from test import python_kernels as kernels
from test.harness import map_tensors, offline, run

EIGHT = helion.Config(block_sizes=[8])


def agree(
    kernel: helion.Kernel,
    *args: Any,
    way: str,
    configs: Sequence[helion.Config | None] = (None,),
) -> None:
    """Hold a kernel to what its function returns, run as Python one tile at a time."""
    for config in (None,) if way == "plain" else configs:
        wanted = run(kernel, *_copy(args), way="eager", config=config)
        found = run(kernel, *_copy(args), way=way, config=config)
        torch.testing.assert_close(found, wanted, rtol=2e-5, atol=2e-5)


def _copy(args: Sequence[Any]) -> Sequence[Any]:
    return map_tensors(torch.clone, tuple(args))


# ---- continue and break ----


@pytest.mark.parametrize("first", [0, 8, 99])
def test_continue_skips_tiles(way: str, first: int) -> None:
    x = torch.randn(37)
    found = run(kernels.skip_tiles, x, first, way=way, config=EIGHT)
    tiles = torch.arange(37) // 8 * 8 if way != "plain" else torch.zeros(37)
    torch.testing.assert_close(found, torch.where(tiles < first, 0, x * 2))


@pytest.mark.parametrize(("n", "m"), [(1, 1), (4, 4), (4, 1), (1, 3)])
def test_continue_in_nested_branches(way: str, n: int, m: int) -> None:
    x = torch.randn(37)
    if n > 3:
        wanted = x + 1 if m > 3 else (x + 1) * 2 + 10
    else:
        wanted = torch.zeros(37) if m > 2 else x + 10
    found = run(kernels.skip_in_parts, x, n, m, way=way, config=EIGHT)
    torch.testing.assert_close(found, wanted)


def _sum_until_large(x: torch.Tensor, limit: float) -> torch.Tensor:
    rows = []
    for row in x.tolist():
        total = turns = 0.0
        for value in row:
            if value < 0:
                continue
            total += value
            turns += 1
            if total > limit:
                break
        rows.append([total, turns])
    return torch.tensor(rows)


@pytest.mark.parametrize("limit", [-1.0, 1.5, 1e9])
def test_values_are_those_at_the_break(way: str, limit: float) -> None:
    x = torch.randn(7, 9)
    found = run(kernels.sum_until_large, x, limit, way=way)
    torch.testing.assert_close(found, _sum_until_large(x, limit))


def test_nothing_is_stored_after_a_break(way: str) -> None:
    x = torch.randn(7, 9)
    kept = (x >= 0).cumprod(1).bool()
    found = run(kernels.store_until_negative, x, way=way)
    torch.testing.assert_close(found, torch.where(kept, x, 0))


def test_no_atomics_after_a_break(way: str) -> None:
    x, stop = torch.randint(0, 4, (7, 9)), torch.randint(0, 4, (7,))
    wanted = (x != stop[:, None]).cumprod(1).sum(1).int()
    assert torch.equal(run(kernels.atomics_until, x, stop, way=way), wanted)


def test_break_out_of_two_loops(way: str) -> None:
    x = torch.randn(5, 4, 6) + 0.7
    agree(kernels.break_two_levels, x, 2.0, way=way)


@pytest.mark.parametrize("limit", [0, 8, 20, 99])
def test_break_out_of_a_tile_loop(way: str, limit: int) -> None:
    x = torch.randn(5, 37)
    config = helion.Config(block_sizes=[4, 8])
    agree(kernels.break_tile_loop, x, limit, way=way, configs=[config])


def test_while_true_reads_nothing_past_its_end(way: str) -> None:
    x = torch.randn(7, 9)
    x[2] = 1.0  # has no negative element
    wanted = (x >= 0).cumprod(1).sum(1)
    assert torch.equal(run(kernels.while_true, x, way=way), wanted)


def test_continue_and_break_in_a_while(way: str) -> None:
    agree(kernels.while_with_continue, torch.randn(7, 9), way=way)


@pytest.mark.parametrize("n", [0, 2, 9])
def test_jumps_of_unrolled_loops(way: str, n: int) -> None:
    agree(kernels.break_in_unrolled, torch.randn(37), n, way=way, configs=[EIGHT])
    xs = [torch.randn(37) for _ in range(3)]
    agree(kernels.break_in_list, xs, n, way=way, configs=[EIGHT])


def test_a_while_that_is_known_when_compiling_is_unrolled(way: str) -> None:
    agree(kernels.static_while, torch.randn(37), way=way, configs=[EIGHT])


# ---- expressions ----


@pytest.mark.parametrize("n", [2, 5])
def test_conditional_expressions(way: str, n: int) -> None:
    x, y = torch.randn(37), torch.randn(37)
    agree(kernels.ternaries, x, y, n, way=way, configs=[EIGHT])


def test_only_the_side_taken_reads_memory(way: str) -> None:
    x = torch.randn(9)
    ids = torch.tensor([0, -1, 8, 9, 2, 10**9, -(10**9), 3])
    agree(kernels.guarded_loads, x, ids, way=way)


@pytest.mark.parametrize("n", [0, 1, 3, 4])
@pytest.mark.parametrize("m", [0, 2])
def test_logic_of_run_time_numbers(way: str, n: int, m: int) -> None:
    agree(kernels.logic, torch.randn(9), n, m, way=way)


@pytest.mark.parametrize("n", [1, 4])
def test_walrus(way: str, n: int) -> None:
    agree(kernels.walrus, torch.randn(37), n, way=way, configs=[EIGHT])


def test_lists_dicts_and_sets(way: str) -> None:
    x, y = torch.randn(37), torch.randn(37)
    agree(kernels.containers, x, y, way=way, configs=[EIGHT])


def test_assert_that_holds(way: str) -> None:
    x = torch.randn(37)
    torch.testing.assert_close(run(kernels.checked, x, 3, way=way), x * 2)


@pytest.mark.parametrize("mode", ["plain", "eager"])
def test_assert_fails_in_eager(mode: str) -> None:
    with pytest.raises(AssertionError, match="n is -1"):
        run(kernels.checked, torch.randn(9), -1, way=mode)


def test_assert_is_checked_on_the_device_under_debug() -> None:
    def text(**settings: Any) -> str:
        kernel = helion.kernel(kernels.checked.fn, **settings)
        return kernel.bind((torch.randn(9), 3)).to_triton_code()

    assert "tl.device_assert" not in text()
    debug = text(debug=True)
    assert re.search(r"tl.device_assert\(.*, 'n is {n}'\)", debug)
    assert "debug=True" in debug


def test_prints(way: str, capfd: pytest.CaptureFixture[str]) -> None:
    x = torch.randn(9)
    found = run(kernels.printing, x, 3, way=way)
    torch.testing.assert_close(found, x + 1)
    if way in ("plain", "eager"):
        assert f"total {x.sum()} of 100%, n=3, 1 dim 0" in capfd.readouterr().out


# ---- functions ----


@pytest.mark.parametrize("n", [0, 2, 5])
def test_helpers_with_loops_and_returns(way: str, n: int) -> None:
    config = helion.Config(block_sizes=[4, 8])
    agree(kernels.calls, torch.randn(5, 19), n, way=way, configs=[config])


@pytest.mark.parametrize("n", [2, 12, 31, 99])
def test_returns_from_loops_and_of_several_values(way: str, n: int) -> None:
    config = helion.Config(block_sizes=[4])
    agree(kernels.returns, torch.randn(5, 7), n, way=way, configs=[config])


@pytest.mark.parametrize("n", [2, 5])
def test_functions_of_device_code(way: str, n: int) -> None:
    agree(kernels.nested_functions, torch.randn(37), n, way=way, configs=[EIGHT])


@pytest.mark.parametrize("n", [2, 5])
def test_helpers_that_launch(way: str, n: int) -> None:
    x = torch.randn(37)
    first = x * 2 + 0.25 if n > 3 else x - 3
    found = run(kernels.launching_helpers, x, n, way=way)
    torch.testing.assert_close(found, first * 3 + 0.25 + n)


# ---- arguments ----


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("count", [1, 2])
def test_structured_arguments(way: str, bias: bool, count: int) -> None:
    x, *more = torch.randn(7, 9)
    layer = kernels.Layer(more[0], 0.5, more[1] if bias else None)
    pair = kernels.Pair(more[2], count)
    table = {"x": x, "more": {"ab": more[3], "c": more[4]}}
    agree(
        kernels.structured,
        *(layer, pair, table, [[(more[5], 2)], [(x, 3)]], torch.sin),
        way=way,
    )


def test_closures(way: str) -> None:
    if way == "interpreted":
        pytest.skip("a local kernel cannot be sent to the interpreter's process")
    x, weight = torch.randn(9), torch.randn(9)
    own = weight.cuda() if way == "compiled" else weight
    kernel = kernels.make_kernel(2.0, own, lambda v: v if own is None else v + 1)
    torch.testing.assert_close(run(kernel, x, way=way), (x + 1) * 2 + weight)


# ---- loops and branches ----


def test_two_names_of_one_tensor_in_a_while(way: str) -> None:
    agree(kernels.names_of_one_tensor, torch.randn(9), 3, way=way)


@pytest.mark.parametrize("n", [0, 3])
def test_tensors_of_a_list_change_in_a_loop(way: str, n: int) -> None:
    agree(kernels.list_of_accumulators, torch.randn(9), n, way=way)


@pytest.mark.parametrize("n", [2, 5])
def test_names_that_nothing_reads_after_a_branch(way: str, n: int) -> None:
    agree(kernels.unread_names, torch.randn(9), n, way=way)


# ---- assembled ----


def _cases() -> list[tuple[helion.Kernel, tuple[Any, ...]]]:
    x, rows = torch.randn(37), torch.randn(7, 9)
    ids = torch.arange(7)
    return [
        (kernels.skip_tiles, (x, 8)),
        (kernels.skip_in_parts, (x, 4, 4)),
        (kernels.sum_until_large, (rows, 1.5)),
        (kernels.store_until_negative, (rows,)),
        (kernels.atomics_until, (ids.expand(7, 7).clone(), ids)),
        (kernels.break_two_levels, (torch.randn(5, 4, 6), 2.0)),
        (kernels.break_tile_loop, (rows, 8)),
        (kernels.while_true, (rows,)),
        (kernels.while_with_continue, (rows,)),
        (kernels.break_in_unrolled, (x, 2)),
        (kernels.break_in_list, ([x, x, x], 2)),
        (kernels.ternaries, (x, x, 5)),
        (kernels.guarded_loads, (x, ids)),
        (kernels.logic, (x, 3, 2)),
        (kernels.walrus, (x, 4)),
        (kernels.printing, (x, 3)),
        (kernels.calls, (rows, 5)),
        (kernels.returns, (rows, 12)),
        (kernels.nested_functions, (x, 5)),
        (kernels.launching_helpers, (x, 5)),
        (kernels.names_of_one_tensor, (x, 3)),
        (kernels.list_of_accumulators, (x, 3)),
        (helion.kernel(kernels.checked.fn, debug=True), (x, 3)),
    ]


@pytest.mark.parametrize(
    ("kernel", "args"), _cases(), ids=lambda v: getattr(v, "name", "")
)
def test_emitted_code_assembles(kernel: helion.Kernel, args: tuple[Any, ...]) -> None:
    assert offline(kernel, *args)
