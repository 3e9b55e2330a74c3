"""What ``hl.jagged_tile`` emits: two loads, masks where lanes are missing, one knob."""

from __future__ import annotations

import re

import pytest
import torch

import helion
from test import jagged_kernels as kernels
from test.harness import fake_cuda, offline

VALUES = torch.empty(136)
OFFSETS = torch.tensor([0, 0, 1, 8, 136])
LENGTHS = OFFSETS.diff()
SUM = (VALUES, OFFSETS[:-1], LENGTHS)
MATRIX = torch.empty(136, 8)

CASES = [
    (kernels.jagged_sum, SUM, [4, 32]),
    (kernels.jagged_sum, SUM, [1, 32]),
    (kernels.jagged_sum, SUM, [4, 1]),
    (kernels.jagged_features, (MATRIX, OFFSETS), [4, 8, 16]),
    (kernels.jagged_features, (MATRIX, OFFSETS), [4, 1, 16]),
    (kernels.jagged_softmax, (VALUES, OFFSETS), [2, 32, 32]),
    (kernels.jagged_add_dense, (VALUES, OFFSETS, torch.empty(4, 130)), [2, 32]),
    (
        kernels.jagged_product,
        (torch.empty(4, 32, 64), torch.empty(4, 64, 32), LENGTHS),
        [1, 16, 16, 32],
    ),
    (
        kernels.doubly_jagged_sum,
        (torch.empty(4, 5, 9), LENGTHS, torch.ones(4, 5, dtype=torch.int64)),
        [2, 4, 8],
    ),
    (
        kernels.doubly_jagged_sum,
        (torch.empty(4, 5, 9), LENGTHS, torch.ones(4, 5, dtype=torch.int64)),
        [2, 1, 1],
    ),
    (
        kernels.lengths_of_two_dims,
        (torch.empty(3, 4, 5), torch.ones(3, 4, dtype=torch.int64)),
        [2, 4, 8],
    ),
    (
        kernels.jagged_histogram,
        (torch.empty(136, dtype=torch.int64), OFFSETS, 5),
        [4, 16],
    ),
]


@pytest.mark.parametrize(
    "kernel, args, blocks",
    CASES,
    ids=[f"{kernel.name}-{blocks}" for kernel, _, blocks in CASES],
)
def test_jagged_kernel_assembles(kernel: helion.Kernel, args, blocks) -> None:
    config = helion.Config(block_sizes=blocks)
    for launch in offline(kernel, *args, config=config):
        assert launch.cubin


def emitted(kernel: helion.Kernel, args: tuple, blocks: list[int]) -> str:
    config = helion.Config(block_sizes=blocks)
    return kernel.bind(fake_cuda(args)).to_triton_code(config)


def test_lengths_and_elements_are_two_loads() -> None:
    text = emitted(kernels.jagged_sum, SUM, [4, 32])
    length = text.index("length = tl.load(lengths + indices_0")
    element = text.index("part = tl.load(values + ")
    assert length < text.index("for offset_1 in tl.range(0, ") < element


def test_elements_that_do_not_exist_are_masked() -> None:
    text = emitted(kernels.jagged_sum, SUM, [4, 32])
    (line,) = [row for row in text.splitlines() if "part = tl.load" in row]
    mask = line.split(", ")[1]
    terms = [row for row in text.splitlines() if row.strip().startswith(f"{mask} = ")]
    (name,) = [term.split(" & ")[-1].strip() for term in terms]
    (compared,) = [row for row in text.splitlines() if f" {name} = " in row]
    assert " < " in compared


def test_sum_of_loaded_values_needs_no_second_mask() -> None:
    """What is not read is 0 already, so a plain sum of it has nothing to hide."""
    text = emitted(kernels.jagged_features, (MATRIX, OFFSETS), [4, 8, 16])
    (gathered,) = re.findall(r"tl\.sum\((\w+), 1\)", text)
    (next_one,) = re.findall(rf"(\w+) = {gathered} \+ part\n", text)
    assert f"    {gathered} = {next_one}\n" in text


def test_jagged_tile_has_one_block_size() -> None:
    spec = kernels.jagged_sum.bind(fake_cuda(SUM)).config_spec
    assert len(spec.block_sizes) == 2
