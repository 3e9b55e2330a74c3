"""Pieces of random programs: what fills the holes of test.program_generator.

``{v}`` and ``{w}`` are values that broadcast, ``{e}`` one that is exact (it may be
compared and cut), ``{s}`` a scalar, ``{d}`` a dim of the value, ``{t}`` a tile.
"""

from __future__ import annotations

import math
from typing import Any

import torch

import helion
import helion.language as hl


def scaled(value: Any, scale: Any = 2) -> Any:
    """A helper with a default."""
    return value * scale


def centered(value: Any) -> Any:
    """A helper that reduces."""
    return value - value.sum(-1, keepdim=True) * 0.25


def add_pair(left: Any, right: Any) -> Any:
    """A combine function."""
    return left + right


def both(value: Any) -> Any:
    """A helper with two results."""
    return value + 1, value * 2


SCALE = 3
NAMES: dict[str, Any] = {
    "torch": torch,
    "helion": helion,
    "hl": hl,
    "math": math,
    "scaled": scaled,
    "centered": centered,
    "add_pair": add_pair,
    "both": both,
    "SCALE": SCALE,
    "__name__": __name__,
}
KINDS = (
    ["load"] * 4
    + ["unary"] * 6
    + ["binary"] * 6
    + ["fold"] * 4
    + ["shape"] * 2
    + ["create"] * 2
    + ["python"] * 2
    + ["product"]
)
INDEX_DTYPES = (torch.int32, torch.int64)
ADDABLE = (torch.float32, torch.int32, torch.int64, torch.float64)

UNARY = (
    "-{v}",
    "torch.abs({v})",
    "{v}.abs()",
    "{v} * 2",
    "{v} + 1",
    "1 - {v}",
    "0.5 * {v}",
    "torch.relu({v})",
    "{v}.clamp(-2, 3)",
    "torch.clamp({v}, min=0)",
    "torch.exp({v} * 0.25)",
    "torch.tanh({v})",
    "torch.sigmoid({v})",
    "torch.sin({v})",
    "torch.sqrt(torch.abs({v}))",
    "torch.rsqrt(torch.abs({v}) + 1)",
    "torch.log(torch.abs({v}) + 1)",
    "torch.erf({v})",
    "torch.nn.functional.gelu({v})",
    "torch.nn.functional.silu({v})",
    "torch.nn.functional.softplus({v})",
    "torch.square({v})",
    "{v} ** 2",
    "{v}.float()",
    "{v}.to({dtype})",
    "{v}.to(torch.float64)",
    "{v} / 3",
    "{v} * {s}",
    "{v} + {s}",
    "{s} - {v}",
    "{v} * SCALE",
    "{e}.to(torch.int32)",
    "{e}.long()",
    "{e}.bool()",
    "{e}.to(torch.int8)",
    "torch.floor({e})",
    "torch.ceil({e} * 0.5)",
    "torch.sign({e})",
    "torch.trunc({e})",
    "{e} > {s}",
    "{e} == 0",
    "{e} <= 1",
    "~({e} > 0)",
    "{e} // 3",
    "{e} % 3",
    "{e} % -2",
    "torch.logical_not({e})",
    "torch.where({e} > 0, {e}, 0)",
    "torch.where({e} == 1, 1.0, 2.0)",
    "{v}.masked_fill({e} > 1, 0)",
    "{e} & 3",
    "{e}.long() << 1",
    "{e}.int() >> 1",
    "scaled({v})",
    "scaled({v}, {s})",
    "scaled({v}, scale=0.5)",
    "centered({v})",
    "both({v})[1]",
    "(lambda q: q + 1)({v})",
    "torch.zeros_like({v})",
    "torch.ones_like({v})",
    "torch.full_like({v}, 2)",
    "torch.isnan({v})",
    "{v}.new_ones([4])",
    "{v} * (1.0 / math.sqrt(2.0))",
)
FOLDS = (
    "{v}.sum({d})",
    "{v}.sum({d}, keepdim=True)",
    "torch.sum({v}, dim={d})",
    "{v}.sum()",
    "{v}.mean({d})",
    "{v}.float().mean({d})",
    "torch.amax({v}, {d})",
    "torch.amin({v}, {d}, keepdim=True)",
    "{v}.max()",
    "torch.max({v}, {d})[0]",
    "torch.min({v}, dim={d}).values",
    "{e}.argmax({d})",
    "torch.argmin({e}, {d})",
    "torch.prod({v} * 0.25, {d})",
    "torch.any({e} > 1, {d})",
    "torch.all({e} > -3, {d})",
    "({e} > 0).sum({d})",
    "torch.var({v}, {d})",
    "torch.var({v}, {d}, correction=0)",
    "torch.std({v}, {d}, correction=0)",
    "torch.softmax({v}, {d})",
    "torch.log_softmax({v}, {d})",
    "torch.logsumexp({v}, {d})",
    "torch.norm({v}, dim={d})",
    "hl.cumsum({v}, {d})",
    "hl.cumsum({v}, {d}, reverse=True)",
    "torch.cumsum({v}, {d})",
    "hl.cumprod({v} * 0.25, {d})",
    "hl.associative_scan(torch.add, {v}, {d})",
    "hl.associative_scan(torch.maximum, {v}, {d})",
    "hl.associative_scan(add_pair, {v}, {d})",
    "hl.reduce(torch.add, {v}, {d})",
    "hl.reduce(add_pair, {v}, dim={d}, keep_dims=True)",
    "hl.reduce(torch.maximum, {v}, {d}, other=-9)",
    "hl.reduce(torch.add, {v})",
    "{v}.sum((0, 1))",
    "{v}.amax((0, -1))",
    "{v}.cumsum({d})",
    "{v}.sum(dim=[{d}])",
    "hl.reduce(torch.minimum, {v}, {d}, other=9)",
    "hl.associative_scan(torch.minimum, {v}, {d}, reverse=True)",
    "{v}.std({d})",
    "torch.count_nonzero({e}, {d})",
    "{e}.sort({d})[0]",
    "torch.nn.functional.softmax({v}, dim={d})",
    "torch.linalg.vector_norm({v}, dim={d})",
    "torch.aminmax({v}, dim={d})[0]",
    "torch.nansum({v}, {d})",
    "({v} * 0.5).prod({d}, keepdim=True)",
)
SHAPES = (
    "{v}.unsqueeze({d})",
    "{v}.unsqueeze(-1)",
    "{v}[None]",
    "{v}[..., None]",
    "{v}[:, None]",
    "{v}[None, :]",
    "{v}.transpose(0, -1)",
    "{v}.permute(1, 0)",
    "torch.permute({v}, [2, 0, 1])",
    "{v}.T",
    "{v}.sum({d}, keepdim=True).squeeze({d})",
    "{v}.unsqueeze({d}).squeeze({d})",
    "{v}.unsqueeze(0).expand(2, {size})",
    "{v}.flatten()",
    "{v}.reshape(-1)",
    "{v}.reshape(-1, 1)",
    "{v}.contiguous()",
    "torch.stack([{v}, {v}], {d})",
    "torch.stack([{v}, {v} + 1], -1)",
    "hl.join({v}, {v} * 2)",
    "hl.split(hl.join({v}, {v} + 1))[1]",
    "{v}[0]",
    "{v}[..., 0]",
    "{v}[-1]",
    "{v}[:2]",
    "torch.cat([{v}, {v}], {d})",
    "{v}.flip({d})",
    "{v}.repeat(2)",
    "{v}.view({v}.size())",
    "{v}.broadcast_to({v}.shape)",
    "{v}.select({d}, 0)",
    "{v}.narrow({d}, 0, 1)",
    "torch.sort({v}, {d})[0]",
    "torch.topk({v}, 1)[0]",
    "torch.roll({v}, 1, {d})",
    "torch.tril({v})",
    "torch.diagonal({v})",
    "torch.chunk({v}, 2, {d})[0]",
    "torch.split({v}, 1, {d})[0]",
    "{v}.unbind({d})[0]",
    "{v}.reshape(-1, {v}.size(-1))",
    "{v}.reshape({v}.size(0), -1)",
    "{v}.reshape({v}.size(0), -1, 1)",
    "{v}.unsqueeze(1).expand(-1, 4, *{v}.shape[1:])",
    "torch.movedim({v}, 0, -1)",
    "{v}.swapaxes(0, -1)",
    "{v}.unflatten(-1, (-1, 1))",
    "{v}.flatten(0, 1)",
    "torch.broadcast_to({v}, (2, *{v}.shape))",
)
BINARY = (
    "{v} + {w}",
    "{v} + {w}",
    "{v} - {w}",
    "{v} * {w}",
    "torch.maximum({v}, {w})",
    "torch.minimum({v}, {w})",
    "{v} / (torch.abs({w}) + 1)",
    "torch.where({c}, {v}, {w})",
    "torch.where({c}, {v}, {w} * 2)",
    "torch.atan2({v}, torch.abs({w}) + 1)",
    "torch.add({v}, {w}, alpha=2)",
    "torch.lerp({v}, {w}, 0.5)",
    "torch.addcmul({v}, {w}, {w})",
    "{v}.add({w})",
    "torch.hypot({v}, {w})",
    "({c}) & ({w} == 0)",
    "({c}) | ({v} == 0)",
    "torch.logical_xor({c}, {w} == 1)",
    "{c} == ({w} == 0)",
)
PRODUCTS = (
    "hl.dot({v}, {w})",
    "hl.dot({v}, {w}, out_dtype=torch.float32)",
    "torch.matmul({v}, {w})",
    "{v} @ {w}",
    "torch.mm({v}, {w})",
    "torch.bmm({v}, {w})",
    "torch.einsum('mk,kn->mn', {v}, {w})",
)
CREATIONS = (
    "hl.zeros({shape})",
    "hl.zeros({shape}, dtype={dtype})",
    "hl.full({shape}, {s})",
    "hl.full({shape}, 1.5, dtype={dtype})",
    "torch.zeros({shape})",
    "torch.ones({shape}, dtype={dtype})",
    "torch.full({shape}, 2)",
    "hl.arange({dim})",
    "hl.arange({dim}) * 2 + 1",
    "torch.arange({dim})",
    "{t}.index",
    "{t}.index + {s}",
    "{t}.index.float()",
    "{t}.index[:, None] + {t}.index[None, :]",
    "hl.tile_index({t})",
    "hl.rand({shape}, 7)",
    "hl.rand([{t}], seed=n)",
    "hl.randint([{t}], 0, 5, n)",
    "{v}.new_zeros({shape})",
    "{v}.new_full([{t}], 2.0)",
    "torch.empty_like({v}).fill_(1)",
    "hl.full([{t}], {t}.begin, dtype=torch.int32)",
)
PYTHON = (
    "({v}, {w})[1]",
    "[{v}, {w}][0]",
    "[q + 1 for q in ({v}, {w})][1]",
    "{{'k': {v}, 'l': {w}}}['l']",
    "sum([{v}, {w}])",
    "({v} if {c} else {w})",
    "({v} if flag else {w})",
    "min({v}.sum(), {w}.sum())",
    "({v} if {v}.dtype == torch.float32 else {w} + 1)",
    "[q for _, q in enumerate([{v}, {w}])][0]",
    "tuple(q * 2 for q in [{v}, {w}])[0]",
    "list(zip([{v}], [{w}]))[0][1]",
    "[{v} + i for i in range(3)][2]",
    "({v}, *[{w}])[-1]",
    "dict(k={v}, l={w})['k']",
    "(lambda p, q=2: p * q)({v})",
    "[{v}, {w}][flag]",
    "scaled(**dict(value={v}, scale=3))",
    "both({v})[0] + both({w})[1]",
)
UPDATES = (
    "{old} + {v}",
    "{old} + {v}",
    "torch.maximum({old}, {v})",
    "{old} * 0.5",
    "torch.where({old} == 0, {old}, {v})",
    "{old} - {v} * 0.5",
)
RANGES = ("range(3)", "range(n)", "hl.grid(2)", "range(1, 6, 2)", "hl.grid(n)")
UNROLLED = ("hl.static_range(2)", "hl.static_range(0, 4, 2)", "(1, 2)", "[0, 3]")
WHILES = (
    ("hl.zeros([], dtype=torch.int32)", "{0} < n"),
    ("hl.zeros([], dtype=torch.int32)", "{0} < 3"),
    ("0", "{0} < 3"),
    ("0", "{0} < n"),
    ("1", "{0} <= 2"),
)
CONDITIONS = (
    "{s} > 2",
    "{s} == 0",
    "n > 2",
    "n % 2 == 1",
    "flag",
    "not flag",
    "{s} < 1 or n > 3",
    "0 < {s} < 4",
    "n > 1 and {s} >= 0",
    "a == b",
    "f > 0",
)
