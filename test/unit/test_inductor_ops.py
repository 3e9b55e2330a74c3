"""Ops without a rule of ours are printed from Inductor's bodies."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from helion import exc
from helion._compiler.inductor_adapter import TensorInput, lower_pointwise
from helion._compiler.triton.inductor_ops import IMPORTS, decomposition, decompositions
from helion._compiler.triton.pointwise_ops import POINTWISE

aten = torch.ops.aten
SIZE = [64, 32]


def tensor(index=0, dtype=torch.float32, size=SIZE):
    return TensorInput(index, dtype, size)


def print_body(op, *args, output=0, **kwargs):
    """Return the statements that compute ``op`` of x and y, one a line."""
    lowered = lower_pointwise(op, args, kwargs)
    assert lowered is not None
    lines = []

    def emit(text):
        lines.append(f"v{len(lines)} = {text}")
        return f"v{len(lines) - 1}"

    result = lowered.render(["x", "y"], emit, output)
    return [*lines, f"result = {result}"]


def test_half_input_is_computed_in_float32():
    assert print_body(aten.tanh.default, tensor(dtype=torch.float16)) == [
        "v0 = x.to(tl.float32)",
        "v1 = libdevice.tanh(v0)",
        "result = (v1).to(tl.float16)",
    ]


@pytest.mark.parametrize("size", [SIZE, [1, 32], [32], [64, 1], []], ids=str)
def test_broadcast_operands_are_left_to_triton(size):
    lines = print_body(aten.atan2.default, tensor(), tensor(1, size=size))
    assert lines[0] == "v0 = libdevice.atan2(x, y)"


def test_symbolic_sizes_gain_no_guards():
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    mode = FakeTensorMode(shape_env=ShapeEnv())
    x = mode.from_tensor(torch.empty(37, 53))
    other = tensor(1, size=[x.shape[1]])
    assert print_body(aten.hypot.default, tensor(size=list(x.shape)), other)
    assert mode.shape_env is not None and not mode.shape_env.guards


def test_each_output_has_its_dtype():
    lowered = lower_pointwise(aten.frexp.Tensor, [tensor()], {})
    assert lowered is not None
    assert [lowered.dtype(i) for i in range(2)] == [torch.float32, torch.int32]


def test_infinities_have_exponent_zero():
    body = "\n".join(print_body(aten.frexp.Tensor, tensor()))
    assert "tl.where((tl.abs(x) < float('inf'))" in body, body


def test_op_that_moves_elements_is_refused():
    with pytest.raises(exc.BackendUnsupported, match="moved elements"):
        print_body(aten.glu.default, tensor())


def test_op_without_pointwise_body_is_none():
    assert lower_pointwise(aten.digamma.default, [tensor()], {}) is None
    assert lower_pointwise(aten.flip.default, [tensor(), [1]], {}) is None


def test_table_leaves_out_what_we_own():
    assert not set(decompositions()) & set(POINTWISE)
    assert decomposition(aten.gelu.default) is None
    assert decomposition(aten.xlogy.Tensor) is not None


def test_bodies_assemble(tmp_path):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.compiler import compile as triton_compile

    half = torch.float16
    bodies = [
        print_body(aten.ldexp.Tensor, tensor(dtype=half), tensor(1, torch.int32, [])),
        print_body(aten.maximum.default, tensor(dtype=half), tensor(dtype=half)),
        print_body(aten.frexp.Tensor, tensor(dtype=half)),
        print_body(aten.special_erfcx.default, tensor(dtype=half)),
    ]
    lines = ["import triton", "import triton.language as tl", *IMPORTS.values()]
    lines += ["", "@triton.jit", "def kernel(x_ptr, y_ptr, out):"]
    lines += ["    i = tl.arange(0, 32)", "    x = tl.load(x_ptr + i)"]
    lines += ["    y = tl.load(y_ptr)"]
    for body in bodies:
        lines += [*(f"    {line}" for line in body), "    tl.store(out + i, result)"]
    path = tmp_path / "kernels.py"
    path.write_text("\n".join(lines) + "\n")
    spec = importlib.util.spec_from_file_location("kernels", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    signature = {"x_ptr": "*fp16", "y_ptr": "*i32", "out": "*fp16"}
    source = ASTSource(fn=module.kernel, signature=signature)
    compiled = triton_compile(source, target=GPUTarget("cuda", 90, 32))
    assert compiled.asm["cubin"]
