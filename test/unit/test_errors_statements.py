"""Statements and expressions that a kernel cannot have, and what each is told."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest

import helion
from helion import exc
from test.harness import fake_cuda
from test.unit import faults

COUNT = 0
open_nothing = contextlib.nullcontext


@helion.kernel
def other(x):
    return x


def opens(value):
    open("/nowhere")
    return value


def opens_deep(value):
    return opens(value)


def counts(value):
    global COUNT
    COUNT += 1
    return value


def reads(value):
    return value.sum().item()


def branches(value):
    return value if value.sum() > 0 else value + 1


def with_branches(value):
    with open_nothing():
        return value if value.sum() > 0 else value + 1


def raises(value):
    raise ValueError("my own reason")


def recurses(value):
    return recurses(value)


NAMES = {
    "other": other,
    "opens": opens,
    "opens_deep": opens_deep,
    "counts": counts,
    "reads": reads,
    "branches": branches,
    "with_branches": with_branches,
    "raises": raises,
    "recurses": recurses,
    "math": math,
    "np": np,
}

ON_DEVICE = [
    (exc.NotAllowedOnDevice, "'return'", "return 1"),
    (exc.NotAllowedOnDevice, "'return'", "if n > 3:\n    return out  #!"),
    (exc.NotAllowedOnDevice, "'with'", "with a:  #!\n    pass"),
    (
        exc.NotAllowedOnDevice,
        "'try'",
        "try:  #!\n    pass\nexcept ValueError:\n    pass",
    ),
    (exc.UnsupportedPythonType, "'break'", "break"),
    (exc.UnsupportedPythonType, "tiles run in parallel", "if n > 3:\n    break"),
    (exc.TypeInferenceError, "use torch.where", "if x[t] > 0:  #!\n    continue"),
    (
        exc.TypeInferenceError,
        "more than one element",
        "for i in range(3):\n    if x[t] > i:  #!\n        break",
    ),
    (exc.UndefinedVariable, "v", "v = x[t]\ndel v\nout[t] = v"),
    (exc.UndefinedVariable, "missing", "del missing"),
    (exc.CannotModifyHostVariableOnDevice, "out", "del out"),
    (exc.InvalidAssignment, "an item of", "del x[0]"),
    (
        exc.CantCombineTypesInControlFlow,
        "v",
        "v = x[t]\nfor i in range(n):  #!\n    del v",
    ),
    (exc.StatementNotSupported, "'global'", "global foo"),
    (exc.StatementNotSupported, "Yield", "v = (yield)"),
    (exc.StatementNotSupported, "'classdef'", "class A:  #!\n    pass"),
    (exc.StatementNotSupported, "'import'", "import os"),
    (exc.StatementNotSupported, "'importfrom'", "from os import path"),
    (
        exc.StatementNotSupported,
        "a decorator",
        "@torch.no_grad()\ndef f(a):  #!\n    return a",
    ),
    (exc.ClosureMutation, "k", "k = 1\ndef f():\n    nonlocal k\n    k = 2\nf()"),
    (exc.GlobalMutation, "k", "def f():\n    global k\n    k = 2\nf()"),
    (exc.TypeInferenceError, "(): missing a required", "f = lambda a: a\nf()"),
    (
        exc.CantCombineTypesInControlFlow,
        "result is a float32 tensor [t] on one path and None",
        "def f(v):\n    for i in range(n):\n        if i > 3:\n"
        "            return v * i\nout[t] = f(x[t])",
    ),
    (
        exc.StatementNotSupported,
        "return it at the end",
        "def f():\n    for i in hl.tile(8):\n        return x[i]\n    return y[0]\nf()",
    ),
    (exc.StatementNotSupported, "'match'", "match n:  #!\n    case 1:\n        pass"),
    (exc.DeviceAssertionError, "assert 1 == 2 fails: no 3", "assert 1 == 2, f'no {3}'"),
    (exc.TypeInferenceError, "use torch.where", "assert x[t] > 0"),
    (exc.StatementNotSupported, "'raise'", "raise ValueError('x')"),
    (
        exc.StatementNotSupported,
        "while ... else",
        "while n:  #!\n    pass\nelse:\n    pass",
    ),
    (exc.StatementNotSupported, "an endless while", "while True:  #!\n    out[t] = 1"),
    (exc.UnsupportedPythonType, "f-string", "v = f'{x[t]}'"),
    (exc.AssignmentMultipleTargets, "a = b = v", "a = b = x[t]"),
    (exc.InvalidAssignment, "starred", "a, *b = 1, 2, 3"),
    (exc.InvalidAssignment, "attribute", "x.foo = 3"),
    (exc.InvalidAssignment, "attribute", "x.data += 3"),
    (exc.CannotModifyHostVariableOnDevice, "out[...] = value", "out = out + 1"),
    (exc.CannotModifyHostVariableOnDevice, "variable out", "out += 1"),
    (exc.CannotModifyHostVariableOnDevice, "variable n", "n += 1"),
    (exc.CannotModifyHostVariableOnDevice, "variable n", "a, n = 1, 2"),
    (exc.FailedToUnpackTupleAssign, "3 into 2", "a, b = 1, 2, 3"),
    (exc.FailedToUnpackTupleAssign, "the int 5", "a, b = 5"),
    (exc.FailedToUnpackTupleAssign, "tensor [t]", "a, b = x[t]"),
    (exc.UndefinedVariable, "missing", "v = missing + 1"),
    (exc.UndefinedVariable, "missing", "v = missing(x[t])"),
    (exc.TypeInferenceError, "no attribute 'missing'", "v = torch.missing(x[t])"),
    (exc.TypeInferenceError, "'Tensor' object has no", "v = x[t].missing"),
    (exc.TypeInferenceError, "'Tile' object has no", "v = t.missing"),
    (exc.TypeInferenceError, "use & and |", "m = x[t] > 0\nw = m and m"),
    (exc.TypeInferenceError, "use & and |", "m = x[t] > 0\nw = m or m"),
    (exc.TypeInferenceError, "use & and |", "m = x[t] > 0\nw = n > 3 and m"),
    (exc.TypeInferenceError, "use ~", "w = not x[t] > 0"),
    (exc.TypeInferenceError, "use & and |", "w = 0 < x[t] < 3"),
    (exc.TypeInferenceError, "use torch.where", "w = 1 if x[t] > 0 else 2"),
    (
        exc.CantCombineTypesInControlFlow,
        "a conditional expression is",
        "w = x[t] if n > 3 else None",
    ),
    (
        exc.ControlFlowTensorMismatch,
        "a conditional expression",
        "w = x[t] if n > 3 else y[0:48]",
    ),
    (
        exc.TypeInferenceError,
        "comprehension is not known",
        "w = [a for a in (1, 2) if n > a]",
    ),
    (exc.ShapeSpecializingCall, "range()", "w = [x[t] for a in range(t.begin)]"),
    (exc.InvalidDeviceForLoop, "run-time int n", "w = [x[t] for a in n]"),
    (exc.TypeInferenceError, "use torch.where", "if x[t] > 0:  #!\n    out[t] = 1"),
    (exc.TypeInferenceError, "use torch.where", "while x[t] > 0:  #!\n    out[t] = 1"),
    (exc.TypeInferenceError, "division by zero", "v = 1 / 0"),
    (exc.TypeInferenceError, "concatenate str", "v = 'a' + 1"),
    (exc.TypeInferenceError, "list index out of range", "v = [1, 2][7]"),
    (exc.TypeInferenceError, "'in' is not defined", "v = x[t] in [1, 2]"),
    (exc.TypeInferenceError, "different lengths: 1, 2", "v = zip([1], [1, 2])"),
    (exc.TypeInferenceError, "not callable", "v = x[t](3)"),
    (exc.TypeInferenceError, "string literal", "print(x[t])"),
    (exc.InvalidSequenceSubscription, "t.begin", "v = [1, 2][t.begin]"),
    (exc.NonTensorSubscriptAssign, "into the int 5", "v = 5\nv[0] = 1"),
    (exc.NonTensorSubscriptAssign, "a tuple of 2", "v = (1, 2)\nv[0] = 1"),
    (exc.NonTensorSubscriptAssign, "run-time int n", "n[0] = 1"),
    (exc.ShapeSpecializingCall, "int needs", "v = int(t.begin)"),
    (exc.ShapeSpecializingCall, "float needs", "v = float(t.begin)"),
    (exc.StarredArgsNotSupportedOnDevice, "", "v = torch.sin(*x[t])"),
    (exc.StarredArgsNotSupportedOnDevice, "", "v = torch.sin(**n)"),
    (exc.NestedKernelCallsNotSupported, "plain function", "v = other(x)"),
    (exc.BreakpointInDeviceLoopRequiresInterpret, "INTERPRET=1", "breakpoint()"),
]

REFUSED_CALLS = [
    ("open()", "f = open('/nowhere', 'w')"),
    ("input()", "input('a')"),
    ("exec()", "exec('a = 1')"),
    ("eval()", "v = eval('1')"),
    ("globals()", "v = globals()"),
    ("open() in opens()", "v = opens(x[t])"),
    ("open() in opens()", "v = opens_deep(x[t])"),
    ("Tensor.item()", "v = x[t].item()"),
    ("Tensor.item()", "v = reads(x[t])"),
    ("Tensor.tolist()", "v = x[t].tolist()"),
    ("Tensor.__bool__()", "v = bool(x[t])"),
    ("Tensor.__bool__()", "v = with_branches(x[t])"),
    ("Tensor.__int__()", "v = int(x[t])"),
    ("Tensor.__float__()", "v = math.sin(x[t])"),
    ("Tensor.__array__()", "v = np.sin(x[t])"),
    ("Tensor.numpy()", "v = x[t].numpy()"),
    ("Tensor.cpu()", "v = x[t].cpu()"),
    ("a value on cpu", "v = x[t].to('cpu')"),
    ("a value on cpu", "v = hl.zeros([4], device='cpu')"),
    ("a value on cpu", "v = torch.zeros([t], device='cpu')"),
    ("Tensor.data_ptr()", "v = x[t].data_ptr()"),
    ("Tensor.backward()", "x[t].backward()"),
    ("hl.register_block_size()", "v = hl.register_block_size(8)"),
    ("hl.register_tunable()", "v = hl.register_tunable('foo', 3)"),
]

ON_HOST = [
    (exc.UndefinedVariable, "missing", "v = missing"),
    (exc.UndefinedVariable, "missing", "out[missing] = 1"),
    (exc.StatementNotSupported, "Yield", "yield x"),
    (exc.NestedKernelCallsNotSupported, "", "v = other(x)"),
    (exc.FailedToUnpackTupleAssign, "a shape of 1", "a, b = x.shape"),
    (exc.ShapeMismatch, "[64] and [64, 48]", "v = x + z"),
    (exc.TypeInferenceError, "no attribute 'foo'", "v = x.foo"),
    (exc.TypeInferenceError, "KeyError", "v = {'a': 1}['b']"),
    (
        exc.TorchOpTracingError,
        "negative dimension -1: [n, -1]",
        "v = torch.empty([n, -1])",
    ),
    (exc.DataDependentOutputShapeNotSupported, "depends on data", "v = x.nonzero()"),
    (exc.NamingConflict, "name tl", "tl = 3"),
    (exc.NamingConflict, "name torch", "for torch in [1, 2]:  #!\n    pass"),
    (exc.NamingConflict, "name _launcher", "_launcher = 3"),
    (exc.LoopFunctionNotInFor, "hl.tile", "t2 = hl.tile(4)"),
    (exc.LoopFunctionNotInFor, "hl.grid", "t2 = list(hl.grid(4))"),
    (exc.DeviceAPIOnHost, "hl.full", "v = hl.full([4], 1)"),
    (exc.DeviceAPIOnHost, "hl.zeros", "v = hl.zeros([4])"),
    (exc.DeviceAPIOnHost, "hl.load", "v = hl.load(x, [0])"),
    (exc.DeviceAPIOnHost, "hl.atomic_add", "hl.atomic_add(x, [0], 1)"),
    (exc.DeviceAPIOnHost, "hl.dot", "v = hl.dot(z, z)"),
    (exc.BarrierOnlyAllowedAtTopLevel, "between two", "hl.barrier()"),
    (exc.SpecializeArgType, "not str", "v = hl.specialize('a')"),
]

# Beyond what the spec asks for: these compile.
WORKING = [
    "out[t] = x[t] if n > 3 else y[t]",
    "v = x[t] if x[t].sum() > 3 else y[t]\nout[t] = v",
    "f = lambda a: a + 1\nout[t] = f(x[t])",
    "parts = []\nfor i in hl.static_range(3):\n    parts.append(x[t] + i)\n"
    "out[t] = parts[2]",
    "d = {}\nfor i in hl.static_range(3):\n    d[f'a{i}'] = x[t] + i\nout[t] = d['a2']",
    "i = 0\nfor a in hl.grid(3):\n    i = i + 1\nout[t] = i",
    "v = [a for a in (1, 2) if a > 1]\nout[t] = v[0]",
    "v: int\nout[t] = 1",
    "v = x[t]\ndel v",
    "if (v := x[t]) is not None:\n    out[t] = v",
    "def f(a):\n    return a\nout[t] = f(x[t])",
    "assert n > 3",
    "if n > 3:\n    assert False, 'n'",
    "out[t] = n or 3",
    "out[t] = branches(x[t])",
    "for i in range(3):\n    break",
    "if n > 3:\n    v = x[t]\nelse:\n    w = [y[t]]\nout[t] = 1",
    "print('%d', n, f'{n}')",
    "out[t] = torch.zeros(t) + torch.full([t], 2.0) + x.new_zeros([t])",
]
WORKING_ON_HOST = [
    "import os\nv = os.getcwd()",
    "v = lambda a: a",
    "del n",
    "with torch.no_grad():\n    pass",
    "global foo",
    "if n > 3:\n    raise ValueError('bad')",
    "async def f():\n    pass",
]


@pytest.mark.parametrize(("error", "words", "lines"), ON_DEVICE)
def test_device_code_refuses(error, words, lines):
    found = faults.fault(faults.device_text(lines), names=NAMES)
    assert type(found) is error
    assert words in str(found)


@pytest.mark.parametrize(("words", "lines"), REFUSED_CALLS)
def test_device_code_refuses_the_call(words, lines):
    found = faults.fault(faults.device_text(lines), names=NAMES)
    assert type(found) is exc.NotAllowedOnDevice
    assert words in str(found)
    assert "hint: " in str(found)


@pytest.mark.parametrize(("error", "words", "lines"), ON_HOST)
def test_host_code_refuses(error, words, lines):
    found = faults.fault(faults.host_text(lines), names=NAMES)
    assert type(found) is error
    assert words in str(found)


@pytest.mark.parametrize("lines", WORKING)
def test_device_code_may_have(lines):
    text = faults.device_text(lines)
    assert "@triton.jit" in faults.compile_text(text, names=NAMES)


def test_printed_text_is_no_format():
    text = faults.device_text("print(f'100% of {n} \u00e9', x[t])")
    assert "tl.device_print('100%% of {n} \\\\xe9', n, " in faults.compile_text(text)


HELPER = """
def work(a, b):
    for t in hl.tile(a.size(0)):
        b[t] = a[t]
    return b


def work_again(a, b):
    work(a, b)
    work_again(a, b)


def work_all(*values):
    work(*values)


"""
HELPER_FAULTS = [
    ("inside an expression", "v = work(x, out) + 1"),
    ("* in a call of work()", "v = [x, out]\nwork(*v)"),
    ("*args of work_all()", "work_all(x, out)"),
]


@pytest.mark.parametrize(("words", "lines"), HELPER_FAULTS)
def test_calls_of_helpers_that_launch_are_refused(words, lines):
    found = faults.fault(HELPER + faults.host_text(lines))
    assert type(found) is exc.StatementNotSupported
    assert words in str(found)


def test_a_helper_that_launches_itself_is_refused():
    text = faults.host_text("work_again(x, out)").replace("  #!", "")
    assert "launches itself" in str(faults.fault(HELPER + text))


def test_arguments_of_a_helper_that_launches_must_fit():
    found = faults.fault(HELPER + faults.host_text("work(x)"))
    assert type(found) is exc.TypeInferenceError
    assert "work() takes the arguments a, b" in str(found)


def test_an_error_in_a_helper_that_launches_names_its_line():
    text = HELPER.replace("a[t]\n", "a[t].missing  #!\n", 1)
    found = faults.fault(text + faults.host_text("work(x, out)").replace("  #!", ""))
    assert type(found) is exc.TypeInferenceError


def test_a_walked_helper_is_told_where_it_is_called():
    text = (
        "def f(a):\n    if n > 3:\n        return a.missing\n    return a\nv = f(x[t])"
    )
    found = faults.fault(faults.device_text(text))
    assert "in f, File" in str(found)
    assert "return a.missing" in str(found)


def test_a_launch_without_effect_is_refused_when_binding():
    text = faults.device_text("v = x[t]").replace("        out[t] = x[t]\n", "")
    kernel = faults.kernel_from(text)
    with pytest.raises(exc.EmptyDeviceLoopAfterDCE):
        kernel.bind(fake_cuda(faults.arguments()))


@pytest.mark.parametrize("lines", WORKING_ON_HOST)
def test_host_code_may_have(lines):
    assert "@triton.jit" in faults.compile_text(faults.host_text(lines))


def test_an_opened_file_is_not_touched(tmp_path):
    path = tmp_path / "never"
    faults.fault(faults.device_text(f"open({str(path)!r}, 'w')"))
    assert not path.exists()


def test_a_helper_may_not_count_in_a_global():
    found = faults.fault(faults.device_text("v = counts(x[t])"), names=NAMES)
    assert type(found) is exc.GlobalMutation
    assert COUNT == 0


def test_a_helper_may_not_write_a_closure():
    total = 0

    def adds(value):
        nonlocal total
        total += 1
        return value

    found = faults.fault(faults.device_text("v = adds(x[t])"), names={"adds": adds})
    assert type(found) is exc.ClosureMutation


def test_an_error_of_a_helper_names_its_line():
    found = faults.fault(faults.device_text("v = raises(x[t])"), names=NAMES)
    assert type(found) is exc.TypeInferenceError
    assert "raises raised ValueError: my own reason" in str(found)
    assert 'raise ValueError("my own reason")' in str(found)


def test_endless_recursion_of_a_helper_is_told():
    found = faults.fault(faults.device_text("v = recurses(x[t])"), names=NAMES)
    assert "recurses calls itself without end" in str(found)


@pytest.mark.parametrize(
    "lines",
    [
        "lst = []\nfor i in range(n):\n    lst.append(x[t])  #!\nout[t] = lst[0]",
        "lst = [x[t]]\nif n > 3:\n    lst[0] = y[t]  #!\nout[t] = lst[0]",
        "d = {}\nwhile n > 3:\n    d.update(a=x[t])  #!\nout[t] = 1",
    ],
)
def test_a_list_of_outside_may_not_change_in_a_loop(lines):
    found = faults.fault(faults.device_text(lines))
    assert type(found) is exc.TypeInferenceError
    assert "made outside this loop or branch" in str(found)


def test_a_failed_host_assert_is_pythons_own():
    text = faults.host_text("assert x.size(0) == 65, 'x is too short'")
    with pytest.raises(AssertionError, match="x is too short"):
        faults.compile_text(text)
