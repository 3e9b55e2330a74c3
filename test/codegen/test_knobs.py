"""Every knob changes the emitted text, and never what it computes."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

import helion
from examples._catalog import CASES, Case
from test.codegen.emitted import (
    KERNELS,
    bind,
    bind_case,
    case_code,
    kernel_texts,
    meta,
)
from test.harness import check, offline


def assert_right(case: Case, *configs: helion.Config) -> None:
    """Compare the interpreted text under each Config with the reference."""
    check(
        case.kernel,
        *case.make_args("cpu", True),
        way="interpreted",
        reference=case.reference,
        configs=configs,
        tolerance=case.tolerance,
    )


# Kernel, a plain config, the knob's value, and what the text then says.
BLOCKS_2D = {"block_sizes": [8, 16]}
PERSISTENT = {**BLOCKS_2D, "pid_type": "persistent_interleaved"}
MATMUL = {"block_sizes": [16, 16, 16]}
ROWS = {"block_sizes": [4], "reduction_loops": [8]}
ONE_LOOP = {"block_sizes": [1, 16, 16], "peel_masks": [False]}
TWO_PASS = {"block_sizes": [4, 16, 8]}
GRID_LOOP = {"block_sizes": [16, 16, 16], "pid_type": "persistent_blocked"}
KNOBS: list[tuple[str, dict[str, Any], str, Any, str]] = [
    ("add", BLOCKS_2D, "block_sizes", [4, 32], r"_BLOCK_SIZE_0 = 4\n"),
    ("add", BLOCKS_2D, "loop_orders", [[1, 0]], r"pid_1 = pid % num_pid_1"),
    ("add", BLOCKS_2D, "flatten_loops", [True], r"indices_flat < 481"),
    ("matmul", MATMUL, "l2_groupings", [2], r"group_span = 2 \* num_pid_1"),
    ("add", BLOCKS_2D, "pid_type", "xyz", r"pid_1 = tl.program_id\(1\)"),
    ("add", BLOCKS_2D, "pid_type", "persistent_blocked", r"pids_per_program = "),
    (
        "add",
        BLOCKS_2D,
        "pid_type",
        "persistent_interleaved",
        r"tl.range\(tl.program_id\(0\), total_pids, tl.num_programs\(0\)\)",
    ),
    ("add", PERSISTENT, "num_sm_multiplier", 4, r"_num_sms\('cuda\S*', 0\) \* 4"),
    ("add", PERSISTENT, "maxnreg", 64, r"maxnreg=64"),
    ("softmax", {"block_sizes": [4]}, "reduction_loops", [8], r"for roffset_1 in "),
    ("row_sum", ROWS, "reduction_splits", [4], r"split = tl.program_id\(1\)"),
    ("row_sum", ROWS, "range_num_stages", [0, 3], r"_REDUCTION_BLOCK_1, num_stages=3"),
    ("matmul", MATMUL, "range_unroll_factors", [2, 0], r"loop_unroll_factor=2"),
    ("matmul", MATMUL, "range_num_stages", [3, 0], r"tl.range\(.*num_stages=3"),
    (
        "matmul",
        MATMUL,
        "range_multi_buffers",
        [False, None],
        r"disallow_acc_multi_buffer=True",
    ),
    ("matmul", MATMUL, "range_flattens", [True, None], r"tl.range\(.*flatten=True"),
    ("matmul", GRID_LOOP, "range_flattens", [None, False], r"flatten=False"),
    ("softmax_two_pass", TWO_PASS, "range_num_stages", [0, 2, 0], r"num_stages=2"),
    ("matmul", MATMUL, "swap_products", [True], r"tl.dot\(\s*tl.trans\(\w+\)"),
    ("attention", ONE_LOOP, "peel_masks", [True], r"tl.range\(32, 37"),
    ("add", BLOCKS_2D, "num_warps", 8, r"num_warps=8"),
    ("add", BLOCKS_2D, "num_stages", 5, r"num_stages=5"),
    (
        "add",
        BLOCKS_2D,
        "load_eviction_policies",
        ["first", "last"],
        r"tl.load\(x .*'evict_first'(.|\n)*tl.load\(y .*'evict_last'",
    ),
]


@pytest.mark.parametrize("name, plain, knob, value, shown", KNOBS)
def test_knob_changes_the_text_and_not_the_result(
    name: str, plain: dict[str, Any], knob: str, value: Any, shown: str
) -> None:
    config = {**plain, knob: value}
    before, after = case_code(name, **plain), case_code(name, **config)
    assert re.search(shown, after), after
    assert not re.search(shown, before), before
    assert_right(KERNELS[name], helion.Config(**config))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_random_configs_have_powers_of_two(case: Case) -> None:
    spec = bind_case(case.name).config_spec
    for seed in range(50):
        config = spec.random_config(random.Random(seed))
        sizes = [*config.block_sizes, *filter(None, config.reduction_loops)]
        assert all(size & (size - 1) == 0 and size > 0 for size in sizes)
        assert spec.normalize(config) == config


@pytest.mark.parametrize("seed", range(3))
def test_random_config_assembles(seed: int) -> None:
    case = KERNELS["matmul"]
    spec = bind_case("matmul").config_spec
    config = spec.random_config(random.Random(seed))
    (launch,) = offline(case.kernel, *case.make_args("cpu", True), config=config)
    assert launch.cubin


ARCHES = ["sm_80", "sm_100", "gfx942"]


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("name", ["add", "softmax", "attention", "layer_norm_bwd"])
def test_default_config_assembles_for_other_chips(name: str, arch: str) -> None:
    case = KERNELS[name]
    for launch in offline(case.kernel, *case.make_args("cpu", True), arch=arch):
        assert launch.arch == arch


def test_nested_and_flat_block_sizes_are_the_same() -> None:
    spec = bind_case("matmul").config_spec
    nested = spec.normalize({"block_sizes": [[64, 32], 32]})
    assert nested == spec.normalize({"block_sizes": [64, 32, 32]})
    assert nested.block_sizes == [64, 32, 32]


def test_eviction_policies_keep_their_loads_when_rolled() -> None:
    policies = {"block_sizes": [4], "load_eviction_policies": ["last", "", "first"]}
    for chunk in (None, 8):
        code = case_code("layer_norm", **policies, reduction_loops=[chunk])
        (text,) = kernel_texts(code)
        hints = re.findall(r"tl\.load\((\w+) .*eviction_policy='evict_(\w+)'", text)
        assert set(hints) == {("x", "last"), ("bias", "first")}


def test_int64_offsets_follow_a_large_size() -> None:
    from examples.add import add

    for pid_type in ("flat", "persistent_interleaved"):
        x = meta(2**16, 2**16)
        config = {"block_sizes": [32, 32], "pid_type": pid_type}
        (kernel,) = kernel_texts(bind(add, x, x).to_triton_code(config))
        assert "pid_0.to(tl.int64)" in kernel and ".to(tl.int32)" not in kernel
