"""No block above the cap, no unset name, no double load: all examples, many Configs."""

from __future__ import annotations

import random

import pytest
import torch

import helion
from examples.layer_norm import layer_norm, layer_norm_bwd_dwdb, layer_norm_bwd_dx
from examples.sum import row_argmax, row_sum, row_var
from helion.runtime.bound_kernel import BoundKernel
from test.codegen.emitted import KERNELS, bind, bind_case, meta
from test.emitted_checks import CAP, problems
from test.long_kernels import odd_rows, stuck_sum, weight_grads

M, N = 1_152_000, 16
LONG = 1_500_001


def assert_sound(bound: BoundKernel, count: int, cap: int = CAP) -> None:
    """Check the text of the default Config and of ``count`` legal ones."""
    rng = random.Random(0)
    drawn = [bound.config_spec.random_config(rng) for _ in range(count)]
    for config in [bound.config_spec.default_config(), *drawn]:
        assert bound.config_spec.normalize(config) == config
        assert problems(bound.to_triton_code(config), cap) == [], str(config)


def dwdb_args(m: int = M, n: int = N) -> tuple[torch.Tensor, ...]:
    return meta(m, n), meta(m, n), meta(m), meta(m)


# -- all examples ---------------------------------------------------------------------


@pytest.mark.parametrize("name", KERNELS)
def test_example_is_sound_under_50_configs(name: str) -> None:
    assert_sound(bind_case(name), 50)


# -- long axes ------------------------------------------------------------------------


def test_200_configs_of_long_weight_gradients_are_sound() -> None:
    assert_sound(bind(layer_norm_bwd_dwdb, *dwdb_args()), 200)


def test_50_configs_with_explicit_rows_are_sound() -> None:
    assert_sound(bind(weight_grads, *dwdb_args()), 50)


@pytest.mark.parametrize("m", [1_500_000, LONG, 2**21, 2**24 + 3])
@pytest.mark.parametrize("kernel", [layer_norm_bwd_dwdb, weight_grads], ids=repr)
def test_long_columns_are_sound(kernel: helion.Kernel, m: int) -> None:
    assert_sound(bind(kernel, *dwdb_args(m)), 4)


@pytest.mark.parametrize("m", [M, LONG])
def test_many_rows_forward_and_backward_are_sound(m: int) -> None:
    x, weight, mean = meta(m, N), meta(N), meta(m)
    assert_sound(bind(layer_norm, x, weight, weight), 8)
    assert_sound(bind(layer_norm_bwd_dx, x, x, weight, mean, mean), 8)


@pytest.mark.parametrize("kernel", [row_sum, row_argmax, row_var], ids=repr)
def test_long_rows_are_sound(kernel: helion.Kernel) -> None:
    assert_sound(bind(kernel, meta(3, LONG)), 5)


def test_derived_rows_are_sound() -> None:
    assert_sound(bind(odd_rows, meta(2 * LONG, N), meta(N)), 8)


def test_dynamic_shapes_are_sound() -> None:
    assert_sound(bind(weight_grads, *dwdb_args(), static_shapes=False), 8)


# -- other limits ---------------------------------------------------------------------


@pytest.mark.parametrize("cap", [65536, 1024])
def test_a_lower_cap_is_kept(cap: int) -> None:
    bound = bind(weight_grads, *dwdb_args(), max_triton_tensor_numel=cap)
    assert_sound(bound, 8, cap)


def test_a_lower_cap_gives_smaller_blocks() -> None:
    usual = bind(weight_grads, *dwdb_args())
    small = bind(weight_grads, *dwdb_args(), max_triton_tensor_numel=1024)
    assert tile_numel(small) <= 1024 < tile_numel(usual)


def test_a_higher_cap_allows_what_the_usual_one_refuses() -> None:
    x = meta(3, 2**21)
    config = {"block_sizes": [1]}
    with pytest.raises(helion.exc.HelionReductionTooLarge):
        bind(stuck_sum, x).to_triton_code(config)
    code = bind(stuck_sum, x, max_triton_tensor_numel=2**21).to_triton_code(config)
    assert "_RDIM_SIZE_1 = 2097152\n" in code


def test_no_chunk_is_above_the_largest_reduction_chunk() -> None:
    spec = bind(weight_grads, *dwdb_args(), max_reduction_chunk=128).config_spec
    rng = random.Random(0)
    drawn = [spec.default_config(), *[spec.random_config(rng) for _ in range(100)]]
    chunks = [config.reduction_loops[0] for config in drawn]
    assert max(chunk or M for chunk in chunks) == 128


def tile_numel(bound: BoundKernel) -> int:
    """Return the elements of a chunk of columns under the default Config."""
    config = bound.config_spec.default_config()
    (chunk,) = config.reduction_loops
    assert chunk is not None
    return config.block_sizes[0] * chunk


# -- the checks themselves ------------------------------------------------------------


MODULE = """
@triton.jit
def _helion_f(x, out, _A: tl.constexpr, _B: tl.constexpr):
    i = tl.arange(0, _A)
    {0}

def f(x, out):
    _A = 2048
    _B = 1024
    _launcher(_helion_f, (1,), x, out, _A, _B)
"""


@pytest.mark.parametrize(
    "text, found",
    [
        ("tl.store(out + i, tl.load(x + i))", ""),
        ("tl.store(out, tl.sum(tl.zeros([_A, _B], tl.float32), 0))", "(2048, 1024)"),
        ("v = tl.arange(0, _A * _B)", "(2097152,)"),
        ("v = i[:, None] + tl.arange(0, _B)[None, :]", "(2048, 1024)"),
        ("v = tl.broadcast_to(i[:, None], [_A, _B])", "(2048, 1024)"),
        ("v = tl.load(x + (i[:, None] * 4 + tl.arange(0, _B)))", "(2048, 1024)"),
        ("v = tl.full([_A * 512], 0, tl.int1)", ""),
        (
            "v = i\n    for k in tl.range(0, 4):\n        w = k\n    v = w",
            "w may be unset",
        ),
        ("if i:\n        w = 1\n    else:\n        w = 2\n    v = w", ""),
        ("if i:\n        w = 1\n    v = w", "w may be unset"),
        ("for k in tl.range(0, 4):\n        v = w\n        w = k", "w may be unset"),
        ("v = tl.load(x + i) + tl.load(x + i)", "twice tl.load(x + i)"),
        ("v = tl.load(x)\n    tl.debug_barrier()\n    v = tl.load(x)", ""),
    ],
)
def test_checks_find_what_is_wrong(text: str, found: str) -> None:
    lines = problems(MODULE.format(text))
    assert len(lines) == bool(found), lines
    assert all(found in line for line in lines)
