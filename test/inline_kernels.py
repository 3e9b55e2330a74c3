"""Kernels with Triton code and assembly written into them, for the tests."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from triton.language import where as choose

import helion
import helion.language as hl

LIMIT: tl.constexpr = tl.constexpr(3)
SCALE = tl.constexpr(0.5)


@triton.jit
def squared(value):
    return value * value


@triton.jit
def clipped(value, low, high=LIMIT):
    """Use a helper, two constants, a module under its name and a function of it."""
    value = tl.maximum(squared(value) * SCALE, low)
    return choose(value > high, high, value)


@triton.jit
def sum_and_difference(left, right):
    return left + right, left - right


@triton.jit
def scatter(out, index, value, size: tl.constexpr):
    tl.store(out + index, value, mask=index < size)


@helion.kernel
def fused(x: torch.Tensor, y: torch.Tensor, factor: float) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        a, v_0 = x[tile], y[tile]
        out[tile] = hl.inline_triton(
            """
            v_0 = {0} + {1}  # a name that the kernel has, too
            tl.where(v_0 > 0, v_0 * {2}, 0.0)
            """,
            [a, v_0, factor],
            a,
        )
    return out


@helion.kernel
def named(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    total, gap = torch.empty_like(x), torch.empty_like(x)
    for i, j in hl.tile(x.size()):
        a = x[i, j]
        total[i, j], gap[i, j] = hl.inline_triton(
            "{left} + {right}, tl.abs({left} - {right})",
            {"left": a, "right": y[i, j]},
            (a, a),
        )
    return total, gap


@helion.kernel
def effect_only(x: torch.Tensor) -> torch.Tensor:
    out = torch.zeros_like(x)
    for tile in hl.tile(x.size(0)):
        hl.inline_triton(
            "tl.store({0} + {1}, {2} * 2, mask={1} < {3})",
            (out, tile.index, x[tile], x.size(0)),
            None,
        )
    return out


@helion.kernel
def reduced_after(x: torch.Tensor) -> torch.Tensor:
    """A sum over lanes that inline code fills with ones, padding included."""
    out = torch.empty([x.size(0)], device=x.device)
    for tile in hl.tile(x.size(0)):
        row = x[tile, :]
        out[tile] = hl.inline_triton("{0} * 0 + 1", [row], row).sum(-1)
    return out


@helion.kernel
def by_object(x: torch.Tensor, low: float) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = hl.triton_kernel(clipped, [x[tile], low], x[tile])
    return out


@helion.kernel
def by_name(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        args = {"value": x[tile], "low": 0.25, "high": 2.0}
        out[tile] = hl.triton_kernel("clipped", args, x[tile])
    return out


@helion.kernel
def by_source(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        value = hl.triton_kernel(
            """
            def weigh(a, b, power: tl.constexpr):
                for _ in tl.static_range(power):
                    a = squared(a)
                return a + b
            """,
            [x[tile], y[tile], 2],
            x[tile],
        )
        out[tile] = value
    return out


@helion.kernel
def two_results(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    total, gap = torch.empty_like(x), torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        a = x[tile]
        plus, minus = hl.triton_kernel(sum_and_difference, [a, y[tile]], (a, a))
        total[tile] = plus
        gap[tile] = minus
    return total, gap


@helion.kernel
def scattered(x: torch.Tensor, n: hl.constexpr) -> torch.Tensor:
    out = torch.zeros_like(x)
    for tile in hl.tile(x.size(0)):
        hl.triton_kernel(scatter, [out, tile.index, x[tile], n], None)
    return out


@helion.kernel
def square_root(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = hl.inline_asm_elementwise(
            "sqrt.approx.f32 $0, $1;", "=f,f", [x[tile]], torch.float32, True, 1
        )
    return out


@helion.kernel
def add_and_subtract(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Two results from operands that broadcast."""
    out = torch.empty([2, x.size(0), y.size(0)], dtype=x.dtype, device=x.device)
    for i, j in hl.tile([x.size(0), y.size(0)]):
        plus, minus = hl.inline_asm_elementwise(
            "add.s32 $0, $2, $3; sub.s32 $1, $2, $3;",
            "=r,=r,r,r",
            [x[i][:, None], y[j][None, :]],
            (torch.int32, torch.int32),
            True,
            1,
        )
        out[0, i, j] = plus
        out[1, i, j] = minus
    return out


@helion.kernel
def packed_bytes(x: torch.Tensor) -> torch.Tensor:
    """Four bytes in a register: each is inverted."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        out[tile] = hl.inline_asm_elementwise(
            "not.b32 $0, $1;", "=r,r", [x[tile]], torch.int8, False, 4
        )
    return out


@helion.kernel
def constant(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        seven = hl.inline_asm_elementwise(
            "mov.b32 $0, 7;", "=r", [], torch.int32, True, 1
        )
        out[tile] = x[tile] + seven
    return out


@helion.kernel
def normalized(x: torch.Tensor) -> torch.Tensor:
    """Assembly in a row that is folded in chunks."""
    out = torch.empty_like(x)
    for tile in hl.tile(x.size(0)):
        root = hl.inline_asm_elementwise(
            "sqrt.approx.f32 $0, $1;", "=f,f", [x[tile, :]], torch.float32, True, 1
        )
        out[tile, :] = root / root.sum(-1, keepdim=True)
    return out
