"""The pick of a Config: what it is for some kernels, and what ptxas makes of it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import triton

from examples.attention import attention, causal_attention
from examples.conv2d import conv2d
from examples.jagged_row_sum import jagged_row_sum
from examples.matmul import matmul, matmul_split_k
from examples.softmax import softmax_two_pass
from helion._compiler.triton.assemble import capture_launches
from test import harness

if TYPE_CHECKING:
    import helion
    from helion.runtime.bound_kernel import BoundKernel

NVDISASM = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "nvdisasm"


def bound(kernel: helion.Kernel, *shapes: tuple[int, ...]) -> BoundKernel:
    tensors = tuple(torch.empty(shape, dtype=torch.bfloat16) for shape in shapes)
    return kernel.bind(harness.fake_cuda(tensors))


def heads(head: int) -> tuple[tuple[int, ...], ...]:
    return ((1, 64, 1024, head),) * 3


def machine_code(kernel: helion.Kernel, *shapes: tuple[int, ...], path: Path) -> str:
    """Return the machine code of the default Config for sm_90."""
    tensors = tuple(torch.empty(shape, dtype=torch.bfloat16) for shape in shapes)
    args = harness.fake_cuda(tensors)
    made = kernel.bind(args)
    function = made.compile_config(made.config_spec.default_config())
    (launch,) = capture_launches(function, args)
    path.write_bytes(launch.assemble("sm_90").cubin)
    command = [str(NVDISASM), str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(not NVDISASM.exists(), reason="Triton has no disassembler here")
@pytest.mark.parametrize("kernel", [attention, causal_attention])
@pytest.mark.parametrize("head", [64, 128])
def test_products_of_attention_overlap(
    kernel: helion.Kernel, head: int, tmp_path: Path
) -> None:
    """Where ptxas cannot follow the loops, it waits before and after every product."""
    text = machine_code(kernel, *heads(head), path=tmp_path / "code")
    products = len(re.findall(r"\bHGMMA", text))
    waits = len(re.findall(r"WARPGROUP\.ARRIVE", text))
    assert products >= 12
    assert waits <= 4, f"{waits} waits for {products} products"


def test_large_products_are_copied_by_descriptors() -> None:
    config = bound(matmul, (4096, 4096), (4096, 4096)).config_spec.default_config()
    assert config["block_sizes"] == [128, 256, 64]
    assert set(config["indexing"]) == {"tensor_descriptor"}
    assert config["pid_type"] == "persistent_interleaved"
    assert config["epilogue_subtile"] == 2


def test_sides_that_are_not_aligned_are_read_by_pointers() -> None:
    config = bound(matmul, (4096, 4095), (4095, 4096)).config_spec.default_config()
    assert set(config["indexing"]) == {"pointer"}


def test_a_product_of_one_column_or_none_has_a_pick() -> None:
    for n in (0, 1):
        made = bound(matmul, (64, 32), (32, n))
        assert "tl.dot" in made.to_triton_code(made.config_spec.default_config())


@pytest.mark.parametrize("k", [0, 1, 100, 3000, 4095])
def test_shares_of_any_sum_are_powers_of_two(k: int) -> None:
    spec = bound(matmul_split_k, (1024, k), (k, 512)).config_spec
    share = spec.default_config()["block_sizes"][0]
    assert share & (share - 1) == 0


def test_a_row_read_twice_is_one_tile() -> None:
    made = bound(softmax_two_pass, (4096, 5632))
    assert made.config_spec.default_config()["block_sizes"] == [1, 8192, 8192]


def test_a_jagged_sum_reads_many_rows_a_turn() -> None:
    values = torch.empty(10000, 256, dtype=torch.bfloat16)
    offsets = torch.empty(65, dtype=torch.int64)
    made = jagged_row_sum.bind(harness.fake_cuda((values, offsets)))
    assert made.config_spec.default_config()["block_sizes"][1] >= 32


def test_a_nest_that_sums_is_one_pipeline() -> None:
    image = torch.empty(32, 56, 56, 128, dtype=torch.float16)
    weight = torch.empty(3, 3, 128, 256, dtype=torch.float16)
    args = (*harness.fake_cuda((image, weight)), 1, 1)
    made = conv2d.bind(args)
    text = made.to_triton_code(made.config_spec.default_config())
    assert text.count("flatten=True") == 1
