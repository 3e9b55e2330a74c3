"""Triton code and assembly inside kernels."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import helion
import helion.language as hl
from helion import exc
from test import harness
from test import inline_kernels as kernels
from test.codegen.emitted import bind, kernel_texts
from test.harness import randn
from test.unit import faults

COMPILED = ["interpreted", pytest.param("compiled", marks=pytest.mark.gpu)]
ON_GPU = [pytest.param("compiled", marks=pytest.mark.gpu)]
CONFIGS = (None, helion.Config(block_sizes=[8]), helion.Config(block_sizes=[1]))


def clipped(value: torch.Tensor, low: float, high: float) -> torch.Tensor:
    return (value * value * 0.5).clamp(low, high)


# ---- inline Triton ----


@pytest.mark.parametrize("way", COMPILED)
def test_statements_with_placeholders(way: str) -> None:
    for config in CONFIGS:
        x, y = randn(37), randn(37)
        found = harness.run(kernels.fused, x, y, 0.5, way=way, config=config)
        torch.testing.assert_close(found, (x + y).relu() * 0.5)


@pytest.mark.parametrize("way", COMPILED)
@pytest.mark.parametrize("sizes", [[4, 8], [1, 8], [1, 1]], ids=str)
def test_named_arguments_and_two_results(way: str, sizes: list[int]) -> None:
    x, y = randn(5, 9), randn(5, 9)
    config = helion.Config(block_sizes=sizes)
    total, gap = harness.run(kernels.named, x, y, way=way, config=config)
    assert torch.equal(total, x + y)
    assert torch.equal(gap, (x - y).abs())


@pytest.mark.parametrize("way", COMPILED)
def test_code_that_only_has_effects(way: str) -> None:
    x = randn(37)
    found = harness.run(kernels.effect_only, x, way=way, config=CONFIGS[1])
    assert torch.equal(found, x * 2)


@pytest.mark.parametrize("way", COMPILED)
def test_padding_after_inline_code_is_masked(way: str) -> None:
    x = randn(5, 37)
    for config in (CONFIGS[0], CONFIGS[1]):
        found = harness.run(kernels.reduced_after, x, way=way, config=config)
        assert torch.equal(found, torch.full((5,), 37.0))


# ---- functions ----


@pytest.mark.parametrize("way", COMPILED)
def test_a_function_and_what_it_uses(way: str) -> None:
    x = randn(37)
    for config in CONFIGS:
        found = harness.run(kernels.by_object, x, 0.1, way=way, config=config)
        torch.testing.assert_close(found, clipped(x, 0.1, 3))


@pytest.mark.parametrize("way", COMPILED)
def test_a_function_by_name_with_keywords(way: str) -> None:
    x = randn(37)
    found = harness.run(kernels.by_name, x, way=way, config=CONFIGS[1])
    torch.testing.assert_close(found, clipped(x, 0.25, 2))


@pytest.mark.parametrize("way", COMPILED)
def test_a_function_by_source(way: str) -> None:
    x, y = randn(37), randn(37)
    found = harness.run(kernels.by_source, x, y, way=way, config=CONFIGS[1])
    torch.testing.assert_close(found, x**4 + y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("way", COMPILED)
def test_a_function_with_two_results(way: str) -> None:
    x, y = randn(37), randn(37)
    total, gap = harness.run(kernels.two_results, x, y, way=way, config=CONFIGS[1])
    assert torch.equal(total, x + y)
    assert torch.equal(gap, x - y)


@pytest.mark.parametrize("way", COMPILED)
def test_a_function_that_stores(way: str) -> None:
    x = randn(37)
    found = harness.run(kernels.scattered, x, 37, way=way, config=CONFIGS[1])
    assert torch.equal(found, x)


# ---- assembly ----


@pytest.mark.parametrize("way", ON_GPU)
def test_assembly_of_one_result(way: str) -> None:
    x = randn(37).abs()
    found = harness.run(kernels.square_root, x, way=way)
    torch.testing.assert_close(found, x.sqrt(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("way", ON_GPU)
def test_assembly_of_two_results(way: str) -> None:
    x, y = torch.arange(5).int(), torch.arange(7).int() * 10
    found = harness.run(kernels.add_and_subtract, x, y, way=way)
    expected = [x[:, None] + y[None, :], x[:, None] - y[None, :]]
    assert torch.equal(found, torch.stack(expected))


@pytest.mark.parametrize("way", ON_GPU)
def test_assembly_of_packed_bytes(way: str) -> None:
    x = torch.randint(-128, 128, (512,), dtype=torch.int8)
    found = harness.run(kernels.packed_bytes, x, way=way)
    assert torch.equal(found, ~x)


@pytest.mark.parametrize("way", ON_GPU)
def test_assembly_without_arguments(way: str) -> None:
    x = torch.arange(37).int()
    assert torch.equal(harness.run(kernels.constant, x, way=way), x + 7)


@pytest.mark.parametrize("way", ON_GPU)
def test_assembly_in_a_folded_row(way: str) -> None:
    x = randn(5, 300).abs()
    for chunk in (None, 64):
        config = helion.Config(block_sizes=[2], reduction_loops=[chunk])
        found = harness.run(kernels.normalized, x, way=way, config=config)
        expected = x.sqrt() / x.sqrt().sum(-1, keepdim=True)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


ASSEMBLED: list[tuple[helion.Kernel, tuple[Any, ...]]] = [
    (kernels.fused, (randn(512), randn(512), 0.5)),
    (kernels.named, (randn(64, 64), randn(64, 64))),
    (kernels.effect_only, (randn(512),)),
    (kernels.by_object, (randn(512), 0.1)),
    (kernels.by_source, (randn(512), randn(512))),
    (kernels.two_results, (randn(512), randn(512))),
    (kernels.scattered, (randn(512), 512)),
    (kernels.square_root, (randn(512),)),
    (kernels.add_and_subtract, (torch.arange(64).int(), torch.arange(64).int())),
    (kernels.packed_bytes, (torch.zeros(2048, dtype=torch.int8),)),
    (kernels.constant, (torch.zeros(512, dtype=torch.int32),)),
    (kernels.normalized, (randn(5, 300),)),
]


@pytest.mark.parametrize("kernel, args", ASSEMBLED, ids=[k.name for k, _ in ASSEMBLED])
def test_inline_code_assembles(kernel: helion.Kernel, args: tuple[Any, ...]) -> None:
    assert harness.offline(kernel, *args)


def test_unused_pure_assembly_is_dropped_and_other_code_is_kept() -> None:
    args = '"mov.b32 $0, 7;", "=r", [], torch.int32'
    for pure in (True, False):
        line = f"v = hl.inline_asm_elementwise({args}, {pure}, 1)"
        code = faults.compile_text(faults.device_text(line))
        assert ("inline_asm" in code) != pure


def test_wrong_types_of_results_are_found_when_triton_compiles() -> None:
    (text,) = kernel_texts(
        bind(kernels.fused, randn(8), randn(8), 1.0).to_triton_code()
    )
    assert "tl.static_assert(inline.dtype == tl.float32" in text


# ---- misuse ----

NO_SOURCE = "hl.inline_triton({}, [x[t]], x[t])"
ASM = 'hl.inline_asm_elementwise({}, "=r,r", {}, {}, {}, {})'
MISUSES = [
    ("must be a string literal", NO_SOURCE.format("3")),
    ("the source is empty", NO_SOURCE.format("'  '")),
    ("no Python", NO_SOURCE.format("'{0} +'")),
    ("gives no value", NO_SOURCE.format("'y = {0}'")),
    ("placeholder {1}", NO_SOURCE.format("'{0} + {1}'")),
    ("not understood", NO_SOURCE.format("'{0} + {'")),
    ("list, a tuple or a dict", "hl.inline_triton('{0}', x[t], x[t])"),
    ("must be a tensor or a number", "hl.inline_triton('{0}', [t], x[t])"),
    ("device tensors, not the int 3", "hl.inline_triton('{0}', [x[t]], 3)"),
    ("not a host tensor", "hl.inline_triton('{0}', [x[t]], x)"),
    ("is empty", "hl.inline_triton('{0}', [x[t]], [])"),
    ("gives 2 values", "hl.inline_triton('{0}, {0}', [x[t]], x[t])"),
    ("no triton.jit function is called", "hl.triton_kernel('nothing', [x[t]], x[t])"),
    ("defines 0 functions", "hl.triton_kernel('a = 3', [x[t]], x[t])"),
    ("takes a triton.jit function", "hl.triton_kernel(torch.sin, [x[t]], x[t])"),
    ("takes a triton.jit function", "hl.triton_kernel(3, [x[t]], x[t])"),
    ("asm must be", ASM.format(3, "[x[t]]", "torch.int32", True, 1)),
    ("args must be", ASM.format("''", "x[t]", "torch.int32", True, 1)),
    ("args are tensors", ASM.format("''", "[3]", "torch.int32", True, 1)),
    ("at least one dtype", ASM.format("''", "[x[t]]", "()", True, 1)),
    ("a torch.dtype", ASM.format("''", "[x[t]]", "3", True, 1)),
    ("is_pure must be", ASM.format("''", "[x[t]]", "torch.int32", 3, 1)),
    ("pack must be", ASM.format("''", "[x[t]]", "torch.int32", True, 0)),
    ("missing a required", "hl.inline_asm_elementwise('', '', [x[t]], torch.int32)"),
]


@pytest.mark.parametrize("text, call", MISUSES, ids=[m[0] for m in MISUSES])
def test_misuse_is_refused(text: str, call: str) -> None:
    found = faults.fault(faults.device_text(f"v = {call}"))
    assert type(found) is exc.InvalidAPIUsage
    assert text in str(found)


@pytest.mark.parametrize(
    "name, call",
    [
        ("hl.inline_triton", lambda: hl.inline_triton("{0}", [1], None)),
        ("hl.triton_kernel", lambda: hl.triton_kernel("f", [], None)),
        (
            "hl.inline_asm_elementwise",
            lambda: hl.inline_asm_elementwise("", "", [], torch.int32, True, 1),
        ),
    ],
)
def test_eager_mode_names_what_it_cannot_run(name: str, call: Any) -> None:
    with pytest.raises(exc.CompiledOnly, match=name):
        call()
    with pytest.raises(AssertionError, match=name):
        call()


@pytest.mark.parametrize("way", ["plain", "eager"])
def test_a_kernel_in_eager_mode_names_it_too(way: str) -> None:
    with pytest.raises(exc.CompiledOnly, match=r"hl\.triton_kernel only runs"):
        harness.run(kernels.by_name, randn(8), way=way)


def test_inline_code_on_the_host_is_refused() -> None:
    found = faults.fault(faults.host_text("v = hl.inline_triton('1', [], x)"))
    assert type(found) is exc.DeviceAPIOnHost
