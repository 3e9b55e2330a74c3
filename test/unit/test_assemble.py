"""Kernels are assembled for GPUs that are not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import triton
import triton.language as tl
from torch._subclasses.fake_tensor import FakeTensorMode

from helion import exc
from helion._compiler.triton.assemble import assemble, assemble_launch, capture_launches


@triton.jit
def _helion_add(x, y, out, n, alpha, flip, _BLOCK_SIZE_0: tl.constexpr):
    indices_0 = tl.program_id(0) * _BLOCK_SIZE_0 + tl.arange(0, _BLOCK_SIZE_0)
    mask_0 = indices_0 < n
    value = tl.load(x + indices_0, mask_0, other=0) * alpha
    if flip:
        value = -value
    value += tl.load(y + indices_0, mask_0, other=0)
    tl.store(out + indices_0, value.to(out.dtype.element_ty), mask_0)


@triton.jit
def _helion_dot(x, out, M: tl.constexpr):
    where = tl.arange(0, M)[:, None] * M + tl.arange(0, M)[None, :]
    tl.store(out + where, tl.dot(tl.load(x + where), tl.load(x + where)))


@triton.jit
def _helion_softmax(x, out, N: tl.constexpr):
    where = tl.arange(0, N)
    value = tl.exp(tl.load(x + where))
    tl.store(out + where, value / tl.sum(value))


def add(x, y, alpha, *, _launcher):
    out = torch.empty_like(x)
    n = x.size(0)
    grid = (triton.cdiv(n, 256),)
    _launcher(
        _helion_add, grid, x, y, out, n, alpha, True, 256, num_warps=4, num_stages=1
    )
    return out


def fake_args(mode, size=1024):
    with mode:
        x = torch.empty(size, device="cuda", dtype=torch.bfloat16)
        return [x, torch.empty_like(x), 0.5]


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100", "gfx942"])
def test_assemble_launch_tells_registers(arch):
    (launch,) = capture_launches(add, fake_args(FakeTensorMode()))
    assert launch.grid == (4,)
    assert launch.args[-1] == 256
    kernel = launch.assemble(arch)
    assert kernel.arch == arch
    assert 4 <= kernel.registers <= 64
    assert kernel.spill_bytes == 0
    assert kernel.cubin[:4] == b"\x7fELF"


def test_aligned_arguments_are_loaded_as_vectors():
    (aligned,) = capture_launches(add, fake_args(FakeTensorMode(), 1024))
    (odd,) = capture_launches(add, fake_args(FakeTensorMode(), 1023))
    assert "ld.global.b32" in aligned.assemble().ptx_or_asm
    assert "ld.global.b32" not in odd.assemble().ptx_or_asm


def test_size_one_is_a_constant():
    (launch,) = capture_launches(add, fake_args(FakeTensorMode(), 1))
    wide = capture_launches(add, fake_args(FakeTensorMode(), 2**31 + 1))[0]
    assert ".param .u32" not in launch.assemble().ptx_or_asm.split("{")[0]
    assert ".param .u64 _helion_add_param_3" in wide.assemble().ptx_or_asm


def test_capture_fakes_real_tensors():
    (launch,) = capture_launches(add, [torch.ones(100), torch.ones(100), 2.0])
    assert launch.args[0].dtype is torch.float32
    assert launch.kwargs == {"num_warps": 4, "num_stages": 1}


def test_symbolic_sizes_count_by_their_hint():
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    mode = FakeTensorMode(shape_env=ShapeEnv())
    x = mode.from_tensor(torch.ones(100))
    size = x.size(0)
    args = [x, x, x, size, 1.0, False, 64]
    kernel = assemble_launch(_helion_add, args, {"num_warps": 2}, "sm_90")
    assert ".reqntid 64" in kernel.ptx_or_asm


def test_options_of_other_vendors_are_dropped_on_amd():
    (launch,) = capture_launches(add, fake_args(FakeTensorMode()))
    launch.kwargs["maxnreg"] = 128
    assert launch.assemble("gfx942").registers == launch.assemble("gfx942").registers
    assert launch.assemble("sm_90").registers <= 128


@pytest.mark.parametrize("arch", ["sm_90", "gfx942"])
def test_assemble_by_signature(arch):
    types = {"x": "*fp16", "out": "*fp32"}
    kernel = assemble(
        _helion_dot, types, {"M": 64}, arch=arch, divisible_by_16={"x", "out"}
    )
    assert kernel.shared_bytes > 0
    assert ("wgmma" if arch == "sm_90" else "v_mfma") in kernel.ptx_or_asm


def test_spills_are_counted():
    types = {name: "*fp32" for name in ("x", "out")}
    roomy = assemble(_helion_softmax, types, {"N": 4096}, num_warps=1)
    tight = assemble(_helion_softmax, types, {"N": 4096}, num_warps=1, maxnreg=32)
    assert roomy.spill_bytes == 0
    assert roomy.registers > 64
    assert tight.registers <= 32
    assert tight.spill_bytes > 0


def test_unknown_arch_is_refused():
    with pytest.raises(exc.InvalidAPIUsage, match="sm_90"):
        assemble(_helion_dot, {}, {}, arch="sm_7")


def test_interpreted_functions_are_refused():
    program = (
        "import triton\nfrom helion import exc\n"
        "from helion._compiler.triton.assemble import assemble\n"
        "try: assemble(triton.language.standard.sigmoid, {}, {})\n"
        "except exc.InvalidAPIUsage as e: print(e)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert "TRITON_INTERPRET" in run.stdout, run.stderr
