"""What is left of the factors and exponentials of scores."""

from __future__ import annotations

import re

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import helion
import helion.language as hl
from examples.attention import attention
from helion._compiler.triton.assemble import capture_launches
from test.codegen.emitted import bind, kernel_texts
from test.harness import randn
from test.numerics.test_fold_scales import CHANGES, natural

MOVED = ["scaled", "scaled, then masked", "masked, then scaled", "filled"]
KEPT = ["negative", "filled with a number", "capped", "twice"]


def kernel_of(name: str) -> str:
    q = randn(64, 16)
    code = bind(natural, q, q, q, CHANGES[name]).to_triton_code(
        {"block_sizes": [16, 32], "peel_masks": [False]}
    )
    (text,) = kernel_texts(code)
    return text


@pytest.mark.parametrize("name", [*MOVED, "filled twice"])
def test_a_positive_factor_goes_past_the_maximum(name: str) -> None:
    text = kernel_of(name)
    assert re.search(r"(\w+) = device_folds.fold_max\(.*\n.*= \1 \* 0\.", text)
    scaled = re.findall(r"(\w+) = \w+ \* 0\.\d+", text)
    assert len(scaled) == 2  # the maxima, and the scores for the difference alone
    assert [len(re.findall(rf"\b{name}\b", text)) for name in scaled] == [2, 2]


@pytest.mark.parametrize("name", KEPT)
def test_other_factors_stay(name: str) -> None:
    assert not re.search(
        r"(\w+) = device_folds.fold_max\(.*\n *\w+ = \1 \* ", kernel_of(name)
    )


@pytest.mark.parametrize("name", [*MOVED, "plain"])
def test_exponentials_of_scores_are_powers_of_two(name: str) -> None:
    text = kernel_of(name)
    assert "weights = tl.exp2(" in text and "decay = tl.exp(" in text


@helion.kernel
def row_exponentials(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        row = x[tile, :] * 0.5
        out[tile, :] = torch.exp(row - torch.amax(row, dim=1)[:, None])
    return out


def test_values_that_no_product_made_keep_their_rounding() -> None:
    (text,) = kernel_texts(bind(row_exponentials, randn(8, 64)).to_triton_code())
    assert "tl.exp(" in text and "tl.exp2" not in text


def test_a_score_takes_one_instruction_before_its_exponential() -> None:
    with FakeTensorMode():
        q = torch.empty(1, 2, 512, 64, dtype=torch.bfloat16, device="cuda")
    bound = attention.bind((q, q, q))
    config = bound.config_spec.normalize({"block_sizes": [1, 64, 64]})
    (launch,) = capture_launches(bound.compile_config(config), (q, q, q))
    ptx = launch.assemble("sm_90").ptx_or_asm
    powers = len(re.findall(r"ex2\.approx\.ftz", ptx))
    assert powers >= 32  # of 64 x 64 scores for 128 threads, and of 64 rows
    assert len(re.findall(r"fma\.rn\.f32", ptx)) >= 32
    assert len(re.findall(r"sub\.f32", ptx)) <= powers - 32
