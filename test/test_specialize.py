"""Specialized sizes from end to end: what a compile keeps, counts and computes."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import sympy
import torch
from triton.runtime.driver import driver

import helion
import helion.language as hl
from helion._compiler import symbols
from helion._compiler.backend import backend_named
from helion._compiler.compile_environment import CompileEnvironment
from helion._metrics import Metrics
from test import specialize_kernels as kernels
from test.codegen.emitted import KERNELS, bind, meta
from test.harness import check, randn
from test.specialize_kernels import WIDTH, stray_symbols

SHAPES = pytest.mark.parametrize("static", [True, False], ids=["static", "dynamic"])
WAYS = pytest.mark.parametrize("way", ["eager", "interpreted"])
S27 = sympy.Symbol("s27", integer=True, positive=True)


def env_of(name: str, *shape: int, static: bool) -> Any:
    """Return the environment of a kernel of one tensor."""
    return bind(getattr(kernels, name), meta(*shape), static_shapes=static).env


def is_sound(env: Any, *numbers: int) -> bool:
    """Whether the numbers have a symbol, and no length has another one."""
    known = env.specialized_symbol_registry
    return (
        set(numbers) <= set(known)
        and stray_symbols(env) == []
        and env.validate_specialized_symbols() == []
    )


class TestSpecialize:
    @SHAPES
    @WAYS
    def test_specialize_layer_norm_backward_sum(self, way, static):
        def reference(grad_out, x, mean, rstd):
            normal = (x - mean[:, None]) * rstd[:, None]
            return (grad_out * normal).sum(0), grad_out.sum(0)

        x = randn(21, WIDTH)
        rstd = torch.rsqrt(x.var(1, correction=0) + 1e-5)
        check(
            kernels.layer_norm_backward_sum,
            *(randn(21, WIDTH), x, x.mean(1), rstd),
            way=way,
            reference=reference,
            configs=[None, helion.Config(block_sizes=[8, 4])],
            static_shapes=static,
        )

    @pytest.mark.parametrize("width", [768, 5120, 5632, 8191])
    @SHAPES
    def test_layer_norm_backward_sum_has_one_length(self, width, static):
        args = (meta(64, width), meta(64, width), meta(64), meta(64))
        kernel = kernels.layer_norm_backward_sum
        found = bind(kernel, *args, static_shapes=static)
        assert is_sound(found.env, width)
        assert [b.numel for b in found.env.block_sizes if b.is_reduction] == [width]

    # ---- creation, slicing, reductions ----

    @SHAPES
    def test_specialized_value_in_tensor_creation(self, static):
        assert is_sound(env_of("host_buffers", 16, 5632, static=static), 5632)
        assert is_sound(env_of("zeros_rows", 16, 5632, static=static), 5632)

    @SHAPES
    def test_specialized_value_in_slicing(self, static):
        args = (meta(16, 5632), meta(5632))
        env = bind(kernels.slices, *args, static_shapes=static).env
        assert is_sound(env, 5632)

    @SHAPES
    def test_reduction_preserves_specialized_symbols(self, static):
        assert is_sound(env_of("host_sum", 16, 5632, static=static), 5632)
        assert is_sound(env_of("kept_dims", 4, 16, 5632, static=static), 5632)

    # ---- the registry ----

    @SHAPES
    def test_specialize_fills_both_maps(self, static):
        env = env_of("zeros_rows", 16, 5632, static=static)
        symbol = env.specialized_symbol_registry[5632]
        assert env.specialized_concrete_values[symbol] == 5632
        assert env.shape_env.replace(symbol) == 5632

    def test_specialize_makes_symints_of_the_arguments_symbol(self):
        env = env_of("zeros_rows", 16, 5632, static=False)
        symbol = env.get_specialized_symbol(5632)
        assert env.symbol_origins[symbol].host_str() == "x.size(1)"
        found = env.create_symint_for_dimension(5632)
        assert symbols.static_int(found) == 5632

    def test_specialize_needs_no_setting(self):
        seen = []

        @helion.kernel(static_shapes=False)
        def watched(x: torch.Tensor) -> torch.Tensor:
            n = hl.specialize(x.size(1))
            seen.append(n)
            out = torch.empty_like(x)
            for tile in hl.tile(x.size(0)):
                out[tile, :] = x[tile, :] + n
            return out

        bind(watched, meta(16, 5632))
        assert helion.is_specialized(seen[0]) and seen[0] == 5632

    # ---- edges ----

    @SHAPES
    def test_several_specialized_values(self, static):
        assert is_sound(env_of("three_tags", 5, 7, WIDTH, static=static), 5, 7, WIDTH)

    @SHAPES
    def test_several_specialized_values_of_one_number(self, static):
        env = env_of("three_tags", 48, 48, 48, static=static)
        assert is_sound(env, 48)
        assert set(env.specialized_concrete_values.values()) == {48}

    @SHAPES
    def test_specialized_values_in_nested_structures(self, static):
        assert is_sound(env_of("nested_tags", 9, WIDTH, static=static), 9, WIDTH)

    @SHAPES
    @pytest.mark.parametrize("name", ["mixed_dims", "same_length", "softmax_rows"])
    def test_specialized_values_in_reductions(self, name, static):
        assert is_sound(env_of(name, 9, WIDTH, static=static), WIDTH)

    @SHAPES
    @WAYS
    def test_edges_compute_the_right_values(self, way, static):
        def sums(x):
            return x.sum((1, 2)) / 2

        def twice(x):
            return x * 2

        options: Any = {"way": way, "static_shapes": static}
        wide = {torch.float32: (1e-4, 1e-4)}
        x = randn(5, 7, WIDTH)
        check(kernels.three_tags, x, reference=sums, tolerance=wide, **options)
        check(kernels.nested_tags, randn(9, WIDTH), reference=twice, **options)
        x = randn(6, 6, 6)
        check(kernels.three_tags, x, reference=sums, tolerance=wide, **options)

    def test_specialized_and_run_time_dims_of_one_number_stay_apart(self):
        kernel = helion.kernel(kernels.zeros_rows.fn, static_shapes=False)
        first = bind(kernel, meta(48, 48))
        assert bind(kernel, meta(64, 48)) is first
        assert bind(kernel, meta(48, 64)) is not first


# ---- each layer alone, in fake tensor mode ----


class Refusing:
    """Stands in for the driver of a GPU, which no layer may ask for anything."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the Triton driver was asked for {name}")


def symint_layer() -> None:
    env = fake_environment()
    size = env.create_symint_for_dimension(5632)
    assert isinstance(size, torch.SymInt)
    assert env.shape_env.replace(size.node._expr) == 5632


def creation_layer() -> None:
    env = fake_environment()
    with env.fake_mode:
        tensor = torch.zeros([16, env.create_symint_for_dimension(5632)])
    assert env.get_specialized_symbol(tensor.size(1)) is S27


def slicing_layer() -> None:
    env = fake_environment()
    with env.fake_mode:
        tensor = torch.zeros(2 * 5632)[: env.create_symint_for_dimension(5632)]
    assert env.get_specialized_symbol(tensor.size(0)) is S27
    assert stray_symbols(env) == []


def reduction_layer() -> None:
    env = fake_environment()
    with env.fake_mode:
        tensor = torch.zeros([16, env.create_symint_for_dimension(5632)])
        sums = tensor.sum(0) * torch.zeros(5632)
    assert env.get_specialized_symbol(sums.size(0)) is S27
    assert env.validate_specialized_symbols() == []


def tracing_layer() -> None:
    assert is_sound(env_of("kept_dims", 4, 16, 5632, static=False), 5632)


def emitting_layer() -> None:
    found = bind(kernels.zeros_rows, meta(16, 5632))
    assert "_RDIM_SIZE_1 = 8192" in found.to_triton_code()


def fake_environment() -> CompileEnvironment:
    """Return an environment in which 5632 is the size ``s27``."""
    env = CompileEnvironment(
        torch.device("cpu"), helion.Settings(), backend_named("triton")
    )
    env.specialized.tag(5632, S27)
    return env


LAYERS = [
    symint_layer,
    creation_layer,
    slicing_layer,
    reduction_layer,
    tracing_layer,
    emitting_layer,
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
def test_specialization_layer_works_alone_without_a_driver(layer, monkeypatch):
    monkeypatch.setattr(driver, "_active", Refusing())
    layer()


# ---- metrics over all examples ----


@functools.cache
def example(name: str, static: bool, is_on: bool) -> Any:
    """Return a catalog case, bound with provenance of specialized sizes or without."""
    case = KERNELS[name]
    chosen = {"static_shapes": static, "specialize_provenance": is_on}
    kernel = helion.kernel(case.kernel.fn, **chosen)
    return bind(kernel, *case.make_args("cpu", True))


@SHAPES
@pytest.mark.parametrize("name", KERNELS)
def test_specialization_leaves_no_more_symbols_in_an_example(name, static):
    on, off = (example(name, static, is_on).env for is_on in (True, False))
    count = symbols.symbol_count
    assert count(on.shape_env) <= count(off.shape_env)


@SHAPES
@pytest.mark.parametrize("name", KERNELS)
def test_specialization_changes_no_code_of_an_example(name, static):
    codes = [example(name, static, is_on).to_triton_code() for is_on in (True, False)]
    assert codes[0] == codes[1]


def test_examples_reuse_symbols_in_nine_dims_of_ten():
    total = Metrics()
    for name in KERNELS:
        for static in (True, False):
            env = example(name, static, True).env
            minted = env.specialized.minted + len(stray_symbols(env))
            total.count_reuse(env.specialized.reused, minted)
    found = total()["symbol_reuse"]
    assert found["reused"] > 20
    assert found["rate"] > 0.9


@helion.kernel(static_shapes=False)
def paired_rows(
    x: torch.Tensor, weight: torch.Tensor, known: hl.constexpr
) -> torch.Tensor:
    m, n = x.size()
    if known:
        n = hl.specialize(n)
    assert n % 2 == 0 and n > 512
    pairs = x.reshape(m, 2, n // 2)
    out = torch.empty([m, n // 2], dtype=x.dtype, device=x.device)
    for tile in hl.tile(m):
        out[tile, :] = pairs[tile, 0, :] * weight[:] + pairs[tile, 1, :]
    return out


def test_specialization_leaves_fewer_guards():
    args = (meta(33, WIDTH), meta(WIDTH // 2))
    known, unknown = (bind(paired_rows, *args, flag).env for flag in (True, False))
    counts = [len(symbols.guard_expressions(e.shape_env)) for e in (known, unknown)]
    assert counts[0] < counts[1]


def test_ci_measures_the_coverage_of_specialization():
    root = Path(__file__).resolve().parents[1]
    assert "./scripts/coverage_specialization" in (root / ".ci" / "run").read_text()
    script = (root / "scripts" / "coverage_specialization").read_text()
    files = re.findall(r"^    (helion/\S+\.py)$", script, re.MULTILINE)
    assert len(files) >= 4 and all((root / name).exists() for name in files)
    assert float(re.findall(r"--fail-under=(\S+)", script)[0]) > 95


def test_the_comparison_with_and_without_specialization_passed():
    path = Path(__file__).resolve().parents[1] / "benchmarks/results/specialize_ab.json"
    found = json.loads(path.read_text())
    assert found["passed"] and found["ratio"] <= found["gate"] == 1.03
    assert all(row["same_text"] for row in found["rows"])
