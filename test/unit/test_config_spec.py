"""ConfigSpec and fragments: completion, problems, defaults, random configs."""

from __future__ import annotations

import random

import pytest

from helion import exc
from helion.autotuner.config_fragment import (
    BlockSizeFragment,
    BooleanFragment,
    EnumFragment,
    IntegerFragment,
    ListOf,
    PermutationFragment,
    PowerOfTwoFragment,
    ReductionLoopFragment,
)
from helion.autotuner.config_spec import (
    BlockSizeSpec,
    ConfigSpec,
    FlattenLoopSpec,
    L2GroupingSpec,
    LoopOrderSpec,
    ReductionLoopSpec,
    StaticRangeSpec,
)
from helion.runtime.config import Config


def matmul_spec(**changes):
    """A grid over blocks 0 and 1 with an inner loop over block 2."""
    spec = ConfigSpec(
        block_sizes=[
            BlockSizeSpec(0, 1024, min_size=16),
            BlockSizeSpec(1, 512),
            BlockSizeSpec(2, 2048),
        ],
        loop_orders=[LoopOrderSpec((0, 1))],
        flatten_loops=[FlattenLoopSpec((0, 1))],
        l2_groupings=[L2GroupingSpec((0, 1))],
        static_ranges=[StaticRangeSpec(2)],
        num_loads=2,
        num_memory_ops=3,
        **changes,
    )
    spec.add_range((0, 1), is_grid=True)
    spec.add_range((2,))
    return spec


def sum_spec(numel, **changes):
    """Rows of block 0, summed over reduction axis 1."""
    return ConfigSpec(
        block_sizes=[BlockSizeSpec(0, 4096)],
        reduction_loops=[ReductionLoopSpec(1, numel)],
        num_loads=1,
        num_memory_ops=2,
        tensor_shapes=[(("block", 0), ("reduction", 1))],
        **changes,
    )


def problems_of(spec, **values):
    with pytest.raises(exc.InvalidConfig) as caught:
        spec.normalize(values)
    return str(caught.value)


FRAGMENTS = [
    PowerOfTwoFragment(1, 64, 4),
    BlockSizeFragment(16, 128, 1),
    ReductionLoopFragment(8, 64, 4096, True),
    ReductionLoopFragment(8, 64, 4096, False),
    IntegerFragment(0, 4, 2),
    EnumFragment((None, False, True)),
    BooleanFragment(),
    PermutationFragment(3),
    ListOf(EnumFragment(("a", "b")), 3),
]


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=repr)
def test_fragment_only_yields_legal_values(fragment):
    rng, value = random.Random(0), fragment.default()
    for _ in range(20):
        drawn, other = fragment.random(rng), fragment.random(rng)
        near = fragment.pattern_neighbors(drawn)
        moved = fragment.differential_mutation(value, drawn, other)
        assert drawn not in near
        for item in (value, drawn, moved, *near):
            assert fragment.validate(item) is None
            assert len(fragment.encode(item)) == fragment.dim()
        value = moved


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=repr)
def test_neighbors_reach_every_value(fragment):
    seen, todo = [], [fragment.default()]
    while todo:
        value = todo.pop()
        if value not in seen:
            seen.append(value)
            todo += fragment.pattern_neighbors(value)
    assert len(seen) == fragment.cardinality()


def test_fragment_says_what_is_wrong():
    assert "power of two in 1..64" in PowerOfTwoFragment(1, 64).validate(48)
    assert "permutation of [0, 1]" in PermutationFragment(2).validate([1, 1])
    assert "[1] must be one of 'a', 'b'" in ListOf(
        EnumFragment(("a", "b")), 2
    ).validate(["a", "c"])
    assert IntegerFragment(0, 4).validate(True)
    assert EnumFragment((0, 1)).validate(True)


def test_normalize_fills_everything_and_changes_nothing():
    given = Config(block_sizes=[[64, 32], 16])
    full = matmul_spec().normalize(given)
    assert given == Config(block_sizes=[[64, 32], 16])
    assert full.block_sizes == [64, 32, 16]
    assert (full.loop_orders, full.flatten_loops, full.l2_groupings) == (
        [[0, 1]],
        [False],
        [1],
    )
    assert full.range_num_stages == [0, 0]
    assert full.indexing == ["pointer"] * 3
    assert full["pid_type"] == "flat" and "num_sm_multiplier" not in full
    assert matmul_spec().normalize(full) == full


def test_normalize_takes_older_names():
    spec = ConfigSpec(block_sizes=[BlockSizeSpec(0, 64)])
    assert spec.normalize({"block_size": 16}).block_sizes == [16]
    assert matmul_spec().normalize(
        {"block_sizes": [16, 16, 16], "loop_order": [1, 0], "l2_grouping": 4}
    ).loop_orders == [[1, 0]]
    both = problems_of(spec, block_size=16, block_sizes=[16])
    assert "block_size: is the older name of block_sizes" in both


def test_all_problems_come_at_once():
    text = problems_of(
        matmul_spec(),
        block_sizes=[48, 32, 16, 16],
        loop_orders=[[1, 1]],
        num_warp=4,
        num_stages="many",
        pid_type="diagonal",
        maxnreg=300,
        range_flattens=[1],
        indexing=["pointer", "address", "pointer"],
    )
    for part in (
        "9 problems",
        "block_sizes: expected 3 values (one per tunable tile dimension)",
        "block_sizes[0] = 48: must be a power of two (searched: 16..1024)",
        "loop_orders[0] = [1, 1]: must be a permutation of [0, 1]",
        "did you mean num_warps?",
        "num_stages = 'many'",
        "'persistent_blocked'",
        "maxnreg = 300: must be an integer in 1..256",
        "range_flattens[0] = 1",
        "indexing[1] = 'address'",
    ):
        assert part in text


def test_explicit_config_needs_all_block_sizes():
    text = problems_of(matmul_spec(), num_warps=4)
    assert "block_sizes: expected 3 values" in text
    assert ConfigSpec().normalize({}).block_sizes == []


def test_list_without_entries_is_refused():
    spec = ConfigSpec(block_sizes=[BlockSizeSpec(0, 64)])
    text = problems_of(spec, block_sizes=[16], loop_orders=[[0]])
    assert "loop_orders: expected 0 values" in text


def test_keys_that_ask_for_nothing_are_dropped():
    spec = ConfigSpec(num_memory_ops=1)
    full = spec.normalize({"reduction_fusion": False, "store_cache_modifiers": [""]})
    assert "reduction_fusion" not in full and "store_cache_modifiers" not in full
    asked = spec.normalize({"reduction_fusion": True, "epilogue_subtile": True})
    assert asked["reduction_fusion"] is True and asked.epilogue_subtile == 2


def test_block_sizes_respect_minimum_and_outer_tile():
    spec = matmul_spec()
    spec.block_sizes[2].bounded_by = 0
    assert spec.normalize({"block_sizes": [4, 4, 64]}).block_sizes == [16, 4, 16]
    spec.fixed_block_sizes[9] = 8
    spec.block_sizes[2].bounded_by = 9
    assert spec.normalize({"block_sizes": [64, 4, 64]}).block_sizes == [64, 4, 8]


def test_least_block_size_is_a_power_of_two():
    spec = BlockSizeSpec(0, 1024)
    with pytest.raises(exc.InvalidConfig, match="12"):
        spec.update_min(12)
    spec.update_min(16)
    spec.update_min(4)
    spec.update_max(100)
    fragment = spec.fragment(ConfigSpec(block_sizes=[spec]))
    assert (fragment.low, fragment.high) == (16, 64)


def test_register_limit_needs_a_persistent_grid_and_a_budget():
    blocks = {"block_sizes": [16, 16, 16]}
    assert "persistent" in problems_of(matmul_spec(), **blocks, maxnreg=64)
    persistent = {**blocks, "pid_type": "persistent_blocked", "num_warps": 32}
    assert "budget of 64" in problems_of(matmul_spec(), **persistent, maxnreg=128)
    full = matmul_spec().normalize({**persistent, "maxnreg": 64})
    assert (full.maxnreg, full["num_sm_multiplier"]) == (64, 1)


def test_pid_type_that_the_kernel_forbids():
    spec = matmul_spec()
    reason = "hl.barrier() needs a persistent grid"
    spec.disallow_pid_type("flat", reason, exc.BarrierRequiresPersistent)
    spec.disallow_pid_type("xyz", "the grid is too long")
    with pytest.raises(exc.BarrierRequiresPersistent, match="persistent grid"):
        spec.normalize({"block_sizes": [16, 16, 16], "pid_type": "flat"})
    text = problems_of(spec, block_sizes=[16, 16, 16], pid_type="xyz")
    assert "pid_type = 'xyz': the grid is too long; use 'persistent_blocked'" in text
    assert spec.default_config().pid_type == "persistent_blocked"


def test_range_knobs_are_reset_where_there_is_no_range():
    values = {"block_sizes": [16, 16, 16], "range_num_stages": [2, 3]}
    spec = matmul_spec()
    assert spec.normalize(values).range_num_stages == [0, 3]
    assert spec.normalize({**values, "static_range": True}).range_num_stages == [0, 0]
    persistent = {**values, "pid_type": "persistent_interleaved"}
    assert spec.normalize(persistent).range_num_stages == [2, 3]


def test_only_one_loop_is_specialized_by_warp():
    values = {
        "block_sizes": [16, 16, 16],
        "pid_type": "persistent_blocked",
        "range_warp_specializes": [True, True],
        "range_unroll_factors": [2, 2],
    }
    full = matmul_spec(allow_warp_specialize=True).normalize(values)
    assert full.range_warp_specializes == [True, False]
    assert full.range_unroll_factors == [0, 2]
    assert "range_warp_specializes" in problems_of(matmul_spec(), **values)


@pytest.mark.parametrize(
    ("given", "settled"), [(None, None), (1, 8), (64, 64), (512, None), (4096, None)]
)
def test_reduction_loop_is_settled(given, settled):
    values = {"block_sizes": [1], "reduction_loops": [given]}
    assert sum_spec(300).normalize(values).reduction_loops == [settled]


def test_legacy_reduction_loop_goes_to_every_axis():
    spec = sum_spec(300)
    spec.reduction_loops.append(ReductionLoopSpec(2, 500))
    full = spec.normalize({"block_sizes": [1], "reduction_loop": 64})
    assert full.reduction_loops == [64, 64]


@pytest.mark.parametrize("chunk", [None, 2**21])
def test_reduction_above_the_cap_has_its_own_error(chunk):
    with pytest.raises(exc.HelionReductionTooLarge) as caught:
        sum_spec(2**21).normalize({"block_sizes": [1], "reduction_loops": [chunk]})
    text = str(caught.value)
    for part in ("reduction_loops[0] (block id 1)", "2097152", "1048576"):
        assert part in text


def test_tile_above_the_cap():
    with pytest.raises(exc.HelionReductionTooLarge, match="8388608"):
        sum_spec(4096).normalize({"block_sizes": [2048]})
    shape = (("block", 0), ("block", 1), 3)
    spec = matmul_spec(tensor_shapes=[shape])
    text = problems_of(spec, block_sizes=[1024, 512, 16])
    assert "the tile over block ids [0, 1] has 2097152 elements" in text


def test_shrink_to_cap_halves_the_largest_block():
    spec = matmul_spec(tensor_shapes=[(("block", 0), ("block", 1)), (("block", 2), 4)])
    assert spec.shrink_to_cap([64, 512, 32], 1024) == [32, 32, 32]
    assert spec.shrink_to_cap([64, 512, 32], 8) == [16, 1, 2]


@pytest.mark.parametrize(
    ("numel", "block", "chunk"),
    [(100, 32, None), (256, 16, None), (4096, 1, None), (5000, 1, 4096)],
)
def test_default_follows_the_reduction(numel, block, chunk):
    config = sum_spec(numel).default_config()
    assert (config.block_sizes, config.reduction_loops) == ([block], [chunk])


def test_default_takes_what_the_compiler_chose():
    spec = sum_spec(8192)
    spec.block_sizes[0].default = 8
    spec.reduction_loops[0].default = 8192
    config = spec.default_config()
    assert (config.block_sizes, config.reduction_loops) == ([8], [None])


def test_largest_reduction_chunk_binds_defaults_and_searches():
    spec, rng = sum_spec(1_152_000, max_reduction_chunk=2048), random.Random(0)
    assert spec.default_config().reduction_loops == [2048]
    chunks = {spec.random_config(rng).reduction_loops[0] for _ in range(100)}
    assert None not in chunks and max(chunks) == 2048


@pytest.mark.parametrize("cap", [2**20, 2**12])
@pytest.mark.parametrize("numel", [1, 300, 4096, 1_152_000])
def test_random_configs_are_legal(numel, cap):
    spec, rng = sum_spec(numel, max_tensor_numel=cap), random.Random(0)
    for _ in range(50):
        config = spec.random_config(rng)
        assert spec.normalize(config) == config
        assert spec.unflatten(spec.flatten(config)) == config
        assert config.block_sizes[0] * (config.reduction_loops[0] or 1) <= cap


def test_random_configs_of_many_knobs_are_legal_and_repeatable():
    spec = matmul_spec(tensor_shapes=[(("block", 0), ("block", 1))], num_atomics=1)
    spec.add_tunable("split", IntegerFragment(1, 4, 1))
    configs = [spec.random_config(random.Random(seed)) for seed in range(60)]
    assert configs == [spec.random_config(random.Random(seed)) for seed in range(60)]
    assert len(set(configs)) > 50
    for config in configs:
        assert spec.unflatten(spec.flatten(config)) == config


def test_knobs_name_every_choice():
    spec = matmul_spec()
    keys = [(key, index) for key, index, _ in spec.knobs()]
    assert ("block_sizes", 2) in keys and ("range_flattens", 1) in keys
    assert ("num_warps", None) in keys and ("range_warp_specializes", 0) not in keys
    assert len(spec.flatten(spec.default_config())) == len(keys)
    assert spec.size() > 10**9 and ConfigSpec(allowed_pid_types=["flat"]).size() == 48


def test_user_tunable_is_checked_and_filled():
    spec = ConfigSpec()
    spec.add_tunable("split", IntegerFragment(1, 4, 2))
    assert spec.normalize({})["split"] == 2
    assert "split = 9: must be an integer in 1..4" in problems_of(spec, split=9)
    with pytest.raises(exc.TunableNameConflict):
        spec.add_tunable("num_warps", IntegerFragment(1, 4))
    with pytest.raises(exc.TunableTypeNotSupported):
        spec.add_tunable("mode", EnumFragment(("a", "b")))
