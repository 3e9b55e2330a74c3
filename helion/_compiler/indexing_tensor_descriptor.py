"""Tensor descriptors: the memory unit of the GPU copies whole blocks (TMA)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from . import symbols
from .ast_extension import assign, expr, literal
from .indexing_strategy import IndexingStrategy, register_indexing
from .rectangular_access import NotRectangular, Rectangle, rectangle_of
from .storage_use import storage_use
from .target_gpu import gpu_capability, gpu_vendor
from .variable_origin import ExprOrigin

if TYPE_CHECKING:
    import ast
    from collections.abc import Sequence

    from .compile_environment import CompileEnvironment
    from .indexing_strategy import Access

MAX_RANK = 5
MAX_BLOCK = 256
ALIGNMENT = 16  # bytes: of the base, of strides, and the least of a row of a block
MIN_CAPABILITY = (9, 0)

# What the atomics of a descriptor take; others go by pointers.
_INTEGERS = frozenset({torch.int32, torch.uint32, torch.int64, torch.uint64})
_HALVES = frozenset({torch.float16, torch.bfloat16})
UPDATES: dict[str, frozenset[torch.dtype]] = {
    "atomic_add": (_INTEGERS - {torch.int64}) | _HALVES | {torch.float32},
    "atomic_max": _INTEGERS | _HALVES,
    "atomic_min": _INTEGERS | _HALVES,
    "atomic_and": _INTEGERS,
    "atomic_or": _INTEGERS,
    "atomic_xor": _INTEGERS,
}


@dataclass(frozen=True)
class Described:
    """A tensor with a descriptor: its host code, and the dim of stride 1.

    ``is_known``: sizes and strides were checked when compiling, so that only the
    address is left to check at a call.
    """

    host: str
    dim: int
    is_known: bool


@register_indexing("tensor_descriptor")
class DescriptorIndexing(IndexingStrategy):
    """One descriptor for each tensor, shape of block, and order of dims."""

    can_update = True

    def refusal(self, access: Access) -> str | None:
        """Say why an access cannot go by a descriptor."""
        launch, node, tensor = access.state.launch, access.state.node, access.tensor
        reason = device_refusal(launch.env) or tensor_refusal(tensor)
        if reason is None and access.knob == "atomic_indexing":
            reason = update_refusal(launch.env, node, tensor.dtype)
        if reason is None:
            reason = storage_use(launch).trouble(node, tensor, launch.env)
        if reason is not None:
            return reason
        try:
            rectangle = rectangle_of(access)
        except NotRectangular as found:
            return str(found)
        reason = block_refusal(rectangle, access.tensor)
        if reason is None and access.is_store:
            reason = _store_refusal(access, rectangle)
        return reason

    def load(self, access: Access, options: str) -> ast.expr:
        launch, rectangle = access.state.launch, rectangle_of(access)
        order = _order(access.tensor)
        name = _descriptor(access, rectangle, order)
        offsets = [rectangle.dims[i].offset for i in order]
        value = expr(f"{name}.load({{at}})", at=literal(offsets))
        value = _to_selection(access, rectangle, order, value)
        other = access.state.node.meta.get("other", 0)
        if rectangle.is_exact and access.extra_mask is None and other == 0:
            return value
        mask = access.pointers.mask(access)
        if mask is None:
            return value
        fill = launch.env.backend.literal(other, access.tensor.dtype)
        value = launch.lift(value)
        return expr(f"tl.where({{m}}, {{v}}, {fill})", m=mask, v=value)

    def store(self, access: Access, value: ast.expr) -> ast.expr:
        return self._send("store", access, value)

    def update(self, access: Access, value: ast.expr) -> ast.expr:
        return self._send(access.kind, access, value)

    def _send(self, method: str, access: Access, value: ast.expr) -> ast.expr:
        rectangle, order = rectangle_of(access), _order(access.tensor)
        name = _descriptor(access, rectangle, order)
        offsets = [rectangle.dims[i].offset for i in order]
        block = _to_block(access, rectangle, order, value)
        return expr(f"{name}.{method}({{at}}, {{v}})", at=literal(offsets), v=block)


def device_refusal(env: CompileEnvironment) -> str | None:
    """Say why a device has no descriptors; one that is not there has them."""
    if env.device.type != "cuda":
        return None  # Triton's interpreter
    if gpu_vendor() != "nvidia":
        return "only NVIDIA GPUs have tensor descriptors"
    found = gpu_capability(env.device)
    if found is None or found >= MIN_CAPABILITY:
        return None  # without a GPU the code is for a machine that has one
    return f"it needs compute capability 9.0, the GPU has {found[0]}.{found[1]}"


def update_refusal(
    env: CompileEnvironment, node: torch.fx.Node, dtype: torch.dtype
) -> str | None:
    """Say why an atomic is none that the memory unit does."""
    name = getattr(node.target, "name", "")
    if dtype not in UPDATES.get(name, ()):
        return f"descriptors have no {name} of {dtype}"
    if node.users:
        return "the value before the update is used"
    if node.args[2] != "relaxed":
        return f"descriptors order nothing, but sem is {node.args[2]!r}"
    if env.device.type != "cuda":
        return "Triton's interpreter has no atomics of descriptors"
    return None


def tensor_refusal(tensor: torch.Tensor) -> str | None:
    """Say why a tensor can have no descriptor, whatever the blocks."""
    dtype, rank = tensor.dtype, tensor.dim()
    if not 1 <= rank <= MAX_RANK:
        return f"it needs 1 to {MAX_RANK} dims, the tensor has {rank}"
    if dtype == torch.bool or dtype.is_complex or dtype == torch.float64:
        return f"elements of {dtype} cannot be copied by a descriptor"
    sizes = [symbols.static_int(size) for size in tensor.size()]
    if 0 in sizes:
        return "the tensor is empty"
    strides = [symbols.static_int(stride) for stride in tensor.stride()]
    ones = [i for i, n in enumerate(strides) if n == 1 and sizes[i] != 1]
    if len(ones) != 1:
        found = "none" if not ones else f"{len(ones)}"
        return f"it needs one dim of stride 1, the tensor has {found}"
    for dim, stride in enumerate(strides):
        if dim == ones[0] or sizes[dim] == 1 or stride is None:
            continue
        if stride == 0 or stride * dtype.itemsize % ALIGNMENT:
            length = stride * dtype.itemsize
            return f"the stride of dim {dim} is {length} bytes, no multiple of 16"
    return None


def block_refusal(rectangle: Rectangle, tensor: torch.Tensor) -> str | None:
    """Say why the blocks of an access are not what the hardware copies."""
    order, itemsize = _order(tensor), tensor.dtype.itemsize
    for index in order:
        dim = rectangle.dims[index]
        if dim.known is None:
            return f"the block's extent along dim {index} is only known at a call"
        if dim.known > MAX_BLOCK:
            return f"the block has {dim.known} elements along dim {index}, over 256"
    last = rectangle.dims[order[-1]]
    if (last.known or 0) * itemsize < ALIGNMENT:
        length = (last.known or 0) * itemsize
        return f"a row of the block has {length} bytes along dim {order[-1]}, under 16"
    if last.step * itemsize % ALIGNMENT:
        return f"blocks may begin between 16 bytes along dim {order[-1]}"
    return None


def _store_refusal(access: Access, rectangle: Rectangle) -> str | None:
    """Say why lanes would be written that must not be."""
    if access.extra_mask is not None:
        return "a mask of its own chooses the lanes to store"
    if not rectangle.is_exact:
        return "a tile may end before the tensor does"
    return None


def _order(tensor: torch.Tensor) -> list[int]:
    """Return the dims of a tensor with that of stride 1 last."""
    dims = list(range(tensor.dim()))
    last = last_dim(tensor)
    return [*(i for i in dims if i != last), last]


def last_dim(tensor: torch.Tensor) -> int:
    """Return the dim of stride 1, of a tensor that has one."""
    return next(
        i
        for i in reversed(range(tensor.dim()))
        if symbols.static_int(tensor.stride(i)) == 1
        and symbols.static_int(tensor.size(i)) != 1
    )


def _descriptor(access: Access, rectangle: Rectangle, order: Sequence[int]) -> str:
    """Return the name of the descriptor of a tensor for blocks of one shape."""
    launch = access.state.launch
    blocks = [rectangle.dims[i].extent for i in order]
    key = (access.host, *blocks, *order)
    if key in launch.indexed.descriptors:
        return launch.indexed.descriptors[key]
    launch.indexed.descriptors[key] = name = _new_descriptor(access, rectangle, order)
    return name


def _new_descriptor(access: Access, rectangle: Rectangle, order: Sequence[int]) -> str:
    """Have a descriptor made, here or by the host code before the launch."""
    launch, tensor = access.state.launch, access.tensor
    hint = f"{launch.tensor_arg(access.host, access.origin)}_desc"
    known = [symbols.static_int(n) for n in (*tensor.size(), *tensor.stride())]
    launch.indexed.described.append(
        Described(access.host, order[-1], None not in known)
    )
    if launch.config.get("host_tensor_descriptors"):
        sizes = tuple(rectangle.dims[i].known for i in order)
        by = "" if list(order) == sorted(order) else f", {tuple(order)}"
        text = f"_descriptor({access.host}, {sizes}{by})"
        return launch.scalar_arg(ExprOrigin(text, hint), text)
    blocks = [rectangle.dims[i].extent for i in order]
    sizes = [launch.size_expr(tensor.size(i)) for i in order]
    strides = [_stride_text(access, i) for i in order]
    text = f"[{', '.join(strides)}], [{', '.join(blocks)}]"
    base = launch.tensor_arg(access.host, access.origin)
    made = f"tl.make_tensor_descriptor({base}, {{sizes}}, {text})"
    name = launch.new_var(hint)
    launch.preamble.append(assign(name, expr(made, sizes=literal(sizes))))
    return name


def _stride_text(access: Access, dim: int) -> str:
    # The only element of a dim is at 0, wherever the next one would be.
    if symbols.static_int(access.tensor.size(dim)) == 1:
        return str(ALIGNMENT)
    launch = access.state.launch
    return launch.stride_text(access.host, access.origin, access.tensor, dim)


def _to_selection(
    access: Access, rectangle: Rectangle, order: Sequence[int], value: ast.expr
) -> ast.expr:
    """Bring a loaded block into the dims of the selection."""
    launch, dims = access.state.launch, rectangle.dims
    kept = [i for i in order if dims[i].place is not None]
    if len(kept) < len(order):
        shape = ", ".join(dims[i].extent for i in kept)
        value = expr(f"tl.reshape({{v}}, [{shape}])", v=value)
    if kept != sorted(kept):
        back = [kept.index(i) for i in sorted(kept)]
        value = expr(f"tl.permute({{v}}, {back})", v=value)
    if len(kept) < rectangle.rank:
        shape = launch.shape_expr(access.shape)
        value = expr("tl.reshape({v}, {s})", v=value, s=shape)
    return value


def _to_block(
    access: Access, rectangle: Rectangle, order: Sequence[int], value: ast.expr
) -> ast.expr:
    """Bring a value into the shape of the block that is written."""
    launch, dims = access.state.launch, rectangle.dims
    shape = launch.shape_expr(access.shape)
    if not access.fills_selection():
        value = expr("tl.broadcast_to({v}, {s})", v=value, s=shape)
    kept = [i for i in order if dims[i].place is not None]
    if len(kept) < rectangle.rank:
        inner = ", ".join(dims[i].extent for i in sorted(kept))
        value = expr(f"tl.reshape({{v}}, [{inner}])", v=value)
    if kept != sorted(kept):
        forth = [sorted(kept).index(i) for i in kept]
        value = expr(f"tl.permute({{v}}, {forth})", v=value)
    if len(kept) < len(order):
        whole = ", ".join(dims[i].extent for i in order)
        value = expr(f"tl.reshape({{v}}, [{whole}])", v=value)
    return value
