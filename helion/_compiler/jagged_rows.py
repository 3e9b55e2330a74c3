"""Accesses to nested tensors on the device: loads of rows' places, then of elements.

The body of a kernel indexes the dense face of a nested tensor; what is traced are
accesses to its packed values.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch

from .. import exc
from ..language.creation_ops import arange
from ..language.jagged_access import packed_index
from ..language.jagged_tensor import (
    FACTORIES,
    LIKE_FACTORIES,
    NEW_FACTORIES,
    unsupported,
)
from ..language.memory_ops import load, store
from . import symbols
from .jagged_axes import Lengths, both
from .traced_tile import TracedTile
from .variable_origin import ExprOrigin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..language.jagged_access import JaggedIndex
    from ..language.jagged_tensor import JaggedLayout, JaggedParts
    from .compile_environment import BlockSizeInfo, CompileEnvironment
    from .graph_tracer import GraphBuilder, GraphTracer


class NestedRows:
    """The nested tensors of a kernel being traced."""

    def __init__(self, tracer: GraphTracer) -> None:
        self.tracer = tracer
        self.homes: dict[object, GraphBuilder] = {}
        # Beginnings and lengths of rows that were loaded, by who asked for them.
        self.known: dict[object, list[tuple[torch.Tensor, torch.Tensor]]] = {}

    def access(self, tensor: torch.Tensor, index: Any) -> JaggedIndex | None:
        """Return a subscript of a nested tensor as one of its packed values."""
        env = self.tracer.env
        parts = parts_of(env, tensor)
        if parts is None:
            return None
        if not isinstance(index, (list, tuple)):
            raise exc.InvalidIndexingType(index=f"{index!r}, not in a list,")
        origin = env.host_origin(tensor)
        assert origin is not None
        text = f"{origin.host_str()}.jagged_values"
        hint = f"{origin.suggest_name()}_values"
        env.add_host_tensor(parts.values, ExprOrigin(text, hint))
        return packed_index(parts, index, TracedReader(self))

    def load(
        self, access: JaggedIndex, mask: torch.Tensor | None, policy: str | None
    ) -> torch.Tensor:
        """Load elements of a nested tensor."""
        mask = both(access.to_packed(mask), access.lanes)
        return access.to_dense(load(access.values, access.index, mask, policy))

    def store(self, access: JaggedIndex, value: Any, mask: torch.Tensor | None) -> None:
        """Store elements of a nested tensor."""
        if self.tracer.env.host_origin(value) is None:
            value = access.to_packed(value)
        mask = both(access.to_packed(mask), access.lanes)
        store(access.values, access.index, value, mask)

    def note_tile(self, block_id: int) -> None:
        """Remember the graph that is the body of the loop over an axis."""
        builder = self.tracer.builder
        if builder is not None:
            self.homes[block_id] = builder

    @contextlib.contextmanager
    def at_home(self, element: Any) -> Iterator[None]:
        """Record where the loop variable of an element is made, outside inner loops."""
        tracer, here = self.tracer, self.tracer.builder
        home = self.homes.get(self._block_of(element), here)
        outer = here
        while outer is not None and outer is not home:
            outer = outer.parent
        tracer.builder = here if outer is None else outer
        try:
            yield
        finally:
            tracer.builder = here

    def _block_of(self, element: Any) -> Any:
        if isinstance(element, TracedTile):
            return element.block_id
        if not isinstance(element, torch.SymInt):
            return None
        origin = self.tracer.env.symbol_origins.get(symbols.sym_expr(element))
        return getattr(origin, "block_id", None)


def parts_of(env: CompileEnvironment, tensor: object) -> JaggedParts | None:
    """Return what is behind the dense face of a nested tensor; None: it is none."""
    found = env.jagged.get(id(tensor)) if env.jagged else None
    return None if found is None else found[1]


def check_host_call(env: CompileEnvironment, func: Any, values: list[Any]) -> None:
    """Refuse what host code cannot do with nested tensors: all but to ask for facts."""
    if func in _MAKERS or getattr(func, "__name__", "") in _FACTS:
        return
    values += [v for a in values if isinstance(a, (list, tuple)) for v in a]
    if any(parts_of(env, value) is not None for value in values):
        raise unsupported(func)


_MAKERS = FACTORIES | NEW_FACTORIES | LIKE_FACTORIES
_FACTS = frozenset(
    {
        "__get__",
        "size",
        "dim",
        "is_floating_point",
        "is_complex",
        "element_size",
        "stride",
    }
)


class TracedReader:
    """Reads rows of nested tensors on the device."""

    def __init__(self, rows: NestedRows) -> None:
        self.rows = rows
        self.tracer = rows.tracer
        self.env = rows.tracer.env

    def row(self, layout: JaggedLayout, element: Any) -> tuple[Any, Any]:
        """Return where the rows that an element names begin, and their lengths."""
        known = self.rows.known.setdefault((id(layout), _key(element)), [])
        for start, length in known:
            if self._is_here(start) and self._is_here(length):
                return start, length
        with self.rows.at_home(element):
            which = self.positions(element, layout.batch, None)
            first = element if isinstance(element, TracedTile) else which
            start = load(layout.offsets, [first])
            if layout.lengths is None:
                length = load(layout.offsets, [which + 1]) - start
            else:
                length = load(layout.lengths, [first])
            # Elements within reach of the index type begin within its reach.
            dtype = self.env.index_dtype
            known.append((start.to(dtype), length.to(dtype)))
        return known[-1]

    def _is_here(self, value: torch.Tensor) -> bool:
        builder = self.tracer.builder
        assert builder is not None
        return builder.lookup(value) is not None

    def positions(self, element: Any, size: Any, length: Any) -> Any:
        """Return the positions of an element: a vector, or a scalar."""
        if isinstance(element, slice):
            block = self._block(element)
            if block is None and element != slice(None):
                raise exc.InvalidIndexingType(
                    index="a slice of the rows of a nested tensor",
                    hint="use ':' or a tile",
                )
            if block is None:
                return arange(size)
            element = TracedTile(self.env, self.env.block_sizes[block])
        if isinstance(element, TracedTile):
            return element.index
        if isinstance(element, int) and element < 0:
            return element + size
        return element

    def _block(self, element: slice) -> int | None:
        return self.env.enclosing_tile(element.start, element.stop)

    def is_limited(self, element: Any, layout: JaggedLayout, batch: Any) -> bool:
        """Make the axis of a whole dim, or of a tile over one, jagged."""
        size = layout.max_length
        info: BlockSizeInfo | None = None
        if isinstance(element, slice):
            block = self._block(element)
            if block is None:
                info = self.env.reduction_dim(size)
            else:
                info = self.env.block_sizes[block]
        elif isinstance(element, TracedTile):
            info = element.info
        if info is None or info.numel is None:
            return False
        if symbols.sym_expr(info.numel) != symbols.sym_expr(size):
            return False
        lengths = Lengths(
            lambda: self._length(layout, batch), (id(layout), _key(batch))
        )
        self.tracer.jagged.add(info.block_id, lengths)
        return True

    def _length(self, layout: JaggedLayout, batch: Any) -> torch.Tensor | None:
        if isinstance(batch, torch.Tensor) and not self._is_here(batch):
            return None
        return self.row(layout, batch)[1]


def _key(element: Any) -> object:
    """Return what tells the elements of dim 0 apart."""
    if isinstance(element, TracedTile):
        return element.block_id
    if isinstance(element, (torch.SymInt, slice)):
        return str(element)
    return id(element) if isinstance(element, torch.Tensor) else element
