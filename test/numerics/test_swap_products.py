"""Sums of products that are computed transposed: results, text and machine code."""

from __future__ import annotations

import re

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import helion
import helion.language as hl
from examples.matmul import matmul
from helion._compiler.triton.assemble import capture_launches
from test.codegen.emitted import bind, bind_case
from test.harness import check, randn

LOOSE = {torch.float32: (1e-2, 1e-2), torch.bfloat16: (3e-2, 3e-2)}


@pytest.mark.parametrize("blocks", [[16, 32, 16], [16, 16, 32], [32, 16, 16]], ids=str)
def test_products_with_few_rows(way: str, blocks: list[int]) -> None:
    check(
        matmul,
        *(randn(9, 50), randn(50, 70)),
        way=way,
        reference=torch.matmul,
        configs=[helion.Config(block_sizes=blocks, swap_products=[True])],
        tolerance=LOOSE,
    )


@helion.kernel
def two_sums(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Two sums in one loop, and one that is scaled in each turn."""
    out = torch.empty([x.size(0), y.size(1)], dtype=torch.float32, device=x.device)
    for rows, columns in hl.tile(out.size()):
        one = hl.full([rows, columns], 0.5, dtype=torch.float32)
        two = hl.zeros([rows, columns], dtype=torch.float32)
        three = hl.zeros([rows, columns], dtype=torch.float32)
        for k in hl.tile(x.size(1)):
            one = hl.dot(x[rows, k], y[k, columns], acc=one)
            two = torch.addmm(two, x[rows, k], z[k, columns])
            three = hl.dot(x[rows, k], y[k, columns], acc=three * 0.5)
        out[rows, columns] = one - two + 0.0 * three
    return out


@pytest.mark.parametrize("swaps", [[True, False], [False, True], [True, True]], ids=str)
def test_each_sum_has_a_choice(way: str, swaps: list[bool]) -> None:
    args = randn(20, 40), randn(40, 24), randn(40, 24)
    check(
        two_sums,
        *args,
        way=way,
        reference=lambda x, y, z: 0.5 + x @ y - x @ z,
        configs=[helion.Config(block_sizes=[16, 16, 16], swap_products=swaps)],
        tolerance={torch.float32: (2e-2, 2e-2)},
    )


def test_only_plain_sums_can_be_swapped() -> None:
    bound = bind(two_sums, randn(32, 32), randn(32, 32), randn(32, 32))
    assert bound.config_spec.num_swaps == 2
    assert bind_case("attention").config_spec.num_swaps == 0


def machine_code(rows: int, swap: bool) -> str:
    """Return the PTX of a product of few rows."""
    with FakeTensorMode():
        x = torch.empty(rows, 1024, dtype=torch.bfloat16, device="cuda")
        y = torch.empty(1024, 1024, dtype=torch.bfloat16, device="cuda")
    bound = matmul.bind((x, y))
    config = bound.config_spec.normalize(
        {"block_sizes": [16, 64, 64], "swap_products": [swap], "num_stages": 3}
    )
    (launch,) = capture_launches(bound.compile_config(config), (x, y))
    return launch.assemble("sm_90").ptx_or_asm


def test_few_rows_use_the_fast_instruction() -> None:
    assert re.search(r"wgmma\.mma_async.*m64n16k16", machine_code(16, True))
    assert "wgmma.mma_async" not in machine_code(16, False)
