"""Kernels whose sizes come from hl.specialize, and how their compiles are read."""

from __future__ import annotations

import re
from typing import Any

import torch

import helion
import helion.language as hl
from helion._compiler.variable_origin import BlockOrigin
from test.codegen.emitted import kernel_texts

WIDTH = 1000  # no power of two


# ---- creation ----


@helion.kernel
def zeros_rows(x: torch.Tensor) -> torch.Tensor:
    """Return ``x + 1`` through an accumulator as wide as a specialized dim."""
    m, n = x.size()
    n = hl.specialize(n)
    out = torch.empty_like(x)
    for tile in hl.tile(m):
        acc = hl.zeros([tile, n])
        acc += x[tile, :] + hl.full([n], 1.0)
        out[tile, :] = acc
    return out


@helion.kernel
def host_buffers(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return doubles of ``x`` in buffers made in three ways on the host."""
    m = x.size(0)
    n = hl.specialize(x.size(1))
    zeros = torch.zeros(n, device=x.device)
    empty = torch.empty([m, n], dtype=x.dtype, device=x.device)
    new = x.new_zeros(n)
    for tile in hl.tile(m):
        empty[tile, :] = x[tile, :] * 2 + zeros[:] + new[:]
    return empty, zeros, new


@helion.kernel
def default_full(x: torch.Tensor, given: hl.constexpr) -> torch.Tensor:
    """Return what ``hl.full`` makes of an int, by default or on a device."""
    out = torch.empty([4], dtype=torch.float64, device=x.device)
    for tile in hl.tile(4):
        if given:
            value = hl.full([tile], 3, device=x.device)
        else:
            value = hl.full([tile], 3)
        out[tile] = value / 7
    return out


@helion.kernel
def full_of(x: torch.Tensor, shape: hl.constexpr) -> torch.Tensor:
    """Return ones, of a shape that may be no list."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = hl.full(shape, 1.0).sum()
    return out


# ---- slicing ----


@helion.kernel
def slices(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return one half of the columns, weighted, from slices of all kinds."""
    m, n = x.size()
    n = hl.specialize(n)
    buffer = torch.ones(2 * n, dtype=x.dtype, device=x.device)
    head = buffer[:n]
    out = torch.empty([m, n // 2], dtype=x.dtype, device=x.device)
    for tile in hl.tile(m):
        row = x[tile, : n // 2] * weight[n // 2 : n]
        out[tile, :] = row + buffer[: n // 2] + head[n // 2 : n]
    return out


def slices_reference(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return what ``slices`` should."""
    half = x.size(1) // 2
    return x[:, :half] * weight[half : 2 * half] + 2


# ---- reductions ----


@helion.kernel
def kept_dims(x: torch.Tensor) -> torch.Tensor:
    """Return sums over the middle dim; the last one is kept."""
    b, m, n = x.size()
    n = hl.specialize(n)
    out = torch.empty([b, n], dtype=x.dtype, device=x.device)
    for tile in hl.tile(b):
        out[tile, :] = x[tile, :, :].sum(1) + hl.zeros([tile, n])
    return out


@helion.kernel
def host_sum(x: torch.Tensor) -> torch.Tensor:
    """Return row sums, plus the sum of a buffer that the host reduces."""
    n = hl.specialize(x.size(1))
    buffer = torch.zeros(n, device=x.device)
    total = torch.sum(buffer, dim=0)
    out = torch.empty([x.size(0)], device=x.device)
    for tile in hl.tile(x.size(0)):
        out[tile] = x[tile, :].sum(1) + total[()]
    return out


def add(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the sum of two scalars."""
    return left + right


@helion.kernel
def reduced(
    x: torch.Tensor, dim: hl.constexpr, keep: hl.constexpr, own: hl.constexpr
) -> torch.Tensor:
    """Return a sum, with its rank added, spread over the shape of ``x``."""
    m = hl.specialize(x.size(0))
    n = hl.specialize(x.size(1))
    out = torch.empty_like(x)
    for _ in hl.grid(1):
        if own:
            total = hl.reduce(add, x[:, :], dim, keep_dims=keep)
        else:
            total = torch.sum(x[:, :], dim, keepdim=keep)
        rank = total.dim()
        if rank == 1:
            total = total[:, None]
        out[:, :] = hl.zeros([m, n]) + total + rank
    return out


def reduced_reference(
    x: torch.Tensor, dim: int | None, keep: bool, own: bool
) -> torch.Tensor:
    """Return what ``reduced`` should."""
    total = torch.sum(x, dim, keepdim=keep)
    spread = total if keep or dim is None else total.unsqueeze(dim)
    return spread.expand(x.shape) + total.dim()


@helion.kernel
def two_dims(x: torch.Tensor) -> torch.Tensor:
    """Return the sum of all elements, reduced over two dims at once."""
    n = hl.specialize(x.size(1))
    out = torch.empty([1], device=x.device)
    for tile in hl.grid(1):
        out[tile] = torch.sum(x[:, :], dim=[0, 1]) / n
    return out


@helion.kernel
def carried(x: torch.Tensor) -> torch.Tensor:
    """Return column sums; the accumulator enters the inner loop."""
    m, n = x.size()
    n = hl.specialize(n)
    out = torch.empty([n], device=x.device)
    for column in hl.tile(n):
        acc = hl.zeros([column])
        for row in hl.tile(m):
            acc = acc + x[row, column].sum(0)
        out[column] = acc
    return out


@helion.kernel
def mixed_dims(x: torch.Tensor) -> torch.Tensor:
    """Return mean absolute values over a run-time dim and a specialized one."""
    m, n = x.size()
    n = hl.specialize(n)
    out = torch.empty([1], device=x.device)
    for tile in hl.grid(1):
        rows = x[:, :] + hl.zeros([m, n])
        out[tile] = rows.abs().sum(1).sum(0) / (m * n)
    return out


@helion.kernel
def softmax_rows(x: torch.Tensor) -> torch.Tensor:
    """Return softmax over a specialized dim, which a fold has to mask."""
    m, n = x.size()
    n = hl.specialize(n)
    out = torch.empty_like(x)
    for tile in hl.tile(m):
        row = x[tile, :] + hl.zeros([tile, n])
        out[tile, :] = torch.softmax(row, dim=1)
    return out


@helion.kernel
def literal_rows(x: torch.Tensor) -> torch.Tensor:
    """Return ``x + 1`` for rows of 5632, with the width as a literal."""
    n = hl.specialize(x.size(1))
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        ones = hl.full([tile, 5632], 0.5) + hl.full([tile, n], 0.5)
        out[tile, :] = x[tile, :] + ones
    return out


@helion.kernel
def same_length(x: torch.Tensor) -> torch.Tensor:
    """Return row sums through reshapes that spell the width otherwise."""
    m, n = x.size()
    n = hl.specialize(n)
    flat = x.reshape(m, (n * 2) // 2)
    out = torch.empty([m], device=x.device)
    for tile in hl.tile(m):
        row = x[tile, :].reshape([tile, (n * 2) // 2])
        out[tile] = (row + flat[tile, :]).sum(-1) / 2
    return out


@helion.kernel
def layer_norm_backward_sum(
    grad_out: torch.Tensor, x: torch.Tensor, mean: torch.Tensor, rstd: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients of weight and bias from partial sums of bands of rows."""
    m, n = x.size()
    n = hl.specialize(n)
    rows = hl.register_block_size(m)
    bands = helion.cdiv(m, rows)
    weights = torch.empty([bands, n], dtype=torch.float32, device=x.device)
    biases = torch.empty([bands, n], dtype=torch.float32, device=x.device)
    for band in hl.tile(m, block_size=rows):
        weight_sum, bias_sum = hl.zeros([n]), hl.zeros([n])
        for tile in hl.tile(band.begin, band.end):
            normal = (x[tile, :] - mean[tile, None]) * rstd[tile, None]
            weight_sum += torch.sum(grad_out[tile, :] * normal, dim=0)
            bias_sum += torch.sum(grad_out[tile, :], dim=0)
        weights[band.id, :] = weight_sum
        biases[band.id, :] = bias_sum
    return weights.sum(0), biases.sum(0)


# ---- several at once ----


@helion.kernel
def nested_tags(x: torch.Tensor) -> torch.Tensor:
    """Return ``x`` doubled; its sizes travel in a tuple in a dict."""
    facts = {"sizes": (hl.specialize(x.shape), [hl.specialize(x.size(1))])}
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        acc = hl.zeros([tile, facts["sizes"][1][0]])
        out[tile, :] = acc + x[tile, :] * 2
    return out


@helion.kernel
def three_tags(x: torch.Tensor) -> torch.Tensor:
    """Return sums over the last two of three specialized dims."""
    b, m, n = hl.specialize(x.size())
    out = torch.empty([b], device=x.device)
    for tile in hl.tile(b):
        weights = hl.full([m, n], 0.5)
        out[tile] = (x[tile, :, :] * weights).sum(-1).sum(-1)
    return out


# ---- what a compile made ----


def stray_symbols(env: Any) -> list[str]:
    """Return the symbols that a compile minted for sizes without a known value.

    The run-time facts of tiles (their begin, end, id) are no sizes.
    """
    origins = {str(symbol): origin for symbol, origin in env.symbol_origins.items()}
    names = [str(symbol) for symbol in env.shape_env.var_to_range]
    return [
        name
        for name in names
        if name.startswith("u") and not isinstance(origins.get(name), BlockOrigin)
    ]


def shape_literals(code: str) -> set[int]:
    """Return the numbers that emitted kernels write into shapes of blocks."""
    texts = [re.findall(r"\[([^\[\]]*)\]", text) for text in kernel_texts(code)]
    return {int(n) for found in texts for t in found for n in re.findall(r"\d+", t)}
