"""Random expressions, each tried out at once on sample tensors.

The dims of the samples all differ, so that shape, dtype and dims of a result are known
without knowing the operation.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from test import program_pieces as pieces
from test.program_text import Node

DIMS = ("a", "b", "c")
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17)
SAMPLE_SIZES = {"a": 23, "b": 29, "c": 31}
TILE_SIZES = (5, 7, 11, 13, 17, 19, 9, 10, 14, 18, 20, 21)
DTYPES = (torch.float32,) * 5 + (
    torch.float16,
    torch.bfloat16,
    torch.float64,
    torch.int32,
    torch.int64,
    torch.int8,
    torch.int16,
    torch.bool,
)
MANTISSA = {torch.float16: 11, torch.bfloat16: 8, torch.float32: 24}
HUGE = 1e3
TILE_NAMES = frozenset(f"t{i}" for i in range(64))


@dataclass(frozen=True)
class Value:
    """A tensor in device code: how to write it, and what it is in the samples."""

    text: str
    dims: tuple[str | None, ...]
    sample: torch.Tensor

    @property
    def is_exact(self) -> bool:
        """Whether it has so few digits that no rounding happens on the way."""
        value = self.sample
        if not value.dtype.is_floating_point:
            return True
        bits = MANTISSA.get(value.dtype, 40)
        scaled = value.double() * 64
        return bool((scaled == scaled.round()).all() & (scaled.abs() < 2**bits).all())


@dataclass
class Scope:
    """What device code can name at one place."""

    values: list[Value] = field(default_factory=list)
    scalars: list[str] = field(default_factory=list)
    tiles: dict[str, str] = field(default_factory=dict)  # name: dim
    grids: dict[str, str] = field(default_factory=dict)
    depth: int = 0
    is_for: bool = False  # inside a loop that may be left
    is_certain: bool = True  # reached in each run

    def inner(self) -> Scope:
        """Return a scope for a block inside this one."""
        return Scope(
            list(self.values),
            list(self.scalars),
            dict(self.tiles),
            dict(self.grids),
            self.depth + 1,
            self.is_for,
            self.is_certain,
        )


class ExpressionWriter:
    """Writes expressions over what a scope has; a seed decides."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.sizes: dict[str, int] = {}
        self.tensors: dict[str, tuple[str, ...]] = {}
        self.samples: dict[str, Any] = dict(pieces.NAMES)
        self.dim_names: dict[int, str] = {}
        self.outs: dict[str, Node] = {}
        # Outs that the running loop writes: later ones may read them.
        self.made: dict[str, tuple[tuple[str, ...], torch.dtype]] = {}
        self.count = 0
        self.loops = 0

    # -- expressions -----------------------------------------------------------------

    def expression(self, scope: Scope) -> Value | None:
        """Return a random expression that works on the samples."""
        for _ in range(12):
            kind = self.random.choice(pieces.KINDS)
            text = getattr(self, f"_{kind}_text")(scope)
            found = None if text is None else self._try(text)
            if found is not None and self._is_tame(found):
                return found
        return None

    def _is_tame(self, value: Value) -> bool:
        sample = value.sample
        if sample.dim() > 3 or sample.numel() > 25_000 or sample.is_complex():
            return False
        if not sample.dtype.is_floating_point:
            return True
        return bool((sample.abs() < HUGE).all())

    def _try(self, text: str) -> Value | None:
        """Evaluate on the samples; None if Python or torch refuses."""
        try:
            sample = eval(text, self.samples)
        except Exception:
            return None
        if not isinstance(sample, torch.Tensor):
            return None
        dims = tuple(self._dim_name(size) for size in sample.shape)
        return Value(text, dims, sample)

    def _dim_name(self, size: int) -> str | None:
        return str(size) if size < min(TILE_SIZES) else self.dim_names.get(size)

    def _pick(self, scope: Scope, exact: bool = False) -> Value:
        """Return a value in scope, more often a late one, or a fresh load."""
        rng = self.random
        values = [v for v in scope.values if v.is_exact or not exact]
        if values and rng.random() < 0.75:
            return values[max(rng.randrange(len(values)) for _ in range(2))]
        for _ in range(8):
            text = self._load_text(scope)
            found = None if text is None else self._try(text)
            if found is not None:
                return found
        found = self._try("hl.full([], 1.5)")
        assert found is not None
        return found

    def _aligned(self, value: Value, dims: Sequence[str | None]) -> str | None:
        """Write a value so that it broadcasts to dims; None if it does not."""
        if None in value.dims or len(value.dims) > len(dims):
            return None
        parts: list[str] = []
        left = list(value.dims)
        for dim in dims:
            if left and left[0] in (dim, "1"):
                parts.append(":")
                left.pop(0)
            else:
                parts.append("None")
        if left:
            return None
        if "None" not in parts or not value.dims:
            return value.text
        if parts.count("None") == 1 and self.random.random() < 0.3:
            return f"{value.text}.unsqueeze({parts.index('None')})"
        return f"{value.text}[{', '.join(parts)}]"

    def _load_text(self, scope: Scope) -> str | None:
        rng = self.random
        name = rng.choice(list(self.tensors))
        index = [self._index(scope, dim) for dim in self.tensors[name]]
        if rng.random() < 0.1:
            index.insert(rng.randint(0, len(index)), "None")
        if rng.random() < 0.1 and index[-1] == ":":
            index = [*index[:-1], "..."] if rng.random() < 0.5 else index[:-1]
        if not index:
            return None
        if rng.random() < 0.1 and "None" not in index and "..." not in index:
            full = len(index) == len(self.tensors[name]) and ":2" not in index
            if full and "::2" not in index and "1:" not in index:
                return f"hl.load({name}, [{listing(index)}]{self._mask(index)})"
        return f"{name}[{', '.join(index)}]"

    def _index(self, scope: Scope, dim: str) -> str:
        rng = self.random
        tiles = [t for t, d in scope.tiles.items() if d == dim]
        grids = [g for g, d in scope.grids.items() if d == dim]
        if tiles and rng.random() < 0.75:
            forms = ["{0}"] * 9 + ["{0}.index", "{0}.begin", "{0}.begin:{0}.end"]
            return rng.choice(forms).format(rng.choice(tiles))
        if grids and rng.random() < 0.8:
            return rng.choice(grids)
        size = self.sizes[dim]
        forms = [":"] * 8
        if size:
            forms += ["0", "-1"]
        if size > 2:
            forms += [":2", "1:", "::2", f"n % {dim}"]
        if size and rng.random() < 0.15:
            ints = [v for v in scope.values if is_index(v)]
            if ints:
                return f"{rng.choice(ints).text}.abs() % {dim}"
        return rng.choice(forms)

    def _unary_text(self, scope: Scope) -> str:
        template = self.random.choice(pieces.UNARY)
        value = self._pick(scope, exact="{e}" in template)
        return self._filled(template, scope, value)

    def _fold_text(self, scope: Scope) -> str | None:
        template = self.random.choice(pieces.FOLDS)
        value = self._pick(scope, exact="{e}" in template)
        return self._filled(template, scope, value) if value.dims else None

    def _shape_text(self, scope: Scope) -> str | None:
        template = self.random.choice(pieces.SHAPES)
        value = self._pick(scope)
        # A 0-d tensor has no dim 0, though torch takes it for some operations.
        has_dim = bool(value.dims) or "{d}" not in template
        return self._filled(template, scope, value) if has_dim else None

    def _filled(self, template: str, scope: Scope, value: Value) -> str:
        rng = self.random
        rank = max(len(value.dims), 1)
        dim = rng.randrange(rank)
        size = value.dims[dim] if value.dims else None
        return template.format(
            v=value.text,
            e=value.text,
            d=rng.choice([dim, dim - rank]),
            size=size,
            s=rng.choice([*scope.scalars, "2", "0.5", "-1"]),
            dtype=rng.choice([d for d in DTYPES if d.is_floating_point]),
        )

    def _binary_text(self, scope: Scope) -> str | None:
        template = self.random.choice(pieces.BINARY)
        exact = "{e}" in template
        left, right = (self._pick(scope, exact) for _ in range(2))
        if len(left.dims) < len(right.dims):
            left, right = right, left
        other = self._aligned(right, left.dims)
        if other is None:
            return None
        pair = [left.text, other]
        self.random.shuffle(pair)
        condition = f"({left.text} > 0)" if left.is_exact else f"({left.text} == 0)"
        return template.format(v=pair[0], w=pair[1], e=pair[0], c=condition)

    def _product_text(self, scope: Scope) -> str | None:
        left, right = self._pick(scope), self._pick(scope)
        if len(left.dims) < 2 or len(right.dims) < 2:
            return None
        template = self.random.choice(pieces.PRODUCTS)
        if left.dims[-1] != right.dims[-2] and left.dims[-1] == right.dims[-1]:
            return template.format(v=left.text, w=f"{right.text}.transpose(-1, -2)")
        return template.format(v=left.text, w=right.text)

    def _create_text(self, scope: Scope) -> str:
        rng = self.random
        dims = [*scope.tiles, *DIMS, "2", "4"]
        shape = rng.sample(dims, rng.choice([0, 1, 1, 2, 2]))
        template = rng.choice(pieces.CREATIONS)
        return template.format(
            shape=f"[{', '.join(shape)}]",
            s=rng.choice([*scope.scalars, "1.5", "-2"]),
            t=rng.choice(list(scope.tiles) or ["a"]),
            dim=rng.choice([*DIMS, "4", "1"]),
            v=self._pick(scope).text,
            dtype=rng.choice(DTYPES),
        )

    def _python_text(self, scope: Scope) -> str | None:
        value = self._pick(scope)
        same = [v for v in scope.values if v.dims == value.dims]
        same = [v for v in same if v.sample.dtype == value.sample.dtype]
        other = self.random.choice(same) if same else value
        return self.random.choice(pieces.PYTHON).format(
            v=value.text, w=other.text, c=self._condition(scope)
        )

    def _condition(self, scope: Scope) -> str:
        rng = self.random
        if rng.random() < 0.25:
            exact = [v for v in scope.values if v.is_exact and not v.dims]
            if exact:
                return f"{rng.choice(exact).text} > 0"
        scalar = rng.choice(scope.scalars)
        return rng.choice(pieces.CONDITIONS).format(s=scalar)

    def _mask(self, index: list[str]) -> str:
        """Return an extra mask over the tiles of an index, or nothing."""
        wide = [i for i in index if i in self.samples or ":" in i or ".index" in i]
        tiles = [i for i in wide if i in TILE_NAMES]
        if not tiles or self.random.random() < 0.5:
            return ""
        tile = self.random.choice(tiles)
        dims = [":" if i == tile else "None" for i in wide]
        return f", extra_mask=({tile}.index != 2)[{', '.join(dims)}]"


def listing(index: Sequence[str]) -> str:
    """Write the elements of a subscript as those of a list."""
    return ", ".join("slice(None)" if i == ":" else i for i in index)


def is_index(value: Value) -> bool:
    """Whether a value may be a bound or an index."""
    return value.sample.dtype in pieces.INDEX_DTYPES
