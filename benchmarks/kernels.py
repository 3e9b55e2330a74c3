"""Kernels of the suite that no example has."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

import helion
import helion.language as hl

# ---- pointwise work, also as epilogues ----


@helion.kernel
def bias_gelu(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return the exact GELU of ``x + bias``, computed in float32."""
    out = torch.empty_like(x)
    for tile_m, tile_n in hl.tile(x.size()):
        value = x[tile_m, tile_n].to(torch.float32) + bias[tile_n].to(torch.float32)
        out[tile_m, tile_n] = F.gelu(value).to(x.dtype)
    return out


def gelu_epilogue(bias: torch.Tensor) -> Callable[..., torch.Tensor]:
    """Return an epilogue of a product: a bias for each column, then the exact GELU."""
    return lambda acc, tile: F.gelu(acc + bias[tile[1]])


def relu_epilogue(bias: torch.Tensor) -> Callable[..., torch.Tensor]:
    """Return an epilogue of a product: a bias for each column, then ReLU."""
    return lambda acc, tile: torch.relu(acc + bias[tile[1]])


def silu_epilogue(bias: torch.Tensor) -> Callable[..., torch.Tensor]:
    """Return an epilogue of a product: a bias for each column, then SiLU."""
    return lambda acc, tile: F.silu(acc + bias[tile[1]])


# ---- products ----


@helion.kernel
def fp8_matmul_tensor(
    x: torch.Tensor, y: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """Return ``x @ y`` of 8-bit floats times one scale for all, in bfloat16."""
    m, k = x.size()
    _, n = y.size()
    out = torch.empty([m, n], dtype=torch.bfloat16, device=x.device)
    for tile_m, tile_n in hl.tile([m, n]):
        acc = hl.zeros([tile_m, tile_n], dtype=torch.float32)
        for tile_k in hl.tile(k):
            acc = hl.dot(x[tile_m, tile_k], y[tile_k, tile_n], acc=acc)
        out[tile_m, tile_n] = (acc * scale[0]).to(out.dtype)
    return out


# ---- rows of unequal length ----


@helion.kernel
def jagged_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    offsets: torch.Tensor,
    longest: int,
) -> torch.Tensor:
    """Return attention within each ``[offsets[i] : offsets[i + 1]]`` of packed rows.

    ``q``, ``k`` and ``v`` are ``[total, heads, head]``. A program owns a block of the
    queries of one sample and head; ``longest`` says how many blocks there can be, and
    the loop over a block that a shorter sample lacks turns zero times.
    """
    _, heads, head = q.size()
    head = hl.specialize(head)
    rows = hl.register_block_size(16, 256)
    out = torch.empty_like(q)
    scale = math.log2(math.e) / math.sqrt(head)
    for i, h, block in hl.grid(
        [offsets.size(0) - 1, heads, helion.cdiv(longest, rows)]
    ):
        begin = offsets[i]
        end = offsets[i + 1]
        first = begin + block * rows
        for tile_m in hl.tile(first, min(first + rows, end), block_size=rows):
            m_i = hl.full([tile_m], float("-inf"), dtype=torch.float32)
            l_i = hl.zeros([tile_m], dtype=torch.float32)
            acc = hl.zeros([tile_m, head], dtype=torch.float32)
            queries = q[tile_m, h, :]
            for tile_n in hl.tile(begin, end):
                scores = hl.dot(queries, k[tile_n, h, :].T) * scale
                # Keys past the end of the sample belong to the next one.
                inside = (tile_n.index < end)[None, :]
                scores = torch.where(inside, scores, float("-inf"))
                m_new = torch.maximum(m_i, torch.amax(scores, dim=1))
                weights = torch.exp2(scores - m_new[:, None])
                decay = torch.exp2(m_i - m_new)
                l_i = l_i * decay + torch.sum(weights, dim=1)
                values = v[tile_n, h, :]
                acc = hl.dot(weights.to(v.dtype), values, acc=acc * decay[:, None])
                m_i = m_new
            out[tile_m, h, :] = (acc / l_i[:, None]).to(out.dtype)
    return out
