"""The table of triggers and classes, row by row; what works here gives its result."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import helion.language as hl
from helion import exc
from helion.autotuner import EnumFragment
from test import interpreter_worker
from test.unit import faults
from test.unit.error_triggers import add_one

NAMES = {"other": add_one, "Choice": EnumFragment}
CARRY = "v = x[t]\nif n > 3:  #!\n    v = v.half()\nout[t] = v"
NESTED = "def k(x):  #!\n    return x + 1\n"

# Lines in a loop over tiles t of the vector x; out is stored afterwards.
DEVICE = [
    ("LoopFunctionNotInFor", "t2 = hl.tile(4)"),
    ("FailedToUnpackTile", "for a, b in hl.tile(n):  #!\n    pass"),
    ("InvalidTileRange", "for s in hl.tile(8, 4):  #!\n    out[s] = 1"),
    ("IncorrectTileUsage", "for s in hl.tile([n], block_size=4):  #!\n    pass"),
    ("OverpackedTile", "v = z[[t, t], :]"),
    ("RankMismatch", "v = x[[t, t]]"),
    ("RankMismatch", "v = x[t, t]"),
    ("InvalidIndexingType", "v = x['a']"),
    ("InvalidSliceStep", "v = x[::-1]"),
    ("DataDependentOutputShapeNotSupported", "v = x[x[t] > 0]"),
    ("DeviceTensorSubscriptAssignmentNotAllowed", "v = x[t]\nv[0] = 1  #!"),
    ("AssignmentMultipleTargets", "a = b = x[t]"),
    ("CannotModifyHostVariableOnDevice", "out = out + 1"),
    ("NotAllowedOnDevice", "return 1"),
    ("UnsupportedPythonType", "break"),
    ("TypeInferenceError", "m = x[t] > 0\nw = m and m  #!"),
    ("SpecializeOnDevice", "v = hl.specialize(3)"),
    ("AtomicOnDeviceTensor", "hl.atomic_add(hl.zeros([4]), [t], 1)"),
    ("UnsupportedSplitOperation", "v = torch.split(x[t], 2)"),
    ("NestedKernelCallsNotSupported", "v = other(x)"),
    ("TorchOpTracingError", "v = x[t].to(torch.int32).mean()"),
    ("CrossRootDeviceValue", "if n > 3:\n    w = x[t]\nout[t] = w  #!"),
    ("CrossRootDeviceValue", "for s in hl.tile(8):\n    w = x[s]\nout[t] = w  #!"),
    ("ControlFlowTensorMismatch", CARRY),
    ("TypeInferenceError", "for a, b in zip([1], [1, 2]):  #!\n    pass"),
    ("BreakpointInDeviceLoopRequiresInterpret", "breakpoint()"),
]
# Rows whose class is another one here, for the reason behind it.
DEVICE_OTHERS = [
    # InternalError says nothing: the argument is checked.
    ("InvalidAPIUsage", "v = hl.dot(x[t], y[t])"),
    ("InvalidAPIUsage", "hl.atomic_add(x, [t], 1, sem='bad')"),
    # The class that is there for it, instead of a failed trace or lowering.
    ("ReductionDimInvalidForShape", "v = x[t].sum(3)"),
    ("RequiresTensorInAssignment", "out[t] = 'a'"),
    ("HostTensorDirectUsage", "v = x[t] + y"),
]
HOST = [
    ("DeviceAPIOnHost", "v = hl.full([4], 1)"),
    ("DeviceAPIOnHost", "v = hl.zeros([4])"),
    ("InvalidConfig", "b = hl.register_block_size(12, 16)"),
    ("TunableNameConflict", "v = hl.register_tunable('num_warps', Choice((1, 2)))"),
    ("TunableTypeNotSupported", "v = hl.register_tunable('foo', Choice(('a', 'b')))"),
    ("EmptyDeviceLoopAfterDCE", "for s in hl.tile(8):  #!\n    x[s] + 1"),
    ("NamingConflict", "tl = 3"),
]
# Rows that are refused elsewhere and work here, with what becomes of out.
WORKING = [
    ("out[t] = x[[t]]", lambda x, y, z, n: x),
    ("out[t] = x[t] + (x[t] if n > 3 else y[t])", lambda x, y, z, n: 2 * x),
    ("v = hl.zeros([x.size(0)]) + 1\nout[t] = v.sum()", lambda x, y, z, n: x * 0 + 64),
    ("out[t] = z[t, :].sum((0, 1)) * 0 + x[t]", lambda x, y, z, n: x),
    (
        "i = 0\nfor a in hl.grid(3):\n    i = i + 1\nout[t] = x[t] * i",
        lambda x, *_: 3 * x,
    ),
]
WORKING_ON_HOST = [
    ("if n > 3:\n    for s in hl.tile(8):\n        y[s] = x[s]", 8),
    ("for i in range(2):\n    for s in hl.tile(8):\n        y[s] = x[s]", 8),
    (
        "for s in hl.tile(8):\n    out[s] = x[s]\nm = 8\nfor s in hl.tile(m):\n"
        "    y[s] = out[s]",
        8,
    ),
    ("if n > 30:\n    raise ValueError('large')\ny[0:4] = x[0:4]", 4),
]


def run_text(text: str, args: tuple[Any, ...], static: bool) -> Any:
    """Run the emitted code of a text's kernel, in the interpreter's process."""
    bound = faults.kernel_from(text, static_shapes=static).bind(args)
    return bound.compile_config(bound.config_spec.default_config())(*args)


@pytest.mark.parametrize(("name", "lines"), [*DEVICE, *DEVICE_OTHERS])
def test_device_code_is_refused(name, lines):
    found = faults.fault(faults.device_text(lines), names=NAMES)
    assert type(found).__name__ == name


@pytest.mark.parametrize(("name", "lines"), HOST)
def test_host_code_is_refused(name, lines):
    found = faults.fault(faults.host_text(lines), names=NAMES)
    assert type(found).__name__ == name


def test_a_0d_host_tensor_must_be_loaded():
    x, _, z, n = faults.arguments()
    found = faults.fault(faults.device_text("v = x[t] + y"), x, x.sum(), z, n)
    assert type(found) is exc.HostTensorDirectUsage


def test_a_kernel_without_a_loop_is_refused():
    assert type(faults.fault(NESTED, torch.ones(4))) is exc.NoDeviceLoopsInKernel


def test_a_device_value_cannot_be_returned():
    text = faults.device_text("v = x[t]").replace("  #!", "")
    found = faults.fault(text.replace("return out", "return out, v  #!"))
    assert type(found) is exc.CannotReadDeviceVariableOnHost


def test_a_tuple_without_tensors_is_no_argument():
    with pytest.raises(exc.NoTensorArgs):
        add_one.bind(((1, 2),))


def test_load_works_at_the_prompt():
    assert hl.load(torch.tensor(3.0), []).item() == 3


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize(("lines", "wanted"), WORKING)
def test_device_code_works(lines, wanted, static):
    x, y, z, n = torch.randn(64), torch.randn(64), torch.randn(64, 48), 5
    text = faults.device_text(lines).replace(
        "        out[t] = x[t]\n    return", "    return"
    )
    found, _ = interpreter_worker.call(run_text, (text, (x, y, z, n), static))
    torch.testing.assert_close(found, wanted(x, y, z, n))
    torch.testing.assert_close(faults.kernel_from(text)(x, y, z, n), found)


@pytest.mark.parametrize(("lines", "count"), WORKING_ON_HOST)
def test_host_code_works(lines, count):
    text = faults.host_text(lines).replace("return out", "return y")
    for is_compiled in (False, True):
        x, y, z, n = torch.randn(64), torch.zeros(64), torch.randn(64, 48), 5
        if is_compiled:
            request = (text, (x, y, z, n), True)
            found, _ = interpreter_worker.call(run_text, request)
        else:
            found = faults.kernel_from(text)(x, y, z, n)
        assert torch.equal(found[:count], x[:count])
        assert not found[count:].any()
