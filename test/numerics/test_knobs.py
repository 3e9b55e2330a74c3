"""Knobs of loops and launches on odd sizes, with several launches and three axes."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
import torch

import helion
from helion import exc
from helion.autotuner.config_knobs import PERSISTENT_PID_TYPES, PID_TYPES
from test import knob_kernels
from test.codegen.emitted import KERNELS, bind, kernel_texts
from test.codegen.test_knobs import KNOBS as ROWS
from test.codegen.test_optional_knobs import VALUES
from test.harness import check, offline, randn

STATIC = [list(flags) for flags in itertools.product([False, True], repeat=3)]


# ---- each value of each knob ----


@pytest.mark.gpu
@pytest.mark.parametrize("name, plain, knob, value, shown", [*ROWS, *VALUES])
def test_value_is_right_on_a_gpu(
    name: str, plain: dict[str, Any], knob: str, value: Any, shown: str
) -> None:
    case = KERNELS[name]
    check(
        case.kernel,
        *case.make_args("cpu", True),
        way="compiled",
        reference=case.reference,
        configs=[helion.Config(**{**plain, knob: value})],
        tolerance=case.tolerance,
    )


# ---- static ranges ----


def test_short_loops_unroll_completely(way: str) -> None:
    check(
        knob_kernels.short_loops,
        randn(13, 20),
        way=way,
        reference=knob_kernels.short_loops_reference,
        configs=[helion.Config(block_sizes=[8], static_ranges=f) for f in STATIC[1::2]],
        tolerance={torch.float32: (1e-4, 1e-4)},
    )


@pytest.mark.parametrize("flags", STATIC[-1:])
def test_unrolled_loops_assemble_with_wide_offsets(flags: list[bool]) -> None:
    kernel = helion.kernel(knob_kernels.short_loops.fn, index_dtype=torch.int64)
    config = helion.Config(block_sizes=[8], static_ranges=flags)
    (launch,) = offline(kernel, randn(13, 20), config=config)
    assert launch.cubin


def test_unrolled_loop_has_no_options_of_a_range() -> None:
    bound = bind(knob_kernels.short_loops, randn(13, 20))
    assert len(bound.config_spec.static_ranges) == 3
    config = {"block_sizes": [8], "static_ranges": [True, False, False]}
    options = {"range_num_stages": [3] * 4, "range_unroll_factors": [2] * 4}
    full = bound.config_spec.normalize({**config, **options})
    assert full.range_num_stages.count(3) == 2 == full.range_unroll_factors.count(2)
    (text,) = kernel_texts(bound.to_triton_code({**config, **options}))
    assert "in tl.static_range(0, 4, _BLOCK_SIZE_1):" in text
    # A loop is unrolled or its turns overlap: Triton does not do both.
    assert text.count("loop_unroll_factor=2, num_stages=1)") == 2


def test_long_loops_have_no_entry() -> None:
    assert not bind(KERNELS["matmul"].kernel, *matmul_args()).config_spec.static_ranges


def matmul_args() -> tuple[Any, ...]:
    return KERNELS["matmul"].make_args("cpu", True)


# ---- program ids ----

LAUNCHES = {"block_sizes": [2, 4, 8, 4, 16]}
ORDERS = [list(order) for order in itertools.permutations(range(3))]


def launch_configs(pid_type: str) -> list[helion.Config]:
    """Return Configs that walk two grids in all orders, with all other choices too."""
    rng = random.Random(pid_type)
    found = []
    for order, group in itertools.product(ORDERS, [1, 2, 8]):
        values: dict[str, Any] = {
            "pid_type": pid_type,
            "loop_orders": [order, rng.choice([[0, 1], [1, 0]])],
            "l2_groupings": [group, rng.choice([1, 4])],
            "flatten_loops": [rng.random() < 0.2, False],
        }
        if pid_type in PERSISTENT_PID_TYPES:
            values["num_sm_multiplier"] = rng.choice([1, 2, 3, 64])
            values["maxnreg"] = rng.choice([None, 64, 128])
            values["range_flattens"] = [rng.choice([None, False, True])]
            values["range_unroll_factors"] = [rng.choice([0, 1, 3])]
        found.append(helion.Config(**LAUNCHES, **values))
    return rng.sample(found, 8)


@pytest.mark.parametrize("pid_type", PID_TYPES)
def test_every_tile_of_two_launches_is_computed(pid_type: str, way: str) -> None:
    if way in ("plain", "eager"):
        pytest.skip("these have no programs")
    check(
        knob_kernels.two_launches,
        randn(5, 7, 19),
        randn(11, 37),
        way=way,
        reference=knob_kernels.two_launches_reference,
        configs=launch_configs(pid_type),
    )


def test_search_may_be_kept_to_persistent_programs() -> None:
    forced = {"autotune_force_persistent": True}
    bound = bind(KERNELS["matmul"].kernel, *matmul_args(), **forced)
    spec, rng = bound.config_spec, random.Random(0)
    drawn = {spec.random_config(rng).pid_type for _ in range(20)}
    assert drawn == set(PERSISTENT_PID_TYPES)
    assert spec.default_config().pid_type in PERSISTENT_PID_TYPES
    assert spec.normalize({"block_sizes": [16, 16, 16], "pid_type": "xyz"})


@pytest.mark.parametrize("registers", [32, 64, 128, 255])
def test_limit_of_registers_holds(registers: int) -> None:
    grid = {"block_sizes": [32, 32, 32], "pid_type": "persistent_interleaved"}
    config = helion.Config(**grid, maxnreg=registers)
    (launch,) = offline(KERNELS["matmul"].kernel, *matmul_args(), config=config)
    assert launch.registers is not None and launch.registers <= registers


def test_grid_loop_is_flattened_into_the_loop_inside() -> None:
    grid = {"block_sizes": [32, 32, 32], "pid_type": "persistent_interleaved"}
    bound = bind(KERNELS["matmul"].kernel, *matmul_args())
    code = bound.to_triton_code({**grid, "range_flattens": [None, True]})
    assert "total_pids, tl.num_programs(0), flatten=True\n" in code


# ---- loops ----


def test_loads_do_not_pass_the_stores_of_a_turn_before(way: str) -> None:
    config = helion.Config(block_sizes=[4, 8])
    check(
        knob_kernels.rows_in_place,
        randn(13, 37),
        way=way,
        reference=lambda x: 2 * x,
        configs=[config],
    )
    bound = bind(knob_kernels.rows_in_place, randn(13, 37))
    bound.to_triton_code({**config, "range_num_stages": [0, 0]})
    with pytest.raises(exc.InvalidConfig, match="range_num_stages.*memory that it"):
        bound.to_triton_code({**config, "range_num_stages": [2, 0]})


SPECIALIZED = {
    "block_sizes": [64, 64, 64],
    "num_warps": 2,
    "num_stages": 3,
    "range_warp_specializes": [True, None],
}


def test_specialized_loop_has_four_warps_and_assembles_from_descriptors() -> None:
    args = randn(256, 256).half(), randn(256, 256).half(), *matmul_args()[2:]
    config = {**SPECIALIZED, "indexing": "tensor_descriptor"}
    bound = bind(KERNELS["matmul"].kernel, *args)
    assert bound.config_spec.normalize(config).num_warps == 4
    assert "warp_specialize=True" in bound.to_triton_code(config)
    config = helion.Config(**config)
    (launch,) = offline(KERNELS["matmul"].kernel, *args, config=config)
    assert launch.cubin


def test_specialized_loop_with_pointers_is_refused_before_triton_ends() -> None:
    bound = bind(KERNELS["matmul"].kernel, *matmul_args())
    with pytest.raises(exc.InvalidConfig, match="loads through pointers"):
        bound.to_triton_code(SPECIALIZED)


# ---- overlapping launches ----


@pytest.mark.parametrize("ends_early", [True, False])
def test_overlapping_launches_are_right(ends_early: bool, way: str) -> None:
    check(
        knob_kernels.overlapping,
        randn(33, 20),
        ends_early,
        way=way,
        reference=lambda x, _: 2 * x + 1,
        configs=[None, helion.Config(block_sizes=[8, 8] * 2, launch_pdl=True)],
    )


@pytest.mark.gpu
def test_chain_of_overlapping_launches_is_right() -> None:
    x = torch.zeros(1 << 20, device="cuda")
    y = x
    for _ in range(200):
        y = knob_kernels.overlapping(y.view(1024, 1024), True).view(-1)
        y = y - y.floor().clamp(min=0) + 0.25
    z = x
    for _ in range(200):
        z = 2 * z + 1
        z = z - z.floor().clamp(min=0) + 0.25
    assert torch.equal(y, z)
