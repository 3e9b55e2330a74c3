"""Long sums of products of 8-bit floats: text, machine code, and accuracy on a GPU."""

from __future__ import annotations

import re

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import helion
from examples.fp8_matmul import fp8_matmul
from helion._compiler.triton.assemble import capture_launches
from test.codegen.emitted import case_code
from test.harness import run, with_settings

FP8 = torch.float8_e4m3fn
FAST = {"fp8_fast_accumulation": True}


def chunk(code: str) -> str | None:
    """Return how long the tensor core may sum on its own."""
    found = re.search(r"max_num_imprecise_acc=(\w+)", code)
    return None if found is None else found.group(1)


@pytest.mark.parametrize(
    "depth, right", [(32, "_BLOCK_SIZE_2"), (128, "_BLOCK_SIZE_2"), (256, "128")]
)
def test_sums_leave_the_tensor_core_after_128_products(depth: int, right: str) -> None:
    code = case_code("fp8_matmul", block_sizes=[64, 32, depth])
    assert chunk(code) == right


def test_products_without_a_sum_before_them_are_left_alone() -> None:
    code = case_code("fp8_attention", block_sizes=[64, 64], peel_masks=[False])
    first, second = re.findall(r"tl\.dot\([^)]*\)", code)
    assert chunk(first) is None and chunk(second) == "_BLOCK_SIZE_3"


def test_other_dtypes_are_left_alone() -> None:
    assert chunk(case_code("matmul")) is None


def assembled(**settings: bool) -> str:
    """Return the PTX of a product of 8-bit floats."""
    with FakeTensorMode():
        x, y = (torch.empty(512, 512, dtype=FP8, device="cuda") for _ in range(2))
        scale = torch.empty(512, device="cuda")
    args = (x, y.t(), scale, scale)
    bound = with_settings(fp8_matmul, frozenset(settings.items())).bind(args)
    config = bound.config_spec.normalize(
        {"block_sizes": [128, 128, 128], "num_warps": 8, "num_stages": 3}
    )
    (launch,) = capture_launches(bound.compile_config(config), args)
    return launch.assemble("sm_90").ptx_or_asm


def test_each_chunk_is_added_to_float32() -> None:
    ptx = assembled()
    # 128 x 128 sums for 256 threads; 4 instructions of 32 products make a chunk.
    assert len(re.findall(r"add(\.rn)?\.f32", ptx)) == 64
    assert len(re.findall(r"wgmma\.mma_async", ptx)) == 4


def test_fast_accumulation_adds_nothing() -> None:
    ptx = assembled(**FAST)
    assert not re.search(r"add(\.rn)?\.f32", ptx)
    assert len(re.findall(r"wgmma\.mma_async", ptx)) == 4


@pytest.mark.parametrize("depth", [70, 8192])
def test_long_sums_are_accurate(way: str, depth: int) -> None:
    x, y = torch.rand(64, depth).to(FP8), torch.rand(64, depth).to(FP8).t()
    one = torch.ones(64)
    config = helion.Config(block_sizes=[64, 64, 128])
    found = run(fp8_matmul, x, y, one, one, torch.float32, way=way, config=config)
    right = x.double() @ y.double()
    # All products are positive: nothing cancels, and truncation adds up.
    assert ((found.cpu().double() - right).abs() / right).max() < 1e-2
