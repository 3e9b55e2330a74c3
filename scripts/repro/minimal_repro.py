"""The least kernel that once met two sizes for one dim: 5632 beside a fresh symbol.

A width is specialized, a buffer of that width is made, and blocks of rows are summed
into it. The width is no power of two. Run it anywhere: it exits 0 if the kernel binds
with static and with dynamic shapes, names the reduced dim by its tile and not by its
length, and gives the right sums. So must the shorter kernel, which adds to a host
tensor in the loop and returns it.
"""

from __future__ import annotations

import types

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import helion
import helion.language as hl

ROWS, WIDTH = 96, 5632


def column_sums(x: torch.Tensor) -> torch.Tensor:
    """Return the sums over rows, by way of one partial sum per block of rows."""
    m = x.size(0)
    n = hl.specialize(x.size(1))
    rows = hl.register_block_size(m)
    partial = torch.empty(
        [helion.cdiv(m, rows), n], dtype=torch.float32, device=x.device
    )
    for block in hl.tile(m, block_size=rows):
        total = hl.zeros([n], dtype=torch.float32)
        for tile in hl.tile(block.begin, block.end):
            total = total + x[tile, :].to(torch.float32).sum(0)
        partial[block.id, :] = total
    return partial.sum(0)


def accumulated(x: torch.Tensor) -> torch.Tensor:
    """Return the sums over rows, added up in a host tensor."""
    m = x.size(0)
    n = hl.specialize(x.size(1))
    acc = torch.zeros([n], dtype=torch.float32, device=x.device)
    for tile in hl.tile(m):
        acc += x[tile, :].to(torch.float32).sum(0)
    return acc


def check_text(function: types.FunctionType, static_shapes: bool) -> None:
    """Bind without a GPU and read the emitted code."""
    with FakeTensorMode():
        x = torch.empty(ROWS, WIDTH, dtype=torch.float16, device="cuda")
    bound = helion.kernel(function, static_shapes=static_shapes).bind((x,))
    text = bound.to_triton_code()
    assert "_RDIM_SIZE" in text, text
    assert "8192" in text and f"< {WIDTH}" in text, text
    assert not any(name.startswith("u") for name in symbols_of(bound)), text


def symbols_of(bound: helion.runtime.BoundKernel) -> set[str]:
    """Return the symbols that sizes of host tensors are made of."""
    tensors = [held.value for held in bound.env.host_tensors.values()]
    sizes = [size for tensor in tensors for size in tensor.size()]
    symbolic = [size for size in sizes if isinstance(size, torch.SymInt)]
    return {str(s) for size in symbolic for s in size.node.expr.free_symbols}


def main() -> None:
    """Check the text in both modes and the values in eager mode."""
    x = torch.randn(ROWS, WIDTH)
    for function, sizes in ((column_sums, [32, 8]), (accumulated, [8])):
        check_text(function, static_shapes=True)
        check_text(function, static_shapes=False)
        kernel = helion.kernel(function, config=helion.Config(block_sizes=sizes))
        torch.testing.assert_close(kernel(x), x.sum(0), rtol=1e-4, atol=1e-4)
    print("minimal_repro: right")


if __name__ == "__main__":
    main()
