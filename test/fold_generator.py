"""Writes random kernels that fold axes, alone and one after the other, every way.

The folds run over the last dim, the first, one in the middle or two at once; before,
between and after them stand casts, exponentials, centers, ranges, branches, loops of
tiles and stores. Each seed also has sizes, dtypes, layouts and special values.
"""

from __future__ import annotations

import linecache
import random
from dataclasses import dataclass
from typing import Any

import torch

import helion
import helion.language as hl


@dataclass(frozen=True)
class View:
    """How a kernel sees its tensors: {0} is the tensor, the rest are suffixes."""

    load: str
    dim: int
    wide: str
    along: str
    tiles: str
    names: str
    at: str
    shape: str
    sizes: tuple[str, ...]


VIEWS = (
    View("{0}[t, :]", 1, "[:, None]", "[None, :]", "m", "t", "t", "[m]", ("m", "n")),
    View("{0}[:, t]", 0, "[None, :]", "[:, None]", "m", "t", "t", "[m]", ("n", "m")),
    View(
        "{0}[s, t, :]",
        2,
        "[:, :, None]",
        "[None, None, :]",
        "[k, m]",
        "s, t",
        "s, t",
        "[k, m]",
        ("k", "m", "n"),
    ),
    View(
        "{0}[s, :, t]",
        1,
        "[:, None, :]",
        "[None, :, None]",
        "[k, m]",
        "s, t",
        "s, t",
        "[k, m]",
        ("k", "n", "m"),
    ),
)
# Pieces by what they give; {row}, {sums}... stand for random values of that kind, and
# for the same one again where they have the same letter behind the colon.
PIECES = {
    "row": (  # as the view loads it
        "X",
        "Y",
        "X.to(torch.float32)",
        "torch.tanh({row})",
        "torch.sigmoid({row}) * {row}",
        "{row} + {row} * 0.5",
        "{row} * {weight}ALONG",
        "{row} - {weight}ALONG",
        "{row} - {sums}WIDE",
        "{row} * torch.tanh({sums})WIDE",
        "torch.tanh({row}).to(torch.float16)",
        "torch.where(X > 0, {row}, {weight}ALONG)",
        "torch.where(hl.arange(n)ALONG < n // 2, {row}, 0.0)",
        "{row} * (hl.arange(n)ALONG / n)",
        "torch.exp({row:a} - torch.amax({row:a}, DIM, keepdim=True))",
        "torch.exp2({row:a} - torch.amax({row:a}, DIM)WIDE)",
        "torch.exp(torch.tanh({row}) - torch.tanh({sums})WIDE)",
        "({row:a} - torch.mean({row:a}, DIM, keepdim=True)) ** 2",
        "torch.softmax({row}, DIM)",
        "torch.log_softmax({row}, DIM)",
        "{row:a} / (1 + torch.amax(torch.abs({row:a}), DIM, keepdim=True))",
        "{row:a} - {row:a}.mean(DIM, keepdim=True)",
    ),
    "sums": (  # one number for each row
        "{row}.sum(DIM)",
        "{row}.mean(DIM)",
        "torch.amax({row}, DIM)",
        "torch.amin({row}, DIM)",
        "torch.max({row}, DIM)[0]",
        "torch.prod(1 + 0.01 * torch.tanh({row}), DIM)",
        "torch.var({row}, DIM)",
        "torch.var({row}, DIM, correction=0)",
        "torch.std({row}, DIM, correction=0)",
        "torch.var_mean({row}, DIM, correction=0)[0]",
        "torch.var_mean({row}, DIM)[1]",
        "torch.logsumexp({row}, DIM)",
        "torch.norm({row}, dim=DIM)",
        "torch.linalg.vector_norm({row}, ord=1, dim=DIM)",
        "torch.sum(X > 0, DIM).to(torch.float32)",
        "(X > 1).any(DIM).to(torch.float32)",
        "(X > -3).all(DIM).to(torch.float32)",
        "torch.sum(torch.exp({row:a} - torch.amax({row:a}, DIM)WIDE), DIM)",
        "torch.sum(torch.exp2({row:a} - (torch.amax({row:a}, DIM) + 1)WIDE), DIM)",
        "torch.log(torch.exp({row:a} - torch.amax({row:a}, DIM)WIDE).sum(DIM))"
        " + torch.amax({row:a}, DIM)",
        "torch.sum(({row:a} - {row:a}.mean(DIM)WIDE) ** 2, DIM)",
        "torch.sum(({row:a} - ({row:a}.sum(DIM) + {sums})WIDE) ** 2, DIM) / n",
        "torch.sum(({row:a} - V[AT]WIDE) ** 2, DIM)",
        "torch.sum(torch.exp(torch.tanh({row:a}) - torch.amax({row:b}, DIM)WIDE)"
        " * {row:b}, DIM)",
        "torch.mean({row:a} * {row:a}, DIM)",
        "torch.rsqrt(torch.mean({row:a} * {row:a}, DIM) + 0.1)",
        "({row} * {weight}ALONG).sum(DIM)",
        "torch.sum({row}.to(torch.float32), DIM)",
        "{sums} * torch.tanh({sums})",
        "torch.sigmoid({sums})",
        "{sums} - {sums}",
        "V[AT]",
        "torch.argmax(X, DIM).to(torch.float32)",
        "{sums} + {ints}",
    ),
    "ints": (
        "torch.argmax(X, DIM)",
        "torch.argmin(Y, DIM)",
        "torch.argmin(-X, DIM)",
        "torch.argmax(Z, DIM)",
        "Z.sum(DIM)",
        "torch.amax(Z, DIM).to(torch.int64)",
        "torch.amin(Z + 1, DIM).to(torch.int64)",
        "torch.prod(Z, DIM)",
        "(Z > 3).any(DIM).to(torch.int64)",
        "(Z > -9).all(DIM).to(torch.int64)",
        "torch.sum(Z == torch.amax(Z, DIM)WIDE, DIM)",
        "(Z * hl.arange(n)ALONG).sum(DIM)",
        "torch.amax(torch.where(Z > 0, hl.arange(n)ALONG, -1), DIM).to(torch.int64)",
        "{ints} + {ints}",
    ),
    "weight": (  # [n]
        "u[:]",
        "torch.sigmoid({weight})",
        "{weight} * 2 - 1",
        "{weight} - {weight:a}.mean(0)",
        "torch.softmax({weight}, 0)",
        "hl.arange(n) / n",
        "hl.zeros([n]) + {weight}",
        "{weight:a} / torch.norm({weight:a}, dim=0)",
    ),
    "loop": (  # statements; {sums:a} = ... may not change its dtype on the way
        "for i in hl.tile(n):\n    {sums:a} = {sums:a} + INNER.sum(DIM)",
        "for i in hl.tile(n):\n    {sums:a} = {sums:a} + (INNER * V[AT]WIDE).sum(DIM)",
        "for i in hl.tile(n):\n    top = torch.amax(INNER, DIM).to(torch.float32)\n"
        "    {sums:a} = torch.maximum({sums:a}, top)",
        "for i in hl.tile(4, block_size=1):\n    {sums:a} = {sums:a} + {row}.sum(DIM)",
        "for i in hl.tile(4, block_size=1):\n"
        "    {sums:a} = {sums:a} + torch.amax(X, DIM)",
        "if n > 3:\n    {sums:a} = {sums:a} + {row}.mean(DIM)",
        "if t.begin == 0:\n    OUT_W[:] = {weight}",
        "if t.begin == 0:\n    OUT_W[:] = u[:] * 2",
        "OUT = {row}",
        "YSTORE = {row}",
    ),
}
CUBES = {
    "cube": (  # [t, m, n]
        "x[t, :, :]",
        "y[t, :, :]",
        "torch.tanh({cube})",
        "{cube} + {cube} * 0.5",
        "{cube} - {rows}[:, :, None]",
        "{cube} * torch.tanh({cols})[:, None, :]",
        "{cube} - {cube:a}.mean((1, 2))[:, None, None]",
        "torch.softmax({cube}, 2)",
        "torch.softmax({cube}, 1)",
        "torch.exp({cube:a} - torch.amax({cube:a}, 1)[:, None, :])",
        "{cube} * u[:][None, None, :]",
        "torch.where(hl.arange(n)[None, None, :] < n // 2, {cube}, 0.0)",
        "{cube} * (hl.arange(m)[None, :, None] / m)",
    ),
    "rows": (  # [t, m]
        "{cube}.sum(2)",
        "torch.amax({cube}, 2)",
        "torch.var({cube}, 2, correction=0)",
        "torch.logsumexp({cube}, -1)",
        "torch.argmax(x[t, :, :], 2).to(torch.float32)",
        "torch.tanh({rows})",
        "{rows} - {sums}[:, None]",
        "torch.softmax({rows}, 1)",
        "torch.mean({cube} * {cube}, 2)",
    ),
    "cols": (  # [t, n]
        "{cube}.sum(1)",
        "torch.amin({cube}, 1)",
        "torch.var({cube}, 1, correction=0)",
        "torch.logsumexp({cube}, 1)",
        "torch.argmin(y[t, :, :], 1).to(torch.float32)",
        "torch.tanh({cols})",
        "{cols} - {sums}[:, None]",
        "{cols} * u[:][None, :]",
    ),
    "sums": (  # [t]
        "{rows}.sum(1)",
        "{cols}.mean(1)",
        "torch.amax({rows}, 1)",
        "{cube}.mean((1, 2))",
        "torch.sum({cube}, dim=(1, 2))",
        "torch.amax({cube}, (1, 2))",
        "torch.logsumexp({rows}, 1)",
        "torch.logsumexp({cols}, 1)",
        "torch.var({cols}, 1, correction=0)",
        "torch.var({cube}, (1, 2), correction=0)",
        "{sums} - torch.tanh({sums})",
    ),
}
FLAT = """def generated(x, y, z, u, v):
    {unpack} = x.size()
{specialize}    out_row = torch.full(x.size(), 7.0, dtype={dtype}, device=x.device)
    out_sums = torch.empty({shape}, dtype={dtype}, device=x.device)
    out_more = torch.full({shape}, 7.0, dtype={dtype}, device=x.device)
    out_ints = torch.empty({shape}, dtype=torch.int64, device=x.device)
    out_weight = torch.zeros([n], dtype={dtype}, device=x.device)
    for {names} in hl.tile({tiles}):
{body}
    return out_row, out_sums, out_more, out_ints, out_weight
"""
PLANES = """def generated(x, y, z, u, v):
    k, m, n = x.size()
{specialize}    out_cube = torch.full(x.size(), 7.0, dtype={dtype}, device=x.device)
    out_rows = torch.full([k, m], 7.0, dtype={dtype}, device=x.device)
    out_cols = torch.full([k, n], 7.0, dtype={dtype}, device=x.device)
    out_sums = torch.empty([k], dtype={dtype}, device=x.device)
    for t in hl.tile(k):
{body}
    return out_cube, out_rows, out_cols, out_sums
"""
SPECIALIZE = ("", "", "    n = hl.specialize(n)\n", "    m = hl.specialize(m)\n")
LENGTHS = (0, 1, 2, 3, 5, 17, 33, 64, 65, 100, 128, 257)
LONG_LENGTHS = (1024, 4096, 5000, 9001, 70001)
INF, NAN = float("inf"), float("nan")


class Writer:
    """Writes the source and the arguments of one kernel from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        rng = self.random
        self.is_plane = rng.random() < 0.25
        self.view = rng.choice(VIEWS)
        self.dtype = rng.choice(
            [torch.float32] * 4 + [torch.float16, torch.bfloat16, torch.float64]
        )
        self.known: dict[str, list[str]] = {}
        self.is_static = rng.random() < 0.5
        self.is_special = rng.random() < 0.15
        self.is_strided = rng.random() < 0.25
        self.text = ""

    # -- source ----------------------------------------------------------------------

    def source(self) -> str:
        """Return the text of a function ``generated(x, y, z, u, v)``."""
        wide = self.dtype == torch.float64
        dtype = "torch.float64" if wide else "torch.float32"
        lines = self._plane_lines() if self.is_plane else self._flat_lines()
        body = "\n".join(f"        {part}" for s in lines for part in s.split("\n"))
        if wide:
            body = body.replace("torch.float32", "torch.float64")
        body = body.replace("YSTORE", self.view.load.format("y"))
        body = body.replace("OUT_W", "out_weight")
        body = body.replace("OUT", self.view.load.format("out_row"))
        view = self.view
        inner = view.load.format("x").replace(":", "i")
        for name, text in (
            ("INNER", inner),
            ("WIDE", view.wide),
            ("ALONG", view.along),
            ("DIM", str(self.random.choice([view.dim, view.dim - len(view.sizes)]))),
            ("AT", view.at),
            ("X", view.load.format("x")),
            ("Y", view.load.format("y")),
            ("Z", view.load.format("z")),
            ("V", "v"),
        ):
            body = body.replace(name, text)
        frame = PLANES if self.is_plane else FLAT
        return frame.format(
            unpack=", ".join(view.sizes),
            specialize=self.random.choice(SPECIALIZE),
            shape=view.shape,
            names=view.names,
            tiles=view.tiles,
            dtype=dtype,
            body=body,
        )

    def _flat_lines(self) -> list[str]:
        rng = self.random
        first = "X.to(torch.float32)" if self.dtype.itemsize == 2 else "X"
        lines = [self.assign("row", rng.choice([first, first, "X"]))]
        lines.append(self.assign("weight", "u[:]"))
        lines.append(self.assign("sums", rng.choice(["V[AT]", "{row}.sum(DIM)"])))
        lines.append(self.assign("ints", "torch.argmax(X, DIM)"))
        kinds = ["row"] * 3 + ["sums"] * 5 + ["ints", "weight", "loop"]
        for kind in rng.choices(kinds, k=rng.randint(1, 7)):
            lines.append(self.assign(kind, rng.choice(PIECES[kind])))
        if rng.random() < 0.4:
            lines.append("OUT = " + self.pick("row"))
        lines.append("out_sums[AT] = " + self.known["sums"][-1])
        lines.append("out_more[AT] = " + self.pick("sums"))
        if rng.random() < 0.7:
            lines.append("out_ints[AT] = " + self.pick("ints"))
        if rng.random() < 0.15:
            lines.append("YSTORE = " + self.pick("row"))
        return lines

    def _plane_lines(self) -> list[str]:
        rng = self.random
        firsts = {"cube": "x[t, :, :]", "rows": "{cube}.sum(2)"}
        firsts |= {"cols": "{cube}.sum(1)", "sums": "{cube}.mean((1, 2))"}
        lines = [self.assign(kind, text) for kind, text in firsts.items()]
        for kind in rng.choices(list(CUBES), k=rng.randint(1, 5)):
            lines.append(self.assign(kind, rng.choice(CUBES[kind])))
        stores = {
            "cube": "out_cube[t, :, :] = ",
            "rows": "out_rows[t, :] = ",
            "cols": "out_cols[t, :] = ",
        }
        for kind in rng.sample(list(stores), rng.randint(0, 2)):
            lines.append(stores[kind] + self.pick(kind))
        return [*lines, "out_sums[t] = " + self.pick("sums")]

    def assign(self, kind: str, piece: str) -> str:
        """Return a statement that gives a name to a piece."""
        chosen: dict[str, str] = {}
        pieces = CUBES if self.is_plane else PIECES
        names = {shape: _Picks(self, shape, chosen) for shape in pieces}
        value = piece.format(**names)
        if kind == "loop":
            name = chosen.get("sumsa")
            return f"{name} = {name}.to(torch.float32)\n{value}" if name else value
        names = self.known.setdefault(kind, [])
        name = f"{kind}_{len(names)}"
        names.append(name)
        return f"{name} = {value}"

    def pick(self, shape: str) -> str:
        """Return a name of that shape, more often a late one."""
        names = self.known[shape]
        return names[max(self.random.randrange(len(names)) for _ in range(2))]

    # -- arguments -------------------------------------------------------------------

    def arguments(self, longest: int = 257) -> tuple[torch.Tensor, ...]:
        """Return x, y and z of one shape, and vectors along and across the folds."""
        rng = self.random
        torch.manual_seed(rng.randrange(2**31))
        size = {name: rng.choice([1, 2, 3, 5]) for name in "km"}
        lengths = LENGTHS if longest <= max(LENGTHS) else LONG_LENGTHS
        size["n"] = rng.choice([n for n in lengths if n <= longest])
        if self.is_plane:
            size = {"k": rng.choice([1, 3])}
            size |= {name: rng.choice([1, 2, 5, 16, 19, 33]) for name in "mn"}
        names = ("k", "m", "n") if self.is_plane else self.view.sizes
        shape = [size[name] for name in names]
        x, y = (self._layout(torch.randn(shape)).to(self.dtype) for _ in range(2))
        z = torch.randint(-5, 6, shape, dtype=torch.int32)
        across = [size[name] for name in self.view.shape.strip("[]").split(", ")]
        if self.is_plane:
            across = [size["k"]]
        # Of infinite rows torch says that the mean is NaN here, and infinite elsewhere.
        if self.is_special and x.numel() and "var_mean" not in self.text:
            flat = torch.arange(x.numel()).reshape(shape)
            for value in rng.choices([INF, -INF, NAN, 3e4], k=rng.randint(1, 3)):
                x[flat == rng.randrange(x.numel())] = value
            if rng.random() < 0.3:
                x.fill_(rng.choice([-INF, INF, NAN]))
        wide = torch.float64 if self.dtype == torch.float64 else torch.float32
        along, across = torch.randn(size["n"]).to(wide), torch.randn(across).to(wide)
        return x, y, z, along, across

    def _layout(self, value: torch.Tensor) -> torch.Tensor:
        if not self.is_strided:
            return value
        if self.random.random() < 0.5:
            return value.transpose(0, -1).contiguous().transpose(0, -1)
        wide = torch.randn([*value.shape[:-1], 2 * value.shape[-1] + 1])
        return wide[..., 1::2].copy_(value)


class _Picks:
    """Formats as another random name each time, or as that of a letter."""

    def __init__(self, writer: Writer, shape: str, chosen: dict[str, str]) -> None:
        self.writer = writer
        self.shape = shape
        self.chosen = chosen

    def __format__(self, spec: str) -> str:
        if not spec:
            return self.writer.pick(self.shape)
        key = self.shape + spec
        if key not in self.chosen:
            self.chosen[key] = self.writer.pick(self.shape)
        return self.chosen[key]


def generate(
    seed: int, longest: int = max(LENGTHS), **settings: Any
) -> tuple[helion.Kernel, tuple[torch.Tensor, ...], Writer]:
    """Return kernel, arguments and writer of a seed."""
    writer = Writer(seed)
    text, name = writer.source(), f"<generated fold {seed}>"
    writer.text = text
    args = writer.arguments(longest)
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    names: dict[str, Any] = {"torch": torch, "helion": helion, "hl": hl}
    exec(compile(text, name, "exec"), names)
    settings |= {"static_shapes": writer.is_static, "debug": True}
    kernel: Any = helion.kernel(names["generated"], **settings)
    return kernel, args, writer
