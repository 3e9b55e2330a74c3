"""Tile strategies: offsets, indices, masks, grids, and the space of Configs."""

from __future__ import annotations

import random
import re

import pytest
import torch

import helion
import helion.language as hl
from examples._catalog import CASES, Case
from examples.add import add
from helion import exc
from helion._compiler.compile_environment import CompileEnvironment
from helion._compiler.device_function import DeviceFunction
from helion._compiler.program_id import PROGRAM_IDS
from helion._compiler.tile_dispatch import block_values, program_ids, tile_strategy
from helion._compiler.tile_strategy import (
    DeviceLoopState,
    FlattenedTileStrategy,
    LoopDim,
    NDTileStrategy,
)
from helion._compiler.triton.backend import TRITON
from helion.autotuner.config_spec import BlockSizeSpec, ConfigSpec
from helion.runtime.bound_kernel import BoundKernel
from helion.runtime.settings import Settings
from test import kernels
from test.codegen.emitted import (
    KERNELS,
    bind,
    bind_case,
    case_code,
    host_text,
    kernel_texts,
    meta,
)
from test.harness import check, offline


def launch_of(bound: BoundKernel, **config: object) -> DeviceFunction:
    """Return an empty kernel of a bound kernel's first launch."""
    chosen = bound.config_spec.normalize(config)
    values = block_values(bound.env, chosen)
    return DeviceFunction(bound.env, chosen, "_helion_test", {}, values)


def dims_of(bound: BoundKernel) -> list[LoopDim]:
    """Return the axes of the first launch."""
    root = bound.program.ir.roots[0]
    pairs = zip(root.block_ids, root.bounds)
    return [LoopDim(block, begin, end) for block, (begin, end) in pairs]


# ---- the space ----


def test_allocating_a_block_size_gives_index_and_symbol() -> None:
    env = CompileEnvironment(torch.device("cuda"), Settings(), TRITON)
    first, second = (env.allocate_block_size(size) for size in (1000, 37))
    assert (first.block_id, second.block_id) == (0, 1)
    assert first.symbol != second.symbol
    assert env.block_of(second.extent) is second


def test_spec_of_matmul_has_every_knob() -> None:
    knobs = [key for key, _, _ in bind_case("matmul").config_spec.knobs()]
    assert knobs.count("block_sizes") == 3
    for name, count in {
        "loop_orders": 1,
        "l2_groupings": 1,
        "range_unroll_factors": 2,
        "range_num_stages": 2,
        "load_eviction_policies": 2,
        "indexing": 3,
        "num_warps": 1,
        "num_stages": 1,
        "pid_type": 1,
    }.items():
        assert knobs.count(name) == count, name


def test_softmax_can_loop_over_its_reduction() -> None:
    spec = bind_case("softmax").config_spec
    assert [entry.size_hint for entry in spec.reduction_loops] == [37]


@helion.kernel
def transposed_sum(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Add a matrix and a transposed one, so that no linear index fits both."""
    out = torch.empty_like(x)
    for i, j in hl.tile(x.size()):
        out[i, j] = x[i, j] + y[j, i].t()
    return out


def test_only_neighbouring_dims_may_be_flattened() -> None:
    assert len(bind_case("add").config_spec.flatten_loops) == 1
    bound = bind(transposed_sum, meta(64, 64), meta(64, 64))
    assert bound.config_spec.flatten_loops == []
    entry = BlockSizeSpec(0, 64)
    entry.update_allow_flattened(False)
    entry.update_allow_flattened(True)
    assert not entry.allow_flatten


def test_block_size_spec_has_minimum_maximum_and_flags() -> None:
    entry = BlockSizeSpec(0, 1000)
    entry.update_min(16)
    entry.update_max(300)
    fragment = entry.fragment(ConfigSpec(block_sizes=[entry]))
    assert (fragment.low, fragment.high) == (16, 256)
    assert entry.allow_flatten and entry.allow_reorder and entry.allow_l2_grouping


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_default_config_is_legal_and_assembles(case: Case) -> None:
    bound = bind_case(case.name)
    config = bound.program.default_config()
    assert bound.config_spec.normalize(config) == config
    for launch in offline(case.kernel, *case.make_args("cpu", True), config=config):
        assert launch.cubin


ILLEGAL = [
    ({"block_sizes": [16, 16, 16], "num_wraps": 4}, "num_wraps.*num_warps"),
    ({"block_sizes": [16, 16]}, "expected 3 values"),
    ({"block_sizes": [16, 48, 16]}, r"block_sizes\[1\] = 48: must be a power of two"),
]


@pytest.mark.parametrize("config, reason", ILLEGAL)
def test_illegal_config_is_refused_with_a_reason(
    config: dict[str, object], reason: str
) -> None:
    with pytest.raises(exc.InvalidConfig, match=reason):
        bind_case("matmul").to_triton_code(config)


# ---- strategies ----


def test_dispatch_follows_the_config() -> None:
    bound = bind_case("add")
    plain = launch_of(bound, block_sizes=[8, 16])
    flat = launch_of(bound, block_sizes=[8, 16], flatten_loops=[True])
    assert type(tile_strategy(plain, dims_of(bound))) is NDTileStrategy
    assert type(tile_strategy(flat, dims_of(bound))) is FlattenedTileStrategy
    assert block_values(bound.env, plain.config) == {0: 8, 1: 16}


@pytest.mark.parametrize("name", PROGRAM_IDS)
def test_program_ids_follow_the_config(name: str) -> None:
    bound = bind_case("add")
    launch = launch_of(bound, block_sizes=[8, 16], pid_type=name)
    pids = program_ids(launch, tile_strategy(launch, dims_of(bound)))
    assert type(pids) is PROGRAM_IDS[name]


@pytest.mark.parametrize("flatten", [False, True])
def test_strategy_answers_names_and_makes_grid_and_loops(flatten: bool) -> None:
    bound = bind_case("add")
    launch = launch_of(bound, block_sizes=[8, 16], flatten_loops=[flatten])
    strategy = tile_strategy(launch, dims_of(bound))
    strategy.grid_axes()
    strategy.codegen_grid()
    assert strategy.index_var(1) == "indices_1"
    if not flatten:
        assert (strategy.offset_var(0), strategy.mask_var(0)) == ("offset_0", "mask_0")
        assert strategy.block_size_var(0) == "_BLOCK_SIZE_0"
    inside: list[int] = []
    strategy.codegen_device_loop(lambda: inside.append(len(launch.axes)))
    assert inside == [2] and launch.axes == {}


def test_loop_state_has_statements_around_the_loop() -> None:
    state = DeviceLoopState()
    assert state.outer_prefix == state.inner_statements == state.outer_suffix == []
    (kernel,) = kernel_texts(
        case_code("row_mean", block_sizes=[4], reduction_loops=[8])
    )
    before, rest = kernel.split("for roffset_1")
    loop, after = rest.split("\n    tl.store")[0].rsplit("\n        ", 1)
    assert "sum_acc = tl.full(" in before and "sum_acc = sum_acc + " in loop + after


def test_shapes_name_block_sizes_only() -> None:
    for case in CASES:
        bound = bind_case(case.name)
        for kernel in kernel_texts(bound.to_triton_code()):
            numbers = {int(n) for n in re.findall(r"\b\d+\b", kernel)}
            extents = {b.extent for b in bound.env.block_sizes if not b.is_reduction}
            assert not numbers & extents, case.name


# ---- grids, indices and masks ----


def test_grid_is_a_product_of_rounded_up_counts() -> None:
    code = case_code("add", block_sizes=[8, 16])
    rows = "(13 + _BLOCK_SIZE_0 - 1) // _BLOCK_SIZE_0"
    columns = "((37 + _BLOCK_SIZE_1 - 1) // _BLOCK_SIZE_1)"
    assert f"({rows} * {columns},)" in " ".join(host_text(code).split())
    (kernel,) = kernel_texts(code)
    assert "num_pid_0 = tl.cdiv(13, _BLOCK_SIZE_0)" in kernel
    assert "pid_0 = pid % num_pid_0" in kernel and "pid_1 = pid // num_pid_0" in kernel


def test_flat_index_is_split_where_tensors_differ() -> None:
    code = case_code("add_broadcast", block_sizes=[8, 16], flatten_loops=[True])
    (kernel,) = kernel_texts(code)
    assert "indices_1 = indices_flat % 17" in kernel
    assert "indices_flat // 17" in kernel
    assert "mask_flat = indices_flat < 561" in kernel


def test_flat_index_of_one_stretch_is_not_split() -> None:
    (kernel,) = kernel_texts(
        case_code("add", block_sizes=[8, 16], flatten_loops=[True])
    )
    assert "%" not in kernel and "x + indices_flat" in kernel


@pytest.mark.parametrize(
    "size, block, masked",
    [(1024, 64, False), (1000, 64, True), (1000, 1, False), (1000, 8, False)],
)
def test_mask_is_dropped_where_nothing_is_hidden(
    size: int, block: int, masked: bool
) -> None:
    bound = bind(add, meta(size), meta(size))
    assert ("mask" in bound.to_triton_code({"block_sizes": [block]})) == masked


def test_dynamic_sizes_are_always_masked() -> None:
    bound = bind(add, meta(1024), meta(1024), static_shapes=False)
    assert "mask_0" in bound.to_triton_code({"block_sizes": [64]})


def test_loop_orders_change_which_axis_is_fastest() -> None:
    texts = {
        case_code("add", block_sizes=[8, 16], loop_orders=[order])
        for order in ([0, 1], [1, 0])
    }
    assert len(texts) == 2
    assert_right_for("add", {"loop_orders": [[1, 0]], "block_sizes": [8, 16]})


def assert_right_for(name: str, *configs: dict[str, object]) -> None:
    case = KERNELS[name]
    check(
        case.kernel,
        *case.make_args("cpu", True),
        way="interpreted",
        reference=case.reference,
        configs=[helion.Config(**config) for config in configs],
        tolerance=case.tolerance,
    )


def test_grouped_and_three_dimensional_grids() -> None:
    blocks = {"block_sizes": [1, 16, 16, 16]}
    grouped = {**blocks, "l2_groupings": [2]}
    xyz = {**blocks, "pid_type": "xyz"}
    code = case_code("bmm", **xyz)
    assert "pid_2 = tl.program_id(2)" in code
    assert "(3, (18 + _BLOCK_SIZE_1 - 1) // _BLOCK_SIZE_1," in host_text(code)
    assert "plane_size = 3 * num_pid_1" in case_code("bmm", **grouped)
    assert_right_for("bmm", grouped, xyz)


def test_persistent_grid_walks_all_tiles() -> None:
    blocks = {"block_sizes": [8, 16], "num_sm_multiplier": 2}
    configs = [
        {**blocks, "pid_type": f"persistent_{kind}"}
        for kind in ("blocked", "interleaved")
    ]
    for config in configs:
        assert "_num_sms('cuda" in host_text(case_code("add", **config))
    assert_right_for("add", *configs)


# ---- sizes ----


@pytest.mark.parametrize("name", ["add", "matmul", "softmax", "attention"])
def test_sampled_sizes_are_powers_of_two_that_differ(name: str) -> None:
    spec = bind_case(name).config_spec
    drawn = [spec.random_config(random.Random(s)).block_sizes for s in range(50)]
    assert all(n & (n - 1) == 0 for sizes in drawn for n in sizes)
    assert len({tuple(sizes) for sizes in drawn}) > 3


@helion.kernel
def pinned(x: torch.Tensor) -> torch.Tensor:
    """Fix one tile at 1 and one at 16; the third is for the config."""
    out = torch.empty_like(x)
    for i, j in hl.tile(x.size(), block_size=[1, None]):
        out[i, j] = x[i, j] + 1
    for i in hl.tile(x.size(0), block_size=16):
        out[i, :] = out[i, :] * 2
    return out


def test_pinned_tiles_are_left_alone() -> None:
    bound = bind(pinned, meta(64, 64))
    assert len(bound.config_spec.block_sizes) == 1
    for seed in range(100):
        config = bound.config_spec.random_config(random.Random(seed))
        text = host_text(bound.to_triton_code(config))
        assert "_BLOCK_SIZE_2 = 16" in text and len(config.block_sizes) == 1


def test_size_computed_on_the_host_works_with_dynamic_shapes() -> None:
    x, y = torch.randn(18, 70), torch.randn(70, 17)
    check(
        kernels.split_k_fixed,
        x,
        y,
        3,
        way="interpreted",
        reference=lambda x, y, parts: x @ y,
        configs=[helion.Config(block_sizes=[16, 16, 16])],
        tolerance={torch.float32: (1e-2, 1e-2)},
        static_shapes=False,
    )


@helion.kernel
def edge_sum(x: torch.Tensor) -> torch.Tensor:
    """Return row sums of ``exp(x)`` over tiles that do not fit."""
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for i in hl.tile(x.size(0)):
        acc = hl.zeros([i], dtype=torch.float32)
        for j in hl.tile(x.size(1)):
            acc = acc + torch.exp(x[i, j]).sum(1)
        out[i] = acc
    return out


@pytest.mark.parametrize("m, n", [(1, 1), (7, 13), (9, 31)])
def test_padding_never_leaks(m: int, n: int) -> None:
    storage = torch.full([m + 16, n + 16], float("nan"))
    x = storage[:m, :n]
    x.copy_(torch.randn(m, n))
    check(
        edge_sum,
        x,
        way="interpreted",
        reference=lambda x: x.exp().sum(1),
        configs=[
            helion.Config(block_sizes=[16, 8]),
            helion.Config(block_sizes=[4, 32]),
        ],
    )
