"""Which pairs of folds become one: the text of looped and split reductions."""

from __future__ import annotations

import pytest
import torch

import helion
import helion.language as hl
from test import fold_kernels
from test.codegen.emitted import bind, bind_case, case_code, meta
from test.harness import fake_cuda


def code(kernel: helion.Kernel, *shapes: tuple[int, ...], **config: object) -> str:
    """Return the text of a kernel of ``fold_kernels`` in chunks of 16."""
    chosen = {"block_sizes": [4], "reduction_loops": [16], **config}
    return bind(kernel, *(meta(*shape) for shape in shapes)).to_triton_code(chosen)


@pytest.mark.parametrize(
    "name",
    [
        "log_sum_exp",
        "softmax_denominator",
        "base_2_denominator",
        "var_and_mean",
        "squares_about",
    ],
)
def test_pair_is_one_loop_with_one_load(name: str) -> None:
    text = code(getattr(fold_kernels, name), (64, 64))
    assert text.count("for roffset_") == text.count("tl.load(x") == 1
    assert text.count("_acc = tl.full(") + text.count("_acc_1 = tl.full(") == 2


def test_persistent_tile_keeps_two_folds() -> None:
    text = code(fold_kernels.log_sum_exp, (64, 64), reduction_loops=[None])
    assert "fold_max" in text and "tl.sum" in text and "for " not in text


def test_two_passes_of_softmax_are_two_loops() -> None:
    text = case_code("softmax", block_sizes=[4], reduction_loops=[16])
    assert text.count("for roffset_1") == 2
    first, second = text.split("for roffset_1")[1:]
    assert "'evict_last'" in first and "'evict_first'" in second


@helion.kernel
def unrelated_center(x: torch.Tensor, center: torch.Tensor) -> torch.Tensor:
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        row = x[tile, :]
        total = torch.sum((row - center[tile][:, None]) ** 2, dim=1)
        out[tile] = total + torch.sum(row, dim=1)
    return out


@helion.kernel
def integer_squares(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty([x.size(0)], dtype=torch.int64, device=x.device)
    for tile in hl.tile(x.size(0)):
        gap = x[tile, :] - torch.amax(x[tile, :], dim=1)[:, None]
        out[tile] = torch.sum(gap * gap, dim=1)
    return out


def test_center_that_is_no_fold_is_one_plain_loop() -> None:
    text = code(unrelated_center, (64, 64), (64,))
    assert text.count("for roffset_") == 1 and "moments" not in text


def test_integers_keep_their_two_loops() -> None:
    chosen = {"block_sizes": [4], "reduction_loops": [16]}
    bound = bind(integer_squares, torch.empty(64, 64, dtype=torch.int64))
    text = bound.to_triton_code(chosen)
    assert text.count("for roffset_") == 2 and "moments" not in text


# ---- splits ----


def test_split_is_two_launches_that_share_buffers() -> None:
    text = code(fold_kernels.log_sum_exp, (64, 64), reduction_splits=[4])
    assert text.count("@triton.jit") == text.count("_launcher(\n") == 2
    made = [text.count(f"_partials_{i} = torch.empty(") for i in range(3)]
    assert made == [1, 1, 0]
    assert "atomic" not in text
    first, second = text.split("@triton.jit")[1:]
    assert "tl.program_id(1)" in first and "tl.program_id(1)" not in second


def test_dweight_and_dbias_share_the_loop_of_a_split() -> None:
    config = {"block_sizes": [8], "reduction_loops": [8], "reduction_splits": [2]}
    text = case_code("layer_norm_bwd_dwdb", **config)
    assert text.count("for roffset_") == 1
    assert text.count("tl.load(grad_out") == text.count("tl.load(x") == 1


def test_split_of_an_axis_in_one_tile_means_nothing() -> None:
    whole = {"reduction_loops": [None]}
    kernel = fold_kernels.log_sum_exp
    split = code(kernel, (64, 64), **whole, reduction_splits=[4])
    assert split == code(kernel, (64, 64), **whole)


@pytest.mark.parametrize("name", ["softmax", "layer_norm", "layer_norm_bwd_dx"])
def test_launches_that_write_along_the_axis_have_no_split(name: str) -> None:
    assert bind_case(name).config_spec.split_reductions == []


@pytest.mark.parametrize("splits", [3, 0, -2, 1.5])
def test_split_is_a_power_of_two(splits: object) -> None:
    with pytest.raises(
        helion.exc.InvalidConfig, match="reduction_splits.*power of two"
    ):
        code(fold_kernels.log_sum_exp, (64, 64), reduction_splits=[splits])


def test_more_splits_than_chunks_are_lowered() -> None:
    bound = bind(fold_kernels.log_sum_exp, meta(64, 64))
    chosen = {"block_sizes": [4], "reduction_loops": [16], "reduction_splits": [1024]}
    assert bound.config_spec.normalize(chosen).reduction_splits == [4]


def test_default_splits_where_the_grid_is_small() -> None:
    few = bind(fold_kernels.log_sum_exp, meta(4, 1 << 22))
    many = bind(fold_kernels.log_sum_exp, meta(1 << 14, 1 << 17))
    assert few.config_spec.default_config().reduction_splits[0] >= 64
    assert many.config_spec.default_config().reduction_splits == [1]


def test_default_is_persistent_where_the_row_fits() -> None:
    row = bind(fold_kernels.log_sum_exp, meta(4096, 16384))
    column = bind(fold_kernels.softmax_denominator, meta(8, 4096))
    for bound in (row, column):
        assert bound.config_spec.default_config().reduction_loops == [None]
    longer = bind(fold_kernels.log_sum_exp, meta(4096, 16385))
    assert longer.config_spec.default_config().reduction_loops != [None]


def test_dynamic_length_beyond_the_default_tile_binds_again() -> None:
    """The default for a short row holds it in one tile; a long one must not."""
    kernel = helion.kernel(fold_kernels.log_sum_exp.fn, static_shapes=False)
    short = kernel.bind(fake_cuda([meta(64, 1000)]))
    long = kernel.bind(fake_cuda([meta(64, 3_000_000)]))
    assert short is not long
    assert "for roffset_" in long.to_triton_code()
    assert "for roffset_" not in short.to_triton_code()


@pytest.mark.parametrize("pid_type", ["persistent_blocked", "persistent_interleaved"])
def test_unrolled_ranges_never_begin_beyond_their_end(pid_type: str) -> None:
    """Triton's unrolling runs turns twice where they do: turns are unsigned there."""
    unrolled = {
        "range_unroll_factors": [2, 2],
        "pid_type": pid_type,
        "block_sizes": [1],
    }
    text = code(fold_kernels.log_sum_exp, (64, 64), reduction_splits=[4], **unrolled)
    ranges = [part for part in text.split("tl.range(")[1:] if "unroll" in part]
    assert len(ranges) == 3  # the programs of both launches, and the chunks
    assert all(part.lstrip().startswith("tl.minimum(") for part in ranges)


def test_folds_of_blocks_are_not_unrolled() -> None:
    """Triton's compiler would end the process with an assertion."""
    unrolled = {"range_unroll_factors": [0, 2]}
    kernel = fold_kernels.log_sum_exp
    assert "unroll" not in code(kernel, (64, 64), **unrolled)
    assert "unroll" in code(kernel, (64, 64), block_sizes=[1], **unrolled)


def test_default_respects_strips_that_must_be_wide() -> None:
    bound = bind(fold_kernels.wide_column_sums, meta(1 << 16, 2048))
    config = bound.config_spec.default_config()
    assert config.block_sizes == [256] and config.reduction_splits[0] > 1
