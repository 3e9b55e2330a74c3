"""Packed narrow floats: what each byte means, groups, masks and misuse."""

from __future__ import annotations

import pytest
import torch

import helion
import helion.language as hl
from helion import exc
from test import harness
from test.unit import faults

MAGNITUDES = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
CODES = torch.tensor([*MAGNITUDES, *(-m for m in MAGNITUDES)])
CONFIGS = (None, helion.Config(block_sizes=[4]), helion.Config(block_sizes=[1]))


def all_bytes() -> torch.Tensor:
    return torch.arange(256).to(torch.uint8)


def numbers(packed: torch.Tensor) -> torch.Tensor:
    """Return the numbers of packed bytes along a last dim of 2."""
    codes = packed.to(torch.int64)
    return torch.stack([CODES[codes & 15], CODES[codes >> 4]], dim=-1)


@helion.kernel
def unpack(packed: torch.Tensor) -> torch.Tensor:
    out = torch.empty([packed.size(0), 2], device=packed.device)
    for tile in hl.tile(packed.size(0)):
        first, second = hl.float4_e2m1fn_x2_to_float32(packed[tile])
        out[tile, 0] = first
        out[tile, 1] = second
    return out


@helion.kernel
def float4_groups(storage: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    out = torch.empty([groups.size(0), 16], dtype=torch.float16, device=storage.device)
    for tile in hl.tile(groups.size(0)):
        parts = hl.load_float4_e2m1fn_x16_to_float16(storage, groups[tile])
        for i, part in enumerate(parts):
            out[tile, i] = part
    return out


@helion.kernel
def bfloat16_groups(
    storage: torch.Tensor, groups: torch.Tensor, keep: torch.Tensor
) -> torch.Tensor:
    rows, columns = groups.size()
    out = torch.empty([rows, columns, 16], dtype=torch.float16, device=storage.device)
    for i, j in hl.tile([rows, columns]):
        mask = keep[i, j] != 0
        parts = hl.load_bfloat16_x16_to_float16(storage, groups[i, j], mask)
        for place, part in enumerate(parts):
            out[i, j, place] = part
    return out


def test_every_pair_of_4_bit_floats(way: str) -> None:
    packed = all_bytes().view(torch.float4_e2m1fn_x2)
    for config in CONFIGS[:2]:
        found = harness.run(unpack, packed, way=way, config=config)
        expected = numbers(all_bytes())
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
        assert torch.equal(found.signbit(), expected.signbit())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float4_e2m1fn_x2], ids=str)
def test_groups_of_4_bit_floats(way: str, dtype: torch.dtype) -> None:
    storage = all_bytes().flip(0).clone()
    groups = torch.tensor([31, 0, 7, 7, 12])
    expected = numbers(storage.reshape(32, 8)[groups]).flatten(1).half()
    for config in CONFIGS:
        args = (storage.view(dtype), groups)
        found = harness.run(float4_groups, *args, way=way, config=config)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_groups_of_bfloat16_with_a_mask(way: str) -> None:
    storage = torch.randn(13, 16).bfloat16()
    groups = torch.randint(0, 13, (3, 5), dtype=torch.int32)
    keep = torch.randint(0, 2, (3, 5), dtype=torch.int32)
    expected = storage[groups].half() * keep[:, :, None]
    # Where nothing is kept, nothing may be read.
    groups = torch.where(keep != 0, groups, 2**20)
    for sizes in ([2, 4], [1, 1], [1, 8]):
        config = helion.Config(block_sizes=sizes)
        args = (storage, groups, keep)
        found = harness.run(bfloat16_groups, *args, way=way, config=config)
        torch.testing.assert_close(found, expected.half(), rtol=0, atol=0)


@pytest.mark.parametrize("arch", ["sm_90", "gfx942"])
def test_unpacking_assembles(arch: str) -> None:
    storage = torch.zeros(4096, dtype=torch.uint8)
    groups = torch.zeros(512, dtype=torch.int32)
    config = helion.Config(block_sizes=[128])
    for kernel, args in (
        (unpack, [storage.view(torch.float4_e2m1fn_x2)]),
        (float4_groups, [storage, groups]),
    ):
        assert harness.offline(kernel, *args, config=config, arch=arch)


MISUSES = [
    ("takes torch.float4", "a, b = hl.float4_e2m1fn_x2_to_float32(x[t])"),
    ("storage is of", "v = hl.load_float4_e2m1fn_x16_to_float16(x, t.index)"),
    ("storage is of", "v = hl.load_bfloat16_x16_to_float16(x, t.index)"),
    ("must be integers", "v = hl.load_bfloat16_x16_to_float16(h, x[t])"),
    ("not contiguous", "v = hl.load_bfloat16_x16_to_float16(s, t.index)"),
]


@pytest.mark.parametrize("text, line", MISUSES)
def test_misuse_is_refused(text: str, line: str) -> None:
    half = torch.ones(64).bfloat16()
    source = faults.device_text(line, "x, h, s")
    found = faults.fault(source, torch.ones(64), half, half[::2])
    assert type(found) is exc.InvalidAPIUsage
    assert text in str(found)


def test_misuse_at_the_prompt_is_refused() -> None:
    with pytest.raises(exc.InvalidAPIUsage, match=r"float4_e2m1fn_x2_to_float32 takes"):
        hl.float4_e2m1fn_x2_to_float32(torch.ones(4))
