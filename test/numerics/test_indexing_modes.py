"""Pointers, block pointers and tensor descriptors give the same result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import helion
from examples._catalog import CASES
from test import indexing_mode_kernels as kernels
from test.harness import check, randn

MODES = ("pointer", "block_ptr", "tensor_descriptor")
KERNELS = {case.name: case for case in CASES}
# TF32 products on a GPU.
TOLERANCE = {torch.float32: (1e-2, 1e-2), torch.float16: (2e-2, 2e-2)}


def same(
    way: str,
    kernel: helion.Kernel,
    args: tuple[Any, ...],
    reference: Callable[..., Any],
    blocks: list[int],
    **more: Any,
) -> None:
    """Compare each mode with the reference."""
    settings = more.pop("settings", {})
    check(
        kernel,
        *args,
        way=way,
        reference=reference,
        configs=[
            helion.Config(block_sizes=blocks, indexing=mode, **more) for mode in MODES
        ],
        tolerance=TOLERANCE,
        **settings,
    )


CATALOG = {
    "add": [8, 16],
    "matmul": [16, 16, 16],
    "attention": [1, 16, 16],
    "softmax": [4],
    "softmax_two_pass": [4, 16, 8],
    "layer_norm": [4],
    "rms_norm": [4],
}


@pytest.mark.parametrize("mode", MODES[1:])
@pytest.mark.parametrize("name", CATALOG)
def test_examples_are_right_in_every_mode(way: str, name: str, mode: str) -> None:
    case = KERNELS[name]
    config = helion.Config(block_sizes=CATALOG[name], indexing=mode)
    check(
        case.kernel,
        *case.make_args("cpu", True),
        way=way,
        reference=case.reference,
        configs=[config],
        tolerance={**TOLERANCE, **(case.tolerance or {})},
    )


DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.int32, torch.int8]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_blocks_of_every_type(way: str, dtype: torch.dtype) -> None:
    x = randn(37, 48, dtype=dtype)
    same(way, kernels.copy_block, (x,), torch.clone, [8, 16])


@pytest.mark.parametrize("shape", [(1, 1), (1, 64), (64, 1), (3, 4), (33, 20), (5, 7)])
def test_sizes_of_all_kinds(way: str, shape: tuple[int, int]) -> None:
    same(way, kernels.copy_block, (randn(*shape),), torch.clone, [16, 16])


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("size", [1, 4, 100])
def test_vectors(way: str, size: int, static: bool) -> None:
    settings = {"static_shapes": static}
    x = randn(size)
    same(way, kernels.copy_line, (x,), torch.clone, [16], settings=settings)


VIEWS = {
    "rows": lambda x: x[3:],
    "columns": lambda x: x[:, 4:36],
    "off_by_one": lambda x: x[:, 1:33],
    "transposed": lambda x: x.t(),
    "every_other_row": lambda x: x[::2],
    "every_other_column": lambda x: x[:, ::2],
    "expanded": lambda x: x[:1].expand(20, 48),
}


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("view", VIEWS)
def test_views_with_offsets_and_strides(way: str, view: str, static: bool) -> None:
    x = VIEWS[view](randn(40, 48))
    settings = {"static_shapes": static}
    same(way, kernels.copy_block, (x,), torch.clone, [8, 16], settings=settings)


@pytest.mark.parametrize("view", [*VIEWS][:-1])
def test_stores_into_views(way: str, view: str) -> None:
    out = VIEWS[view](torch.zeros(40, 48))
    x = randn(*out.shape)
    same(way, kernels.copy_into, (x, out), lambda x, _: x, [8, 16])


@pytest.mark.parametrize("swap", [False, True])
def test_batched_products(way: str, swap: bool) -> None:
    x, y = randn(3, 20, 24), randn(3, 24, 36)
    if swap:
        x = randn(3, 24, 20).transpose(1, 2)
    for blocks in ([1, 16, 16, 16], [2, 16, 16, 16]):
        same(way, kernels.batched_product, (x, y), torch.bmm, blocks)


@pytest.mark.parametrize("end", [13, 32, 40])
def test_tiles_that_end_before_the_tensor(way: str, end: int) -> None:
    x = randn(9, 40)
    same(way, kernels.sums_up_to, (x, end), lambda x, n: x[:, :n].sum(1), [4, 16])
    added = torch.cat([torch.ones(9, end), torch.zeros(9, 40 - end)], 1)
    same(way, kernels.head_of, (x, end), lambda x, _: x + added, [4, 16])


def test_tiles_with_an_offset(way: str) -> None:
    def reference(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[4:], torch.zeros_like(x[:4])])

    same(way, kernels.rows_below, (randn(21, 24),), reference, [8, 8])


def test_planes_that_a_loaded_number_chooses(way: str) -> None:
    x, planes = randn(4, 2, 18, 24), torch.tensor([3, 0, 3])

    def reference(x: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return x[planes, 1].sum(0)

    same(way, kernels.plane_sums, (x, planes), reference, [8, 16])


def test_kernels_that_write_what_they_read(way: str) -> None:
    same(way, kernels.double_in_place, (randn(17, 24),), lambda x: x * 2, [8, 16])


def test_stores_over_stores(way: str) -> None:
    def reference(x: torch.Tensor) -> torch.Tensor:
        return x[:, -8:].sum(1)

    same(way, kernels.last_sums, (randn(17, 24),), reference, [8])


def test_stored_numbers_and_rows(way: str) -> None:
    def reference(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.ones_like(x), x[:1].expand_as(x).clone()

    same(way, kernels.filled, (randn(17, 24),), reference, [8, 16])


def test_loops_over_chunks(way: str) -> None:
    case = KERNELS["layer_norm"]
    configs = [
        helion.Config(block_sizes=[4], reduction_loops=[16], indexing=mode)
        for mode in MODES
    ]
    x, weight, bias = randn(9, 40), randn(40), randn(40)
    check(
        case.kernel,
        x,
        weight,
        bias,
        way=way,
        reference=case.reference,
        configs=configs,
        tolerance=TOLERANCE,
    )


@pytest.mark.parametrize("made", [False, True])
def test_descriptors_of_the_host(way: str, made: bool) -> None:
    case = KERNELS["matmul"]
    more = {"host_tensor_descriptors": made, "pid_type": "persistent_interleaved"}
    x, y = randn(40, 36), randn(24, 36).t()
    same(way, case.kernel, (x, y), torch.matmul, [16, 16, 16], **more)
    misaligned = torch.empty(40 * 36 + 1)[1:].view(40, 36).copy_(x)
    same(way, case.kernel, (misaligned, y), torch.matmul, [16, 16, 16], **more)


@pytest.mark.parametrize("mode", ["pointer", "tensor_descriptor"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int32], ids=str)
def test_atomics(way: str, mode: str, dtype: torch.dtype) -> None:
    config = helion.Config(block_sizes=[8, 16], atomic_indexing=mode)
    check(
        kernels.added_tiles,
        randn(3, 17, 24, dtype=dtype),
        way=way,
        reference=lambda x: x.sum(0).to(x.dtype),
        configs=[config],
    )
    check(
        kernels.column_sums,
        randn(17, 24, dtype=dtype),
        way=way,
        reference=lambda x: x.sum(0, keepdim=True).float(),
        configs=[config],
    )
