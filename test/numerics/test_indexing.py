"""Gathers, scatters, offsets, masks and data-dependent bounds."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import helion
import helion.language as hl
from examples.concat import concat
from examples.cross_entropy import cross_entropy
from examples.embedding import embedding
from examples.jagged_row_sum import jagged_row_sum
from test import indexing_kernels, kernels
from test.harness import check, offline, randn, run

SMALL_1D = (None, helion.Config(block_sizes=[8]))
SMALL_2D = (None, helion.Config(block_sizes=[4, 8]))


@pytest.mark.parametrize("shape", [(1,), (7,), (2, 3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64], ids=str)
def test_embedding_with_ids_of_any_shape(way: str, shape, dtype) -> None:
    ids = torch.randint(0, 11, shape).to(dtype)
    check(
        embedding,
        ids,
        randn(11, 13),
        way=way,
        reference=torch.nn.functional.embedding,
        configs=SMALL_2D,
    )


@pytest.mark.parametrize("n, v", [(1, 1), (5, 37), (9, 64)])
def test_cross_entropy(way: str, n: int, v: int) -> None:
    check(
        cross_entropy,
        randn(n, v),
        torch.randint(0, v, [n]),
        way=way,
        reference=torch.nn.functional.cross_entropy,
        configs=(None, helion.Config(block_sizes=[2])),
    )


@pytest.mark.parametrize("left, right", [(1, 1), (16, 16), (5, 23), (0, 4)])
def test_concat_at_any_seam(way: str, left: int, right: int) -> None:
    check(
        concat,
        randn(3, left),
        randn(3, right),
        way=way,
        reference=lambda x, y: torch.cat([x, y], 1),
        configs=SMALL_2D,
    )


@pytest.mark.parametrize("lengths", [[0], [5], [0, 3, 0, 17, 1]], ids=str)
def test_loop_bounds_from_data(way: str, lengths: list[int]) -> None:
    ends = [0, *torch.tensor(lengths).cumsum(0).tolist()]
    check(
        jagged_row_sum,
        randn(ends[-1], 5),
        torch.tensor(ends),
        way=way,
        reference=lambda values, _: torch.stack(
            [values[b:e].sum(0) for b, e in zip(ends, ends[1:])]
        ),
        configs=SMALL_2D,
    )


def test_tile_plus_offset(way: str) -> None:
    check(
        kernels.shifted_difference,
        randn(38),
        way=way,
        reference=lambda x: x[1:] - x[:-1],
        configs=SMALL_1D,
    )


def test_computed_index(way: str) -> None:
    check(
        kernels.reverse,
        randn(37),
        way=way,
        reference=lambda x: x.flip(0),
        configs=SMALL_1D,
    )


def test_masked_store_leaves_the_rest(way: str) -> None:
    check(
        kernels.masked_store,
        randn(37),
        randn(37),
        way=way,
        reference=lambda x, y: torch.where(x > 0, x, y),
        configs=SMALL_1D,
    )


def test_histogram_counts_repeated_ids(way: str) -> None:
    check(
        kernels.histogram,
        torch.randint(0, 7, [101]),
        7,
        way=way,
        reference=lambda ids, n: torch.bincount(ids, minlength=n).to(torch.int32),
        configs=SMALL_1D,
    )


def test_size_one_dimension_broadcasts_on_load(way: str) -> None:
    check(
        kernels.size_one_load,
        randn(9, 13),
        randn(9, 1),
        way=way,
        reference=torch.mul,
        configs=SMALL_2D,
    )


def test_tile_facts(way: str) -> None:
    found = run(kernels.tile_facts, randn(21), way=way)
    position = torch.arange(21)
    begin = position // 8 * 8
    wanted = torch.stack([begin, (begin + 8).clamp(max=21), position // 8, position])
    assert torch.equal(found, wanted)


# ---- every form of an index ----


def _runs(x: torch.Tensor, first: int) -> tuple[torch.Tensor, ...]:
    return x[:, :6].reshape(-1, 2, 3), x[:, 1::2], x[:, first : first + 4]


def _pairs(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    even, odd = x[:, ::2], x[:, 1::2]
    spread = torch.zeros_like(x)
    spread[:, ::2] = x[:, : x.size(1) // 2]
    return torch.stack([odd, even], -1).flatten(1), spread


def _scalars(x: torch.Tensor, y: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    place = int(at)
    after, last = x[:, place + 1] + y, x[-1, 0] + x[:, place]
    return torch.stack([x[:, place], y.expand(x.size(0)), after, last], 1)


def _scattered(
    x: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    grid = x[rows][:, columns]
    out = torch.zeros_like(x)
    out[rows[:, None], columns[None]] = grid + 1
    return grid, x[rows, columns], out


def _added(x: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    out = x.clone()
    out[:, 1::2] += 1
    out[:, 0] = 5
    out[:, -1] -= x[:, 0]
    out[:, 1:3] *= row[1:3]
    return out


def _counted(x: torch.Tensor, ids: torch.Tensor, n: int) -> torch.Tensor:
    out = x.new_zeros([n, 2, x.size(1)])
    out[:, 0].index_add_(0, ids, x)
    for row, group in enumerate(ids):
        out[group, 1, :2] = torch.maximum(out[group, 1, :2], x[row, :2])
    return out


GROUPS = torch.tensor([0, 2, 2, 1, 0, 2, 1])
ROWS, COLUMNS = torch.tensor([3, 1, 5]), torch.tensor([4, 0, 2])
PAIR_TILES = (
    None,
    helion.Config(block_sizes=[4, 4]),
    helion.Config(block_sizes=[1, 2]),
)
ROW_TILES = (None, helion.Config(block_sizes=[4]), helion.Config(block_sizes=[1]))
FORMS: dict[str, tuple[Any, Any, Any, Any]] = {
    "slices_of_groups": (lambda: (randn(5, 7), 2), _runs, (None,), True),
    "pairs_of_columns": (lambda: (randn(5, 14),), _pairs, PAIR_TILES, True),
    "past_the_end": (
        lambda: (randn(7),),
        lambda x: torch.stack([x[i : i + 4].sum() for i in range(7)]),
        (None,),
        True,
    ),
    "shifted_block": (
        lambda: (randn(7),),
        lambda x: torch.cat([x.new_zeros(1), x]),
        ROW_TILES,
        True,
    ),
    "scalars": (
        lambda: (randn(5, 5), torch.tensor(2.5), torch.tensor(2)),
        _scalars,
        ROW_TILES,
        False,
    ),
    "dims_missing": (
        lambda: (randn(5, 3, 2),),
        lambda x: (x, x.clone(), x[:, 1].clone()),
        ROW_TILES,
        False,
    ),
    "scattered": (lambda: (randn(6, 5), ROWS, COLUMNS), _scattered, ROW_TILES, True),
    "added": (lambda: (randn(5, 6), randn(6)), _added, ROW_TILES, False),
    "whole_host_tensor": (
        lambda: (randn(5, 6), randn(6)),
        lambda x, row: row.expand(5, 6),
        (None,),
        False,
    ),
    "host_views": (
        lambda: (randn(5, 6),),
        lambda x: (x.t(), x[1:, ::2], x[:1].expand(5, 6), x.flatten()),
        (None,),
        False,
    ),
    "windows": (
        lambda: (randn(6),),
        lambda x: x[:-2] + x[1:-1] + x[2:] * x[0],
        (helion.Config(block_sizes=[4]),),
        False,
    ),
    "counted": (lambda: (randn(7, 3), GROUPS, 3), _counted, ROW_TILES, False),
}


@pytest.mark.parametrize("name", FORMS)
def test_index_form_is_right(name: str, way: str) -> None:
    make_args, reference, configs, _ = FORMS[name]
    kernel = getattr(indexing_kernels, name)
    check(kernel, *make_args(), way=way, reference=reference, configs=configs)


@pytest.mark.parametrize("name", FORMS)
def test_index_form_is_right_with_dynamic_shapes(name: str) -> None:
    make_args, reference, configs, _ = FORMS[name]
    check(
        getattr(indexing_kernels, name),
        *make_args(),
        way="interpreted",
        reference=reference,
        configs=configs[-1:],
        static_shapes=False,
    )


@pytest.mark.parametrize("name", [n for n in FORMS if FORMS[n][3]])
@pytest.mark.parametrize("arch", ["sm_90", "gfx942"])
def test_index_form_assembles(name: str, arch: str) -> None:
    make_args, _, configs, _ = FORMS[name]
    kernel = getattr(indexing_kernels, name)
    for config in configs[-1:]:
        assert all(offline(kernel, *make_args(), config=config, arch=arch))


@pytest.mark.parametrize("shape", [(1, 6), (5, 1), (0, 6), (1, 1)], ids=str)
def test_dims_of_one_and_none(way: str, shape: tuple[int, int]) -> None:
    check(
        indexing_kernels.whole_host_tensor,
        randn(*shape),
        randn(shape[1]),
        way=way,
        reference=lambda x, row: row.expand(shape),
    )


def test_inputs_of_any_stride(way: str) -> None:
    for x in (randn(7, 5).t(), randn(9, 14)[1:6, ::2], randn(1, 7).expand(5, 7)):
        check(indexing_kernels.slices_of_groups, x, 1, way=way, reference=_runs)


def _read_ends(x: torch.Tensor, ends: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
    out = torch.zeros_like(x)
    out[: int(ends[0])] = x[: int(ends[0])]
    out[int(end) :] = x[int(end) :] * 2
    return out


@pytest.mark.parametrize("first, last", [(5, 7), (0, 9), (9, 9), (3, 0)])
def test_bounds_of_launches_from_data(way: str, first: int, last: int) -> None:
    args = randn(9), torch.tensor([first]), torch.tensor(last)
    check(indexing_kernels.read_ends, *args, way=way, reference=_read_ends)


@helion.kernel
def groups_of_columns(x: torch.Tensor, group: hl.constexpr) -> torch.Tensor:
    m, n = x.size()
    out = x.new_empty([m, n // group])
    for tile_m, tile_g in hl.tile([m, n // group]):
        columns = tile_g.index[:, None] * group + hl.arange(group)[None, :]
        groups = x[tile_m.index[:, None, None], columns[None, :, :]]
        out[tile_m, tile_g] = groups.amax(-1)
    return out


@pytest.mark.parametrize("sizes", [[1, 4], [2, 1], [1, 1], [4, 8]])
def test_index_tensors_with_dims_of_one_index(sizes: list[int], way: str) -> None:
    check(
        groups_of_columns,
        randn(5, 24),
        8,
        way=way,
        reference=lambda x, group: x.view(5, 3, group).amax(-1),
        configs=(helion.Config(block_sizes=sizes),),
    )
