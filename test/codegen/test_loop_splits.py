"""What ``loop_splits`` and ``split_mode`` make of a kernel, and where they apply."""

from __future__ import annotations

import re

import pytest
import torch

import helion
from helion import exc
from helion.autotuner.config_fragment import EnumFragment, PowerOfTwoFragment
from helion.runtime.arrivals import arrival_counters
from test import split_kernels
from test.codegen.emitted import bind, host_text, kernel_texts, meta
from test.harness import offline, randn

MODES = ("partials", "semaphore", "stream")
BF16 = torch.bfloat16


def linear_args(m: int, n: int, k: int, dtype=BF16) -> list[torch.Tensor]:
    return [meta(m, k, dtype=dtype), meta(k, n, dtype=dtype), meta(n, dtype=dtype)]


def split(*blocks: int, splits: int = 4, **more) -> helion.Config:
    sizes = list(blocks) or [16, 32, 64]
    return helion.Config(block_sizes=sizes, loop_splits=[splits], **more)


def linear_code(config: helion.Config | None) -> str:
    bound = bind(split_kernels.linear_relu, *linear_args(16, 512, 512))
    return bound.to_triton_code(config)


# -- which loops -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["decayed", "running", "scaled_by_before"])
def test_loops_whose_turns_wait_for_each_other_have_no_entry(name: str) -> None:
    spec = bind(getattr(split_kernels, name), randn(16, 64)).config_spec
    assert not spec.split_loops
    assert "split_mode" not in spec.opened
    with pytest.raises(exc.InvalidConfig, match="loop_splits: expected 0 values"):
        spec.normalize(
            {"block_sizes": spec.default_config().block_sizes, "loop_splits": [2]}
        )


def test_each_loop_that_gathers_has_an_entry() -> None:
    x = meta(64, 64)
    spec = bind(split_kernels.two_products, x, x).config_spec
    assert [entry.block_id for entry in spec.split_loops] == [2, 5]
    assert spec.default_config().loop_splits == [1, 1]


def test_the_search_stays_within_turns_and_memory() -> None:
    def highest(m: int, n: int, k: int) -> int:
        spec = bind(split_kernels.linear_relu, *linear_args(m, n, k)).config_spec
        fragment = spec.split_loops[0].fragment(spec)
        assert isinstance(fragment, PowerOfTwoFragment)
        return fragment.high

    assert highest(16, 512, 128) == 8  # turns of at least 16
    assert highest(16, 8192, 8192) == 64
    assert highest(8192, 8192, 8192) == 1  # 256 MB for each split


# -- which values ----------------------------------------------------------------------


def test_splits_are_at_most_the_turns() -> None:
    spec = bind(split_kernels.linear_relu, *linear_args(16, 512, 300)).config_spec
    chosen = {s: spec.normalize(split(splits=s)).loop_splits for s in (1, 3, 5, 64)}
    assert chosen == {1: [1], 3: [3], 5: [5], 64: [5]}


@pytest.mark.parametrize("splits", [0, 65, 2.0, None, True])
def test_other_values_are_refused(splits) -> None:
    spec = bind(split_kernels.linear_relu, *linear_args(16, 512, 300)).config_spec
    with pytest.raises(exc.InvalidConfig, match="must be an integer in 1..64"):
        spec.normalize(split(splits=splits))


def test_other_modes_are_refused() -> None:
    with pytest.raises(exc.InvalidConfig, match="split_mode = 'atomic'"):
        linear_code(split(split_mode="atomic"))


def test_tiles_of_different_length_are_no_stream() -> None:
    values, offsets = meta(50, 64), meta(6, dtype=torch.int64)
    bound = bind(split_kernels.jagged_totals, values, offsets)
    with pytest.raises(exc.InvalidConfig, match="as many turns in each tile"):
        bound.to_triton_code(split(16, 16, split_mode="stream"))
    modes = bound.config_spec.opened["split_mode"]
    assert isinstance(modes, EnumFragment)
    assert modes.choices == ("partials", "semaphore")


# -- what is emitted -------------------------------------------------------------------


def test_one_split_is_none() -> None:
    plain = linear_code(helion.Config(block_sizes=[16, 32, 64]))
    assert linear_code(split(splits=1, split_mode="semaphore")) == plain
    assert "_partials" not in plain


@pytest.mark.parametrize("mode, kernels", [("partials", 2), ("semaphore", 1)])
def test_a_split_is_a_dimension_of_the_grid(mode: str, kernels: int) -> None:
    code = linear_code(split(split_mode=mode))
    first, *others = kernel_texts(code)
    assert len(others) == kernels - 1
    assert "split = tl.program_id(1)" in first
    assert "begin = turns * split // 4 * _BLOCK_SIZE_2" in first
    assert "for offset_2 in tl.range(begin, stop, _BLOCK_SIZE_2):" in first
    assert "for number in tl.static_range(1, 4):" in [first, *others][-1]
    assert re.search(
        r"torch.empty\(.*, 4, _BLOCK_SIZE_0, _BLOCK_SIZE_1", host_text(code)
    )


def test_the_last_program_is_found_by_a_counter() -> None:
    (kernel,) = kernel_texts(linear_code(split(split_mode="semaphore")))
    lines = [line.strip() for line in kernel.splitlines()]
    arrival = [i for i, line in enumerate(lines) if "tl.atomic_add" in line]
    assert len(arrival) == 1
    before, after = lines[: arrival[0]], lines[arrival[0] + 1 :]
    assert before[-1] == "tl.debug_barrier()"
    assert after[0] == "if arrived_before == 3:"
    assert after[1] == "tl.debug_barrier()"
    assert after[2].startswith("tl.store(_partials_arrivals + tile, 0)")
    assert all(".cg" in line for line in after if "tl.load(_partials_0" in line)


def test_a_stream_has_a_program_for_each_multiprocessor() -> None:
    config = split(
        split_mode="stream", pid_type="persistent_blocked", num_sm_multiplier=2
    )
    code = linear_code(config)
    assert len(kernel_texts(code)) == 1
    assert "(_num_sms('cuda:0', 0) * 2,)" in host_text(code)
    assert "torch.empty(2 * _num_sms('cuda:0', 0) * 2, _BLOCK_SIZE_0" in host_text(code)


def test_many_splits_are_joined_in_a_loop() -> None:
    bound = bind(split_kernels.linear_relu, *linear_args(16, 512, 8192))
    code = bound.to_triton_code(split(splits=64))
    assert "for number in tl.range(1, 64):" in code


def test_what_was_there_before_is_added_by_the_first_split() -> None:
    bound = bind(split_kernels.added_to, meta(16, 32), meta(16, 64), meta(64, 32))
    code = bound.to_triton_code(split(16, 16))
    assert "tl.where(split == 0, " in code


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"pid_type": "persistent_interleaved", "l2_groupings": [4]},
        {"indexing": "tensor_descriptor"},
        {"num_stages": 4, "range_unroll_factors": [0, 2]},
    ],
    ids=str,
)
def test_splits_assemble_for_sm_90(mode: str, more) -> None:
    args, config = linear_args(16, 512, 2048), split(split_mode=mode, **more)
    for launch in offline(split_kernels.linear_relu, *args, config=config):
        assert launch.cubin
        assert launch.spill_bytes == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "name", ["gated", "batched", "half_product", "integer_product"]
)
def test_other_products_assemble(name: str, mode: str) -> None:
    kernel = getattr(split_kernels, name)
    if name == "batched":
        args, blocks = [meta(3, 64, 128), meta(3, 128, 64)], (1, 32, 32, 32)
    else:
        dtype = torch.int8 if name == "integer_product" else torch.float16
        args = [meta(40, 129, dtype=dtype), meta(129, 50, dtype=dtype)]
        args, blocks = args + args[1:] * (name == "gated"), (32, 32, 32)
    config = split(*blocks, split_mode=mode)
    assert all(launch.cubin for launch in offline(kernel, *args, config=config))


@pytest.mark.parametrize("mode", MODES)
def test_float8_assembles(mode: str) -> None:
    args = [meta(64, 256, dtype=torch.float8_e4m3fn) for _ in range(2)]
    args[1] = args[1].view(256, 64)
    config = split(64, 64, 64, splits=2, split_mode=mode)
    kernel = split_kernels.half_product
    assert all(launch.cubin for launch in offline(kernel, *args, config=config))


# -- the counters ----------------------------------------------------------------------


def test_counters_start_at_zero() -> None:
    found = arrival_counters(5, torch.device("cpu"))
    assert found.tolist() == [0] * 5
    assert found.dtype == torch.int32


@pytest.mark.gpu
def test_a_stream_keeps_its_counters() -> None:
    device = torch.device("cuda")
    first, again = arrival_counters(5, device), arrival_counters(7, device)
    assert first.data_ptr() == again.data_ptr()
    with torch.cuda.stream(torch.cuda.Stream()):
        assert arrival_counters(5, device).data_ptr() != first.data_ptr()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = arrival_counters(5, device)
    assert captured.data_ptr() != first.data_ptr()
