"""Writes random small programs: tensors, loops, branches and chains of statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from helion.language._eager import running_loop
from helion.language.tile import EagerTile, LoopRange
from test import program_pieces as pieces
from test.program_text import Node, Program, quiet
from test.program_values import (
    DIMS,
    DTYPES,
    SAMPLE_SIZES,
    SIZES,
    TILE_NAMES,
    TILE_SIZES,
    ExpressionWriter,
    Scope,
    Value,
    is_index,
    listing,
)


class Writer(ExpressionWriter):
    """Writes one program from a seed."""

    # -- the whole -------------------------------------------------------------------

    def program(self) -> Program:
        """Return a program; what it means in Python is defined, as far as we know."""
        rng = self.random
        params = self._params()
        nodes = [self._size(dim) for dim in DIMS]
        body: list[Node] = []
        for _ in range(rng.choice([1] * 7 + [2])):
            body += self._launch()
        return Program(
            self.seed, params, nodes, self.outs, body, is_static=rng.random() < 0.85
        )

    def _params(self) -> dict[str, Any]:
        rng = self.random
        for dim in DIMS:
            self.sizes[dim] = 0 if rng.random() < 0.03 else rng.choice(SIZES)
            self._name_dims(dim, SAMPLE_SIZES[dim])
        params: dict[str, Any] = {}
        shapes = [DIMS, *(self._shape() for _ in range(rng.randint(1, 2)))]
        for index, dims in enumerate(shapes):
            name, dtype = f"x{index}", rng.choice(DTYPES)
            self.tensors[name] = tuple(dims)
            params[name] = self._tensor([self.sizes[d] for d in dims], dtype)
            sample = self._data([SAMPLE_SIZES[d] for d in dims], dtype)
            self.samples[name] = sample
        params["xs"] = [params["x0"], params["x1"]]
        params["d"] = {"k": params["x1"]}
        aliases = {"xs[0]": "x0", "xs[1]": "x1", "d['k']": "x1"}
        self.tensors |= {text: self.tensors[name] for text, name in aliases.items()}
        params |= {"n": rng.randint(0, 4), "f": rng.choice([0.5, -1.5, 2.0])}
        params["flag"] = rng.random() < 0.5
        self.samples |= {"n": 3, "f": 0.5, "flag": params["flag"], **SAMPLE_SIZES}
        self.samples["xs"] = [self.samples["x0"], self.samples["x1"]]
        self.samples["d"] = {"k": self.samples["x1"]}
        return params

    def _shape(self) -> list[str]:
        return self.random.sample(DIMS, self.random.choice([1, 1, 2, 2, 2, 3]))

    def _name_dims(self, name: str, size: int) -> None:
        self.dim_names |= {
            size: name,
            size - 1: f"{name} - 1",
            2 * size: f"2 * {name}",
            (size + 1) // 2: f"({name} + 1) // 2",
        }

    def _data(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        low, high = (0, 2) if dtype == torch.bool else (-7, 8)
        low = 0 if dtype == torch.uint8 else low
        data = torch.randint(low, high, list(shape), generator=self.generator)
        return (data / 2 if dtype.is_floating_point else data).to(dtype)

    def _tensor(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        data, kind = self._data(shape, dtype), self.random.random()
        if kind < 0.15:
            order = list(reversed(range(len(shape))))
            return data.permute(order).contiguous().permute(order)
        if kind < 0.3:
            wide = self._data([*shape[:-1], 2 * shape[-1] + 1], dtype)
            return wide[..., 1::2].copy_(data)
        return data

    def _size(self, dim: str) -> Node:
        names = [n for n, d in self.tensors.items() if dim in d and n.isidentifier()]
        name = self.random.choice(names)
        text = f"{name}.size({self.tensors[name].index(dim)})"
        if self.random.random() < 0.2:
            text = f"hl.specialize({text})"
        return Node(f"{dim} = {text}")

    # -- loops -----------------------------------------------------------------------

    def _launch(self) -> list[Node]:
        rng = self.random
        dims = rng.sample(DIMS, rng.choice([1, 1, 1, 2, 2, 3]))
        scope = Scope(scalars=["n", "f", *DIMS, "n + 1", "a // 2", "max(n, 2)"])
        for name, (shape, dtype) in self.made.items():
            self.tensors[name] = shape
            data = self._data([SAMPLE_SIZES[d] for d in shape], dtype)
            # Other than arguments they have been rounded.
            self.samples[name] = data * 1.1 if dtype.is_floating_point else data
        with running_loop(torch.device("cpu")):
            if rng.random() < 0.15:
                head = self._grid(scope, dims[:2])
            else:
                head = self._tiles(scope, dims)
            longest = 12 if rng.random() < 0.05 else 4
            body = self._block(scope, rng.randint(1, longest))
            body += self._store(scope) or self._plain_store(scope)
        return [Node(head, body)]

    def _tiles(self, scope: Scope, dims: Sequence[str]) -> str:
        """Bind a tile for each dim; return the head of the loop."""
        rng = self.random
        names = []
        certain = scope.is_certain
        for dim in dims:
            name = f"t{self.loops}"
            length = TILE_SIZES[self.loops % len(TILE_SIZES)]
            self.loops += 1
            certain = certain and self.sizes[dim] > 1
            loop = LoopRange(0, SAMPLE_SIZES[dim], length, torch.device("cpu"))
            self.samples[name] = EagerTile(loop, 0)
            self.dim_names[length] = name
            scope.tiles[name] = dim
            scope.scalars += [f"{name}.begin", f"{name}.id"]
            names.append(name)
        fixed = ""
        # Without a size of its own a loop takes one of the Config when it is reached.
        if not scope.is_certain or rng.random() < 0.15:
            free = ["None"] * scope.is_certain
            sizes = [rng.choice(["1", "4", "8", *free]) for _ in dims]
            single = len(dims) == 1
            fixed = (
                f", block_size={sizes[0] if single else '[' + ', '.join(sizes) + ']'}"
            )
        scope.is_certain = certain
        if len(dims) == 1:
            begin = "1, " if self.sizes[dims[0]] and rng.random() < 0.1 else ""
            return f"for {names[0]} in hl.tile({begin}{dims[0]}{fixed}):"
        return f"for {', '.join(names)} in hl.tile([{', '.join(dims)}]{fixed}):"

    def _grid(self, scope: Scope, dims: Sequence[str]) -> str:
        names = []
        for dim in dims:
            name = f"g{self.loops}"
            self.loops += 1
            self.samples[name] = 3
            scope.grids[name] = dim
            scope.scalars.append(name)
            names.append(name)
        bounds = dims[0] if len(dims) == 1 else f"[{', '.join(dims)}]"
        return f"for {', '.join(names)} in hl.grid({bounds}):"

    # -- statements ------------------------------------------------------------------

    def _block(self, scope: Scope, length: int) -> list[Node]:
        nodes: list[Node] = []
        for _ in range(length):
            nodes += self._statement(scope)
        return nodes

    def _statement(self, scope: Scope) -> list[Node]:
        kinds = (
            ["value"] * 14 + ["store"] * 2 + ["update"] * 2 + ["jump"] * scope.is_for
        )
        if scope.depth < 2:
            kinds += ["if", "loop", "loop", "while", "unroll", "ifelse"]
        kind = self.random.choice(kinds)
        return getattr(self, f"_{kind}")(scope) or []

    def _value(self, scope: Scope) -> list[Node]:
        """A new name for an expression."""
        value = self.expression(scope)
        if value is None:
            return []
        name = f"v{self.count}"
        self.count += 1
        self.samples[name] = value.sample
        scope.values.append(Value(name, value.dims, value.sample))
        return [Node(f"{name} = {value.text}")]

    def _named(self, scope: Scope) -> list[Value]:
        return [v for v in scope.values if v.text.isidentifier()]

    def _update(self, scope: Scope) -> list[Node]:
        """An old name gets another value of its shape and dtype."""
        names = self._named(scope)
        if not names:
            return []
        old = self.random.choice(names)
        for _ in range(6):
            other = self._aligned(self._pick(scope), old.dims)
            if other is None:
                continue
            text = self.random.choice(pieces.UPDATES).format(old=old.text, v=other)
            found = self._try(text)
            if found is None or found.dims != old.dims:
                continue
            if found.sample.dtype != old.sample.dtype:
                if not found.is_exact and not old.sample.dtype.is_floating_point:
                    continue
                text = f"({text}).to({old.sample.dtype})"
            return [Node(f"{old.text} = {text}")]
        return []

    def _if(self, scope: Scope) -> list[Node]:
        head = f"if {self._condition(scope)}:"
        body = self._block(self._branch(scope), self.random.randint(1, 2))
        return [Node(head, body + self._update(scope))]

    def _branch(self, scope: Scope) -> Scope:
        inner = scope.inner()
        inner.is_certain = False
        return inner

    def _ifelse(self, scope: Scope) -> list[Node]:
        node = self._if(scope)[0]
        node.orelse = self._block(self._branch(scope), 1) + self._update(scope)
        return [node]

    def _loop(self, scope: Scope) -> list[Node]:
        inner = scope.inner()
        inner.is_for = True
        if self.random.random() < 0.75:
            head = self._inner_tiles(scope, inner)
        else:
            name = self._index_name(inner)
            inner.is_certain = False
            head = f"for {name} in {self.random.choice(pieces.RANGES)}:"
        body = self._block(inner, self.random.randint(1, 2))
        for _ in range(self.random.choice([1, 1, 2])):
            body += self._update(inner)
        return [Node(head, body)]

    def _inner_tiles(self, scope: Scope, inner: Scope) -> str:
        rng = self.random
        kind, dim = rng.random(), rng.choice(DIMS)
        outer = rng.choice(list(scope.tiles) or [""])
        if kind < 0.15 and outer:
            head = self._tiles(inner, [scope.tiles[outer]])
            return with_bounds(head, f"{outer}.begin, {outer}.end")
        head = self._tiles(inner, [dim])
        bounds = [v for v in scope.values if not v.dims and is_index(v)]
        if bounds and kind < 0.5:
            inner.is_certain = False
            bound = f"{rng.choice(bounds).text}.abs() % ({dim} + 1)"
            return with_bounds(head, bound)
        return head

    def _index_name(self, inner: Scope) -> str:
        """Return the new name of an index, which is 1 in the samples."""
        name = f"i{self.loops}"
        self.loops += 1
        self.samples[name] = 1
        inner.scalars.append(name)
        return name

    def _jump(self, scope: Scope) -> list[Node]:
        """Leave a turn, or the loop."""
        if not scope.is_for:
            return []
        jump = self.random.choice(["continue", "break"])
        scope.is_certain = False
        return [Node(f"if {self._condition(scope)}:", [Node(jump)])]

    def _unroll(self, scope: Scope) -> list[Node]:
        inner = scope.inner()
        inner.is_for = True
        head = (
            f"for {self._index_name(inner)} in {self.random.choice(pieces.UNROLLED)}:"
        )
        return [Node(head, self._block(inner, 1) + self._update(inner))]

    def _while(self, scope: Scope) -> list[Node]:
        name = f"i{self.loops}"
        self.loops += 1
        start, test = self.random.choice(pieces.WHILES)
        found = self._try(start)
        self.samples[name] = 1 if found is None else found.sample
        inner = scope.inner()
        inner.is_for = False  # a turn cut short would not count
        inner.is_certain = False
        body = self._block(inner, 1) + self._update(inner)
        body.append(Node(f"{name} = {name} + 1"))
        head = f"while {test.format(name)}:"
        return [Node(f"{name} = {start}"), Node(head, body)]

    # -- stores ----------------------------------------------------------------------

    def _store(self, scope: Scope) -> list[Node]:
        """Write a value to a host tensor; no two programs write one element."""
        rng = self.random
        for _ in range(6):
            value = self._pick(scope)
            if None in value.dims or not self._is_storable(value):
                continue
            used = {d for d in value.dims if d in scope.tiles}
            index, shape = [], []
            for dim in value.dims:
                assert dim is not None
                index.append(dim if dim in scope.tiles else ":")
                shape.append(scope.tiles.get(dim, dim))
            for tile in [t for t in scope.tiles if t not in used]:
                at = rng.randint(0, len(index))
                index.insert(at, f"{tile}.begin")
                shape.insert(at, scope.tiles[tile])
            for grid, dim in scope.grids.items():
                at = rng.randint(0, len(index))
                index.insert(at, grid)
                shape.insert(at, dim)
            if len(index) > 4:
                continue
            return [self._assign(value, index, shape)]
        return []

    def _is_storable(self, value: Value) -> bool:
        dims = [d for d in value.dims if d in TILE_NAMES or not str(d).isdigit()]
        return len(set(dims)) == len(dims)

    def _assign(self, value: Value, index: list[str], shape: list[str]) -> Node:
        rng = self.random
        dtype = value.sample.dtype
        if value.is_exact and rng.random() < 0.1 and dtype != torch.bool:
            dtype = rng.choice([torch.float32, torch.float64, torch.int64])
        name = f"o{len(self.outs)}"
        make = f"torch.zeros([{', '.join(shape)}], dtype={dtype}, device=x0.device)"
        self.outs[name] = Node(f"{name} = {make}")
        if all(size in DIMS for size in shape):
            self.made[name] = (tuple(shape), dtype)
        where = ", ".join(index) or "()"
        kind = rng.random()
        if kind < 0.08 and index and dtype in pieces.ADDABLE:
            return Node(f"hl.atomic_add({name}, [{listing(index)}], {value.text})")
        if kind < 0.14 and index and dtype != torch.bool:
            return Node(f"{name}[{where}] += {value.text}")
        if kind < 0.2 and index:
            mask = self._mask(index)
            return Node(f"hl.store({name}, [{listing(index)}], {value.text}{mask})")
        return Node(f"{name}[{where}] = {value.text}")

    def _plain_store(self, scope: Scope) -> list[Node]:
        name = f"o{len(self.outs)}"
        names = {**scope.tiles, **scope.grids}
        self.outs[name] = Node(
            f"{name} = torch.zeros([{', '.join(names.values())}], device=x0.device)"
        )
        return [Node(f"{name}[{', '.join(names)}] = 1.5")]


def with_bounds(head: str, bounds: str) -> str:
    """Return the head of a tile loop with other bounds."""
    before, _, after = head.partition("hl.tile(")
    _, comma, size = after.partition(", block_size")
    return f"{before}hl.tile({bounds}{comma}{size or '):'}"


def generate(seed: int) -> Program:
    """Return the program of a seed; some are made wrong on purpose."""
    with quiet():
        return Writer(seed).program()
