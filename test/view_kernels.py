"""A kernel that moves elements of its tiles, and the ways it does so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import helion
import helion.language as hl

Viewed = Callable[[torch.Tensor], torch.Tensor]

# What is done to a block of shape [tile, 6, 5].
VIEWS: dict[str, Viewed] = {
    "int": lambda v: v[:, 0],
    "negative_int": lambda v: v[:, -2, -1],
    "part": lambda v: v[:, 1:3],
    "step": lambda v: v[:, ::2, 1::3],
    "tail": lambda v: v[..., -3:],
    "narrow": lambda v: v.narrow(1, 2, 3),
    "select": lambda v: torch.select(v, 2, 4),
    "new_dims": lambda v: v[:, None, 2, ..., None],
    "cat": lambda v: torch.cat([v, v + 1], 1),
    "cat_three": lambda v: torch.cat([v, v, v], -1),
    "cat_unequal": lambda v: torch.cat([v, v[:, :, :2], v[:, :, 4:]], 2),
    "cat_dtypes": lambda v: torch.cat([v.int(), v[:, :1]], 1),
    "stack": lambda v: torch.stack([v, v * 2, v * 3], 1),
    "stack_last": lambda v: torch.stack([v[:, 0], v[:, 1]], -1),
    "flip": lambda v: v.flip(1),
    "flip_both": lambda v: torch.flip(v, [1, -1]),
    "roll": lambda v: v.roll(2, 1),
    "roll_back": lambda v: torch.roll(v, (-1, 13), (2, 1)),
    "split": lambda v: torch.split(v, 4, 1)[1],
    "split_sizes": lambda v: v.split([1, 3, 2], dim=1)[1],
    "tensor_split": lambda v: torch.tensor_split(v, 4, 1)[1],
    "tensor_split_at": lambda v: v.tensor_split((1, 4), dim=-1)[1],
    "hsplit": lambda v: v.hsplit(3)[2],
    "dsplit": lambda v: torch.dsplit(v, [2])[0],
    "chunk": lambda v: v.chunk(2, 1)[1],
    "chunk_uneven": lambda v: v.chunk(3, 2)[2],
    "unbind": lambda v: v.unbind(2)[3],
    "unbind_two": lambda v: torch.unbind(v[:, :2], 1)[1],
    "repeat": lambda v: v.repeat(1, 2, 3),
    "repeat_more": lambda v: v[:, 0].repeat(1, 2)[:, None, :],
    "tile": lambda v: torch.tile(v, (2, 1)),
    "repeat_interleave": lambda v: v.repeat_interleave(3, 1),
    "expand": lambda v: v[:, :1].expand(-1, 4, -1),
    "movedim": lambda v: torch.movedim(v, 1, 2),
    "swapaxes": lambda v: torch.swapaxes(v, 1, 2).swapdims(1, 2).mT,
    "unflatten": lambda v: v.unflatten(1, (2, -1)),
    "flatten": lambda v: v.flatten(1),
    "ravel_parts": lambda v: v.reshape(v.size(0), 3, 10).transpose(1, 2),
    "diagonal": lambda v: torch.diagonal(v, 0, 1, 2),
    "diagonal_below": lambda v: v.diagonal(-2, 1, 2),
    "tril": lambda v: torch.tril(v),
    "triu": lambda v: v.triu(1),
    "index_select": lambda v: torch.index_select(v, 1, hl.arange(3) * 2),
    "index": lambda v: v[:, 5 - hl.arange(4)],
    "index_2d": lambda v: v[:, hl.arange(2)[:, None] + hl.arange(3)[None, :]],
    "index_0d": lambda v: v[:, :, hl.arange(4).sum() - 3],
    "gather": lambda v: torch.gather(v, 1, (v * 0).long() + 3),
    "gather_last": lambda v: v.gather(2, (v[:, :4, :3] * 100).long().abs() % 5),
    "take_along_dim": lambda v: torch.take_along_dim(
        v, hl.arange(4).long()[None, :, None], 1
    ),
    "sorted_by": lambda v: v.take_along_dim(v.argmax(1, keepdim=True), 1),
    "bools": lambda v: (v > 0).flip(2).roll(1, 1),
    "halves": lambda v: v.half().flip(2),
}


@helion.kernel
def viewed(x: torch.Tensor, name: Any, sizes: Any, dtype: Any) -> torch.Tensor:
    """Return what a view makes of each tile of rows."""
    sizes = hl.specialize(sizes)
    out = torch.empty([x.size(0), *sizes], dtype=dtype, device=x.device)
    for tile in hl.tile(x.size(0)):
        out[tile, ...] = VIEWS[name](x[tile, :, :] + 0)
    return out


@helion.kernel
def folded_tiles(x: torch.Tensor) -> torch.Tensor:
    """Sum tiles that stand side by side several times: padding is in between."""
    out = x.new_zeros([1])
    for tm, tn in hl.tile(x.size()):
        v = x[tm, tn] + 0
        many = v.exp().log().repeat(1, 2).sum() + torch.cat([v, v], 0).sum()
        hl.atomic_add(out, [0], many)
    return out
