"""Loads that leave a loop: where they stand, and that results stay right."""

from __future__ import annotations

import re

import pytest
import torch

import helion
import helion.language as hl
from test.codegen.emitted import bind, case_code, kernel_texts
from test.harness import check, randn

CONFIG = helion.Config(block_sizes=[16, 8])


@helion.kernel
def scaled(x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """A row's scale is the same for all its columns, the shift is not."""
    out = torch.empty_like(x)
    for rows in hl.tile(x.size(0)):
        for columns in hl.tile(x.size(1)):
            value = x[rows, columns] * scale[rows][:, None]
            out[rows, columns] = value + shift[columns][None, :]
    return out


def scaled_ref(
    x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor
) -> torch.Tensor:
    return x * scale[:, None] + shift[None, :]


def loads(code: str) -> tuple[list[str], list[str]]:
    """Return which tensors are loaded before the first loop of a kernel, and in it."""
    (kernel,) = kernel_texts(code)
    before, _, inside = kernel.partition("for offset")
    pattern = r"tl\.load\((\w+)"
    return re.findall(pattern, before), re.findall(pattern, inside)


def test_a_load_that_repeats_is_done_once() -> None:
    bound = bind(scaled, randn(40, 20), randn(40), randn(20))
    assert loads(bound.to_triton_code(CONFIG)) == (["scale"], ["x", "shift"])


@pytest.mark.parametrize("shape", [(40, 20), (1, 1), (16, 8), (5, 0)], ids=str)
def test_results_stay_right(way: str, shape: tuple[int, int]) -> None:
    args = randn(*shape), randn(shape[0]), randn(shape[1])
    check(scaled, *args, way=way, reference=scaled_ref, configs=[CONFIG])


@helion.kernel
def running(x: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """The loop itself changes what it loads."""
    out = torch.empty_like(x)
    for rows in hl.tile(x.size(0)):
        for columns in hl.tile(x.size(1), block_size=1):
            total[rows] = total[rows] + x[rows, columns.begin]
            out[rows, columns.begin] = total[rows]
    return out


def test_what_is_written_is_loaded_again(way: str) -> None:
    args = randn(20, 7), torch.zeros(20)
    config = helion.Config(block_sizes=[16])
    bound = bind(running, *args)
    before, inside = loads(bound.to_triton_code(config))
    assert not before and inside.count("total") >= 1
    check(
        running,
        *args,
        way=way,
        reference=lambda x, total: torch.cumsum(x, dim=1) + total[:, None],
        configs=[config],
    )


@helion.kernel
def one_of(x: torch.Tensor, factors: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """Which factor is read is known in the loop only."""
    out = torch.zeros_like(x)
    for row in hl.grid(x.size(0)):
        for columns in hl.tile(0, ends[row]):
            out[row, columns] = x[row, columns] * factors[row] * factors[ends[row] - 1]
    return out


def one_of_ref(
    x: torch.Tensor, factors: torch.Tensor, ends: torch.Tensor
) -> torch.Tensor:
    kept = torch.arange(x.size(1), device=x.device)[None, :] < ends[:, None]
    factor = factors[: x.size(0)] * factors[ends.long() - 1]
    return torch.where(kept, x * factor[:, None], 0.0)


def test_loops_without_turns_read_nothing_else(way: str) -> None:
    ends = torch.tensor([0, 3, 6, 1, 0], dtype=torch.int32)
    args = randn(5, 6), randn(6), ends
    bound = bind(one_of, *args)
    before, inside = loads(bound.to_triton_code({"block_sizes": [4]}))
    assert before == ["ends", "factors"] and "factors" in inside
    check(
        one_of,
        *args,
        way=way,
        reference=one_of_ref,
        configs=[helion.Config(block_sizes=[4])],
    )


def test_layer_norm_bwd_reads_the_weight_once() -> None:
    before, inside = loads(case_code("layer_norm_bwd"))
    assert "weight" in before and "weight" not in inside
