"""Every name of ``helion.language`` at the prompt: it acts on torch tensors at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.testing import assert_close

import helion.language as hl
from helion import exc
from helion.autotuner import IntegerFragment

X = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])
INTS = torch.tensor([6, 3, 5], dtype=torch.int32)
TWICE = [torch.tensor([0, 0, 2])]
BYTES = torch.arange(32, dtype=torch.uint8)


def tiles() -> list[hl.Tile]:
    """Return the tiles of ten indices, four at a time."""
    return list(hl.tile(10, block_size=4))


def after(atomic: Callable[..., Any], *values: Any) -> tuple[list[int], list[int]]:
    """Return the old values of an atomic update and the target after it."""
    target = INTS.clone()
    old = atomic(target, [torch.tensor([0, 2])], *values)
    return old.tolist(), target.tolist()


def stored() -> torch.Tensor:
    out = torch.zeros(2, 3)
    hl.store(out, [1, slice(None)], X[0])
    return out


def jagged_rows() -> list[int]:
    """Return how many elements each row has."""
    lengths, found = torch.tensor([2, 1, 3]), []
    for rows in hl.tile(3, block_size=2):
        own = lengths[rows]
        counts = torch.zeros_like(own)
        for columns in hl.jagged_tile(own):
            counts = counts + (columns.index[None, :] < own[:, None]).sum(1)
        found += counts.tolist()
    return found


def stacked() -> torch.Tensor:
    buffers = [torch.full([3], float(i)) for i in range(2)]
    addresses = torch.tensor([b.data_ptr() for b in buffers], dtype=torch.uint64)
    return hl.stacktensor_like(buffers[0], addresses)[slice(0, 3)]


def philox() -> tuple[torch.Tensor, torch.Tensor]:
    first = hl.rand4x(7, torch.arange(5))[0]
    return hl.rand([5], 7), first


# name: what a call gives, and what it should.
GIVES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "ConstExpr": lambda: (hl.ConstExpr(3).value, 3),
    "ProcessGroupName": lambda: (hl.ProcessGroupName("group").value, "group"),
    "StackTensor": lambda: (isinstance(hl.StackTensor, type), True),
    "Tile": lambda: (all(isinstance(t, hl.Tile) for t in tiles()), True),
    "arange": lambda: (hl.arange(1, 6, 2), torch.tensor([1, 3, 5], dtype=torch.int32)),
    "associative_scan": lambda: (
        hl.associative_scan(torch.maximum, X, 1),
        X.cummax(1).values,
    ),
    "atomic_add": lambda: (after(hl.atomic_add, 1), ([6, 5], [7, 3, 6])),
    "atomic_and": lambda: (after(hl.atomic_and, 4), ([6, 5], [4, 3, 4])),
    "atomic_cas": lambda: (after(hl.atomic_cas, 5, 9), ([6, 5], [6, 3, 9])),
    "atomic_max": lambda: (after(hl.atomic_max, 6), ([6, 5], [6, 3, 6])),
    "atomic_min": lambda: (after(hl.atomic_min, 5), ([6, 5], [5, 3, 5])),
    "atomic_or": lambda: (after(hl.atomic_or, 8), ([6, 5], [14, 3, 13])),
    "atomic_xchg": lambda: (after(hl.atomic_xchg, 1), ([6, 5], [1, 3, 1])),
    "atomic_xor": lambda: (after(hl.atomic_xor, 1), ([6, 5], [7, 3, 4])),
    "barrier": lambda: (hl.barrier(), None),
    "constexpr": lambda: (list(range(hl.constexpr(3))), [0, 1, 2]),
    "cumprod": lambda: (hl.cumprod(X, 1), X.cumprod(1)),
    "cumsum": lambda: (hl.cumsum(X, 1, reverse=True), X.flip(1).cumsum(1).flip(1)),
    "device_print": lambda: (hl.device_print("sum", X.sum()), None),
    "dot": lambda: (hl.dot(X.half(), X.half().T), X @ X.T),
    "dot_scaled": lambda: (
        hl.dot_scaled(X.bfloat16(), None, "bf16", X.bfloat16().T, None, "bf16"),
        X @ X.T,
    ),
    "float4_e2m1fn_x2_to_float32": lambda: (
        [
            v.tolist()
            for v in hl.float4_e2m1fn_x2_to_float32(
                torch.tensor([0x21], dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
            )
        ],
        [[0.5], [1.0]],
    ),
    "full": lambda: (hl.full([2], 3), torch.tensor([3.0, 3.0])),
    "grid": lambda: (list(hl.grid([2, 2])), [(0, 0), (0, 1), (1, 0), (1, 1)]),
    "jagged_tile": lambda: (jagged_rows(), [2, 1, 3]),
    "join": lambda: (hl.join(X, X + 1), torch.stack([X, X + 1], -1)),
    "load": lambda: (hl.load(X, [0, torch.tensor([2, 0])]), X[0, [2, 0]]),
    "load_bfloat16_x16_to_float16": lambda: (
        torch.stack(
            hl.load_bfloat16_x16_to_float16(
                torch.arange(32).bfloat16(), torch.tensor([1])
            )
        )[:, 0],
        torch.arange(16, 32).half(),
    ),
    "load_float4_e2m1fn_x16_to_float16": lambda: (
        len(hl.load_float4_e2m1fn_x16_to_float16(BYTES, torch.tensor([0, 1]))),
        16,
    ),
    "pdl_launch_dependents": lambda: (hl.pdl_launch_dependents(), None),
    "pdl_wait": lambda: (hl.pdl_wait(), None),
    "rand": philox,
    "rand4x": lambda: (len(hl.rand4x(7, torch.arange(5))), 4),
    "randint": lambda: (bool((hl.randint([50], 2, 5, 1) - 3).abs().max() <= 1), True),
    "reduce": lambda: (hl.reduce(torch.add, X, 1), X.sum(1)),
    "reduction": lambda: ([X[0][t].sum().item() for t in hl.reduction(3)], [6.0]),
    "register_block_size": lambda: (hl.register_block_size(16, 100), 128),
    "register_tunable": lambda: (hl.register_tunable("k", IntegerFragment(2, 9)), 2),
    "specialize": lambda: (hl.specialize(X.shape), X.shape),
    "split": lambda: (hl.split(hl.join(X, X + 1))[1], X + 1),
    "stacktensor_like": lambda: (stacked(), torch.tensor([[0.0] * 3, [1.0] * 3])),
    "static_range": lambda: (list(hl.static_range(5, step=2)), [0, 2, 4]),
    "store": lambda: (stored(), torch.stack([torch.zeros(3), X[0]])),
    "subscript": lambda: (hl.subscript(X, [slice(None), None]), X[:, None]),
    "tile": lambda: ([(t.begin, t.end) for t in tiles()], [(0, 4), (4, 8), (8, 10)]),
    "tile_begin": lambda: ([hl.tile_begin(t) for t in tiles()], [0, 4, 8]),
    "tile_block_size": lambda: ([hl.tile_block_size(t) for t in tiles()], [4, 4, 4]),
    "tile_end": lambda: ([hl.tile_end(t) for t in tiles()], [4, 8, 10]),
    "tile_id": lambda: ([hl.tile_id(t) for t in tiles()], [0, 1, 2]),
    "tile_index": lambda: (hl.tile_index(tiles()[2]).tolist(), [8, 9]),
    "zeros": lambda: (hl.zeros([2, 3]), torch.zeros(2, 3)),
}
# What needs a GPU or other processes says so.
REFUSES: dict[str, tuple[type[exc.Base], Callable[[], object]]] = {
    "AsyncCopyDescriptor": (exc.NotSupportedYet, hl.AsyncCopyDescriptor),
    "make_async_remote_copy": (
        exc.NotSupportedYet,
        lambda: hl.make_async_remote_copy(X, [0], 1),
    ),
    "remote_barrier": (exc.NotSupportedYet, lambda: hl.remote_barrier(1)),
    "inline_triton": (exc.CompiledOnly, lambda: hl.inline_triton("{0}", [X], X)),
    "triton_kernel": (exc.CompiledOnly, lambda: hl.triton_kernel("f", [X], X)),
    "inline_asm_elementwise": (
        exc.CompiledOnly,
        lambda: hl.inline_asm_elementwise("", "=r", [X], torch.int32, True, 1),
    ),
}
# Opens a debugger: test/unit/test_debug_ops.py.
INTERACTIVE = {"breakpoint"}


def test_every_public_name_has_a_row():
    assert GIVES.keys() | REFUSES.keys() | INTERACTIVE == set(hl.__all__)


@pytest.mark.parametrize("name", GIVES)
def test_at_the_prompt(name):
    found, wanted = GIVES[name]()
    if isinstance(wanted, torch.Tensor):
        assert_close(found, wanted)
    else:
        assert found == wanted


@pytest.mark.parametrize("name", REFUSES)
def test_what_is_missing_says_so(name):
    error, call = REFUSES[name]
    with pytest.raises(error, match="hint: "):
        call()
