"""Stand-ins of nested tensors while compiling, on the host side.

How long rows are, and how many elements there are, is a symbol also where shapes are
static: other rows are no other kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..language.jagged_tensor import (
    FACTORIES,
    LIKE_FACTORIES,
    NEW_FACTORIES,
    JaggedLayout,
    JaggedParts,
    JaggedTensor,
    split_sizes,
)
from . import symbols
from .function_modes import HOST_HANDLERS, handles
from .jagged_rows import parts_of
from .variable_origin import ExprOrigin, Origin, SizeOrigin, StrideOrigin

if TYPE_CHECKING:
    from .compile_environment import CompileEnvironment
    from .graph_tracer import GraphTracer


def fake_jagged(
    env: CompileEnvironment, tensor: JaggedTensor, origin: Origin
) -> torch.Tensor:
    """Return a fake of the dense shape; ``env.jagged`` has what is behind it."""
    source = _Source(env, origin.host_str(), tensor.parts)
    parts = tensor.parts
    values = source.values()
    rows = source.rows(values.size(parts.ragged_dim - 1))
    padded = tuple((dim, rows) for dim, _ in parts.padded)
    made = JaggedParts(values, rows, parts.ragged_dim, padded)
    return dense_face(env, made, origin)


@dataclass
class _Source:
    """An argument, and how host code spells it."""

    env: CompileEnvironment
    text: str
    parts: JaggedParts

    def place(self, name: str, short: str) -> ExprOrigin:
        return ExprOrigin(f"{self.text}.{name}", f"{self.text}_{short}")

    def number(self, name: str, value: int) -> Any:
        return self.env.new_size(value, self.place(name, name))

    def values(self) -> torch.Tensor:
        """Return a fake of the packed rows, whose number is a symbol."""
        place = self.place("jagged_values", "values")
        is_static = self.env.settings.static_shapes
        ragged = self.parts.ragged_dim - 1
        sizes = [
            s
            if d != ragged and (is_static or s in (0, 1))
            else self.env.new_size(s, SizeOrigin(place, d))
            for d, s in enumerate(self.parts.values.shape)
        ]
        return _strided(self.env, self.parts.values, sizes, place)

    def rows(self, total: Any) -> JaggedLayout:
        """Return the rows, with a symbol for the length of the longest."""
        layout = self.parts.layout
        is_fixed = self.env.settings.static_shapes or layout.batch in (0, 1)
        batch = layout.batch if is_fixed else self.number("batch", layout.batch)
        place = self.place("jagged_offsets", "offsets")
        offsets = _strided(self.env, layout.offsets, [batch + 1], place)
        lengths = layout.lengths
        if lengths is not None:
            place = self.place("jagged_lengths", "lengths")
            lengths = _strided(self.env, lengths, [batch], place)
        longest = self.number("max_length", layout.max_length)
        return JaggedLayout(offsets, lengths, batch, longest, total)


def dense_face(
    env: CompileEnvironment, parts: JaggedParts, origin: Origin | None = None
) -> torch.Tensor:
    """Return a fake of the dense shape of ``parts``."""
    with env.fake_mode:
        face = torch.empty(
            parts.shape(), dtype=parts.values.dtype, device=parts.values.device
        )
    env.jagged[id(face)] = (face, parts)
    if origin is not None:
        env.add_host_tensor(face, origin)
    return face


def _strided(
    env: CompileEnvironment, value: torch.Tensor, sizes: list[Any], origin: Origin
) -> torch.Tensor:
    strides: list[Any] = []
    if value.is_contiguous():
        running: Any = 1
        for size in reversed(sizes):
            strides.insert(0, running)
            running = running * (1 if symbols.static_int(size) == 0 else size)
    else:
        is_static = env.settings.static_shapes
        strides = [
            s if is_static or s in (0, 1) else env.new_size(s, StrideOrigin(origin, d))
            for d, s in enumerate(value.stride())
        ]
    with env.fake_mode:
        fake = torch.empty_strided(
            sizes, strides, dtype=value.dtype, device=value.device
        )
    env.add_host_tensor(fake, origin)
    return fake


# -- factories -----------------------------------------------------------------------


def _ragged_dims(
    env: CompileEnvironment, sizes: list[Any]
) -> list[tuple[int, JaggedLayout]]:
    layouts = [parts.layout for _, parts in env.jagged.values()]
    found: list[tuple[int, JaggedLayout]] = []
    for dim, size in enumerate(sizes):
        if not dim or not isinstance(size, torch.SymInt):
            continue
        for layout in layouts:
            is_rows = _same(size, layout.max_length)
            if is_rows and _same(sizes[0], layout.batch):
                found.append((dim, layout))
                break
    return found


def _same(left: Any, right: Any) -> bool:
    return symbols.sym_expr(left) == symbols.sym_expr(right)


def _made(
    tracer: GraphTracer,
    func: Any,
    first: tuple[torch.Tensor, ...],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> torch.Tensor:
    """Return the fake of what a factory makes of a ragged size."""
    env = tracer.env
    if not env.jagged:
        return func(*first, *args, **kwargs)
    sizes, rest, options = split_sizes(func, args, kwargs)
    ragged = _ragged_dims(env, sizes)
    if not ragged:
        return func(*first, *args, **kwargs)
    (dim, layout), *padded = ragged
    packed = list(sizes[1:])
    packed[dim - 1] = layout.total
    values = func(*first, packed, *rest, **options)
    return dense_face(env, JaggedParts(values, layout, dim, tuple(padded)))


def _register() -> None:
    for factory in FACTORIES:

        @handles(HOST_HANDLERS, factory)
        def make(
            tracer: GraphTracer, *args: Any, _factory: Any = factory, **kwargs: Any
        ) -> torch.Tensor:
            return _made(tracer, _factory, (), args, kwargs)

    for factory in NEW_FACTORIES:

        @handles(HOST_HANDLERS, factory)
        def make_new(
            tracer: GraphTracer,
            like: torch.Tensor,
            *args: Any,
            _factory: Any = factory,
            **kwargs: Any,
        ) -> torch.Tensor:
            parts = parts_of(tracer.env, like)
            source = like if parts is None else parts.values
            return _made(tracer, _factory, (source,), args, kwargs)

    for factory in LIKE_FACTORIES:

        @handles(HOST_HANDLERS, factory)
        def make_like(
            tracer: GraphTracer,
            like: torch.Tensor,
            *args: Any,
            _factory: Any = factory,
            **kwargs: Any,
        ) -> torch.Tensor:
            parts = parts_of(tracer.env, like)
            if parts is None:
                return _factory(like, *args, **kwargs)
            values = _factory(parts.values, *args, **kwargs)
            made = JaggedParts(values, parts.layout, parts.ragged_dim, parts.padded)
            return dense_face(tracer.env, made)


_register()
