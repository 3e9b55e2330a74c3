"""Every kind of fold becomes machine code, in chunks and split, for all chips."""

from __future__ import annotations

import pytest
import torch

import helion
from examples.sum import row_amax, row_argmax
from test import fold_kernels
from test.codegen.emitted import meta
from test.harness import offline

CHUNKS = helion.Config(block_sizes=[2], reduction_loops=[64], num_warps=2)
SPLIT = helion.Config(
    block_sizes=[2], reduction_loops=[64], reduction_splits=[4], num_warps=2
)
F32, F64, BF16 = torch.float32, torch.float64, torch.bfloat16
# Kernel, argument's dtype, Config, chip.
CASES = {
    "sum, extremum, index, moments": (fold_kernels.column_folds, F32, SPLIT, "sm_90"),
    "in other chunks": (fold_kernels.column_folds, F64, CHUNKS, "gfx942"),
    "online": (fold_kernels.log_sum_exp, BF16, CHUNKS, "sm_100"),
    "online, split": (fold_kernels.softmax_denominator, F32, SPLIT, "sm_80"),
    "base 2, split": (fold_kernels.base_2_denominator, F32, SPLIT, "gfx942"),
    "moments": (fold_kernels.var_and_mean, BF16, CHUNKS, "sm_80"),
    "moments, split": (fold_kernels.var_and_mean, F32, SPLIT, "sm_100"),
    "bfloat16 extremum": (row_amax, BF16, CHUNKS, "sm_80"),
    "bfloat16 extremum, split": (row_amax, BF16, SPLIT, "gfx942"),
    "float64 extremum": (row_amax, F64, SPLIT, "sm_90"),
    "int32 extremum": (row_amax, torch.int32, SPLIT, "sm_90"),
    "bool, split": (fold_kernels.columns_above, F32, SPLIT, "sm_90"),
    "bool, split, gfx942": (fold_kernels.columns_above, F32, SPLIT, "gfx942"),
    "float16 index, split": (row_argmax, torch.float16, SPLIT, "sm_100"),
}


@pytest.mark.parametrize("case", CASES)
def test_fold_assembles(case: str) -> None:
    kernel, dtype, config, arch = CASES[case]
    launches = offline(kernel, meta(300, 300, dtype=dtype), config=config, arch=arch)
    assert len(launches) == (2 if config is SPLIT else 1)
    assert all(launch.cubin for launch in launches)
