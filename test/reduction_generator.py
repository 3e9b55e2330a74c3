"""Writes random small kernels that reduce rows, halves of rows and blocks of rows.

Their sizes come from specialized ints, from other arguments, from slices and from
arithmetic, mixed at will: all name the same few axes.
"""

from __future__ import annotations

import linecache
import random
from typing import Any

import torch

import helion
import helion.language as hl
from test.harness import poisoned

# Pieces by the shape they give; {row}, {sums}... stand for random values of that shape.
PIECES = {
    "row": (  # [tile, n]
        "x[tile, :]",
        "y[tile, :]",
        "{row} + {row}",
        "{row} * {weight}",
        "{row} - {weight}[None, :]",
        "{row} - {sums}[:, None]",
        "{row} * {sums}.unsqueeze(1)",
        "torch.tanh({row})",
        "torch.where({row} > 0, {row}, {weight})",
        "torch.softmax({row}, dim=1)",
        "hl.zeros([tile, n]) + {row}",
        "torch.full([tile, n], 0.5) - {row}",
        "{row} + torch.arange(n) / n",
        "torch.einsum('m,n->mn', {sums}, {weight})",
        "{row}.reshape(tile, n)",
        "{weight}.expand(tile, n) - {row}",
        "{row} - {row}.mean(1, keepdim=True)",
    ),
    "sums": (  # [tile]
        "{row}.sum(1)",
        "torch.sum({row} * {row}, dim=-1) / n",
        "{row}.mean(-1)",
        "torch.amax({row}, 1)",
        "{row}.min(dim=1)[0]",
        "{row}.var(1, correction=0)",
        "torch.logsumexp({row}, 1)",
        "torch.einsum('mn,n->m', {row}, {weight})",
        "torch.einsum('mn,mn->m', {row}, {row})",
        "({row} * {weight}).sum(1, keepdim=True).squeeze(1)",
        "{half}.sum(1) / n",
        "{half}.mean(-1)",
        "{sums} * {sums}",
        "torch.sigmoid({sums})",
        "{row}[:, 0]",
    ),
    "half": (  # [tile, h]
        "{row}[:, :h]",
        "{row}[:, n - h:]",
        "{row}.narrow(1, 0, h)",
        "x[tile, :].narrow(1, n - h, h)",
        "{half} * {half}",
        "{half} + {weight}[:h]",
        "{half} - {sums}[:, None]",
        "torch.tanh({half}) + hl.zeros([tile, h])",
        "{half} - {half}.sum(1)[:, None] / h",
    ),
    "weight": (  # [n]
        "w[:]",
        "torch.ones(n) * w[:]",
        "hl.full([n], 2.0) - w[:]",
        "torch.zeros([n], device=x.device) + {weight}",
        "w.new_zeros(n) + {weight}",
        "{weight} * {weight}",
        "torch.sigmoid({weight})",
        "{weight} - {weight}.mean(0)",
        "hl.zeros([w.size(0)]) + {weight}",
    ),
    "acc": (  # [n], linear in the rows of a block
        "acc + {row}.sum(0)",
        "acc + torch.sum({row}, dim=0)",
        "acc + torch.einsum('mn->n', {row})",
        "acc + torch.einsum('mn,m->n', {row}, {sums})",
        "acc + ({row} * {weight}).sum(0, keepdim=True).reshape(n)",
    ),
}
FRAME = """def generated(x, y, w):
    m, n = x.size()
{specialize}    h = (n + 1) // 2
    block = hl.register_block_size(m)
    out_row = torch.empty([m, n], device=x.device)
    out_half = torch.empty([m, h], device=x.device)
    out_sums = torch.empty([m], device=x.device)
    parts = torch.empty([helion.cdiv(m, block), n], device=x.device)
    for outer in hl.tile(m, block_size=block):
        acc = {zeros}
        for tile in hl.tile(outer.begin, outer.end):
{body}
            out_row[tile, :] = {row}
            out_half[tile, :] = {half}
            out_sums[tile] = {sums}
        parts[outer.id, :] = acc
    return out_row, out_half, out_sums, parts.sum(0)
"""
SPECIALIZE = ("", "    n = hl.specialize(n)\n", "    n = hl.specialize(w.size(0))\n")
ZEROS = ("hl.zeros([n])", "torch.zeros(n)", "w.new_zeros([n])", "hl.full([n], 0.0)")
NAMED = ("row", "half", "sums", "weight", "acc")


class Writer:
    """Writes the source of one kernel from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.known: dict[str, list[str]] = {"acc": []}

    def source(self) -> str:
        """Return the text of a function ``generated(x, y, w)``."""
        firsts = {"weight": "w[:]", "row": "x[tile, :]"}
        firsts |= {"sums": "{row}.sum(1)", "half": "{row}[:, :h]"}
        lines = [self.assign(kind, piece) for kind, piece in firsts.items()]
        for kind in self.random.choices(NAMED, k=self.random.randint(2, 6)):
            lines.append(self.assign(kind, self.random.choice(PIECES[kind])))
        lines.append(self.assign("acc", self.random.choice(PIECES["acc"])))
        choice = {kind: self.pick(kind) for kind in ("row", "half", "sums")}
        return FRAME.format(
            specialize=self.random.choice(SPECIALIZE),
            zeros=self.random.choice(ZEROS),
            body="\n".join(f"            {line}" for line in lines),
            **choice,
        )

    def assign(self, kind: str, piece: str) -> str:
        """Return a statement that gives a name to a piece."""
        names = {shape: _Picks(self, shape) for shape in PIECES}
        value = piece.format(**names)
        names = self.known.setdefault(kind, [])
        name = "acc" if kind == "acc" else f"{kind}_{len(names)}"
        names.append(name)
        return f"{name} = {value}"

    def pick(self, shape: str) -> str:
        """Return a name of that shape, more often a late one."""
        names = self.known[shape]
        return names[max(self.random.randrange(len(names)) for _ in range(2))]


class _Picks:
    """Formats as another random name each time."""

    def __init__(self, writer: Writer, shape: str) -> None:
        self.writer = writer
        self.shape = shape

    def __format__(self, spec: str) -> str:
        return self.writer.pick(self.shape)


def generate(seed: int) -> helion.Kernel:
    """Return the kernel of a seed, with static or dynamic shapes."""
    text, name = Writer(seed).source(), f"<generated kernel {seed}>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    names: dict[str, Any] = {"torch": torch, "helion": helion, "hl": hl}
    exec(compile(text, name, "exec"), names)
    return helion.kernel(names["generated"], static_shapes=seed % 3 == 0)


def width_of(seed: int, widest: int) -> int:
    """Return a width: small, around a power of two, or any."""
    rng = random.Random(~seed)
    power = 2 ** rng.randint(0, widest.bit_length() - 2)
    choices = [rng.randint(1, 20), power, power + 1, rng.randint(1, widest), 3 * power]
    return max(1, min(rng.choice(choices), widest))


def arguments(seed: int, widest: int) -> tuple[torch.Tensor, ...]:
    """Return two matrices and a vector, as wide as each other."""
    torch.manual_seed(seed)
    n = width_of(seed, widest)
    return torch.randn(5, n), torch.randn(5, n), torch.randn(n)


def compare(seed: int, widest: int) -> None:
    """Hold what is emitted to the function as Python; for the interpreter process."""
    kernel, args = generate(seed), arguments(seed, widest)
    bound = kernel.bind(args)
    with poisoned():
        wanted = kernel.fn(*args)
        found = bound.compile_config(bound.config_spec.default_config())(*args)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3, equal_nan=True)
