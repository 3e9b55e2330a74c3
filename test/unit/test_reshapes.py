"""How dims of reshapes are paired, and which Configs a reshape allows."""

from __future__ import annotations

import random

import pytest
import torch

import helion
import helion.language as hl
from helion import exc
from helion._compiler.derived_dims import reshape_groups
from test import harness, reshape_kernels
from test.codegen.emitted import bind


@helion.kernel
def groups_of(x: torch.Tensor, size: int) -> torch.Tensor:
    size = hl.specialize(size)
    out = torch.empty_like(x)
    for tm, tn in hl.tile(x.size()):
        part = x[tm, tn].reshape(tm, tn.block_size // size, size)
        out[tm, tn] = (part - part.amax(-1, keepdim=True)).reshape(tm, tn)
    return out


def test_groups_pair_equal_runs() -> None:
    assert reshape_groups([7, 4, 6, 1], [7, 24]) == [([7], [7]), ([4, 6], [24])]
    assert reshape_groups([8], [2, 4]) == [([8], [2, 4])]


@pytest.mark.parametrize("size", [2, 32, 128, 1024])
def test_tiles_hold_whole_groups_in_every_config(size: int) -> None:
    spec = bind(groups_of, harness.randn(4, 2048), size).config_spec
    drawn = [spec.random_config(random.Random(seed)) for seed in range(5)]
    for config in [spec.default_config(), *drawn]:
        assert config.block_sizes[1] % size == 0


def test_smaller_tiles_are_made_to_hold_a_group() -> None:
    bound = bind(groups_of, harness.randn(4, 256), 128)
    text = bound.to_triton_code(helion.Config(block_sizes=[1, 64]))
    assert "_BLOCK_SIZE_1 = 128" in text


def test_parts_that_no_block_size_has_are_refused() -> None:
    with pytest.raises(exc.ShapeSpecializingAllocation, match="power of two"):
        bind(groups_of, harness.randn(4, 12), 3)


def test_run_time_sizes_become_numbers_where_a_reshape_needs_them() -> None:
    kernel = helion.kernel(reshape_kernels.groups_of_a_row.fn, static_shapes=False)
    first = bind(kernel, harness.randn(4, 256))
    assert bind(kernel, harness.randn(9, 256)) is first
    assert bind(kernel, harness.randn(4, 384)) is not first


@pytest.mark.parametrize("static", [True, False])
def test_groups_that_are_not_full_are_refused(static: bool) -> None:
    kernel = helion.kernel(reshape_kernels.groups_by_view.fn, static_shapes=static)
    bind(kernel, harness.randn(4, 256))
    with pytest.raises(exc.ShapeMismatch, match="200 .* groups of 128"):
        bind(kernel, harness.randn(4, 200))


def test_a_fixed_tile_must_hold_whole_groups() -> None:
    @helion.kernel
    def kernel(x: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(x)
        for tm, tn in hl.tile(x.size(), block_size=[None, 64]):
            part = x[tm, tn].view(tm, tn.block_size // 128, 128)
            out[tm, tn] = part.view(tm, tn)
        return out

    with pytest.raises(exc.ShapeMismatch, match="parts of 128"):
        bind(kernel, harness.randn(4, 256))
