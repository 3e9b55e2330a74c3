"""What dense kernels emit for nested tensors: loads of places, then of elements."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import helion
from helion._compiler.triton.assemble import capture_launches
from helion.language.jagged_tensor import (
    JaggedLayout,
    JaggedMode,
    JaggedParts,
    JaggedTensor,
)
from test import nested_kernels as kernels

BATCH, LONGEST, TOTAL = 4, 128, 136
MODE = FakeTensorMode()


def fake_nested(*shape: int, ragged_dim: int = 1, dtype: Any = torch.float32) -> Any:
    """Return a stand-in of a nested tensor on a GPU; -1 is the packed dim."""
    sizes = [TOTAL if size == -1 else size for size in shape]
    with MODE:
        values = torch.empty(sizes, dtype=dtype, device="cuda")
        offsets = torch.empty(BATCH + 1, dtype=torch.int64, device="cuda")
    layout = JaggedLayout(offsets, None, BATCH, LONGEST, TOTAL)
    return JaggedTensor(JaggedParts(values, layout, ragged_dim))


def dense(*shape: int) -> torch.Tensor:
    with MODE:
        return torch.empty(shape, device="cuda")


NESTED = fake_nested(-1, 32)
CASES = [
    (kernels.bmm, (NESTED, dense(BATCH, 32, 16)), [1, 32, 16, 16]),
    (kernels.bmm, (NESTED, dense(BATCH, 32, 16)), [2, 16, 16, 16]),
    (
        kernels.bmm,
        (fake_nested(32, -1, ragged_dim=2), fake_nested(-1, 16)),
        [1, 32, 16, 16],
    ),
    (kernels.bmm, (NESTED, fake_nested(32, -1, ragged_dim=2)), [1, 16, 16, 32]),
    (kernels.add_scaled, (NESTED, fake_nested(-1, 32), 0.5), [2, 16, 32]),
    (kernels.softmax_of_columns, (NESTED,), [2, 8]),
    (kernels.column_facts, (NESTED,), [1, 8]),
    (kernels.whole_mean, (NESTED,), [2]),
    (kernels.normalized_rows, (NESTED,), [2, 4]),
    (kernels.head_sums, (fake_nested(3, -1, 16, ragged_dim=2),), [2, 2, 8]),
    (
        kernels.attention,
        tuple(fake_nested(2, -1, 64, ragged_dim=2) for _ in range(3)),
        [64, 32],
    ),
    (kernels.each_sample, (NESTED,), [16]),
    (kernels.updated, (NESTED,), [2, 4, 8]),
    (kernels.positive_only, (NESTED,), [2, 8]),
]


@pytest.mark.parametrize(
    "kernel, args, blocks",
    CASES,
    ids=[f"{kernel.name}-{blocks}" for kernel, _, blocks in CASES],
)
def test_kernel_of_nested_tensors_assembles(
    kernel: helion.Kernel, args, blocks
) -> None:
    bound = kernel.bind(args)
    function = bound.compile_config(helion.Config(block_sizes=blocks))
    nested = [arg.parts for arg in args if isinstance(arg, JaggedTensor)]

    def host(*values: torch.Tensor, _launcher: Any) -> None:
        function(*args, _launcher=_launcher)

    with JaggedMode([parts.layout for parts in nested]):
        launches = capture_launches(host, [parts.values for parts in nested])
    assert launches
    for launch in launches:
        assert launch.assemble("sm_90").cubin


def emitted(kernel: helion.Kernel, args: tuple[Any, ...], blocks: list[int]) -> str:
    return kernel.bind(args).to_triton_code(helion.Config(block_sizes=blocks))


def lines_with(text: str, part: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if part in line]


def test_places_and_elements_are_two_loads() -> None:
    text = emitted(*CASES[0])
    places = lines_with(text, "tl.load(a_offsets + ")
    (element,) = lines_with(text, "tl.load(a_values + ")
    assert len(places) == 2
    assert text.index(places[1]) < text.index("for offset_3") < text.index(element)


def test_missing_rows_are_masked_in_loads_and_stores() -> None:
    text = emitted(*CASES[1])
    (element,) = lines_with(text, "tl.load(a_values + ")
    (result,) = lines_with(text, "tl.store(out_values + ")
    for line in (element, result):
        mask = line.split(", ")[-1 if line is result else 1].rstrip(")")
        (made,) = lines_with(text, f"{mask} = ")
        (limit,) = lines_with(text, f"{made.split(' & ')[-1]} = ")
        assert " < " in limit, "positions are compared with the length of the row"


def test_host_code_stays_as_it_is_written() -> None:
    text = emitted(*CASES[0])
    assert "out = torch.empty([bs, m, n], dtype=a.dtype, device=a.device)" in text
    assert "a.max_length + _BLOCK_SIZE_1 - 1" in text


def test_dense_arguments_get_dense_code() -> None:
    args = (dense(4, 128, 32), dense(4, 32, 16))
    text = emitted(kernels.bmm, args, [1, 32, 16, 16])
    assert "offsets + " not in text
    assert "a_values" not in text


@pytest.mark.parametrize("static", [True, False])
def test_lengths_are_no_part_of_the_key(static: bool) -> None:
    kernel = helion.kernel(kernels.bmm.fn, static_shapes=static)
    other = fake_nested(-1, 32)
    other.parts.layout.max_length = 7
    y = dense(BATCH, 32, 16)
    key = kernel.specialization_key((NESTED, y))
    assert key == kernel.specialization_key((other, y))
    assert key != kernel.specialization_key((dense(4, 128, 32), y))
