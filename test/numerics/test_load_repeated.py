"""Tensors that repeat along a dim: one access for each of their elements."""

from __future__ import annotations

import pytest
import torch

import helion
import helion.language as hl
from test.codegen.emitted import bind, kernel_texts
from test.harness import check, randn

CONFIGS = [
    helion.Config(block_sizes=[16, 32]),
    helion.Config(block_sizes=[1, 32]),
    helion.Config(block_sizes=[16, 1]),
    helion.Config(block_sizes=[16, 16], flatten_loops=[True]),
]


@helion.kernel
def add(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    x, y = torch.broadcast_tensors(x, y)
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    for tile in hl.tile(out.size()):
        out[tile] = x[tile] + y[tile]
    return out


def text(kernel: helion.Kernel, *args: torch.Tensor, **config: object) -> str:
    (found,) = kernel_texts(bind(kernel, *args).to_triton_code(config))
    return found


@pytest.mark.parametrize(
    "left, right",
    [((33, 1), (17,)), ((33, 17), (1, 17)), ((1, 1), (33, 17)), ((33, 0), (33, 1))],
    ids=str,
)
def test_sums_of_what_repeats(way: str, left, right) -> None:
    x, y = randn(*left), randn(*right)
    check(add, x, y, way=way, reference=torch.add, configs=CONFIGS)


def test_each_element_is_read_once() -> None:
    found = text(add, randn(33, 1), randn(17), block_sizes=[16, 32])
    assert "tl.load(x + indices_0, mask_0, other=0)" in found
    assert "tl.load(y + indices_1, mask_1, other=0)" in found


def test_one_linear_index_stays_one() -> None:
    found = text(
        add, randn(33, 1), randn(17), block_sizes=[16, 16], flatten_loops=[True]
    )
    assert "broadcast_to" not in found


@helion.kernel
def column_sums(x: torch.Tensor, rows: int) -> torch.Tensor:
    """The padded lanes of a repeated dim count for nothing in a sum."""
    wide = x.expand(rows, x.size(1))
    out = torch.empty([x.size(1)], dtype=x.dtype, device=x.device)
    for columns in hl.tile(x.size(1)):
        total = hl.zeros([columns], dtype=torch.float32)
        for lines in hl.tile(rows):
            total += (wide[lines, columns] + 1.0).sum(0)
        out[columns] = total + wide[:, columns].sum(0)
    return out


def test_padded_lanes_of_what_repeats_hold_nothing(way: str) -> None:
    check(
        column_sums,
        *(randn(1, 21), 37),
        way=way,
        reference=lambda x, rows: 2.0 * rows * x[0] + rows,
        configs=[helion.Config(block_sizes=[16, 16])],
        tolerance={torch.float32: (1e-4, 1e-4)},
    )


@helion.kernel
def scaled_scores(q: torch.Tensor, k: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """A repeated value goes into a product."""
    out = torch.empty([q.size(0), k.size(0)], dtype=torch.float32, device=q.device)
    wide = bias.expand(k.size(0), k.size(1))
    for tile_m, tile_n in hl.tile(out.size()):
        weights = k[tile_n, :] * wide[tile_n, :]
        out[tile_m, tile_n] = hl.dot(q[tile_m, :], weights.T)
    return out


def test_repeated_values_in_products(way: str) -> None:
    check(
        scaled_scores,
        *(randn(20, 24), randn(18, 24), randn(1, 24)),
        way=way,
        reference=lambda q, k, bias: q @ (k * bias).T,
        configs=[helion.Config(block_sizes=[16, 16])],
        tolerance={torch.float32: (1e-2, 1e-2)},
    )
