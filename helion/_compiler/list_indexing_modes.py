"""Which indexing modes a search draws for each operation of a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from . import symbols
from .codegen_text import padded_extent
from .device_ir import _host_tensor
from .indexing_block_ptr import has_block_pointers
from .indexing_tensor_descriptor import (
    ALIGNMENT,
    MAX_BLOCK,
    device_refusal,
    last_dim,
    tensor_refusal,
    update_refusal,
)
from .rectangular_access import NotRectangular, sum_of
from .storage_use import StorageUse

if TYPE_CHECKING:
    from torch import fx

    from .compile_environment import BlockSizeInfo, CompileEnvironment
    from .device_ir import DeviceIR


def list_indexing_modes(env: CompileEnvironment, ir: DeviceIR) -> None:
    """Fill the modes of ``env.config_spec``: those possible under some block sizes.

    Block pointers are for devices without tensor descriptors.
    """
    spec, graphs = env.config_spec, {g.graph_id: g for g in ir.graphs}
    without = ("pointer",)
    with_blocks = ("pointer", "block_ptr")
    if device_refusal(env) is None or not has_block_pointers():
        with_blocks = without
    spec.indexing_modes = [with_blocks] * spec.num_memory_ops
    spec.atomic_modes = [without] * spec.num_atomics
    if device_refusal(env) is not None:
        return
    for root in ir.roots:
        use = StorageUse.of([root], graphs)
        for node in use.loops:
            if _refusal(env, ir, use, node) is not None:
                continue
            if "site" in node.meta:
                spec.indexing_modes[node.meta["site"]] = (*without, "tensor_descriptor")
            elif "atomic_site" in node.meta:
                spec.atomic_modes[node.meta["atomic_site"]] = (
                    *without,
                    "tensor_descriptor",
                )
    modes = [*spec.indexing_modes, *spec.atomic_modes]
    if any("tensor_descriptor" in choices for choices in modes):
        spec.opened["host_tensor_descriptors"] = None


def _refusal(
    env: CompileEnvironment, ir: DeviceIR, use: StorageUse, node: fx.Node
) -> str | None:
    """Say why no Config gives an operation a descriptor."""
    host: Any = node.args[0]
    if getattr(host, "target", None) is not _host_tensor:
        return "it is no access of one tensor"
    tensor = host.meta["val"]
    if "atomic_site" in node.meta:
        reason = update_refusal(env, node, tensor.dtype)
    elif getattr(node.target, "name", "") == "store" and _is_masked(node, 3):
        reason = "a mask of its own chooses the lanes to store"
    else:
        reason = None
    if env.index_dtype == torch.int64:
        reason = "the kernel needs 64-bit offsets"
    reason = reason or tensor_refusal(tensor) or use.trouble(node, tensor, env)
    if reason is not None:
        return reason
    try:
        _check_subscript(env, ir, node, tensor)
    except NotRectangular as found:
        return str(found)
    return None


def _is_masked(node: fx.Node, place: int) -> bool:
    return "lanes" in node.kwargs or node.args[place] is not None


def _check_subscript(
    env: CompileEnvironment, ir: DeviceIR, node: fx.Node, tensor: torch.Tensor
) -> None:
    """Raise NotRectangular where no block size helps."""
    elements: Any = node.args[1]
    indexed = [element for element in elements if element[0] != "new"]
    for dim, element in enumerate(indexed):
        kind = element[0]
        if kind == "slice" or (kind == "tensor" and sum_of(element[1]) is None):
            raise NotRectangular(f"dim {dim} is indexed by a {kind}")
        if kind in ("tile", "full") and element[1] is not None:
            limit = _longest(env, ir, env.block_sizes[element[1]])
        else:
            limit = None if kind == "tensor" else 1
        is_last = dim == last_dim(tensor)
        if is_last and limit is not None and limit * tensor.itemsize < ALIGNMENT:
            raise NotRectangular(f"rows along dim {dim} are under 16 bytes")


def _longest(env: CompileEnvironment, ir: DeviceIR, info: BlockSizeInfo) -> int | None:
    """Return the longest block along an axis, None if there is no limit."""
    size = symbols.static_int(info.numel)
    if not info.is_reduction:
        fixed = symbols.static_int(info.fixed)
        length = fixed if fixed is not None else size
        return None if length is None else padded_extent(length)
    if info.block_id in ir.rolled_reductions:
        return None if size is None else padded_extent(size)
    if size is None:
        raise NotRectangular("only a call tells how long the block is")
    length = padded_extent(size, info.min_size)
    if length > MAX_BLOCK:
        raise NotRectangular(f"the block has {length} elements, over {MAX_BLOCK}")
    return length
