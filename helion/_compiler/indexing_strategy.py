"""Indexing modes: how the elements of one access are addressed."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from ..language.low_bit_ops import BYTE_DTYPES
from . import symbols
from .ast_extension import expr, literal
from .codegen_text import conjunction, expand
from .load_repeated import load_repeated, repeated_dims

if TYPE_CHECKING:
    from collections.abc import Callable

    from .codegen_state import CodegenState
    from .variable_origin import Origin


@dataclass
class Access:
    """One load, store or atomic: which elements of which host tensor.

    ``index`` has one tuple per element, ``("tile", block_id)``, ``("full", block_id)``,
    ``("scalar", value)``, ``("tensor", value)``, ``("slice", start, step, length)`` or
    ``("new",)``; a fifth item of a slice says that it may run past the end. ``shape``
    are the device extents of the selection.
    """

    state: CodegenState
    host: str
    tensor: torch.Tensor
    index: list[tuple[Any, ...]]
    fakes: list[tuple[Any, ...]]
    shape: list[int]
    extra_mask: ast.expr | None = None
    extra_shape: list[int] | None = None
    base: ast.expr | None = None  # pointers that are not those of a parameter
    store_options: str = ""

    @classmethod
    def of(cls, state: CodegenState, shape: list[int]) -> Access:
        """Read tensor and index from the first two arguments of a node."""
        node = state.node.args[0]
        assert isinstance(node, torch.fx.Node)
        lanes = state.node.kwargs.get("lanes")
        is_masked = isinstance(lanes, torch.fx.Node)
        return cls(
            state,
            str(node.args[0]),
            node.meta["val"],
            state.arg(1),
            state.fake_arg(1),
            shape,
            state.resolve(lanes) if is_masked else None,
            list(lanes.meta["val"].shape) if is_masked else None,
        )

    @property
    def kind(self) -> str:
        """What is done: ``load``, ``store``, ``atomic_add`` and so on."""
        return str(getattr(self.state.node.target, "name", ""))

    @property
    def knob(self) -> str:
        """The knob that says how."""
        return "indexing" if self.kind in ("load", "store") else "atomic_indexing"

    @property
    def is_store(self) -> bool:
        """Whether elements are changed."""
        return self.kind != "load"

    @property
    def origin(self) -> Origin:
        """How the tensor is spelled on the host."""
        found = self.state.launch.env.host_origin(self.tensor)
        assert found is not None, self.host
        return found

    @property
    def pointers(self) -> PointerIndexing:
        """The mode that can express everything."""
        found = INDEXING["pointer"]
        assert isinstance(found, PointerIndexing)
        return found

    def fills_selection(self) -> bool:
        """Whether a stored value has an element for each that is selected."""
        value = self.state.node.args[2 if self.kind == "store" else 3]
        if not isinstance(value, torch.fx.Node):
            return False
        found = value.meta["val"]
        return isinstance(found, torch.Tensor) and list(found.shape) == self.shape


class IndexingStrategy:
    """Base of the indexing modes; few of them ``can_update`` by atomics."""

    can_update = False

    def refusal(self, access: Access) -> str | None:
        """Say why an access cannot be addressed this way, None if it can."""
        return None

    def load(self, access: Access, options: str) -> ast.expr:
        """Return the expression of a load."""
        raise NotImplementedError

    def store(self, access: Access, value: ast.expr) -> ast.expr:
        """Return the expression of a store."""
        raise NotImplementedError

    def update(self, access: Access, value: ast.expr) -> ast.expr:
        """Return the expression of an atomic whose old value nobody reads."""
        raise NotImplementedError


INDEXING: dict[str, IndexingStrategy] = {}
StrategyT = TypeVar("StrategyT", bound=IndexingStrategy)


def register_indexing(name: str) -> Callable[[type[StrategyT]], type[StrategyT]]:
    """Make an indexing mode available under its Config name."""

    def register(cls: type[StrategyT]) -> type[StrategyT]:
        INDEXING[name] = cls()
        return cls

    return register


def align(
    value: ast.expr, shape: list[int], target: list[int], launch: Any
) -> ast.expr:
    """Give a value the rank of ``target``, which its shape broadcasts to."""
    own, rank = launch.rank(shape), launch.rank(target)
    if own == 0:
        return value
    lead = len(target) - len(shape)
    extra = [
        i
        for i, extent in enumerate(shape)
        if extent == 1 and launch.is_single(target[lead + i])
    ]
    if extra:
        # A size-1 dim meets one that Triton does not see.
        shape = [extent for i, extent in enumerate(shape) if i not in extra]
        if launch.rank(shape) == 0:
            return expr("device_folds.only(tl.reshape({v}, [1]))", v=value)
        flat = expr("tl.reshape({v}, {s})", v=value, s=launch.shape_expr(shape))
        value = launch.share(flat, "v")
        own = launch.rank(shape)
    if own == rank:
        return value
    items = ["None"] * (rank - own) + [":"] * own
    return expr(f"{{v}}[{', '.join(items)}]", v=value)


@register_indexing("pointer")
class PointerIndexing(IndexingStrategy):
    """A pointer per element; always possible."""

    def load(self, access: Access, options: str) -> ast.expr:
        dims = repeated_dims(access)
        if dims:
            return load_repeated(self, access, dims, options)
        pointer, mask = self.pointer(access), self.mask(access)
        if mask is None:
            return expr(f"tl.load({{p}}{options})", p=pointer)
        dtype, other = access.tensor.dtype, access.state.node.meta.get("other", 0)
        if dtype.itemsize == 1 and dtype.is_floating_point and not _is_bytes(access):
            other = float(other)  # Triton casts no integer to an 8-bit float
        other = literal(other)
        return expr(
            f"tl.load({{p}}, {{m}}, other={{o}}{options})", p=pointer, m=mask, o=other
        )

    def store(self, access: Access, value: ast.expr) -> ast.expr:
        pointer, mask = self.pointer(access), self.mask(access)
        hints = access.store_options
        if mask is None:
            return expr(f"tl.store({{p}}, {{v}}{hints})", p=pointer, v=value)
        return expr(f"tl.store({{p}}, {{v}}, {{m}}{hints})", p=pointer, v=value, m=mask)

    def mask(self, access: Access) -> ast.expr | None:
        """Return which lanes exist, None if all do."""
        launch = access.state.launch
        name = _name("mask", access)
        mask = launch.mask_expr(access.shape)
        terms = [] if mask is None else [launch.share(mask, name)]
        if access.extra_mask is not None:
            extra = align(
                access.extra_mask, access.extra_shape or [], access.shape, launch
            )
            terms.append(extra)
        terms += _limits(access)
        mask = conjunction(terms)
        return None if mask is None else launch.share(mask, name)

    def pointer(self, access: Access) -> ast.expr:
        """Return base plus offsets."""
        launch = access.state.launch
        origin = launch.env.host_origin(access.tensor)
        base = access.base
        if base is None:
            base = expr(launch.tensor_arg(access.host, origin, _is_bytes(access)))
        offsets = _Offsets(access, origin)
        terms = offsets.terms()
        if offsets.rank and not offsets.is_spread:
            # Nothing but scalars so far: every lane of the block reads one element.
            shape = launch.shape_expr(access.shape)
            terms.append(expr("tl.zeros({shape}, tl.int32)", shape=shape))
        if not terms:
            return base
        total = terms[0]
        for term in terms[1:]:
            total = expr("{a} + {b}", a=total, b=term)
        total = launch.share(total, _name("offsets", access))
        return expr("{base} + {total}", base=base, total=total)


def _limits(access: Access) -> list[ast.expr]:
    """Return which lanes of open slices lie inside the tensor."""
    if not any(element[0] == "slice" and len(element) > 4 for element in access.index):
        return []
    offsets = _Offsets(access, access.state.launch.env.host_origin(access.tensor))
    offsets.terms()
    return offsets.limits


def _is_bytes(access: Access) -> bool:
    """Whether the elements are bytes in the kernel, whatever torch takes them for."""
    return access.tensor.dtype in BYTE_DTYPES


def _name(kind: str, access: Access) -> str:
    """Return a name for what belongs to the axes of an access: ``mask_0_1``."""
    axes = [access.state.launch.axis_of(extent) for extent in access.shape]
    return "_".join([kind, *(str(a.block_id) for a in axes if a is not None)])


class _Offsets:
    """Builds the offset terms of one access, dim by dim."""

    def __init__(self, access: Access, origin: Any) -> None:
        self.access = access
        self.launch = access.state.launch
        self.origin = origin
        self.rank = self.launch.rank(access.shape)
        self.places = self._places()
        self.is_spread = False
        self.limits: list[ast.expr] = []

    def _places(self) -> list[int | None]:
        """Return the Triton dim of each dim of the selection, None if it has none."""
        shape = self.access.shape
        places: list[int | None] = [None] * len(shape)
        seen = (
            i for i, extent in enumerate(shape) if not self.launch.is_single(extent)
        )
        for place, group in enumerate(self.launch.merged_dims(shape)):
            for _ in group:
                places[next(seen)] = place
        return places

    def _spread(self, value: ast.expr, out: int) -> ast.expr:
        """Give a 1-D index its place among the dims of the selection."""
        place = self.places[out]
        if place is None:
            return value
        self.is_spread = True
        return expand(value, place, self.rank)

    def terms(self) -> list[ast.expr]:
        """Return the terms to add to the base pointer."""
        result: list[ast.expr] = []
        dim = out = 0
        pairwise: int | None = None
        for element, fake in zip(self.access.index, self.access.fakes, strict=True):
            kind = element[0]
            if kind == "new":
                out += 1
                continue
            if kind == "tensor" and fake[1].dim() > 1:
                first = out if pairwise is None else pairwise
                pairwise_rank = self._pairwise_rank()
                term = self._tensor(element[1], fake[1], first + pairwise_rank)
                out += pairwise_rank if pairwise is None else 0
                pairwise = first
            else:
                term = self._one(element, fake, dim, out)
                out += kind != "scalar"
            if term is not None:
                result += self._scaled(term, dim, element)
            dim += 1
        return result

    def _pairwise_rank(self) -> int:
        fakes = [f for f in self.access.fakes if f[0] == "tensor"]
        return max(f[1].dim() for f in fakes)

    def _tensor(self, value: ast.expr, fake: torch.Tensor, end: int) -> ast.expr:
        """Place the dims of an index tensor so that they end before dim ``end``."""
        positions = range(end - fake.dim(), end)
        target = [self.access.shape[position] for position in positions]
        value = align(value, list(fake.shape), target, self.launch)
        if self.launch.rank(target) == 0:
            return self._wide(value)
        items = ["None"] * self.rank
        for position in positions:
            place = self.places[position]
            if place is not None:
                items[place] = ":"
                self.is_spread = True
        if all(i == ":" for i in items):
            return self._wide(value)
        return expr(f"{{v}}[{', '.join(items)}]", v=self._wide(value))

    def _one(
        self, element: tuple[Any, ...], fake: tuple[Any, ...], dim: int, out: int
    ) -> ast.expr | None:
        kind = element[0]
        if kind == "scalar":
            return self._scalar(element[1])
        if kind == "tensor":
            return self._spread(self._wide(element[1]), out)
        extent = self.access.shape[out]
        if kind == "tile":
            index = self._tile_index(self.launch.axis_of(extent))
            return None if index is None else self._spread(index, out)
        if extent == 1 and kind == "full":
            return None
        axis = self.launch.axis_of(extent)
        index = expr(axis.index) if axis is not None else expr("tl.arange(0, 1)")
        if kind == "slice":
            index = self.launch.local_index(extent)
            start, step = element[1:3]
            index = index if step == 1 else expr(f"{{i}} * {step}", i=index)
            if symbols.static_int(start) != 0:
                start = self.launch.size_expr(start)
                index = expr("({s} + {i})", s=start, i=index)
            if len(element) > 4:
                return self._limited(self._spread(index, out), dim)
        return self._spread(index, out)

    def _limited(self, index: ast.expr, dim: int) -> ast.expr:
        """Note that positions past the end of a dim are not to be accessed."""
        size = self.launch.size_expr(self.access.tensor.size(dim))
        self.limits.append(expr("({i} < {s})", i=index, s=size))
        return index

    def _tile_index(self, axis: Any) -> ast.expr | None:
        """Return the tile's index; one linear index where flattened dims collapse.

        The last of these has it; None for the others.
        """
        if axis.flat and self._collapses(axis):
            is_last = axis.block_id == axis.flat[-1]
            return expr(axis.flat_index) if is_last else None
        return expr(axis.index)

    def _collapses(self, axis: Any) -> bool:
        """Whether the flattened axes are one stretch of the tensor."""
        kinds = [tuple(e[:2]) for e in self.access.index]
        wanted = [("tile", b) for b in axis.flat]
        if wanted[0] not in kinds:
            return False
        first = kinds.index(wanted[0])
        if kinds[first : first + len(wanted)] != wanted or ("new",) in kinds:
            return False
        tensor = self.access.tensor
        dims = [i for i in range(first, first + len(wanted))]
        sizes, strides = tensor.size(), tensor.stride()
        if symbols.static_int(sizes[dims[-1]]) == 1:
            return False  # the index of such a dim is multiplied by 0
        ends = [self.launch.env.block_sizes[b].numel for b in axis.flat]
        whole = all(str(sizes[d]) == str(e) for d, e in zip(dims, ends, strict=True))
        return whole and all(
            str(strides[d]) == str(strides[d + 1] * sizes[d + 1]) for d in dims[:-1]
        )

    def _scalar(self, value: Any) -> ast.expr | None:
        if symbols.static_int(value) == 0:
            return None
        result = self.launch.size_expr(value)
        is_number = isinstance(result, ast.Constant)
        return result if is_number else self._wide(result, is_scalar=True)

    def _wide(self, value: ast.expr, is_scalar: bool = False) -> ast.expr:
        if not self.launch.is_wide:
            return value
        return expr("tl.cast({v}, tl.int64)", v=value)

    def _scaled(
        self, term: ast.expr, dim: int, element: tuple[Any, ...]
    ) -> list[ast.expr]:
        tensor = self.access.tensor
        if isinstance(term, ast.Constant) and term.value == 0:
            return []
        if symbols.static_int(tensor.size(dim)) == 1:
            # The tile is wider than the tensor: every lane reads its one element.
            return [] if element[0] == "scalar" else [expr("{t} * 0", t=term)]
        stride = self.launch.stride_text(self.access.host, self.origin, tensor, dim)
        if stride == "1":
            return [term]
        return [expr(f"{{t}} * {stride}", t=term)]
