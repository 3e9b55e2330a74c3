"""The repaired interpreter computes what a GPU would; cases share one subprocess."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice

N = 64
ROOT = Path(__file__).parents[2]


@triton.jit
def arith_kernel(x, y, out, N: tl.constexpr):
    i = tl.arange(0, N)
    a = tl.load(x + i)
    b = tl.load(y + i)
    tl.store(out + i, a + b)
    tl.store(out + N + i, a - b)
    tl.store(out + 2 * N + i, a * b)
    tl.store(out + 3 * N + i, tl.where(a < b, -a, tl.abs(b)))
    tl.store(out + 4 * N + i, a + 1.5)


def arith_expected(x, y):
    picked = torch.where(x < y, -x, y.abs())
    return torch.cat([x + y, x - y, x * y, picked, x + 1.5])


def check_arith(dtype):
    x, y = torch.randn(2, N).to(dtype)
    out = torch.empty(5 * N, dtype=dtype)
    arith_kernel[(1,)](x, y, out, N)
    torch.testing.assert_close(out, arith_expected(x, y), rtol=0, atol=0)


def case_bfloat16_arithmetic_rounds_each_operation():
    check_arith(torch.bfloat16)


def case_float16_arithmetic():
    check_arith(torch.float16)


@triton.jit
def cast_kernel(x, out, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(out + i, tl.load(x + i).to(out.dtype.element_ty))


def cast(x, dtype):
    out = torch.empty(x.shape, dtype=dtype)
    cast_kernel[(1,)](x, out, x.numel())
    return out


def case_float_casts_round_to_nearest_even():
    x = torch.cat([torch.randn(1020), torch.tensor([1.00390625, 3.0e38, 1e-40, -0.0])])
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        torch.testing.assert_close(cast(x, dtype), x.to(dtype), rtol=0, atol=0)
    half = x.to(torch.bfloat16)
    for dtype in (torch.float16, torch.float32, torch.int32, torch.float64):
        wanted = half.clamp(-1e9, 1e9).to(dtype)
        torch.testing.assert_close(cast(half.clamp(-1e9, 1e9), dtype), wanted)


def case_float8_casts():
    x = torch.randn(256).clamp(-400, 400) * 8
    for dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
        eight = cast(x, dtype)
        assert torch.equal(eight.view(torch.uint8), x.to(dtype).view(torch.uint8))
        for wide in (torch.float32, torch.bfloat16, torch.float16):
            assert torch.equal(cast(eight, wide), eight.to(wide))


def case_float8_cast_saturates():
    x = torch.tensor([1e6, -1e6, float("inf"), 0.0])
    out = cast(x, torch.float8_e4m3fn).float()
    assert out.tolist() == [448.0, -448.0, 448.0, 0.0]


def case_integer_and_bool_casts():
    x = torch.randint(-300, 300, (N,))
    for dtype in (torch.int8, torch.uint8, torch.int32, torch.bfloat16, torch.bool):
        assert torch.equal(cast(x, dtype), x.to(dtype))
    assert torch.equal(cast(x > 0, torch.float32), (x > 0).float())


@triton.jit
def compare_cast_kernel(x, out, N: tl.constexpr):
    i = tl.arange(0, N)
    v = tl.load(x + i)
    tl.store(out + i, (v > 0).to(tl.float32) + tl.where((v != v) | (v < 0), 2.0, 0.0))


def case_comparison_of_bfloat16_is_a_bool():
    x = torch.randn(N).bfloat16()
    x[3] = float("nan")
    out = torch.empty(N)
    compare_cast_kernel[(1,)](x, out, N)
    wanted = (x > 0).float() + 2 * (x.isnan() | (x < 0))
    assert torch.equal(out, wanted)


@triton.jit
def dot_kernel(x, y, out, M: tl.constexpr, out_dtype: tl.constexpr):
    i = tl.arange(0, M)
    where = i[:, None] * M + i[None, :]
    acc = tl.zeros([M, M], out_dtype)
    acc = tl.dot(tl.load(x + where), tl.load(y + where), acc=acc, out_dtype=out_dtype)
    tl.store(out + where, acc)


def case_dot_accumulates_in_float32():
    for dtype in (torch.bfloat16, torch.float16, torch.float8_e4m3fn):
        x, y = torch.randn(2, 32, 32).to(dtype)
        out = torch.empty(32, 32)
        dot_kernel[(1,)](x, y, out, 32, tl.float32)
        torch.testing.assert_close(out, x.float() @ y.float())


def case_dot_of_int8():
    x, y = torch.randint(-128, 128, (2, 32, 32), dtype=torch.int8)
    out = torch.empty(32, 32, dtype=torch.int32)
    dot_kernel[(1,)](x, y, out, 32, tl.int32)
    assert torch.equal(out, (x.int() @ y.int()).int())


@triton.jit
def scaled_dot_kernel(x, x_scale, y, out, M: tl.constexpr, K: tl.constexpr):
    i = tl.arange(0, M)
    packed = tl.arange(0, K // 2)
    k = tl.arange(0, K)
    a = tl.load(x + i[:, None] * (K // 2) + packed[None, :])
    scale = tl.load(x_scale + i[:, None] * (K // 32) + tl.arange(0, K // 32)[None, :])
    b = tl.load(y + k[:, None] * M + i[None, :])
    product = tl.dot_scaled(a, scale, "e2m1", b, None, "bf16")
    tl.store(out + i[:, None] * M + i[None, :], product)


def case_scaled_dot_of_4_bit_floats():
    x = torch.randint(0, 256, (16, 32), dtype=torch.uint8)
    scale = torch.randint(125, 130, (16, 2), dtype=torch.uint8)
    y, out = torch.randn(64, 16).bfloat16(), torch.empty(16, 16)
    scaled_dot_kernel[(1,)](x, scale, y, out, 16, 64)
    table = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    table = torch.cat([table, -table])
    left = table[torch.stack([x & 15, x >> 4], -1).long()].view(16, 64)
    left = left * (2.0 ** (scale.float() - 127)).repeat_interleave(32, 1)
    torch.testing.assert_close(out, left @ y.float())


@triton.jit
def reduce_kernel(x, out, M: tl.constexpr, N: tl.constexpr):
    i = tl.arange(0, M)[:, None]
    j = tl.arange(0, N)[None, :]
    v = tl.load(x + i * N + j)
    r = tl.arange(0, M)
    tl.store(out + r, tl.sum(v, 1).to(tl.float32))
    tl.store(out + M + r, tl.max(v, 1).to(tl.float32))
    tl.store(out + 2 * M + r, tl.min(v, axis=1).to(tl.float32))
    tl.store(out + 3 * M + r, tl.argmax(v, 1).to(tl.float32))
    tl.store(out + 4 * M + r, tl.argmin(v, 1, tie_break_left=True).to(tl.float32))
    tl.store(out + 5 * M, tl.sum(v).to(tl.float32))


def case_reductions():
    for dtype in (
        torch.float32,
        torch.bfloat16,
        torch.float16,
        torch.int32,
        torch.int8,
    ):
        x = torch.randint(-8, 8, (16, 32)).to(dtype)
        out = torch.zeros(81)
        reduce_kernel[(1,)](x, out, 16, 32)
        wide = x.float()
        rows = [wide.sum(1), wide.amax(1), wide.amin(1)]
        rows += [wide.argmax(1), wide.argmin(1), wide.sum().reshape(1)]
        torch.testing.assert_close(out, torch.cat([r.float() for r in rows]))


@triton.jit
def _first_max(v1, i1, v2, i2):
    better = (v1 > v2) | ((v1 == v2) & (i1 < i2)) | ((v1 != v1) & (v2 == v2))
    better = better | ((v1 != v1) & (v2 != v2) & (i1 < i2))
    return tl.where(better, v1, v2), tl.where(better, i1, i2)


@triton.jit
def _branching_max(a, b):
    if a > b:
        result = a
    else:
        result = b
    return result


@triton.jit
def argmax_kernel(x, index, value, M: tl.constexpr, N: tl.constexpr):
    i = tl.arange(0, M)[:, None]
    j = tl.arange(0, N)[None, :]
    v = tl.load(x + i * N + j)
    places = tl.broadcast_to(j, [M, N])
    best, where = tl.reduce((v, places), 1, _first_max)
    tl.store(index + tl.arange(0, M), where)
    tl.store(value + tl.arange(0, M), tl.reduce(v, 1, _branching_max))


def case_custom_reduction_of_a_pair_with_ties_and_nan():
    x = torch.randint(-3, 3, (8, 16)).float()
    plain = x.clone()
    x[2, 5] = x[2, 9] = float("nan")
    index, value = torch.empty(8, dtype=torch.int32), torch.empty(8)
    argmax_kernel[(1,)](x, index, value, 8, 16)
    assert torch.equal(index.long(), x.argmax(1))
    argmax_kernel[(1,)](plain, index, value, 8, 16)
    assert torch.equal(value, plain.amax(1))


@triton.jit
def nan_max_kernel(x, y, out, N: tl.constexpr):
    i = tl.arange(0, N)
    a = tl.load(x + i)
    b = tl.load(y + i)
    tl.store(out + i, tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL))
    tl.store(out + N + i, tl.minimum(a, b))
    tl.store(out + 2 * N + i, tl.clamp(a, -1.0, 1.0))


def case_maximum_propagates_nan_only_on_request():
    for dtype in (torch.float32, torch.bfloat16):
        x, y = torch.randn(2, N).to(dtype)
        x[::7] = float("nan")
        out = torch.empty(3 * N, dtype=dtype)
        nan_max_kernel[(1,)](x, y, out, N)
        parts = [torch.maximum(x, y), torch.fmin(x, y), torch.fmin(x, x).clamp(-1, 1)]
        parts[2] = torch.where(x.isnan(), -1, parts[2])
        torch.testing.assert_close(
            out, torch.cat(parts), equal_nan=True, rtol=0, atol=0
        )


UNARY = "exp exp2 expm1 tanh rsqrt log log1p log2 log10 erf erfc atan tan sinh cosh"
UNARY += " asin acos floor ceil rint nearbyint trunc sqrt sin cos"
BINARY = "pow atan2 fmod copysign hypot nextafter"
PREDICATES = "isnan isinf signbit"


def libdevice_kernel(name, arity):
    arguments = ", ".join(f"tl.load(x + {k} * N + i)" for k in range(arity))
    text = f"""
import triton
import triton.language as tl
from triton.language.extra import libdevice

@triton.jit
def kernel(x, out, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(out + i, libdevice.{name}({arguments}))
"""
    path = Path(os.environ["CASE_DIR"]) / f"{name}.py"
    path.write_text(text)
    scope = {}
    exec(compile(text, str(path), "exec"), scope)
    return scope["kernel"]


def check_libdevice(name, arity, dtype, out_dtype, x):
    out = torch.empty(N, dtype=out_dtype)
    libdevice_kernel(name, arity)[(1,)](x, out, N)
    reference = {"rint": "round", "nearbyint": "round"}.get(name, name)
    wanted = getattr(torch, reference)(*x).to(out_dtype)
    torch.testing.assert_close(
        out, wanted, equal_nan=True, msg=lambda m: f"{name}: {m}"
    )


def case_libdevice_functions():
    for dtype in (torch.float32, torch.float64):
        for name in UNARY.split():
            x = torch.rand(1, N, dtype=dtype) * (0.9 if name in ("asin", "acos") else 3)
            check_libdevice(name, 1, dtype, dtype, x)
        for name in BINARY.split():
            check_libdevice(name, 2, dtype, dtype, torch.rand(2, N, dtype=dtype) + 0.1)
        for name in PREDICATES.split():
            x = torch.randn(1, N, dtype=dtype)
            x[0, :3] = torch.tensor([float("nan"), float("inf"), -0.0])
            check_libdevice(name, 1, dtype, torch.bool, x)


@triton.jit
def strict_libdevice_kernel(x, out, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(out + i, libdevice.exp2(tl.load(x + i)))


def case_libdevice_refuses_small_floats_as_the_compiler_does():
    x = torch.randn(N).bfloat16()
    with pytest.raises(Exception, match="bf16|KeyError"):
        strict_libdevice_kernel[(1,)](x, torch.empty_like(x), N)


@triton.jit
def atomic_kernel(x, out, old, N: tl.constexpr):
    i = tl.arange(0, N)
    before = tl.atomic_add(out + i // 4, tl.load(x + i), mask=i % 2 == 0, sem="relaxed")
    tl.store(old + i, before)


def case_atomic_add_counts_every_lane():
    for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.int32):
        x = torch.randint(-4, 4, (N,)).to(dtype)
        out, old = torch.ones(N // 4, dtype=dtype), torch.empty(N, dtype=dtype)
        atomic_kernel[(1,)](x, out, old, N)
        wanted = 1 + x.float().view(-1, 4)[:, ::2].sum(1)
        assert torch.equal(out.float(), wanted)
        assert torch.equal(old[::4].float(), torch.ones(N // 4))


@triton.jit
def atomic_max_kernel(x, out, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.atomic_max(out + i * 0, tl.load(x + i))


def case_atomic_max_of_float32():
    x = torch.randn(N)
    out = torch.full((1,), -float("inf"))
    atomic_max_kernel[(1,)](x, out, N)
    assert out.item() == x.max().item()


@triton.jit
def scalar_kernel(out, flag, count, alpha, big, zero_d, table, N: tl.constexpr):
    i = tl.arange(0, N)
    total = tl.zeros([N], tl.float32)
    for k in tl.range(0, count, 2, num_stages=2):
        total += alpha * k.to(tl.int64)
    if flag and count > 3:
        total += tl.load(zero_d)
    if not flag or big < 5:
        total = total * 0
    tl.store(out + i, total + tl.load(table + i * 2))


def case_scalar_arguments_and_strided_tensors():
    base = torch.arange(3.0 * N)
    table = base[5 : 5 + 2 * N : 2]
    out = torch.empty(N)
    scalar_kernel[(1,)](out, True, 7, 0.5, 2**40, torch.tensor(3.25), table, N)
    torch.testing.assert_close(out, 0.5 * 12 + 3.25 + table)
    scalar_kernel[(1,)](out, False, 7, 0.5, 2**31, torch.tensor(3.25), table, N)
    torch.testing.assert_close(out, table)


@triton.jit
def divide_kernel(x, y, out, n, N: tl.constexpr):
    i = tl.arange(0, N)
    m = i < n
    a = tl.load(x + i, m, other=0)
    b = tl.load(y + i, m, other=0)
    tl.store(out + i, a // b + a % b, m)
    tl.store(out + i, tl.load(out + i, m) + a * (2**30), m)


def case_integer_division_by_zero_of_masked_lanes_is_silent():
    x, y = torch.arange(N, dtype=torch.int32), torch.full((N,), 3, dtype=torch.int32)
    out = torch.zeros(N, dtype=torch.int32)
    divide_kernel[(1,)](x, y, out, 10, N)
    wanted = x // 3 + x % 3 + x * 2**30
    assert torch.equal(out[:10], wanted[:10])
    assert not out[10:].any()


def case_launcher_runs_interpreted_kernels():
    from helion.runtime.launcher import default_launcher

    x, out = torch.randn(64), torch.empty(64, dtype=torch.bfloat16)
    for _ in range(2):
        default_launcher(cast_kernel, (1,), x, out, 64, num_warps=4, num_stages=1)
        assert torch.equal(out, x.bfloat16())
    default_launcher(cast_kernel, (0,), x, out, 64, num_warps=4, num_stages=1)


def case_empty_grid_runs_nothing():
    out = torch.zeros(0)
    cast_kernel[(0,)](out, out, 16)
    cast_kernel[(0, 4)](out, out, 16)


def case_load_out_of_bounds_raises():
    x = torch.zeros(N - 1)
    with pytest.raises(IndexError, match="load at byte 252 of a storage of 252"):
        cast_kernel[(1,)](x, torch.zeros(N), N)


def case_store_out_of_bounds_raises_even_into_a_neighbour():
    buffers = torch.zeros(2, 4096)
    first, second = buffers[0].clone(), buffers[1].clone()
    offset = (second.data_ptr() - first.data_ptr()) // 4
    with pytest.raises(IndexError):
        far_store_kernel[(1,)](first, second, offset)


@triton.jit
def far_store_kernel(x, y, offset):
    tl.store(x + offset, 1.0)


@triton.jit
def no_other_kernel(x, out, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(out + i, tl.load(x + i, i < 3))


def case_lanes_without_other_are_poisoned():
    for dtype in (torch.float32, torch.bfloat16, torch.int32):
        out = torch.zeros(16, dtype=dtype)
        no_other_kernel[(1,)](torch.ones(3, dtype=dtype), out, 16)
        assert (out[:3] == 1).all()
        poisoned = out[3:].isnan() if dtype.is_floating_point else out[3:] < -(2**24)
        assert poisoned.all()


@triton.jit
def _affine(a1, b1, a2, b2):
    return a1 * a2, b1 * a2 + b2


@triton.jit
def scan_kernel(x, out, N: tl.constexpr, REVERSE: tl.constexpr):
    i = tl.arange(0, N)
    v = tl.load(x + i)
    tl.store(out + i, tl.cumsum(v, 0, reverse=REVERSE))
    half = tl.full([N], 0.5, tl.float32)
    _, state = tl.associative_scan((half, v), 0, _affine)
    tl.store(out + N + i, state)


def case_scans():
    x = torch.randn(32)
    out = torch.empty(64)
    scan_kernel[(1,)](x, out, 32, False)
    torch.testing.assert_close(out[:32], x.cumsum(0))
    state, wanted = 0.0, []
    for value in x.tolist():
        state = 0.5 * state + value
        wanted.append(state)
    torch.testing.assert_close(out[32:], torch.tensor(wanted))
    scan_kernel[(1,)](x, out, 32, True)
    torch.testing.assert_close(out[:32], x.flip(0).cumsum(0).flip(0))


@triton.jit
def block_pointer_kernel(x, out, rows, cols, B: tl.constexpr):
    src = tl.make_block_ptr(x, (rows, cols), (cols, 1), (0, 0), (B, B), (1, 0))
    dst = tl.make_block_ptr(out, (rows, cols), (cols, 1), (0, 0), (B, B), (1, 0))
    tile = tl.load(src, boundary_check=(0, 1), padding_option="zero")
    tl.store(dst, tile + tile, boundary_check=(0, 1))


@triton.jit
def descriptor_kernel(x, out, rows, cols, B: tl.constexpr):
    src = tl.make_tensor_descriptor(x, [rows, cols], [cols, 1], [B, B])
    dst = tl.make_tensor_descriptor(out, [rows, cols], [cols, 1], [B, B])
    tile = src.load([0, 0])
    dst.store([0, 0], tile + tile)


def case_block_pointers_and_descriptors():
    x = torch.randn(13, 24).bfloat16()
    for kernel in (block_pointer_kernel, descriptor_kernel):
        out = torch.zeros_like(x)
        kernel[(1,)](x, out, 13, 24, 32)
        assert torch.equal(out, x + x)


@triton.jit
def sort_kernel(x, out, noise, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(out + i, tl.sort(tl.load(x + i)))
    tl.store(noise + i, tl.rand(7, i) + tl.sigmoid(tl.full([N], 0.0, tl.float32)))


def case_sort_and_random_numbers():
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.randn(32).to(dtype)
        out, noise = torch.empty_like(x), torch.empty(32)
        sort_kernel[(1,)](x, out, noise, 32)
        assert torch.equal(out, x.sort()[0])
        assert ((noise >= 0.5) & (noise < 1.5)).all()


def case_inductor_helpers_work_on_bfloat16():
    from torch._inductor.runtime import triton_helpers

    scope_kernel = inductor_kernel
    scope_kernel.fn.__globals__["triton_helpers"] = triton_helpers
    x, y = torch.randn(2, 16).bfloat16()
    x[2] = float("nan")
    out, index = torch.empty_like(x), torch.empty(1, dtype=torch.int32)
    scope_kernel[(1,)](x, y, out, index, 16)
    torch.testing.assert_close(out, torch.maximum(x, y), equal_nan=True)
    assert index.item() == 2


@triton.jit
def inductor_kernel(x, y, out, index, N: tl.constexpr):
    i = tl.arange(0, N)
    a = tl.load(x + i)
    tl.store(out + i, triton_helpers.maximum(a, tl.load(y + i)))  # noqa: F821
    _, where = triton_helpers.max_with_index(a[None, :], i[None, :], 1)  # noqa: F821
    tl.store(index + tl.arange(0, 1), where)


def run_cases():
    from test.triton_interpreter import install

    install(check_bounds=True)
    install(check_bounds=True)
    outcomes = {}
    for name, case in list(globals().items()):
        if name.startswith("case_"):
            torch.manual_seed(0)
            try:
                case()
                outcomes[name] = None
            except BaseException:
                outcomes[name] = traceback.format_exc()
    print(json.dumps(outcomes))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    env = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    env["CASE_DIR"] = str(tmp_path_factory.mktemp("cases"))
    run = subprocess.run(
        [sys.executable, __file__], env=env, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


CASES = [name for name in dict(globals()) if name.startswith("case_")]


@pytest.mark.parametrize("name", CASES)
def test_interpreter(name, outcomes):
    assert outcomes[name] is None, outcomes[name]


def test_install_needs_interpret_mode(monkeypatch):
    from test.triton_interpreter import install

    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(RuntimeError, match="TRITON_INTERPRET"):
        install()


if __name__ == "__main__":
    run_cases()
