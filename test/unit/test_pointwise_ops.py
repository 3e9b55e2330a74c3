"""Every pointwise rule gives torch's values (interpreted) and assembles for sm_90."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helion._compiler.triton.dtypes import literal, triton_dtype
from helion._compiler.triton.pointwise_ops import POINTWISE
from helion._compiler.triton.pointwise_rule import ABSENT, Operand
from test.unit.pointwise_cases import CASES, HEADER, kernel_text

aten = torch.ops.aten
DTYPES = sorted({case.dtype for case in CASES}, key=str)
ROOT = Path(__file__).resolve().parents[2]
inf = math.inf


def run_cases(mode: str) -> dict[str, str]:
    """Run pointwise_runner.py and return its failures by case."""
    runner = Path(__file__).with_name("pointwise_runner.py")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(runner), mode]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def interpreted() -> dict[str, str]:
    return run_cases("interpret")


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d)[6:])
def test_interpreted_values_are_those_of_torch(interpreted, dtype):
    cases = [c for c in CASES if c.dtype == dtype]
    wrong = {str(c): interpreted[str(c)] for c in cases if str(c) in interpreted}
    assert cases and not wrong, "\n".join(f"{k}: {v}" for k, v in wrong.items())


@pytest.mark.gpu
def test_compiled_values_are_those_of_torch():
    failures = run_cases("cuda")
    assert not failures, "\n".join(f"{k}: {v}" for k, v in failures.items())


def pointer_type(dtype: torch.dtype) -> str:
    special = {torch.bool: "*i1", torch.uint8: "*u8", torch.bfloat16: "*bf16"}
    special |= {torch.float8_e4m3fn: "*fp8e4nv", torch.float8_e5m2: "*fp8e5"}
    letters = "fp" if dtype.is_floating_point else "i"
    return special.get(dtype, f"*{letters}{dtype.itemsize * 8}")


def assemble(path, signature, constants=None):
    """Assemble the function ``kernel`` of a module for sm_90."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.compiler import compile as triton_compile

    spec = importlib.util.spec_from_file_location("kernels", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    source = ASTSource(module.kernel, signature, constants)
    compiled = triton_compile(source, target=GPUTarget("cuda", 90, 32))
    assert compiled.asm["cubin"]


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d)[6:])
def test_rules_assemble_with_exact_dtypes(dtype, tmp_path):
    """``static_assert`` in the kernel checks that each result has torch's dtype."""
    cases = [c for c in CASES if c.dtype == dtype]
    path = tmp_path / "kernels.py"
    path.write_text(HEADER + kernel_text("kernel", cases))
    tensors = {k: v for c in cases for k, v in c.tensors().items()}
    signature = {f"{k}_ptr": pointer_type(v.dtype) for k, v in tensors.items()}
    for i, case in enumerate(cases):
        signature[f"out{i}"] = pointer_type(case.expected().dtype)
    assemble(path, signature)


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (2.5, None, "2.5"),
        (-1, None, "(-1)"),
        (inf, None, 'float("inf")'),
        (-inf, torch.float16, 'tl.full([], float("-inf"), tl.float16)'),
        (True, torch.bool, "tl.full([], True, tl.int1)"),
        (-1, torch.uint8, "tl.full([], 255, tl.uint8)"),
        (2, torch.float32, "tl.full([], 2.0, tl.float32)"),
        (-0.0, torch.float32, "(tl.full([], 0.0, tl.float32) * -1.0)"),
    ],
)
def test_literal_text(value, dtype, text):
    assert literal(value, dtype) == text


def render(op, *operands, dtype=torch.float32, **kwargs):
    return POINTWISE[op].render(operands, kwargs, dtype)


def test_half_arithmetic_stays_native():
    x, y = Operand("x", torch.float16), Operand("y", torch.float16)
    assert render(aten.add.Tensor, x, y, dtype=torch.float16) == "(x + y)"


def test_number_that_half_rounds_is_met_in_float32():
    x, tenth = Operand("x", torch.float16), Operand("0.1", value=0.1)
    text = render(aten.mul.Tensor, x, tenth, dtype=torch.float16)
    assert text == "(x.to(tl.float32) * 0.1).to(tl.float16)"


def test_symbolic_number_is_cast_without_methods():
    x, n = Operand("x", torch.float32), Operand("n", torch.int64, is_scalar=True)
    assert render(aten.mul.Tensor, x, n) == "(x * tl.cast(n, tl.float32))"


def test_nonnegative_remainder_is_plain():
    x = Operand("x", torch.int32, nonnegative=True)
    n = Operand("n", torch.int64, is_scalar=True, nonnegative=True)
    text = render(aten.remainder.Tensor, x, n, dtype=torch.int32)
    assert text == "(x % tl.cast(n, tl.int32))"


@pytest.mark.parametrize(
    ("op", "inputs", "expected"),
    [
        (aten.exp.default, [0.0], 1.0),
        (aten.mul.Tensor, [0.0, None], None),
        (aten.add.Tensor, [0.0, 2], 2.0),
        (aten.clamp.default, [0.0, ABSENT, -1.0], -1.0),
        (aten.where.self, [False, None, 0.0], 0.0),
        (aten.sub.Tensor, [0.0, inf], -inf),
        (aten.pow.Tensor_Scalar, [0.0, 2], 0.0),
        (aten._to_copy.default, [0], 0.0),
        (torch.ops.prims.convert_element_type.default, [-inf, None], -inf),
        (aten.full_like.default, [None, 3], 3.0),
    ],
)
def test_masked_value(op, inputs, expected):
    assert POINTWISE[op].masked_value(inputs, torch.float32) == expected


def test_masked_value_of_integer_product_with_zero():
    rule = POINTWISE[aten.mul.Tensor]
    assert rule.masked_value([0, None], torch.int32) == 0


@pytest.mark.parametrize("op", [aten.add.Tensor, aten.maximum.default, aten.lt.Tensor])
def test_constexpr_number_meets_tensor(op, tmp_path):
    x, n = Operand("x", torch.float32), Operand("N", torch.int64, is_scalar=True)
    out = torch.bool if op == aten.lt.Tensor else torch.float32
    body = [
        "@triton.jit",
        "def kernel(x_ptr, N: tl.constexpr):",
        "    x = tl.load(x_ptr + tl.arange(0, N))",
        f"    result = {render(op, n, x, dtype=out)}",
        f"    tl.static_assert(result.dtype == {triton_dtype(out)})",
        "    tl.store(x_ptr + tl.arange(0, N), result)",
    ]
    path = tmp_path / "kernels.py"
    path.write_text(HEADER + "\n".join(body) + "\n")
    assemble(path, {"x_ptr": "*fp32", "N": "constexpr"}, {"N": 16})
