"""Splitting and merging dims of tiles is right under every Config, or refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import helion
from helion import Config
from test import reshape_kernels
from test.harness import check, offline, randn


def tiles(*sizes: list[int]) -> list[Config | None]:
    """Return the default Config and some tile sizes."""
    return [None, *(Config(block_sizes=size) for size in sizes)]


def _largest_first(x: torch.Tensor) -> torch.Tensor:
    part = x.view(x.size(0), 3, 5)
    return (part * part.amax(-1, keepdim=True)).amin(1).sum(1)


def _groups(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scaled, largest = reshape_kernels.scaled(x)
    return scaled * 448.0, largest / 448.0


GROUPS = tiles([4, 128], [4, 256], [1, 512])
SMALL = tiles([4, 4], [1, 8], [8, 1])
ROWS = tiles([4], [1])
CASES: dict[str, tuple[Any, tuple[int, ...], Any, list[Config | None]]] = {
    "groups_of_a_tile": (reshape_kernels.groups_of_a_tile, (5, 384), _groups, GROUPS),
    "groups_by_view": (
        reshape_kernels.groups_by_view,
        (5, 384),
        lambda x: reshape_kernels.scaled(x)[0],
        GROUPS,
    ),
    "groups_of_a_row": (
        reshape_kernels.groups_of_a_row,
        (5, 384),
        lambda x: reshape_kernels.scaled(x)[0],
        ROWS,
    ),
    "odd_groups": (reshape_kernels.odd_groups, (5, 15), _largest_first, ROWS),
    "merged_tile": (
        reshape_kernels.merged_tile,
        (5, 15),
        lambda x: (x.exp().sum().view(1), x.exp().amin().view(1)),
        SMALL,
    ),
    "merged_store": (
        reshape_kernels.merged_store,
        (5, 15),
        lambda x: x.flatten() * 2,
        SMALL,
    ),
    "pairs": (
        reshape_kernels.pairs,
        (5, 14),
        lambda x: x.view(5, 7, 2).flip(2).flatten(1),
        tiles([4, 4], [1, 8], [8, 2]),
    ),
    "joined_odd_parts": (
        reshape_kernels.joined_odd_parts,
        (5, 3, 6),
        lambda x: x.amax(1).sum(1),
        ROWS,
    ),
    "flat_rows": (
        reshape_kernels.flat_rows,
        (9, 4, 6),
        lambda x: x.flatten(1),
        ROWS,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_reshape_is_right(name: str, way: str) -> None:
    kernel, shape, reference, configs = CASES[name]
    x = randn(*shape)
    check(kernel, x, way=way, reference=reference, configs=configs)


@pytest.mark.parametrize("name", CASES)
def test_reshape_is_right_with_dynamic_shapes(name: str) -> None:
    kernel, shape, reference, configs = CASES[name]
    options: dict[str, Any] = {"way": "interpreted", "static_shapes": False}
    check(kernel, randn(*shape), reference=reference, configs=configs[1:2], **options)


@pytest.mark.parametrize("shape", [(9, 1, 5), (1, 16, 2), (9, 3, 5), (2, 1, 1)])
def test_rows_of_any_shape_are_flattened(shape: tuple[int, ...]) -> None:
    kernel = reshape_kernels.flat_rows
    check(kernel, randn(*shape), way="interpreted", reference=lambda x: x.flatten(1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.int8, torch.int64], ids=str)
def test_other_dtypes_are_moved(dtype: torch.dtype, way: str) -> None:
    x = randn(5, 3, 6, dtype=dtype)
    check(reshape_kernels.flat_rows, x, way=way, reference=lambda x: x.flatten(1))


def test_bools_are_moved(way: str) -> None:
    x = randn(5, 3, 6) > 0
    check(reshape_kernels.flat_rows, x, way=way, reference=lambda x: x.flatten(1))


@pytest.mark.parametrize("name", ["groups_of_a_tile", "odd_groups", "joined_odd_parts"])
@pytest.mark.parametrize("arch", ["sm_90", "gfx942"])
def test_reshape_assembles(name: str, arch: str) -> None:
    kernel, shape, _, configs = CASES[name]
    for config in configs[1:]:
        assert all(offline(kernel, randn(*shape), config=config, arch=arch))


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.bool, torch.int64])
def test_gather_of_a_dtype_assembles(dtype: torch.dtype) -> None:
    x = torch.empty(5, 3, 6, dtype=dtype)
    config = helion.Config(block_sizes=[4])
    assert all(offline(reshape_kernels.flat_rows, x, config=config))
