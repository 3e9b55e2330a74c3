"""Offline: every example kernel is bound, emitted and assembled without a GPU."""

from __future__ import annotations

import pytest
import torch

import helion
from examples._catalog import CASES, Case
from examples.add import add
from test.harness import fake_cuda, offline

KERNELS = {case.name: case for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_example_kernel_assembles_for_sm_90(case: Case) -> None:
    for launch in offline(case.kernel, *case.make_args("cpu", True)):
        assert launch.cubin


@pytest.mark.parametrize("arch", ["sm_80", "sm_100", "gfx942"])
def test_matmul_assembles_for_other_chips(arch: str) -> None:
    case = KERNELS["matmul"]
    args = case.make_args("cpu", True)
    (launch,) = offline(case.kernel, *args, config=case.configs[0], arch=arch)
    assert launch.arch == arch


@pytest.mark.parametrize("name, count", [("add", 1), ("center_columns", 2)])
def test_each_top_level_loop_is_a_launch(name: str, count: int) -> None:
    case = KERNELS[name]
    assert len(offline(case.kernel, *case.make_args("cpu", True))) == count


def test_mask_of_one_element_stays_a_bool() -> None:
    # Triton sums bools as integers, which it does not take for a mask.
    case, config = KERNELS["causal_conv1d"], helion.Config(block_sizes=[1, 1])
    (launch,) = offline(case.kernel, *case.make_args("cpu", True), config=config)
    assert launch.cubin


@pytest.mark.parametrize("elements, wide", [(2**20, False), (2**31 + 8, True)])
def test_index_type_follows_the_size(elements: int, wide: bool) -> None:
    x = torch.empty(elements, dtype=torch.float16, device="meta")
    config = helion.Config(block_sizes=[1024])
    code = add.bind(fake_cuda((x, x))).to_triton_code(config)
    assert ("tl.int64" in code) == wide
