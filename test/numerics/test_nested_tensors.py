"""Nested tensors as arguments of kernels that were written for dense ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

import helion
from test import nested_kernels as kernels
from test.harness import run_scenario

LENGTHS = ([0, 1, 7, 33], [5], [0, 0], [3, 3])
Rows = list[torch.Tensor]

WAYS = ("eager", "interpreted", pytest.param("compiled", marks=pytest.mark.gpu))


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """Return a way to call kernels as users do."""
    return request.param


def nested(rows: Rows, device: str) -> torch.Tensor:
    """Return a nested tensor of the jagged layout."""
    moved = [row.to(device) for row in rows]
    return torch.nested.nested_tensor(moved, layout=torch.jagged)


def like(x: Any, values: torch.Tensor) -> torch.Tensor:
    """Return a nested tensor with the very rows of another."""
    return torch.nested.nested_tensor_from_jagged(values.to(x.device), x.offsets())


def compare(found: Any, wanted: Any) -> None:
    """Check results, nested or not, against a float64 reference."""
    if isinstance(wanted, tuple):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted):
            compare(one, other)
        return
    if found.is_nested:
        assert found.layout is torch.jagged
        parts = found.unbind()
    else:
        parts = list(found) if isinstance(wanted, list) else [found]
    wanted = wanted if isinstance(wanted, list) else [wanted]
    assert len(parts) == len(wanted)
    for part, want in zip(parts, wanted):
        torch.testing.assert_close(
            part.cpu().double(), want.double(), rtol=2e-5, atol=2e-5, equal_nan=True
        )


def check_nested(
    way: str,
    kernel: helion.Kernel,
    make: Callable[[str], Sequence[Any]],
    reference: Callable[..., Any],
    configs: Sequence[list[int] | None] = (None,),
    **settings: Any,
) -> None:
    """Call ``kernel`` on what ``make(device)`` returns, compare with ``reference``.

    The reference gets a list of float64 samples for a nested tensor. Products are not
    rounded to TF32.
    """
    settings = {"dot_precision": "ieee", **settings}

    def scenario(device: str) -> None:
        for blocks in configs:
            config = None if blocks is None else helion.Config(block_sizes=blocks)
            called = helion.kernel(kernel.fn, config=config, **settings)
            args = make(device)
            plain = [_samples(arg) for arg in args]
            wanted = reference(*plain)
            compare(called(*args), wanted)

    run_scenario(way, scenario)


def _samples(arg: Any) -> Any:
    if not isinstance(arg, torch.Tensor):
        return arg
    if not arg.is_nested:
        return arg.cpu().double()
    return [part.cpu().double().clone() for part in arg.unbind()]


def randn(lengths: Sequence[int], *sizes: int) -> Rows:
    """Return a sample of each length."""
    return [torch.randn(n, *sizes) for n in lengths]


# -- products: three forms, one source -------------------------------------------------

BMM_BLOCKS = (None, [2, 16, 16, 16], [1, 16, 32, 16])


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_jagged_by_dense_is_jagged(way: str, lengths: list[int]) -> None:
    check_nested(
        way,
        kernels.bmm,
        lambda device: (
            nested(randn(lengths, 5), device),
            torch.randn(len(lengths), 5, 6, device=device),
        ),
        lambda a, b: [x @ y for x, y in zip(a, b)],
        BMM_BLOCKS,
    )


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_jagged_by_jagged_is_dense(way: str, lengths: list[int]) -> None:
    def make(device: str) -> tuple[torch.Tensor, ...]:
        x = nested(randn(lengths, 5), device)
        return x.transpose(1, 2), like(x, torch.randn(sum(lengths), 6))

    check_nested(
        way,
        kernels.bmm,
        make,
        lambda a, b: torch.stack([x @ y for x, y in zip(a, b)]),
        BMM_BLOCKS,
    )


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_jagged_by_jagged_is_jagged(way: str, lengths: list[int]) -> None:
    """Scores of each sample against itself: the last dim is padded by zeros."""

    def make(device: str) -> tuple[torch.Tensor, ...]:
        x = nested(randn(lengths, 5), device)
        return x, like(x, torch.randn(sum(lengths), 5)).transpose(1, 2)

    def reference(a: Rows, b: Rows) -> Rows:
        longest = max(lengths)
        return [
            torch.nn.functional.pad(x @ y, (0, longest - y.shape[1]))
            for x, y in zip(a, b)
        ]

    check_nested(way, kernels.bmm, make, reference, BMM_BLOCKS)


def test_padded_scores_multiply_on(way: str) -> None:
    """What is padded in one product is the summed dim of the next."""
    lengths = [0, 1, 7, 20]

    def make(device: str) -> tuple[torch.Tensor, ...]:
        scores = [
            torch.nn.functional.pad(torch.randn(n, n), (0, 20 - n)) for n in lengths
        ]
        x = nested(scores, device)
        return x, like(x, torch.randn(sum(lengths), 6))

    check_nested(
        way,
        kernels.bmm,
        make,
        lambda a, b: [x[:, : len(y)] @ y for x, y in zip(a, b)],
        BMM_BLOCKS,
    )


def test_rows_are_those_of_the_padded_product(way: str) -> None:
    """A jagged product is the dense one up to the longest sample, and a mask."""

    def scenario(device: str) -> None:
        lengths = [0, 1, 7, 128]
        samples = randn(lengths, 5)
        padded = torch.nn.utils.rnn.pad_sequence(samples, batch_first=True).to(device)
        matrices = torch.randn(4, 5, 6, device=device)
        kernel = helion.kernel(kernels.bmm.fn)
        dense = kernel(padded, matrices)
        found = kernel(nested(samples, device), matrices)
        for n, mine, other in zip(lengths, found.unbind(), dense):
            assert mine.shape == (n, 6)
            torch.testing.assert_close(mine, other[:n])

    run_scenario(way, scenario)


# -- values, folds ---------------------------------------------------------------------


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_elementwise_of_two_nested_tensors(way: str, lengths: list[int]) -> None:
    def make(device: str) -> tuple[Any, ...]:
        x = nested(randn(lengths, 5), device)
        return x, like(x, torch.randn(sum(lengths), 5)), 0.5

    check_nested(
        way,
        kernels.add_scaled,
        make,
        lambda x, y, scale: [a + scale * b for a, b in zip(x, y)],
        (None, [2, 8, 4], [1, 16, 8], [4, 1, 1]),
    )


def test_samples_without_further_dims(way: str) -> None:
    check_nested(
        way,
        kernels.add_scaled,
        lambda device: (x := nested(randn([3, 0, 9]), device), x, 2.0),
        lambda x, y, scale: [a + scale * b for a, b in zip(x, y)],
        (None, [2, 4]),
    )


@pytest.mark.parametrize("lengths", [[0, 1, 7, 33], [5], [3, 3]], ids=str)
def test_softmax_over_the_ragged_dim(way: str, lengths: list[int]) -> None:
    check_nested(
        way,
        kernels.softmax_of_columns,
        lambda device: (nested(randn(lengths, 5), device),),
        lambda x: [a.softmax(0) for a in x],
        (None, [2, 4], [1, 8], [4, 1]),
    )


def test_softmax_over_the_ragged_dim_in_chunks(way: str) -> None:
    def scenario(device: str) -> None:
        config = helion.Config(block_sizes=[2, 4], reduction_loops=[8])
        kernel = helion.kernel(kernels.softmax_of_columns.fn, config=config)
        x = nested(randn([0, 1, 7, 33], 5), device)
        compare(kernel(x), [a.double().softmax(0) for a in _samples(x)])

    run_scenario(way, scenario)


def test_folds_over_the_ragged_dim_count_what_exists(way: str) -> None:
    def reference(x: Rows) -> tuple[torch.Tensor, ...]:
        x = [a + 0.5 for a in x]
        return (
            torch.stack([a.amax(0) for a in x]),
            torch.stack([a.prod(0) for a in x]),
            torch.stack([a.mean(0) for a in x]),
            torch.stack([a.var(0, correction=0) for a in x]),
        )

    check_nested(
        way,
        kernels.column_facts,
        lambda device: (nested(randn([1, 7, 12, 3], 5), device),),
        reference,
        (None, [2, 4], [1, 8], [4, 1]),
    )


def test_mean_over_ragged_and_other_dims(way: str) -> None:
    check_nested(
        way,
        kernels.whole_mean,
        lambda device: (nested(randn([1, 7, 12, 3], 5), device),),
        lambda x: torch.stack([(a + 1).mean() for a in x]),
        (None, [2], [1]),
    )


@pytest.mark.parametrize("lengths", [[0, 1, 7, 33], [0, 0]], ids=str)
def test_tiles_along_the_ragged_dim(way: str, lengths: list[int]) -> None:
    def reference(x: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        inf = torch.full([1, 5], float("inf"), dtype=torch.float64)
        low = torch.stack([torch.cat([a + 1, inf]).amin(0) for a in x])
        return low, torch.stack([(a + 1).sum(0) for a in x])

    check_nested(
        way,
        kernels.tiled_column_facts,
        lambda device: (nested(randn(lengths, 5), device),),
        reference,
        (None, [2, 4, 8], [1, 8, 16], [4, 1, 4]),
    )


def test_rows_are_normalized(way: str) -> None:
    check_nested(
        way,
        kernels.normalized_rows,
        lambda device: (nested(randn([0, 1, 7, 20], 9), device),),
        lambda x: [torch.nn.functional.layer_norm(a, [9]) for a in x],
        (None, [2, 4], [1, 8]),
    )


# -- other shapes, accesses and modes --------------------------------------------------


def heads(rows: Rows, device: str) -> torch.Tensor:
    """Return ``[B, H, M, D]`` from samples of ``[M, H, D]``."""
    return nested(rows, device).transpose(1, 2)


def test_attention_over_samples_of_unequal_length(way: str) -> None:
    lengths = [1, 7, 33]

    def make(device: str) -> tuple[torch.Tensor, ...]:
        q = heads(randn(lengths, 2, 16), device)
        return (
            q,
            heads(randn(lengths, 2, 16), device),
            heads(randn(lengths, 2, 16), device),
        )

    def reference(q: Rows, k: Rows, v: Rows) -> Rows:
        attend = torch.nn.functional.scaled_dot_product_attention
        return [attend(a[None], b[None], c[None])[0] for a, b, c in zip(q, k, v)]

    check_nested(way, kernels.attention, make, reference, (None, [16, 16]))


def test_ragged_dim_behind_another(way: str) -> None:
    check_nested(
        way,
        kernels.head_sums,
        lambda device: (heads(randn([0, 1, 7, 20], 3, 4), device),),
        lambda x: ([2 * a for a in x], torch.stack([2 * a.sum(1) for a in x])),
        (None, [2, 2, 8], [1, 2, 4], [2, 1, 8], [1, 1, 16]),
    )


def test_grid_over_samples(way: str) -> None:
    check_nested(
        way,
        kernels.each_sample,
        lambda device: (nested(randn([0, 1, 7, 20], 5), device),),
        lambda x: [a + 1 for a in x],
        (None, [8]),
    )


def test_arguments_are_changed_in_place(way: str) -> None:
    def scenario(device: str) -> None:
        x = nested(randn([0, 1, 7], 5), device)
        before = x.values().clone()
        assert helion.kernel(kernels.add_in_place.fn)(x) is x
        torch.testing.assert_close(x.values(), before + 1)

    run_scenario(way, scenario)


def test_atomics(way: str) -> None:
    check_nested(
        way,
        kernels.updated,
        lambda device: (nested(randn([0, 1, 7, 12], 5), device),),
        lambda x: ([torch.ones_like(a) for a in x], torch.cat(x).sum(0)),
        (None, [2, 4, 4], [1, 8, 8]),
    )


def test_extra_masks(way: str) -> None:
    check_nested(
        way,
        kernels.positive_only,
        lambda device: (nested(randn([0, 1, 7, 12], 5), device),),
        lambda x: [a.clamp(min=0) for a in x],
        (None, [2, 4], [1, 8]),
    )


def test_rows_with_gaps_between_them(way: str) -> None:
    def make(device: str) -> tuple[Any, ...]:
        dense = torch.randn(3, 10, 4, device=device)
        starts = torch.tensor([0, 1, 2], device=device)
        lengths = torch.tensor([3, 0, 5], device=device)
        x = torch.nested.narrow(dense, 1, starts, lengths, layout=torch.jagged)
        return x, x, 1.0

    check_nested(
        way,
        kernels.add_scaled,
        make,
        lambda x, y, scale: [a + scale * b for a, b in zip(x, y)],
        (None, [2, 4, 4]),
    )


@pytest.mark.parametrize("static", [True, False])
def test_other_lengths_need_no_other_kernel(way: str, static: bool) -> None:
    def scenario(device: str) -> None:
        kernel = helion.kernel(kernels.softmax_of_columns.fn, static_shapes=static)
        for lengths in ([3, 9, 0], [30, 2, 5], [4, 4, 4], [2, 77, 1]):
            x = nested(randn(lengths, 5), device)
            compare(kernel(x), [a.softmax(0) for a in _samples(x)])
        assert len(kernel._bound) == 1
        assert all(len(variants) == 1 for variants in kernel._bound.values())

    run_scenario(way, scenario)


@pytest.mark.parametrize("sizes", [(1, 1), (2, 3), (4, 1)], ids=str)
def test_dynamic_shapes(way: str, sizes: tuple[int, int]) -> None:
    batch, k = sizes
    check_nested(
        way,
        kernels.bmm,
        lambda device: (
            nested(randn([4, 1, 7, 2][:batch], k), device),
            torch.randn(batch, k, 6, device=device),
        ),
        lambda a, b: [x @ y for x, y in zip(a, b)],
        BMM_BLOCKS,
        static_shapes=False,
    )


def test_result_has_the_rows_of_its_argument(way: str) -> None:
    """PyTorch adds nested tensors of the same offsets only."""

    def scenario(device: str) -> None:
        x: Any = nested(randn([3, 0, 5], 4), device)
        out = helion.kernel(kernels.add_scaled.fn)(x, x, 1.0)
        assert out.offsets() is x.offsets()
        compare(out + x, [3 * a for a in _samples(x)])

    run_scenario(way, scenario)
