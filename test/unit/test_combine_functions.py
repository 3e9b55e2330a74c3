"""What combine functions, scans and stacks refuse, and what text they become."""

from __future__ import annotations

import pytest
import torch

import helion
import helion.language as hl
from helion import exc
from test import scan_kernels as kernels
from test.harness import fake_cuda, randn

WEIGHT = torch.ones(1)


def text_of(kernel: helion.Kernel, *args: object) -> str:
    """Return the emitted module of the default Config."""
    return kernel.bind(fake_cuda(args)).to_triton_code()


def branching(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return left if left > right else right


def weighted(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return left + right * WEIGHT[0]


def doubled(left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return left, right


@helion.kernel
def cat_tiles(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty([2 * x.size(0)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        both = torch.cat([x[tile], x[0:3]])
        out[tile] = both.sum(0)
    return out


@helion.kernel
def scan_of_merged_tile(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        flat = hl.cumsum(x[tile, :].reshape([tile.block_size * 4]), 0)
        out[tile, :] = flat.reshape([tile, 4])
    return out


@helion.kernel
def two_folds(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        row = hl.reduce(kernels.length, x[tile, :], dim=1)
        half = hl.reduce(kernels.length, x[tile, :] / 2, dim=1)
        out[tile] = row + half
    return out


@helion.kernel
def weighted_sum(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        out[tile] = hl.reduce(weighted, x[tile, :], dim=1)
    return out


@pytest.mark.parametrize(
    "combine, message",
    [
        (branching, "torch.where"),
        (doubled, "one scalar"),
        (3, "cannot be called"),
    ],
)
def test_refused_combine_function(combine: object, message: str) -> None:
    with pytest.raises(exc.Base, match=message) as error:
        text_of(kernels.fold_rows, randn(5, 7), combine, 0)
    assert "scan_kernels.py" in str(error.value)


def test_combine_function_that_reads_a_tensor() -> None:
    with pytest.raises(exc.NotAllowedInHelperFunction, match="hl.load"):
        weighted_sum.bind((randn(5, 7),)).to_triton_code()


def test_one_function_serves_all_calls() -> None:
    text = text_of(two_folds, randn(5, 7))
    assert text.count("def _helion_two_folds_combine_0(left_0, right_0):") == 1
    assert text.count("tl.reduce(") == 2


def test_single_operator_needs_no_function() -> None:
    text = text_of(kernels.fold_rows, randn(5, 7), kernels.larger, 0)
    assert "_combine_" not in text


def test_random_rows_are_one_call() -> None:
    assert text_of(kernels.random_like, randn(5, 7), 3).count("tl.rand(") == 1


def test_cat_of_tiles_says_what_to_do() -> None:
    with pytest.raises(exc.BackendUnsupported, match="its own slice"):
        text_of(cat_tiles, randn(9))


def test_scan_across_a_ragged_tile_is_masked() -> None:
    bound = scan_of_merged_tile.bind(fake_cuda((randn(5, 4),)))
    assert "// 4 + offset_0 < 5" in bound.to_triton_code(helion.Config(block_sizes=[4]))


def test_wrong_shapes_of_a_tuple_are_named() -> None:
    @helion.kernel
    def kernel(x: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(x)
        for tile in hl.tile(x.size(0)):
            pair = (x[tile, :], x[tile, 0])
            out[tile, :] = hl.associative_scan(kernels.compose, pair, 0)[0]
        return out

    with pytest.raises(exc.ShapeMismatch, match="7"):
        text_of(kernel, randn(5, 7))


def test_empty_range_of_integers() -> None:
    with pytest.raises(exc.Base, match="low < high"):
        text_of(kernels.random_ints, randn(5, 7), 4, 4, 0)
