"""Constructs of the language that have no other home: loops, sizes, new ops."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
import torch

import helion
import helion.language as hl
from helion import exc
from helion._compiler.ast_extension import expr
from helion._compiler.codegen_state import CodegenState
from helion.autotuner import EnumFragment
from helion.language import _decorators
from test.codegen.emitted import bind, kernel_texts, meta
from test.harness import check

TESTS = Path(__file__).resolve().parents[1]


# ---- loops ----


@helion.kernel
def one_dim(x: torch.Tensor) -> torch.Tensor:
    """Return ``x + 1`` over a one-dimensional grid."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = x[tile] + 1
    return out


@helion.kernel
def nested_tiles(x: torch.Tensor) -> torch.Tensor:
    """Return ``x + 1`` over a grid of two dims and a loop over a third."""
    out = torch.empty_like(x)
    for i, j in hl.tile([x.size(0), x.size(1)]):
        for k in hl.tile(x.size(2)):
            out[i, j, k] = x[i, j, k] + 1
    return out


@helion.kernel
def range_rows(x: torch.Tensor) -> torch.Tensor:
    """Return ``x + 1`` row by row, with Python's range in the device code."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(1)):
        for row in range(x.size(0)):
            out[row, tile] = x[row, tile] + 1
    return out


SHAPES = [(one_dim, (37,)), (nested_tiles, (3, 5, 7)), (range_rows, (5, 9))]


@pytest.mark.parametrize("way", ["plain", "eager", "interpreted"])
@pytest.mark.parametrize("kernel, shape", SHAPES, ids=lambda v: getattr(v, "name", ""))
def test_tile_loops_of_any_shape(
    kernel: helion.Kernel, shape: tuple[int, ...], way: str
) -> None:
    check(kernel, torch.randn(shape), way=way, reference=lambda x: x + 1)


def test_range_is_a_device_loop() -> None:
    (kernel,) = kernel_texts(bind(range_rows, meta(5, 9)).to_triton_code())
    assert re.search(r"for \w+ in tl\.range\(0, 5", kernel)


# ---- hl.reduction ----


@helion.kernel
def chunked_sum(x: torch.Tensor) -> torch.Tensor:
    """Return row sums through a loop over chunks that reduction_loops decides."""
    m, n = x.size()
    out = torch.empty([m], dtype=x.dtype, device=x.device)
    for i in hl.tile(m):
        total = hl.zeros([i], dtype=torch.float32)
        for j in hl.reduction(n):
            total = total + x[i, j].sum(1)
        out[i] = total
    return out


def test_reduction_adds_a_spec() -> None:
    bound = bind(chunked_sum, meta(64, 100))
    spec = bound.config_spec
    assert [entry.size_hint for entry in spec.reduction_loops] == [100]
    assert len(spec.block_sizes) == 1 and len(bound.env.block_sizes) == 2
    persistent = bound.to_triton_code({"block_sizes": [4], "reduction_loops": [None]})
    looped = bound.to_triton_code({"block_sizes": [4], "reduction_loops": [16]})
    assert "_BLOCK_SIZE_1 = 128" in persistent and "_BLOCK_SIZE_1 = 16" in looped


@pytest.mark.parametrize("way", ["plain", "eager", "interpreted"])
def test_reduction_in_chunks_is_right(way: str) -> None:
    configs = [
        None,
        *(
            helion.Config(block_sizes=[4], reduction_loops=[chunk])
            for chunk in (None, 8, 32)
        ),
    ]
    x = torch.randn(7, 37)
    check(chunked_sum, x, way=way, reference=lambda x: x.sum(1), configs=configs)


@helion.kernel
def reduction_on_host(x: torch.Tensor) -> torch.Tensor:
    """Use hl.reduction where only a tile loop may stand."""
    out = torch.empty_like(x)
    for i in hl.reduction(x.size(0)):
        out[i] = x[i]
    return out


def test_reduction_is_no_launch() -> None:
    with pytest.raises(exc.IncorrectTileUsage, match="inside a tile loop"):
        bind(reduction_on_host, meta(64))


# ---- tiles as sizes ----


@helion.kernel
def tile_sizes(x: torch.Tensor) -> torch.Tensor:
    """Return ``x + 3`` from tiles made of tiles."""
    out = torch.empty_like(x)
    for i, j in hl.tile(x.size()):
        ones = hl.full([i, j], 1.0, dtype=x.dtype)
        twos = hl.zeros([i, j], dtype=x.dtype) + 2
        out[i, j] = x[i, j] + ones + twos
    return out


@pytest.mark.parametrize("way", ["plain", "eager", "interpreted"])
def test_tiles_are_sizes(way: str) -> None:
    check(tile_sizes, torch.randn(13, 37), way=way, reference=lambda x: x + 3)
    (kernel,) = kernel_texts(bind(tile_sizes, meta(13, 37)).to_triton_code())
    assert "tl.full([_BLOCK_SIZE_0, _BLOCK_SIZE_1], 1.0" in kernel


@helion.kernel
def tile_functions(x: torch.Tensor) -> torch.Tensor:
    """Return rows of begin, end, id, block size and index of each position's tile."""
    out = torch.empty([5, x.size(0)], dtype=torch.int64, device=x.device)
    for tile in hl.tile(x.size(0), block_size=8):
        zero = x[tile].to(torch.int64) * 0
        out[0, tile] = zero + hl.tile_begin(tile)
        out[1, tile] = zero + hl.tile_end(tile)
        out[2, tile] = zero + hl.tile_id(tile)
        out[3, tile] = zero + hl.tile_block_size(tile)
        out[4, tile] = zero + hl.tile_index(tile)
    return out


def tile_functions_reference(x: torch.Tensor) -> torch.Tensor:
    at = torch.arange(x.size(0))
    begin = at // 8 * 8
    size = torch.full_like(at, 8)
    return torch.stack([begin, (begin + 8).clamp(max=len(at)), at // 8, size, at])


@pytest.mark.parametrize("way", ["plain", "eager", "interpreted"])
def test_facts_of_a_tile_by_function(way: str) -> None:
    x = torch.randn(21)
    check(tile_functions, x, way=way, reference=tile_functions_reference)


@helion.kernel
def tuned(x: torch.Tensor, power: hl.ConstExpr) -> torch.Tensor:
    """Return ``x + power``, in as many steps as a tunable of this kernel says."""
    steps = hl.register_tunable("steps", EnumFragment((1, 2, 4)))
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        value = x[tile]
        for _ in range(steps):
            value = value + power / steps
        out[tile] = value
    return out


@pytest.mark.parametrize("way", ["plain", "eager", "interpreted"])
def test_tunable_of_a_kernel(way: str) -> None:
    configs = [None, helion.Config(block_sizes=[8], steps=4)]
    args = torch.randn(21), 2
    check(tuned, *args, way=way, reference=torch.add, configs=configs)


def test_breakpoint_calls_the_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(sys, "breakpointhook", lambda: calls.append(1))
    hl.breakpoint()
    assert calls == [1]


def test_eager_loop_variable_is_a_tile() -> None:
    assert all(isinstance(tile, hl.Tile) for tile in hl.tile(8, block_size=4))


# ---- an op of somebody else ----


@_decorators.api(is_device_only=True)
def scaled_sum(x: torch.Tensor, y: torch.Tensor, scale: float) -> torch.Tensor:
    """Return ``x + y * scale``."""
    return x + y * scale


@_decorators.fake(scaled_sum)
def scaled_sum_fake(x: torch.Tensor, y: torch.Tensor, scale: float) -> torch.Tensor:
    return torch.empty_like(x)


@_decorators.codegen(scaled_sum)
def scaled_sum_codegen(state: CodegenState) -> ast.expr:
    x, y, scale = (state.expr_arg(i) for i in range(3))
    return expr("tl.fma({y}, {s}, {x})", x=x, y=y, s=scale)


@_decorators.masked_value(scaled_sum)
def scaled_sum_masked_value(node: torch.fx.Node) -> None:
    return None


@helion.kernel
def with_toy_op(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return row sums of ``x + 3 * y`` through an op of this file."""
    out = torch.empty([x.size(0)], dtype=x.dtype, device=x.device)
    for i in hl.tile(x.size(0)):
        out[i] = scaled_sum(x[i, :], y[i, :], 3.0).sum(1)
    return out


@pytest.mark.parametrize("way", ["plain", "eager", "interpreted"])
def test_op_outside_the_package_compiles(way: str) -> None:
    args = torch.randn(13, 37), torch.randn(13, 37)
    check(with_toy_op, *args, way=way, reference=lambda x, y: (x + 3 * y).sum(1))
    (kernel,) = kernel_texts(bind(with_toy_op, *args).to_triton_code())
    assert "tl.fma(" in kernel


# ---- coverage ----


@pytest.mark.parametrize("name", hl.__all__)
def test_every_public_name_is_used_by_a_test(name: str) -> None:
    used = re.compile(rf"\bhl\.{name}\b")
    assert any(used.search(path.read_text()) for path in TESTS.rglob("*.py"))
